/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A journal that a guest has made.  What it would put in place must lie in it. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "writeback-ext4.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  int fd = memfd_create ("journal", MFD_CLOEXEC);
  struct rcvmi_wb_source source = { .fd = fd, .size = size, .block_size = 1024 };
  uint64_t n = size / 1024, *map = calloc (n + 1, sizeof *map);
  unsigned char block[1024];
  rcvm_error *err = NULL;

  if (fd < 0 || !map || write (fd, data, size) != (ssize_t) size)
    abort ();
  for (uint64_t i = 0; i < n; i++)
    map[i] = i;
  if (rcvmi_wb_journal_read (&source, map, n, "journal", &err) == 0)
    for (size_t i = 0; i < source.replay.n; i++)
      {
        const struct rcvmi_wb_replayed *r = &source.replay.blocks[i];

        if (r->at >= n || (i && r[-1].block >= r->block)
            || rcvmi_wb_replay_find (&source.replay, r->block) != i
            || rcvmi_wb_replay_read (&source, r, block) < 0)
          abort ();
      }
  else if (!err)
    abort ();
  rcvm_error_free (err);
  free (source.replay.blocks);
  free (map);
  close (fd);
  return 0;
}
