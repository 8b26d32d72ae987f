/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A snapshot's index whose digest is right, whatever it says. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "snapshot.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  char *index = malloc (RCVMI_SHA256_HEX + 1 + size + 1);
  struct rcvmi_snapshot s;
  uint8_t digest[RCVMI_SHA256_BYTES];
  const char *why;

  if (!index)
    abort ();
  memcpy (index + RCVMI_SHA256_HEX + 1, data, size);
  index[RCVMI_SHA256_HEX + 1 + size] = 0;
  rcvmi_sha256 (data, size, digest);
  rcvmi_sha256_hex (digest, index);
  index[RCVMI_SHA256_HEX] = '\n';
  if (rcvmi_snapshot_parse (&s, index, RCVMI_SHA256_HEX + 1 + size, &why) == 0)
    {
      /* What goes into names of files. */
      for (size_t i = 0; i < s.n_disks; i++)
        if (memchr (s.disks[i].serial, 0, sizeof s.disks[i].serial) == NULL || strchr (s.disks[i].serial, '/'))
          abort ();
      if (s.depth > RCVMI_SNAPSHOT_DEEP || (s.depth > 0) != (s.parent[0] != 0) || s.parent[0] == '/'
          || !memchr (s.parent, 0, sizeof s.parent))
        abort ();
      if (s.n_disks > RCVMI_VMM_DISKS || s.n_nics > RCVMI_VMM_NICS)
        abort ();
    }
  free (index);
  return 0;
}
