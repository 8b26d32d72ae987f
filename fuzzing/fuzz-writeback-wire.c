/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records from the reader of an image that has been taken over.  What is let through is safe to use. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "writeback-wire.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check_path (const char *path)
{
  if (!*path || *path == '/' || strcmp (path, "..") == 0 || strncmp (path, "../", 3) == 0
      || strstr (path, "/../") || strstr (path, "//")
      || (strlen (path) > 2 && strcmp (path + strlen (path) - 3, "/..") == 0))
    abort ();
}

static void
check_record (const struct rcvmi_wb_record *r)
{
  struct tlv_reader xattrs = r->xattrs;
  struct rcvmi_wb_xattr x;

  if (r->name)
    check_path (r->name);
  if (r->name && r->type != WB_ALSO && strchr (r->name, '/'))
    abort ();
  if ((r->type == WB_DIR) != S_ISDIR (r->mode))
    abort ();
  if (r->type == WB_FILE && S_ISLNK (r->mode) && !r->target)
    abort ();
  while (rcvmi_wb_next_xattr (&xattrs, &x))
    if (!*x.name || strncmp (x.name, "trusted.overlay.", 16) == 0)
      abort ();
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct rcvmi_wb_order order = { .image_size = 1 << 20 };
  struct rcvmi_wb_record r;
  struct tlv_reader reader;
  struct tlv_field f;
  uint64_t sum = 0;

  tlv_reader_init (&reader, data, size);
  while (tlv_next (&reader, &f))
    {
      if (rcvmi_wb_decode (&r, f.tag, f.data, f.len))
        continue;
      check_record (&r);
      if (rcvmi_wb_check_order (&order, &r))
        continue;
      for (size_t i = 0; i < r.n_extents; i++)
        {
          struct rcvmi_wb_extent x = rcvmi_wb_get_extent (&r, i);

          if (x.image + x.length > order.image_size || x.offset + x.length > order.size)
            abort ();
          sum += x.length;
        }
      if (sum > order.image_size)
        abort ();
    }
  return 0;
}
