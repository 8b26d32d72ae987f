/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "rootfs-delta.h"

#include "err.h"
#include "rootfs-layer.h"

/* Whiteouts are device nodes and come along as such; "opaque" says what the directory hides. */
static int
prepare_inode (struct rcvmi_inode *inode, const char *name, rcvm_error **err)
{
  struct rcvmi_overlay marks;

  rcvmi_overlay_take (inode, true, &marks);
  if (marks.refers)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the overlay's '%.255s' refers to its lower directories (redirect_dir or metacopy)", name);
  return 0;
}

int
rcvmi_delta_prepare (struct rcvmi_dir *top, rcvm_error **err)
{
  int r = prepare_inode (top->self->inode, "/", err);

  for (struct rcvmi_dir *dir = top; r == 0 && dir; dir = rcvmi_tree_next_dir (top, dir))
    for (struct rcvmi_node *n = dir->first; r == 0 && n; n = n->next)
      r = prepare_inode (n->inode, n->name, err);
  return r;
}
