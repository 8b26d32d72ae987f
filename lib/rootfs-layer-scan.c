/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-layer-names.h"
#include "rootfs-layer-reader.h"
#include "rootfs-layer.h"
#include "rootfs-scan.h"

#define WHITEOUT ".wh."
#define WHITEOUT_LEN (sizeof WHITEOUT - 1)
#define OPAQUE ".wh..wh..opq"
/* Notes of AUFS about itself, the opaque mark apart. */
#define PRIVATE ".wh..wh."
#define FILE_SIZE_MAX ((UINT64_C (0xffffffff)) * RCVMI_BLOCK)

struct layer
{
  struct rcvmi_tree *tree;
  struct rcvmi_layer_names names;
  struct rcvmi_layer_reader *reader;
  uint16_t origin;
  uint32_t dev;
  rcvm_error **err;
};

static void
layer_clear (struct layer *l)
{
  rcvmi_layer_reader_close (l->reader);
  rcvmi_layer_names_clear (&l->names);
}

/* Says where in the archive `cause` has happened, and frees it. */
static int
fail_entry (struct layer *l, rcvm_error *cause)
{
  int code = rcvm_error_get_code (cause);

  if (code != RCVM_E_IMAGE)
    return rcvmi_error_pass (l->err, cause);
  code = rcvmi_layer_reader_fail (l->reader, code, rcvm_error_get_message (cause), l->err);
  rcvm_error_free (cause);
  return code;
}

static int
fail_here (struct layer *l, int code, const char *what)
{
  return rcvmi_layer_reader_fail (l->reader, code, what, l->err);
}

static int
clean_path (struct layer *l, const char *name, char **path)
{
  rcvm_error *cause = NULL;

  return rcvmi_layer_path_clean (name, path, &cause) < 0 ? fail_entry (l, cause) : 0;
}

static int
resolve (struct layer *l, const char *path, bool make, struct rcvmi_dir **dir, const char **name)
{
  rcvm_error *cause = NULL;

  return rcvmi_layer_names_resolve (&l->names, path, make, dir, name, &cause) < 0 ? fail_entry (l, cause) : 0;
}

static int
read_xattrs (struct layer *l, struct rcvmi_inode *inode)
{
  __attribute__ ((cleanup (rcvmi_xattr_list_clear))) struct rcvmi_xattr_list list = { 0 };
  struct rcvmi_overlay unused;
  int r = rcvmi_layer_reader_xattrs (l->reader, &list);

  if (r == 0)
    r = rcvmi_xattr_list_store (l->tree, &list, &inode->xattrs);
  switch (r)
    {
    case 0:
      rcvmi_overlay_take (inode, false, &unused);
      return 0;
    case -ENOMEM:
      return rcvmi_fail_nomem (l->err);
    case -E2BIG:
      return fail_here (l, RCVM_E_UNSUPPORTED, "more extended attributes than a file can have");
    case -ENOTSUP:
      return fail_here (l, RCVM_E_UNSUPPORTED, "an ACL that names its users or groups without their numbers");
    default:
      return fail_here (l, RCVM_E_IMAGE, "an ACL that makes no sense");
    }
}

/* The parts with data, which must come in order. */
static int
read_segments (struct layer *l, struct rcvmi_inode *inode)
{
  autofree struct rcvmi_segment *list = NULL;
  struct rcvmi_segments *copy;
  uint64_t offset, len, end = 0, blocks = 0;
  size_t n = 0, cap = 0;

  if (!rcvmi_layer_reader_is_sparse (l->reader))
    return 0;
  while (rcvmi_layer_reader_segment (l->reader, &offset, &len))
    {
      uint64_t block, count;

      if (offset < end || len > inode->size || offset > inode->size - len)
        return fail_here (l, RCVM_E_IMAGE, "a map of a sparse file that makes no sense");
      if (len == 0)
        continue;
      end = offset + len;
      block = offset / RCVMI_BLOCK;
      count = rcvmi_blocks (end) - block;
      /* Two parts may share a block. */
      if (n && block < list[n - 1].block + list[n - 1].count)
        {
          count -= list[n - 1].block + list[n - 1].count - block;
          block = list[n - 1].block + list[n - 1].count;
        }
      blocks += count;
      if (count && n && block == list[n - 1].block + list[n - 1].count)
        list[n - 1].count += count;
      else if (count)
        {
          if (n == cap)
            {
              struct rcvmi_segment *more = reallocarray (list, cap ? cap * 2 : 16, sizeof *list);

              if (!more)
                return rcvmi_fail_nomem (l->err);
              list = more;
              cap = cap ? cap * 2 : 16;
            }
          list[n++] = (struct rcvmi_segment){ block, count };
        }
    }
  if (n == 1 && list[0].count == rcvmi_blocks (inode->size))
    return 0;
  copy = rcvmi_tree_alloc (l->tree, sizeof *copy + n * sizeof *list);
  if (!copy)
    return rcvmi_fail_nomem (l->err);
  copy->n = n;
  copy->blocks = blocks;
  if (n)
    memcpy (copy->s, list, n * sizeof *list);
  inode->u.segments = copy;
  return 0;
}

/* What an inode is, the contents of a directory apart. */
static int
fill_inode (struct layer *l, struct rcvmi_inode *inode, const struct rcvmi_layer_entry *entry)
{
  inode->mode = entry->mode;
  inode->uid = entry->uid;
  inode->gid = entry->gid;
  inode->mtime = inode->ctime = entry->mtime;
  inode->atime = entry->atime;
  inode->source_ino = entry->number;
  inode->source_dev = l->dev;
  inode->origin = l->origin;
  return read_xattrs (l, inode);
}

static int
fill_contents (struct layer *l, struct rcvmi_inode *inode, const struct rcvmi_layer_entry *entry)
{
  switch (entry->mode & S_IFMT)
    {
    case S_IFREG:
      inode->size = entry->size;
      if (inode->size > FILE_SIZE_MAX)
        return fail_here (l, RCVM_E_UNSUPPORTED, "a file that is larger than ext4's 16 TiB");
      return read_segments (l, inode);
    case S_IFLNK:
      inode->size = strlen (entry->target);
      inode->u.target = rcvmi_tree_alloc (l->tree, (size_t) inode->size + 1);
      if (!inode->u.target)
        return rcvmi_fail_nomem (l->err);
      memcpy (inode->u.target, entry->target, (size_t) inode->size);
      return 0;
    case S_IFCHR:
    case S_IFBLK:
      inode->u.rdev = entry->rdev;
      return 0;
    default:
      return 0;
    }
}

static int
put_name (struct layer *l, struct rcvmi_dir *dir, const char *name, struct rcvmi_inode *inode, uint8_t flags)
{
  struct rcvmi_node *node = rcvmi_tree_node (l->tree, name, strlen (name));

  if (!node)
    return rcvmi_fail_nomem (l->err);
  node->inode = inode;
  node->flags = flags;
  if (rcvmi_inode_is (inode, S_IFDIR) && !rcvmi_tree_dir (l->tree, node, dir))
    return rcvmi_fail_nomem (l->err);
  return rcvmi_layer_names_put (&l->names, dir, node, l->err);
}

static int
add_inode (struct layer *l, struct rcvmi_dir *dir, const char *name, const struct rcvmi_layer_entry *entry)
{
  struct rcvmi_inode *inode;
  struct rcvmi_node *old;

  if (rcvmi_layer_names_find (&l->names, dir, name, strlen (name), &old, l->err) < 0)
    return -1;
  if (S_ISDIR (entry->mode) && old && rcvmi_inode_is (old->inode, S_IFDIR))
    {
      rcvmi_layer_names_own (dir, old);
      return fill_inode (l, old->inode, entry);
    }
  inode = rcvmi_tree_alloc (l->tree, sizeof *inode);
  if (!inode)
    return rcvmi_fail_nomem (l->err);
  if (fill_inode (l, inode, entry) < 0 || fill_contents (l, inode, entry) < 0)
    return -1;
  return put_name (l, dir, name, inode, 0);
}

/* Files of directories are read by their names there: one is kept in mind for each that gets
   others here. */
static int
remember_origin (struct layer *l, struct rcvmi_dir *dir, struct rcvmi_node *node)
{
  struct rcvmi_tree *tree = l->tree;

  if (node->flags & RCVMI_NODE_LINKED || node->inode->origin == RCVMI_NO_ORIGIN
      || tree->origins[node->inode->origin].archive)
    return 0;
  if ((tree->n_links & (tree->n_links - 1)) == 0)
    {
      struct rcvmi_link *links
          = reallocarray (tree->links, tree->n_links ? tree->n_links * 2 : 1, sizeof *links);

      if (!links)
        return rcvmi_fail_nomem (l->err);
      tree->links = links;
    }
  tree->links[tree->n_links++] = (struct rcvmi_link){ dir, node };
  return 0;
}

static int
add_link (struct layer *l, struct rcvmi_dir *dir, const char *name, const char *target)
{
  autofree char *path = NULL;
  struct rcvmi_node *node = NULL;
  struct rcvmi_dir *target_dir;
  const char *target_name;
  char what[600];

  if (clean_path (l, target, &path) < 0 || resolve (l, path, false, &target_dir, &target_name) < 0)
    return -1;
  if (target_dir && *target_name
      && rcvmi_layer_names_find (&l->names, target_dir, target_name, strlen (target_name), &node, l->err) < 0)
    return -1;
  if (!node || rcvmi_inode_is (node->inode, S_IFDIR))
    {
      snprintf (what, sizeof what, "a hard link to '%.512s', which is %s", target,
                node || !*path ? "a directory" : "not there");
      return fail_here (l, RCVM_E_IMAGE, what);
    }
  if (remember_origin (l, target_dir, node) < 0)
    return -1;
  /* Where it is a link to itself, it stays what it was. */
  if (target_dir == dir && strcmp (target_name, name) == 0)
    {
      rcvmi_layer_names_own (dir, node);
      return 0;
    }
  return put_name (l, dir, name, node->inode, RCVMI_NODE_LINKED);
}

static int
apply_whiteout (struct layer *l, const char *path, const char *mark)
{
  const char *hidden = mark + WHITEOUT_LEN;
  struct rcvmi_dir *dir;
  const char *name;

  if (strcmp (mark, OPAQUE) != 0 && strncmp (mark, PRIVATE, strlen (PRIVATE)) == 0)
    return 0;
  if (!*hidden || strcmp (hidden, ".") == 0 || strcmp (hidden, "..") == 0)
    return fail_here (l, RCVM_E_IMAGE, "a whiteout of nothing");
  if (resolve (l, path, false, &dir, &name) < 0)
    return -1;
  if (!dir)
    return 0;
  if (strcmp (mark, OPAQUE) == 0)
    return rcvmi_layer_names_opaque (&l->names, dir, l->err);
  return rcvmi_layer_names_whiteout (&l->names, dir, hidden, strlen (hidden), l->err);
}

static int
apply_root (struct layer *l, const struct rcvmi_layer_entry *entry)
{
  if (entry->hardlink || !S_ISDIR (entry->mode))
    return fail_here (l, RCVM_E_IMAGE, "a root that is no directory");
  return fill_inode (l, l->tree->root->inode, entry);
}

static int
apply_entry (struct layer *l, const struct rcvmi_layer_entry *entry)
{
  autofree char *path = NULL;
  struct rcvmi_dir *dir;
  const char *name, *last;

  if (clean_path (l, entry->path, &path) < 0)
    return -1;
  if (!*path)
    return apply_root (l, entry);
  last = strrchr (path, '/');
  last = last ? last + 1 : path;
  if (strncmp (last, WHITEOUT, WHITEOUT_LEN) == 0)
    return apply_whiteout (l, path, last);
  if (resolve (l, path, true, &dir, &name) < 0)
    return -1;
  return entry->hardlink ? add_link (l, dir, name, entry->hardlink) : add_inode (l, dir, name, entry);
}

static int
apply_archive (struct layer *l, const struct rcvmi_layer_limits *limits, struct rcvmi_rootfs_progress *p)
{
  struct rcvmi_layer_entry entry;
  int r;

  while ((r = rcvmi_layer_reader_next (l->reader, &entry, l->err)) > 0)
    {
      if (apply_entry (l, &entry) < 0 || rcvmi_rootfs_progress (p, 1, 0, l->err) < 0)
        return -1;
      if (l->tree->allocated > limits->memory)
        return rcvmi_layer_reader_fail (l->reader, RCVM_E_NO_SPACE,
                                        "the layers have more files than the image can have room for", l->err);
    }
  return r < 0 ? -1 : rcvmi_layer_names_finish (&l->names, l->err);
}

static int
scan_archive (struct rcvmi_tree *tree, const char *path, int fd, const struct stat *st,
              const struct rcvmi_layer_limits *limits, struct rcvmi_rootfs_progress *p, rcvm_error **err)
{
  __attribute__ ((cleanup (layer_clear))) struct layer l = { .tree = tree, .err = err };
  struct rcvmi_origin *o = rcvmi_tree_origin (tree, path, err);
  int64_t dev = rcvmi_tree_dev (tree, st->st_dev);
  char self[32];

  if (!o)
    return -1;
  if (dev < 0)
    return rcvmi_fail_nomem (err);
  snprintf (self, sizeof self, "/proc/self/fd/%d", fd);
  o->archive = true;
  o->identity = *st;
  o->fd = open (self, O_RDONLY | O_CLOEXEC);
  if (o->fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the layer '%s'", path);
  l.dev = (uint32_t) dev;
  l.origin = (uint16_t) (tree->n_origins - 1);
  if (rcvmi_layer_names_init (&l.names, tree, (uint32_t) tree->n_origins, err) < 0
      || rcvmi_layer_reader_open (&l.reader, o, p, err) < 0)
    return -1;
  return apply_archive (&l, limits, p);
}

int
rcvmi_layer_scan (struct rcvmi_tree *tree, const char *path, const struct rcvmi_layer_limits *limits,
                  struct rcvmi_rootfs_progress *p, rcvm_error **err)
{
  /* Looked at before it is opened: opening a FIFO would do something to it. */
  autoclose int fd = open (path, O_PATH | O_CLOEXEC);
  rcvm_error *e = NULL;
  struct stat st;

  if (fd < 0 || fstat (fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the layer '%s'", path);
  if (S_ISDIR (st.st_mode))
    return rcvmi_scan_layer (tree, path, p, err);
  if (!S_ISREG (st.st_mode))
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "the layer '%s' is neither a directory nor a file that can be read twice", path);
  return scan_archive (tree, path, fd, &st, limits, p, &e) < 0 ? rcvmi_error_pass (err, e) : 0;
}
