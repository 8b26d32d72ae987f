/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An ext4 image that a guest has made, as a write-back reads it, twice over: as the upper layer and as the base. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tlv.h"
#include "writeback-parser.h"
#include "writeback-wire.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static size_t left;

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

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  int fd = memfd_create ("image", MFD_CLOEXEC);
  struct rcvmi_wb_scope scope = { .top = "upper" };
  rcvm_error *err = NULL;

  if (fd < 0 || write (fd, data, size) != (ssize_t) size)
    abort ();
  left = 4 << 20;
  if (rcvmi_wb_parse (fd, fd, "image", &scope, take, NULL, &err) < 0)
    {
      if (!err || !*rcvm_error_get_message (err))
        abort ();
    }
  else if (err)
    abort ();
  rcvm_error_free (err);
  close (fd);
  return 0;
}
