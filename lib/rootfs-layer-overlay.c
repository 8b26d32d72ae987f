/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include <string.h>

#include "rootfs-layer.h"
#include "rootfs-scan.h"

/* "trusted.", and "user." where it was mounted without privileges. */
enum
{
  INDEX_USER = 1,
  INDEX_TRUSTED = 4
};

#define PREFIX "overlay."
#define PREFIX_LEN (sizeof PREFIX - 1)

static bool
is_named (const struct rcvmi_xattr *x, const char *name)
{
  return x->name_len == PREFIX_LEN + strlen (name)
         && memcmp (rcvmi_xattr_name (x) + PREFIX_LEN, name, strlen (name)) == 0;
}

void
rcvmi_overlay_take (struct rcvmi_inode *inode, bool keep_opaque, struct rcvmi_overlay *marks)
{
  struct rcvmi_xattrs *list = inode->xattrs;
  const struct rcvmi_xattr *next;
  uint32_t kept = 0;
  char *to;

  *marks = (struct rcvmi_overlay){ 0 };
  if (!list)
    return;
  to = (char *) (list + 1);
  for (const struct rcvmi_xattr *x = rcvmi_xattrs_next (list, NULL); x; x = next)
    {
      size_t size = (sizeof *x + x->name_len + x->value_len + 7) & ~(size_t) 7;

      next = rcvmi_xattrs_next (list, x);
      if ((x->index == INDEX_TRUSTED || x->index == INDEX_USER) && x->name_len > PREFIX_LEN
          && memcmp (rcvmi_xattr_name (x), PREFIX, PREFIX_LEN) == 0)
        {
          /* "x" says that whiteouts may be among its files. */
          if (is_named (x, "opaque"))
            marks->opaque = x->value_len == 1 && *rcvmi_xattr_value (x) == 'y';
          if (is_named (x, "whiteout"))
            marks->whiteout = true;
          if (is_named (x, "redirect") || is_named (x, "metacopy"))
            marks->refers = true;
          if (!keep_opaque || !marks->opaque || !is_named (x, "opaque"))
            continue;
        }
      memmove (to, x, size);
      to += size;
      kept++;
    }
  list->n = kept;
  list->size = (uint32_t) (to - (char *) (list + 1));
  if (!kept)
    inode->xattrs = NULL;
}
