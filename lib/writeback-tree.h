/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directories of the host beneath one that is open.  Nothing here follows a symlink, crosses a mount or leads out of it,
 * whatever others do to the tree meanwhile: each component is opened as a directory beneath the one before.
 */
#ifndef RCVM_LIB_WRITEBACK_TREE_H
#define RCVM_LIB_WRITEBACK_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include <runcvm/error.h>

struct rcvmi_wb_tree_level
{
  size_t path_len; /* of the path down to here */
  int fd;          /* -1: to be opened again */
};

/* A way down from `root`; a stack of directories of any depth, few of them open. */
struct rcvmi_wb_tree
{
  int root;
  const char *where; /* its path, for messages */
  char *path;        /* "a/b"; "" is the root */
  size_t path_len, path_cap;
  struct rcvmi_wb_tree_level *levels;
  size_t n, cap;
};

void rcvmi_wb_tree_init (struct rcvmi_wb_tree *t, int root, const char *where);
/* Leaves `root` open. */
void rcvmi_wb_tree_clear (struct rcvmi_wb_tree *t);
/* The directory that was entered last; valid until the next call.  -1 with *err set. */
int rcvmi_wb_tree_fd (struct rcvmi_wb_tree *t, rcvm_error **err);
/* Enters the directory `name`.  -errno, with nothing done. */
int rcvmi_wb_tree_enter (struct rcvmi_wb_tree *t, const char *name);
void rcvmi_wb_tree_leave (struct rcvmi_wb_tree *t);
/* "WHERE/a/b/name" for messages, in a malloc'ed string or NULL; name may be NULL. */
char *rcvmi_wb_tree_name (const struct rcvmi_wb_tree *t, const char *name);

/* Opens a directory beneath `dir` by a relative path of any length; -errno. */
int rcvmi_wb_open_dir (int dir, const char *path);

/* New files and old directories, out of sight: a directory of the rootfs that is gone when all is done. */
struct rcvmi_wb_staging
{
  int root;
  const char *where;
  const char *name;
  int fd; /* -1: not made yet */
  unsigned long next;
};

/* Removes what an earlier run has left. */
int rcvmi_wb_staging_clean (struct rcvmi_wb_staging *s, rcvm_error **err);
/* The directory, made if need be; -1 with *err set. */
int rcvmi_wb_staging_fd (struct rcvmi_wb_staging *s, rcvm_error **err);
/* A name that is free in it. */
void rcvmi_wb_staging_new_name (struct rcvmi_wb_staging *s, char name[32]);

/* Removes `name` of the directory that t is in, with all that is below it; none is no error. */
int rcvmi_wb_remove (struct rcvmi_wb_tree *t, struct rcvmi_wb_staging *s, const char *name,
                     rcvm_error **err);
/* The same where it lies, not at once. */
int rcvmi_wb_remove_in_place (int dir, const char *name, const char *where, rcvm_error **err);

#endif
