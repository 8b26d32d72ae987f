/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-layer-names.h"

/* As many as the kernel follows in one path. */
#define MAX_SYMLINKS 40

int
rcvmi_layer_path_clean (const char *name, char **path, rcvm_error **err)
{
  autofree char *out = malloc (strlen (name) + 1);
  size_t used = 0;

  if (!out)
    return rcvmi_fail_nomem (err);
  for (const char *p = name;;)
    {
      size_t len;

      p += strspn (p, "/");
      len = strcspn (p, "/");
      if (len == 0)
        break;
      if (len > RCVMI_NAME_MAX)
        return rcvmi_fail (err, RCVM_E_IMAGE, 0, "a name of more than 255 bytes");
      if (len == 2 && p[0] == '.' && p[1] == '.')
        {
          if (used == 0)
            return rcvmi_fail (err, RCVM_E_IMAGE, 0, "a name that leads out of the tree");
          while (used && out[used - 1] != '/')
            used--;
          if (used)
            used--;
        }
      else if (len != 1 || p[0] != '.')
        {
          if (used)
            out[used++] = '/';
          memcpy (out + used, p, len);
          used += len;
        }
      p += len;
    }
  out[used] = 0;
  *path = steal_ptr (out);
  return 0;
}

/* A directory that no entry has named yet. */
static struct rcvmi_dir *
make_dir (struct rcvmi_layer_names *l, struct rcvmi_dir *dir, const char *name, size_t len, rcvm_error **err)
{
  struct rcvmi_node *node = rcvmi_tree_node (l->tree, name, len);
  struct rcvmi_inode *inode = rcvmi_tree_alloc (l->tree, sizeof *inode);

  if (!node || !inode)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  node->inode = inode;
  inode->mode = S_IFDIR | 0755;
  inode->mtime = inode->atime = dir->self->inode->mtime;
  inode->origin = RCVMI_NO_ORIGIN;
  if (!rcvmi_tree_dir (l->tree, node, dir))
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  return rcvmi_layer_names_put (l, dir, node, err) < 0 ? NULL : inode->u.dir;
}

static int
splice_target (char **path, const char *target, const char *rest)
{
  size_t target_len = strlen (target), rest_len = strlen (rest);
  char *joined = malloc (target_len + 1 + rest_len + 1);

  if (!joined)
    return -1;
  memcpy (joined, target, target_len);
  joined[target_len] = '/';
  memcpy (joined + target_len + 1, rest, rest_len + 1);
  free (*path);
  *path = joined;
  return 0;
}

int
rcvmi_layer_names_resolve (struct rcvmi_layer_names *l, const char *path, bool make,
                           struct rcvmi_dir **dir_out, const char **name, rcvm_error **err)
{
  struct rcvmi_dir *root = l->tree->root->inode->u.dir, *dir = root;
  const char *last = strrchr (path, '/');
  autofree char *parents = NULL;
  int links = 0;

  *dir_out = NULL;
  *name = last ? last + 1 : path;
  parents = strndup (path, last ? (size_t) (last - path) : 0);
  if (!parents)
    return rcvmi_fail_nomem (err);
  for (const char *p = parents;;)
    {
      struct rcvmi_node *node;
      const char *rest;
      size_t len;

      p += strspn (p, "/");
      len = strcspn (p, "/");
      rest = p + len;
      if (len == 0)
        break;
      if (len <= 2 && p[0] == '.' && p[len - 1] == '.')
        {
          /* Of a symlink's target; the root is its own parent. */
          if (len == 2 && dir->parent)
            dir = dir->parent;
          p = rest;
          continue;
        }
      if (len > RCVMI_NAME_MAX)
        return rcvmi_fail (err, RCVM_E_IMAGE, 0,
                           "a symlink on the way leads to a name of more than 255 bytes");
      if (rcvmi_layer_names_find (l, dir, p, len, &node, err) < 0)
        return -1;
      if (node && rcvmi_inode_is (node->inode, S_IFLNK))
        {
          const char *target = node->inode->u.target;

          if (++links > MAX_SYMLINKS)
            return rcvmi_fail (err, RCVM_E_IMAGE, 0, "the symlinks on the way lead nowhere");
          if (splice_target (&parents, target, rest) < 0)
            return rcvmi_fail_nomem (err);
          if (target[0] == '/')
            dir = root;
          p = parents;
          continue;
        }
      if (node && !rcvmi_inode_is (node->inode, S_IFDIR) && !make)
        return 0;
      if (node && !rcvmi_inode_is (node->inode, S_IFDIR))
        return rcvmi_fail (err, RCVM_E_IMAGE, 0, "it lies below '%.*s', which is no directory", (int) len, p);
      if (!node && !make)
        return 0;
      if (!node && strncmp (p, ".wh.", 4) == 0)
        return rcvmi_fail (err, RCVM_E_IMAGE, 0, "it lies below a whiteout");
      dir = node ? node->inode->u.dir : make_dir (l, dir, p, len, err);
      if (!dir)
        return -1;
      p = rest;
    }
  *dir_out = dir;
  return 0;
}
