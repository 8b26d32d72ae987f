/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names that others have put into the rootfs while the VM ran, and that were then put into the VM.  Where it has removed one again, the
 * image has no whiteout, as there is nothing below it; and nothing is known of it from the last time.  But each that is still there is
 * told in the first write-back that follows, so what is not told is gone.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "put-list.h"

void
rcvmi_wb_put_seen (struct rcvmi_wb_apply *a, const char *name)
{
  autofree char *path = NULL;
  struct rcvmi_put *put;

  if (!a->options || !a->options->puts || !a->options->puts->n)
    return;
  if (a->tree.path_len == 0)
    put = rcvmi_puts_find (a->options->puts, name);
  else if (asprintf (&path, "%s/%s", a->tree.path, name) >= 0)
    put = rcvmi_puts_find (a->options->puts, path);
  else
    {
      /* Rather none than a wrong one. */
      path = NULL;
      a->options->puts->n = 0;
      return;
    }
  if (put)
    put->seen = true;
}

/* A file that is still the one that was put there; a directory that is empty by now. */
static int
remove_one (struct rcvmi_wb_apply *a, struct rcvmi_wb_tree *t, const struct rcvmi_put *put, const char *name, rcvm_error **err)
{
  int dir = rcvmi_wb_tree_fd (t, err);
  struct stat st;

  if (dir < 0)
    return -1;
  if (fstatat (dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR (st.st_mode) != put->dir
      || rcvmi_wb_is_excluded (a, t->path_len ? t->path : NULL, name))
    return 0;
  if (put->dir)
    {
      if (unlinkat (dir, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY && errno != EEXIST && errno != EBUSY)
        return rcvmi_fail_errno (err, errno, "cannot remove '%s/%s'", t->where, put->path);
      return 0;
    }
  if (st.st_ctim.tv_sec != put->change.tv_sec || st.st_ctim.tv_nsec != put->change.tv_nsec)
    return 0;
  return rcvmi_wb_remove (t, &a->staging, name, err);
}

static int
remove_path (struct rcvmi_wb_apply *a, const struct rcvmi_put *put, rcvm_error **err)
{
  autofree char *copy = strdup (put->path);
  struct rcvmi_wb_tree t;
  char *name = copy;
  int code = 0;

  if (!copy)
    return rcvmi_fail_nomem (err);
  rcvmi_wb_tree_init (&t, a->tree.root, a->tree.where);
  for (char *slash; code == 0 && (slash = strchr (name, '/')); name = slash + 1)
    {
      *slash = 0;
      code = rcvmi_wb_tree_enter (&t, name);
    }
  /* Whatever the reason is that its directory is not one any more. */
  code = code < 0 ? 0 : remove_one (a, &t, put, name, err);
  rcvmi_wb_tree_clear (&t);
  return code;
}

int
rcvmi_wb_remove_puts (struct rcvmi_wb_apply *a, rcvm_error **err)
{
  const struct rcvmi_puts *puts = a->options ? a->options->puts : NULL;
  int code = 0;

  /* From the end: what is in a directory comes before it. */
  for (size_t i = puts ? puts->n : 0; code == 0 && i-- > 0;)
    if (!puts->list[i].seen)
      code = remove_path (a, &puts->list[i], err);
  return code;
}
