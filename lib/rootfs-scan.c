/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-delta.h"
#include "rootfs-layer.h"
#include "rootfs-scan.h"

#define DIRENTS_SIZE 65536
/* ext4's limit: 2^32 blocks with one to spare. */
#define FILE_SIZE_MAX ((UINT64_C (0xffffffff)) * RCVMI_BLOCK)

struct scan
{
  struct rcvmi_tree *tree;
  struct rcvmi_rootfs_progress *progress;
  uint16_t index; /* of the origin */
  struct rcvmi_origin *origin;
  struct rcvmi_dirfd dirs;
  struct rcvmi_inode **links; /* inodes with several names: open addressing */
  size_t n_links, cap_links;
  struct rcvmi_node **found; /* of the directory that is being read */
  size_t n_found, cap_found;
  char *dirents;
  bool overlay;  /* the source is an upper directory of an overlayfs */
  bool whiteout; /* the inode that was just read only hides what is below */
  rcvm_error **err;
};

static void
scan_clear (struct scan *s)
{
  rcvmi_dirfd_clear (&s->dirs);
  free (s->links);
  free (s->found);
  free (s->dirents);
}

static int
fail_path (struct scan *s, int errnum, const char *what, struct rcvmi_dir *dir, const char *name)
{
  autofree char *path = rcvmi_source_path (s->origin, dir, name);

  return rcvmi_fail_errno (s->err, errnum, "cannot %s '%s'", what, path ? path : name);
}

static int
fail_changed (struct scan *s, struct rcvmi_dir *dir, const char *name)
{
  autofree char *path = rcvmi_source_path (s->origin, dir, name);

  return rcvmi_fail (s->err, RCVM_E_STATE, 0,
                     "'%s' changed while it was read; build again when nothing writes there",
                     path ? path : name);
}

/* Where a known inode is, or where it belongs. */
static struct rcvmi_inode **
find_link (const struct scan *s, uint64_t ino, uint32_t dev)
{
  size_t mask = s->cap_links - 1, i = (ino * UINT64_C (0x9e3779b97f4a7c15) >> 20) & mask;

  while (s->links[i] && (s->links[i]->source_ino != ino || s->links[i]->source_dev != dev))
    i = (i + 1) & mask;
  return &s->links[i];
}

static int
grow_links (struct scan *s)
{
  struct rcvmi_inode **old = s->links;
  size_t cap = s->cap_links;

  if (s->n_links * 2 < cap)
    return 0;
  s->cap_links = cap ? cap * 2 : 256;
  s->links = calloc (s->cap_links, sizeof *s->links);
  if (!s->links)
    {
      s->links = old;
      s->cap_links = cap;
      return rcvmi_fail_nomem (s->err);
    }
  for (size_t i = 0; i < cap; i++)
    if (old[i])
      *find_link (s, old[i]->source_ino, old[i]->source_dev) = old[i];
  free (old);
  return 0;
}

static int
add_segment (struct rcvmi_segments **list, size_t *cap, uint64_t start, uint64_t end)
{
  struct rcvmi_segments *l = *list;
  uint64_t block = start / RCVMI_BLOCK, count = rcvmi_blocks (end) - block;

  if (l && l->n)
    {
      struct rcvmi_segment *last = &l->s[l->n - 1];

      /* Holes of a host with smaller blocks may end inside of one of ours. */
      if (last->block + last->count > block)
        {
          count -= last->block + last->count - block;
          block = last->block + last->count;
        }
      if (count == 0)
        return 0;
      if (last->block + last->count == block)
        {
          last->count += count;
          l->blocks += count;
          return 0;
        }
    }
  if (!l || l->n == *cap)
    {
      size_t n = *cap ? *cap * 2 : 16;

      l = realloc (l, sizeof *l + n * sizeof l->s[0]);
      if (!l)
        return -1;
      if (!*list)
        l->n = l->blocks = 0;
      *list = l;
      *cap = n;
    }
  l->s[l->n++] = (struct rcvmi_segment){ block, count };
  l->blocks += count;
  return 0;
}

/* 1: the whole file is data, as far as the host can tell. */
static int
find_segments (int fd, uint64_t size, struct rcvmi_segments **list)
{
  size_t cap = 0;
  off_t end = 0;

  while ((uint64_t) end < size)
    {
      off_t start = lseek (fd, end, SEEK_DATA);

      if (start < 0 && errno == ENXIO)
        break;
      if (start < 0)
        return errno == EINVAL || errno == EOPNOTSUPP ? 1 : -errno;
      end = lseek (fd, start, SEEK_HOLE);
      if (end < 0)
        return -errno;
      if ((uint64_t) start >= size)
        break;
      if ((uint64_t) end > size)
        end = (off_t) size;
      if (end <= start)
        return -EIO;
      if (add_segment (list, &cap, (uint64_t) start, (uint64_t) end) < 0)
        return -ENOMEM;
    }
  return *list && (*list)->n == 1 && (*list)->s[0].count == rcvmi_blocks (size);
}

static int
read_segments (struct scan *s, struct rcvmi_dir *dir, int dirfd, const char *name,
               struct rcvmi_inode *inode)
{
  autofree struct rcvmi_segments *list = NULL;
  struct rcvmi_segments *copy;
  autoclose int fd = -1;
  size_t size;
  bool quiet;
  int r;

  fd = rcvmi_origin_openat (s->origin, dirfd, name, 0, &quiet);
  if (fd < 0)
    return fail_path (s, errno, "open", dir, name);
  r = find_segments (fd, inode->size, &list);
  if (r < 0)
    return fail_path (s, -r, "find the holes of", dir, name);
  if (r == 1)
    return 0;
  size = sizeof *copy + (list ? list->n * sizeof list->s[0] : 0);
  copy = rcvmi_tree_alloc (s->tree, size);
  if (!copy)
    return rcvmi_fail_nomem (s->err);
  if (list)
    memcpy (copy, list, size);
  inode->u.segments = copy;
  return 0;
}

static int
read_target (struct scan *s, struct rcvmi_dir *dir, int dirfd, const char *name,
             struct rcvmi_inode *inode)
{
  char target[RCVMI_BLOCK];
  ssize_t len = readlinkat (dirfd, name, target, sizeof target);

  if (len < 0)
    return fail_path (s, errno, "read the symlink", dir, name);
  if (len == 0 || (size_t) len == sizeof target)
    return rcvmi_fail (s->err, RCVM_E_UNSUPPORTED, 0,
                       "the symlink '%s' has a target of a length that ext4 cannot hold", name);
  inode->size = (uint64_t) len;
  inode->u.target = rcvmi_tree_alloc (s->tree, (size_t) len + 1);
  if (!inode->u.target)
    return rcvmi_fail_nomem (s->err);
  memcpy (inode->u.target, target, (size_t) len);
  /* Reading it may have changed the access time, which must not make the next image a different one. */
  if (!s->origin->quiet)
    inode->atime = inode->mtime;
  return 0;
}

static int
fill_inode (struct scan *s, struct rcvmi_inode *inode, const struct stat *st)
{
  int64_t dev = rcvmi_tree_dev (s->tree, st->st_dev);

  if (dev < 0)
    return rcvmi_fail_nomem (s->err);
  inode->mode = (uint16_t) st->st_mode;
  inode->uid = st->st_uid;
  inode->gid = st->st_gid;
  inode->mtime = rcvmi_time_pack (st->st_mtim.tv_sec, (uint32_t) st->st_mtim.tv_nsec);
  inode->atime = rcvmi_time_pack (st->st_atim.tv_sec, (uint32_t) st->st_atim.tv_nsec);
  inode->ctime = rcvmi_time_pack (st->st_ctim.tv_sec, (uint32_t) st->st_ctim.tv_nsec);
  inode->source_ino = st->st_ino;
  inode->source_dev = (uint32_t) dev;
  inode->origin = s->index;
  return 0;
}

/* In an upper directory: what the inode's attributes say to overlayfs, which is not for the image. */
static int
read_overlay (struct scan *s, struct rcvmi_dir *dir, const char *name, struct rcvmi_inode *inode,
              struct rcvmi_overlay *marks)
{
  autofree char *path = NULL;

  rcvmi_overlay_take (inode, false, marks);
  if (!marks->refers)
    return 0;
  path = rcvmi_source_path (s->origin, dir, name);
  return rcvmi_fail (s->err, RCVM_E_UNSUPPORTED, 0,
                     "'%s' refers to other layers by overlayfs's redirect_dir or metacopy; mount the overlay "
                     "and give its directory",
                     path ? path : name);
}

/* Everything but directories.  `st` was asked for by `name` in `dirfd`. */
static struct rcvmi_inode *
scan_inode (struct scan *s, struct rcvmi_dir *dir, int dirfd, const char *name,
            const struct stat *st)
{
  struct rcvmi_inode *inode, **link = NULL;
  int r;

  if (st->st_nlink > 1)
    {
      int64_t dev = rcvmi_tree_dev (s->tree, st->st_dev);

      if (dev < 0 || grow_links (s) < 0)
        {
          rcvmi_fail_nomem (s->err);
          return NULL;
        }
      link = find_link (s, st->st_ino, (uint32_t) dev);
      if (*link)
        return *link;
    }
  inode = rcvmi_tree_alloc (s->tree, sizeof *inode);
  if (!inode)
    {
      rcvmi_fail_nomem (s->err);
      return NULL;
    }
  if (fill_inode (s, inode, st) < 0)
    return NULL;
  r = rcvmi_xattrs_read (s->tree, dirfd, name, &inode->xattrs);
  if (r < 0)
    {
      fail_path (s, -r, "read the extended attributes of", dir, name);
      return NULL;
    }
  if (s->overlay)
    {
      struct rcvmi_overlay marks;

      if (read_overlay (s, dir, name, inode, &marks) < 0)
        return NULL;
      s->whiteout = marks.whiteout && S_ISREG (st->st_mode) && st->st_size == 0;
      if (s->whiteout)
        return inode;
    }
  switch (st->st_mode & S_IFMT)
    {
    case S_IFREG:
      inode->size = (uint64_t) st->st_size;
      if (inode->size > FILE_SIZE_MAX)
        {
          rcvmi_fail (s->err, RCVM_E_UNSUPPORTED, 0, "the file '%s' is larger than ext4's 16 TiB", name);
          return NULL;
        }
      if ((uint64_t) st->st_blocks * 512 < inode->size
          && read_segments (s, dir, dirfd, name, inode) < 0)
        return NULL;
      break;
    case S_IFLNK:
      if (read_target (s, dir, dirfd, name, inode) < 0)
        return NULL;
      break;
    case S_IFCHR:
    case S_IFBLK:
      inode->u.rdev = st->st_rdev;
      break;
    default:
      break;
    }
  if (link)
    {
      *link = inode;
      s->n_links++;
    }
  return inode;
}

static int
scan_entry (struct scan *s, struct rcvmi_dir *dir, int dirfd, const char *name)
{
  struct rcvmi_node *node;
  struct stat st;

  if (fstatat (dirfd, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
    return errno == ENOENT ? fail_changed (s, dir, name) : fail_path (s, errno, "read", dir, name);
  node = rcvmi_tree_node (s->tree, name, strlen (name));
  if (!node)
    return rcvmi_fail_nomem (s->err);
  if (S_ISDIR (st.st_mode))
    {
      /* The rest comes when it is opened. */
      node->inode = rcvmi_tree_alloc (s->tree, sizeof *node->inode);
      if (!node->inode)
        return rcvmi_fail_nomem (s->err);
      if (fill_inode (s, node->inode, &st) < 0)
        return -1;
    }
  else if (!s->overlay || !S_ISCHR (st.st_mode) || st.st_rdev != 0)
    {
      s->whiteout = false;
      node->inode = scan_inode (s, dir, dirfd, name, &st);
      if (!node->inode)
        return -1;
      if (s->whiteout)
        node->inode = NULL;
    }
  if (s->n_found == s->cap_found)
    {
      size_t cap = s->cap_found ? s->cap_found * 2 : 256;
      struct rcvmi_node **found = reallocarray (s->found, cap, sizeof *found);

      if (!found)
        return rcvmi_fail_nomem (s->err);
      s->found = found;
      s->cap_found = cap;
    }
  s->found[s->n_found++] = node;
  return rcvmi_rootfs_progress (s->progress, 1, 0, s->err);
}

static int
compare_found (const void *a, const void *b)
{
  return rcvmi_node_compare (*(struct rcvmi_node *const *) a, *(struct rcvmi_node *const *) b);
}

/* A directory over a directory takes over its contents; its metadata are those of the upper one. */
static int
adopt (struct scan *s, struct rcvmi_dir *dir, struct rcvmi_node *node, struct rcvmi_node *old)
{
  if (!rcvmi_inode_is (node->inode, S_IFDIR))
    return 0;
  if (!old || !rcvmi_inode_is (old->inode, S_IFDIR))
    return rcvmi_tree_dir (s->tree, node, dir) ? 0 : rcvmi_fail_nomem (s->err);
  node->inode->u.dir = old->inode->u.dir;
  node->inode->u.dir->self = node;
  return 0;
}

/* What was found goes in among what is there; both are sorted. */
static int
merge_found (struct scan *s, struct rcvmi_dir *dir)
{
  struct rcvmi_node **at = &dir->first;

  if (s->n_found)
    qsort (s->found, s->n_found, sizeof *s->found, compare_found);
  for (size_t i = 0; i < s->n_found; i++)
    {
      struct rcvmi_node *node = s->found[i], *old;
      int c = 1;

      /* A file system that lists a name twice is changing, or broken. */
      if (i && rcvmi_node_compare (s->found[i - 1], node) == 0)
        return fail_changed (s, dir, node->name);
      while (*at && (c = rcvmi_node_compare (*at, node)) < 0)
        at = &(*at)->next;
      old = *at && c == 0 ? *at : NULL;
      /* A whiteout. */
      if (!node->inode)
        {
          if (old)
            *at = old->next;
          continue;
        }
      if (adopt (s, dir, node, old) < 0)
        return -1;
      node->next = old ? old->next : *at;
      *at = node;
      at = &node->next;
    }
  return 0;
}

bool
rcvmi_scan_is_virtual (int fd)
{
  static const unsigned long kinds[] = {
    PROC_SUPER_MAGIC, SYSFS_MAGIC,      CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
    DEVPTS_SUPER_MAGIC, DEBUGFS_MAGIC,  TRACEFS_MAGIC,      SECURITYFS_MAGIC,
    SELINUX_MAGIC,    BPF_FS_MAGIC,     PSTOREFS_MAGIC,     EFIVARFS_MAGIC,
    BINFMTFS_MAGIC,   AUTOFS_SUPER_MAGIC, NSFS_MAGIC,       0x19800202 /* mqueue */,
    0x62656570 /* configfs */, 0x65735543 /* fusectl */, HUGETLBFS_MAGIC,
  };
  struct statfs fs;

  if (fstatfs (fd, &fs) < 0)
    return false;
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if ((unsigned long) fs.f_type == kinds[i])
      return true;
  return false;
}

static int
read_entries (struct scan *s, struct rcvmi_dir *dir, int fd)
{
  ssize_t n;

  s->n_found = 0;
  while ((n = getdents64 (fd, s->dirents, DIRENTS_SIZE)) > 0)
    for (char *p = s->dirents; p < s->dirents + n;)
      {
        struct dirent64 *d = (struct dirent64 *) p;

        p += d->d_reclen;
        if (strcmp (d->d_name, ".") == 0 || strcmp (d->d_name, "..") == 0)
          continue;
        if (strlen (d->d_name) > RCVMI_NAME_MAX)
          return fail_path (s, ENAMETOOLONG, "keep", dir, d->d_name);
        if (scan_entry (s, dir, fd, d->d_name) < 0)
          return -1;
      }
  if (n < 0)
    return fail_path (s, errno, "read the directory", dir, NULL);
  return 0;
}

/* Opening may have gone through a name that another directory now has: what counts is what is open. */
static int
scan_dir (struct scan *s, struct rcvmi_dir *dir)
{
  struct rcvmi_inode *inode = dir->self->inode;
  struct stat before, after;
  int fd, r;

  fd = rcvmi_dirfd_get (&s->dirs, dir, s->err);
  if (fd < 0)
    return -1;
  if (fstat (fd, &before) < 0)
    return fail_path (s, errno, "read", dir, NULL);
  if (inode->source_ino != before.st_ino
      || s->tree->devs[inode->source_dev] != (uint64_t) before.st_dev)
    return fail_changed (s, dir, NULL);
  if (dir != s->origin->dir && dir->parent
      && inode->source_dev != dir->parent->self->inode->source_dev && rcvmi_scan_is_virtual (fd))
    return 0;
  r = rcvmi_xattrs_read (s->tree, fd, NULL, &inode->xattrs);
  if (r < 0)
    return fail_path (s, -r, "read the extended attributes of", dir, NULL);
  if (s->overlay)
    {
      struct rcvmi_overlay marks;

      if (read_overlay (s, dir, NULL, inode, &marks) < 0)
        return -1;
      if (marks.opaque)
        dir->first = NULL;
    }
  /* As with symlinks. */
  if (!s->origin->quiet && !(fcntl (fd, F_GETFL) & O_NOATIME))
    inode->atime = inode->mtime;
  if (read_entries (s, dir, fd) < 0 || merge_found (s, dir) < 0)
    return -1;
  if (fstat (fd, &after) < 0)
    return fail_path (s, errno, "read", dir, NULL);
  if (before.st_mtim.tv_sec != after.st_mtim.tv_sec || before.st_ctim.tv_sec != after.st_ctim.tv_sec
      || before.st_mtim.tv_nsec != after.st_mtim.tv_nsec
      || before.st_ctim.tv_nsec != after.st_ctim.tv_nsec)
    return fail_changed (s, dir, NULL);
  return 0;
}

/* A view of the tree of our own, read-only and without access times, where we may make one: reading
   then changes nothing at the source.  With any problem, the plain directory will do, or tell. */
static int
open_view (const char *path)
{
  struct mount_attr attr = {
    .attr_set = MOUNT_ATTR_NOATIME | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID,
    .attr_clr = MOUNT_ATTR__ATIME,
  };
  autoclose int fd
      = open_tree (AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (unsigned) AT_RECURSIVE);

  if (fd < 0 || mount_setattr (fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) < 0)
    return -1;
  return steal_fd (&fd);
}

/* `dir` is opened; `path` is what messages call it. */
static int
add_origin (struct rcvmi_tree *tree, const char *path, const char *dir, rcvm_error **err)
{
  struct rcvmi_origin *o = rcvmi_tree_origin (tree, path, err);
  bool quiet = false;

  if (!o)
    return -1;
  o->view = open_view (dir);
  o->quiet = o->view >= 0;
  o->fd = o->quiet ? openat (o->view, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                   : rcvmi_origin_openat (o, AT_FDCWD, dir, O_DIRECTORY, &quiet);
  if (o->fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the source directory '%s'", dir);
  return 0;
}

static int
scan_start (struct scan *s, struct rcvmi_tree *tree, struct rcvmi_rootfs_progress *p,
            rcvm_error **err)
{
  *s = (struct scan){ .tree = tree, .progress = p, .err = err };
  s->dirents = malloc (DIRENTS_SIZE);
  return s->dirents ? 0 : rcvmi_fail_nomem (err);
}

static int
scan_below (struct scan *s, struct rcvmi_dir *top)
{
  struct rcvmi_dir *dir = top;

  s->origin->dir = top;
  rcvmi_dirfd_init (&s->dirs, s->origin);
  do
    /* Where a copy merges into the tree, the walk also meets directories that it has no part in. */
    if (dir->self->inode->origin == s->index && scan_dir (s, dir) < 0)
      return -1;
  while ((dir = rcvmi_tree_next_dir (top, dir)));
  return 0;
}

static int
stat_origin (struct scan *s, struct rcvmi_node *node)
{
  struct stat st;

  if (fstat (s->origin->fd, &st) < 0)
    return rcvmi_fail_errno (s->err, errno, "cannot read '%s'", s->origin->path);
  return fill_inode (s, node->inode, &st);
}

static int
error_code (rcvm_error **err)
{
  return err && *err ? rcvm_error_get_code (*err) : RCVM_E_SYSTEM;
}

int
rcvmi_scan_root (struct rcvmi_tree *tree, const char *source, struct rcvmi_rootfs_progress *p,
                 rcvm_error **err)
{
  autofree char *real = realpath (source, NULL);
  __attribute__ ((cleanup (scan_clear))) struct scan s = { 0 };
  struct rcvmi_node *root;

  if (!real)
    return rcvmi_fail_errno (err, errno, "cannot open the source directory '%s'", source);
  if (scan_start (&s, tree, p, err) < 0 || add_origin (tree, source, real, err) < 0)
    return error_code (err);
  s.origin = &tree->origins[0];
  root = rcvmi_tree_node (tree, "", 0);
  if (!root || !(root->inode = rcvmi_tree_alloc (tree, sizeof *root->inode)))
    return rcvmi_fail_nomem (err);
  tree->root = root;
  if (stat_origin (&s, root) < 0)
    return error_code (err);
  if (!rcvmi_tree_dir (tree, root, NULL))
    return rcvmi_fail_nomem (err);
  return scan_below (&s, root->inode->u.dir) < 0 ? error_code (err) : 0;
}

static int
copy_file (struct scan *s, struct rcvmi_dir *dir, const char *destination, const char *name,
           const char *file)
{
  struct rcvmi_origin *o = s->origin;
  struct rcvmi_node *node;
  struct stat st;

  if (!name)
    return rcvmi_fail (s->err, RCVM_E_INVALID, 0, "the file '%s' cannot be the root directory '%s'",
                       o->path, destination);
  o->file = strdup (file);
  node = rcvmi_tree_node (s->tree, name, strlen (name));
  if (!o->file || !node)
    return rcvmi_fail_nomem (s->err);
  if (fstatat (o->fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return rcvmi_fail_errno (s->err, errno, "cannot read '%s'", o->path);
  if (S_ISDIR (st.st_mode))
    return fail_changed (s, NULL, file);
  node->inode = scan_inode (s, NULL, o->fd, file, &st);
  if (!node->inode)
    return -1;
  o->node = node;
  rcvmi_tree_insert (dir, node);
  return rcvmi_rootfs_progress (s->progress, 1, 0, s->err);
}

static int
copy_dir (struct scan *s, struct rcvmi_dir *dir, const char *name, const struct rcvmi_rootfs_copy *copy)
{
  struct rcvmi_node *old = name ? rcvmi_tree_lookup (dir, name, strlen (name)) : s->tree->root;
  struct rcvmi_node *node = rcvmi_tree_node (s->tree, name ? name : "", name ? strlen (name) : 0);

  if (!node || !(node->inode = rcvmi_tree_alloc (s->tree, sizeof *node->inode)))
    return rcvmi_fail_nomem (s->err);
  if (stat_origin (s, node) < 0 || adopt (s, name ? dir : NULL, node, old) < 0)
    return -1;
  if (name)
    rcvmi_tree_insert (dir, node);
  else
    s->tree->root = node;
  if (copy->shallow)
    {
      int r = rcvmi_xattrs_read (s->tree, s->origin->fd, NULL, &node->inode->xattrs);

      s->origin->dir = node->inode->u.dir;

      return r < 0 ? rcvmi_fail_errno (s->err, -r, "cannot read the extended attributes of '%s'", s->origin->path) : 0;
    }
  if (scan_below (s, node->inode->u.dir) < 0)
    return -1;
  return copy->delta ? rcvmi_delta_prepare (node->inode->u.dir, s->err) : 0;
}

/* An empty directory or file where the source of a copy is not there. */
static int
make_missing (struct rcvmi_tree *tree, const struct rcvmi_rootfs_copy *copy, rcvm_error **err)
{
  bool is_dir = copy->missing == RCVM_ROOTFS_MISSING_DIRECTORY;
  autofree char *name = NULL;
  struct rcvmi_node *node;
  struct rcvmi_dir *dir;
  int r = rcvmi_tree_resolve (tree, copy->destination, &dir, &name, err);

  if (r < 0)
    return r;
  node = name ? rcvmi_tree_lookup (dir, name, strlen (name)) : tree->root;
  if (is_dir && node && rcvmi_inode_is (node->inode, S_IFDIR))
    return 0;
  if (!name)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the missing file '%s' cannot be the root directory '%s'",
                       copy->source, copy->destination);
  node = rcvmi_tree_node (tree, name, strlen (name));
  if (!node || !(node->inode = rcvmi_tree_alloc (tree, sizeof *node->inode)))
    return rcvmi_fail_nomem (err);
  node->inode->mode = is_dir ? S_IFDIR | 0755 : S_IFREG | 0644;
  node->inode->mtime = node->inode->atime = dir->self->inode->mtime;
  node->inode->origin = RCVMI_NO_ORIGIN;
  if (is_dir && !rcvmi_tree_dir (tree, node, dir))
    return rcvmi_fail_nomem (err);
  rcvmi_tree_insert (dir, node);
  return 0;
}

int
rcvmi_scan_copy (struct rcvmi_tree *tree, const struct rcvmi_rootfs_copy *copy,
                 struct rcvmi_rootfs_progress *p, rcvm_error **err)
{
  autofree char *real = realpath (copy->source, NULL), *name = NULL;
  __attribute__ ((cleanup (scan_clear))) struct scan s = { 0 };
  struct rcvmi_dir *dir;
  struct stat st;
  char *slash;
  int r;

  if (!real && errno == ENOENT && copy->missing != RCVM_ROOTFS_MISSING_FAILS)
    return make_missing (tree, copy, err);
  if (!real || stat (real, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot read '%s', which is to be copied to '%s'",
                             copy->source, copy->destination);
  r = rcvmi_tree_resolve (tree, copy->destination, &dir, &name, err);
  if (r < 0 || scan_start (&s, tree, p, err) < 0)
    return error_code (err);
  s.index = (uint16_t) tree->n_origins;
  slash = strrchr (real, '/');
  if (!S_ISDIR (st.st_mode))
    *slash = 0;
  if (add_origin (tree, copy->source, *real ? real : "/", err) < 0)
    return error_code (err);
  s.origin = &tree->origins[s.index];
  r = S_ISDIR (st.st_mode) ? copy_dir (&s, dir, name, copy)
                           : copy_file (&s, dir, copy->destination, name, slash + 1);
  return r < 0 ? error_code (err) : 0;
}

int
rcvmi_scan_layer (struct rcvmi_tree *tree, const char *source, struct rcvmi_rootfs_progress *p,
                  rcvm_error **err)
{
  static const struct rcvmi_rootfs_copy whole = { 0 };
  autofree char *real = realpath (source, NULL);
  __attribute__ ((cleanup (scan_clear))) struct scan s = { 0 };

  if (!real)
    return rcvmi_fail_errno (err, errno, "cannot open the layer '%s'", source);
  if (scan_start (&s, tree, p, err) < 0 || add_origin (tree, source, real, err) < 0)
    return error_code (err);
  s.overlay = true;
  s.index = (uint16_t) (tree->n_origins - 1);
  s.origin = &tree->origins[s.index];
  return copy_dir (&s, NULL, NULL, &whole) < 0 ? error_code (err) : 0;
}
