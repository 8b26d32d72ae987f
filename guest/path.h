/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths of the container, seen from outside of it.  Symlinks of an image may point anywhere;
 * here they lead to where the container's own processes would get.
 */
#ifndef RCVM_GUEST_PATH_H
#define RCVM_GUEST_PATH_H

#include <sys/types.h>

/* open(2) with `root` as "/"; -1 and errno. */
int path_open (int root, const char *path, int flags);
/* An O_PATH fd of the directory; makes it and its parents where they are missing. */
int path_make_dir (int root, const char *path, mode_t mode);
/* The same for what is to be the target of a file's bind mount: an empty file. */
int path_make_file (int root, const char *path);
/* An O_PATH fd of the directory that holds `path` (made where missing); *name is the last
   component, within `path`.  -1 and EINVAL if `path` has no last component. */
int path_open_parent (int root, const char *path, const char **name);

#endif
