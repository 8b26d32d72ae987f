/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An ext4 image that a guest has made, as a write-back reads it, twice over: as the upper layer and as the base;
   and once more as one that has been written back before, with what the first time said of it. */
#include "config.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tlv.h"
#include "writeback-parser.h"
#include "writeback-wire.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static size_t left;
static int known = -1; /* where what is to be known next time goes */

/* The stream must be made of whole records; what they say is the guest's. */
static int
take (void *user, const void *data, size_t len)
{
  struct rcvmi_wb_record record;
  struct tlv_reader r;
  struct tlv_field f;

  (void) user;
  tlv_reader_init (&r, data, len);
  while (tlv_next (&r, &f))
    {
      struct rcvmi_wb_xattr x;

      if (rcvmi_wb_decode (&record, f.tag, f.data, f.len))
        continue;
      if (record.type == WB_KNOWN && known >= 0 && write (known, record.data, record.len) != (ssize_t) record.len)
        abort ();
      while (rcvmi_wb_next_xattr (&record.xattrs, &x))
        if (!rcvmi_wb_is_xattr (x.name))
          abort ();
    }
  if (r.bad)
    abort ();
  /* A directory of a million names in no time is not what is looked for. */
  if (len > left)
    return -1;
  left -= len;
  return 0;
}

static bool
parse (int fd, int base, const struct rcvmi_wb_scope *scope)
{
  rcvm_error *err = NULL;
  bool ok;

  left = 4 << 20;
  ok = rcvmi_wb_parse (fd, base, "image", scope, take, NULL, &err) == 0;
  if (ok ? err != NULL : !err || !*rcvm_error_get_message (err))
    abort ();
  rcvm_error_free (err);
  return ok;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  int fd = memfd_create ("image", MFD_CLOEXEC), first = memfd_create ("known", MFD_CLOEXEC);
  struct rcvmi_wb_scope scope = { .top = "upper", .done_fd = -1, .begun_fd = -1 };

  if (fd < 0 || first < 0 || write (fd, data, size) != (ssize_t) size)
    abort ();
  parse (fd, fd, &scope);
  scope.repeated = true;
  known = first;
  /* With what it has said itself, it has nothing to be afraid of. */
  if (parse (fd, -1, &scope))
    {
      known = -1;
      scope.done_fd = lseek (first, 0, SEEK_END) > 0 ? first : -1;
      scope.frozen.tv_sec = INT64_MAX;
      if (!parse (fd, -1, &scope))
        abort ();
    }
  known = -1;
  close (first);
  close (fd);
  return 0;
}
