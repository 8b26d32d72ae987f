/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "rootfs-delta.h"

#include <string.h>

#include "err.h"
#include "rootfs-scan.h"

enum
{
  INDEX_TRUSTED = 4
};

#define PREFIX "overlay."

static bool
is_named (const struct rcvmi_xattr *x, const char *name)
{
  return x->name_len == strlen (name) && memcmp (rcvmi_xattr_name (x), name, x->name_len) == 0;
}

/* Whiteouts are device nodes and come along as such; "opaque" says what the directory hides. */
static int
prepare_inode (struct rcvmi_inode *inode, const char *name, rcvm_error **err)
{
  struct rcvmi_xattrs *list = inode->xattrs;
  char *to = (char *) (list + 1);
  const struct rcvmi_xattr *next;
  uint32_t kept = 0;

  for (const struct rcvmi_xattr *x = rcvmi_xattrs_next (list, NULL); x; x = next)
    {
      size_t size = (sizeof *x + x->name_len + x->value_len + 7) & ~(size_t) 7;
      bool own = x->index == INDEX_TRUSTED && x->name_len > strlen (PREFIX)
                 && memcmp (rcvmi_xattr_name (x), PREFIX, strlen (PREFIX)) == 0;

      next = rcvmi_xattrs_next (list, x);
      if (own && (is_named (x, PREFIX "redirect") || is_named (x, PREFIX "metacopy")))
        return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                           "the overlay's '%.255s' refers to its lower directories by trusted.%.*s", name,
                           (int) x->name_len, rcvmi_xattr_name (x));
      if (own && !is_named (x, PREFIX "opaque"))
        continue;
      memmove (to, x, size);
      to += size;
      kept++;
    }
  list->n = kept;
  list->size = (uint32_t) (to - (char *) (list + 1));
  if (!kept)
    inode->xattrs = NULL;
  return 0;
}

int
rcvmi_delta_prepare (struct rcvmi_dir *top, rcvm_error **err)
{
  int r = top->self->inode->xattrs ? prepare_inode (top->self->inode, "/", err) : 0;

  for (struct rcvmi_dir *dir = top; r == 0 && dir; dir = rcvmi_tree_next_dir (top, dir))
    for (struct rcvmi_node *n = dir->first; r == 0 && n; n = n->next)
      if (n->inode->xattrs)
        r = prepare_inode (n->inode, n->name, err);
  return r;
}
