/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an earlier reader of an image left to be known.  What is taken is in order, and found again. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>

#include "writeback-known.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct rcvmi_wb_known k;

  if (rcvmi_wb_known_parse (&k, data, size) < 0)
    {
      if (k.entries || k.dirs)
        abort ();
      return 0;
    }
  for (size_t i = 0; i < k.n_dirs; i++)
    {
      const struct rcvmi_wb_known_dir *d = &k.dirs[i];

      if (rcvmi_wb_known_dir (&k, d->ino) != d || d->first > k.n_entries || d->n > k.n_entries - d->first)
        abort ();
      for (size_t j = d->first; j < d->first + d->n; j++)
        if (rcvmi_wb_known_find (&k, d, k.entries[j].name, k.entries[j].len) != &k.entries[j])
          abort ();
    }
  rcvmi_wb_known_clear (&k);
  return 0;
}
