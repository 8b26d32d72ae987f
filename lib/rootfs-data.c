/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "rootfs-data.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-layer.h"
#include "rootfs-scan.h"

/* Twice that no longer stays in the processor's cache between read and write, and was 8 % slower. */
#define BUFFER_SIZE (512 * 1024)
/* Sharing extents costs the host a transaction: smaller files are cheaper to copy. */
#define CLONE_MIN (128 * 1024)
#define CLONE_STEP (UINT64_C (1) << 30)
/* Copying inside the kernel saves one of two copies, but goes past the buffer that gathers small files. */
#define COPY_MIN (256 * 1024)
#define COPY_STEP (UINT64_C (16) << 20)
/* Where the image must reach the disk, that starts early, so that little is left to wait for at the end. */
#define SYNC_STEP (UINT64_C (32) << 20)

/* A part of a file that has its place. */
struct range
{
  uint64_t from, to, len;
};

int
rcvmi_data_advance (struct rcvmi_data *d, uint64_t n)
{
  d->unsynced += n;
  if (d->sync && d->unsynced >= SYNC_STEP)
    {
      d->unsynced = 0;
      /* A failure will show in the sync at the end. */
      (void) sync_file_range (d->image, 0, 0, SYNC_FILE_RANGE_WRITE);
    }
  return rcvmi_rootfs_progress (d->progress, 0, n, d->err);
}

static int
advance (struct rcvmi_data *d, struct range *r, uint64_t n)
{
  r->from += n;
  r->to += n;
  r->len -= n;
  return rcvmi_data_advance (d, n);
}

/* A file that is being read. */
struct source
{
  int fd;
  struct rcvmi_dir *dir;
  const char *name;
  struct rcvmi_inode *inode;
};

static int
fail_source (struct rcvmi_data *d, const struct source *s, int errnum, const char *what)
{
  autofree char *path = rcvmi_source_path (d->origin, s->dir, s->name);

  return rcvmi_fail_errno (d->err, errnum, "cannot %s '%s'", what, path ? path : s->name);
}

static int
fail_changed (struct rcvmi_data *d, const struct source *s)
{
  autofree char *path = rcvmi_source_path (d->origin, s->dir, s->name);

  return rcvmi_fail (d->err, RCVM_E_STATE, 0,
                     "'%s' changed while it was read; build again when nothing writes there",
                     path ? path : s->name);
}

static int
check_unchanged (struct rcvmi_data *d, const struct source *s)
{
  const struct rcvmi_inode *inode = s->inode;
  struct stat st;

  if (fstat (s->fd, &st) < 0)
    return fail_source (d, s, errno, "read");
  if (!S_ISREG (st.st_mode) || st.st_ino != inode->source_ino
      || (uint64_t) st.st_dev != d->tree->devs[inode->source_dev]
      || (uint64_t) st.st_size != inode->size
      || rcvmi_time_pack (st.st_mtim.tv_sec, (uint32_t) st.st_mtim.tv_nsec) != inode->mtime
      || rcvmi_time_pack (st.st_ctim.tv_sec, (uint32_t) st.st_ctim.tv_nsec) != inode->ctime)
    return fail_changed (d, s);
  return 0;
}

static int
read_exactly (struct rcvmi_data *d, const struct source *s, void *to, size_t len, uint64_t offset)
{
  char *p = to;

  while (len)
    {
      ssize_t n = pread (s->fd, p, len, (off_t) offset);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return fail_source (d, s, errno, "read");
      if (n == 0)
        return fail_changed (d, s);
      p += n;
      offset += (uint64_t) n;
      len -= (size_t) n;
    }
  return 0;
}

static int
fail_image (struct rcvmi_data *d, int errnum)
{
  return rcvmi_fail_errno (d->err, errnum, "cannot write the image");
}

/* Shares the whole blocks with the source, as far as the host can do that. */
static int
clone_range (struct rcvmi_data *d, const struct source *s, struct range *r)
{
  struct rcvmi_data_host *host = &d->hosts[s->inode->source_dev];

  while (r->len >= CLONE_MIN && !host->no_clone)
    {
      uint64_t part = r->len < CLONE_STEP ? r->len - r->len % RCVMI_BLOCK : CLONE_STEP;
      struct file_clone_range range = { .src_fd = s->fd,
                                        .src_offset = r->from,
                                        .src_length = part,
                                        .dest_offset = r->to };

      if (ioctl (d->image, FICLONERANGE, &range) < 0)
        {
          if (errno == ENOSPC || errno == EDQUOT)
            return fail_image (d, errno);
          /* What concerns this file alone is no reason to stop trying. */
          if (errno == EOPNOTSUPP || errno == EXDEV || errno == ENOTTY)
            host->no_clone = true;
          return 0;
        }
      if (advance (d, r, part) < 0)
        return RCVM_E_CANCELLED;
    }
  return 0;
}

/* Copies inside the kernel, as far as it can do that. */
static int
copy_range (struct rcvmi_data *d, const struct source *s, struct range *r)
{
  struct rcvmi_data_host *host = &d->hosts[s->inode->source_dev];

  if (r->len < COPY_MIN)
    return 0;
  while (r->len && !host->no_copy)
    {
      off_t from = (off_t) r->from, to = (off_t) r->to;
      ssize_t n = copy_file_range (s->fd, &from, d->image, &to,
                                   r->len < COPY_STEP ? r->len : COPY_STEP, 0);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
        return fail_image (d, errno);
      /* Whatever else the matter is, reading will do, or tell. */
      if (n < 0)
        host->no_copy = errno == EXDEV || errno == EOPNOTSUPP || errno == ENOSYS;
      if (n <= 0)
        return 0;
      if (advance (d, r, (uint64_t) n) < 0)
        return RCVM_E_CANCELLED;
    }
  return 0;
}

static int
read_range (struct rcvmi_data *d, const struct source *s, struct range *r)
{
  while (r->len)
    {
      struct rcvmi_writer *w = &d->writer;
      size_t room = rcvmi_writer_room (w, r->to), part = r->len < room ? (size_t) r->len : room;
      size_t padded = (part + RCVMI_BLOCK - 1) & ~(size_t) (RCVMI_BLOCK - 1);
      unsigned char *p = rcvmi_writer_reserve (w, r->to, padded, d->err);

      if (!p || read_exactly (d, s, p, part, r->from) < 0)
        return -1;
      memset (p + part, 0, padded - part);
      if (advance (d, r, part) < 0)
        return RCVM_E_CANCELLED;
    }
  return 0;
}

static int
write_file (struct rcvmi_data *d, int dirfd, struct rcvmi_dir *dir, const char *name,
            struct rcvmi_inode *inode)
{
  struct source s = { .dir = dir, .name = name, .inode = inode };
  struct rcvmi_extents x;
  struct rcvmi_extent extent;
  autoclose int fd = -1;
  bool quiet;

  fd = rcvmi_origin_openat (d->origin, dirfd, name, 0, &quiet);
  if (fd < 0 && (errno == ENOENT || errno == ELOOP || errno == ENXIO))
    return fail_changed (d, &s);
  if (fd < 0)
    return fail_source (d, &s, errno, "open");
  s.fd = fd;
  if (check_unchanged (d, &s) < 0)
    return -1;
  for (rcvmi_extents_start (&x, d->e, inode); rcvmi_extents_next (&x, &extent);)
    {
      struct range r = { .from = extent.block * RCVMI_BLOCK,
                         .to = extent.start * RCVMI_BLOCK,
                         .len = extent.count * RCVMI_BLOCK };

      if (r.len > inode->size - r.from)
        r.len = inode->size - r.from;
      if (clone_range (d, &s, &r) < 0 || copy_range (d, &s, &r) < 0 || read_range (d, &s, &r) < 0)
        return -1;
    }
  if (check_unchanged (d, &s) < 0)
    return -1;
  if (!quiet)
    inode->atime = inode->mtime;
  return 0;
}

static int
write_node (struct rcvmi_data *d, int dirfd, struct rcvmi_dir *dir, const char *name,
            struct rcvmi_inode *inode)
{
  inode->flags |= RCVMI_INODE_WRITTEN;
  if (inode->size && write_file (d, dirfd, dir, name, inode) < 0)
    return -1;
  return rcvmi_rootfs_progress (d->progress, 1, 0, d->err);
}

/* Inodes whose names in the image are all of archives that link to them. */
static int
write_linked (struct rcvmi_data *d, size_t index, struct rcvmi_dirfd *dirs)
{
  for (size_t i = 0; i < d->tree->n_links; i++)
    {
      const struct rcvmi_link *l = &d->tree->links[i];
      struct rcvmi_inode *inode = l->node->inode;
      int fd;

      if (!rcvmi_inode_is (inode, S_IFREG) || inode->origin != index || inode->nlink == 0
          || inode->flags & RCVMI_INODE_WRITTEN)
        continue;
      fd = rcvmi_dirfd_get (dirs, l->dir, d->err);
      if (fd < 0 || write_node (d, fd, l->dir, l->node->name, inode) < 0)
        return -1;
    }
  return 0;
}

static int
write_origin (struct rcvmi_data *d, size_t index)
{
  struct rcvmi_dirfd dirs __attribute__ ((cleanup (rcvmi_dirfd_clear))) = { 0 };
  const struct rcvmi_origin *o = &d->tree->origins[index];

  d->origin = o;
  if (o->archive)
    return rcvmi_layer_write (d, index);
  rcvmi_dirfd_init (&dirs, o);
  if (!o->dir)
    {
      struct rcvmi_inode *inode = o->node->inode;

      /* A later copy may have taken its place. */
      if (!rcvmi_inode_is (inode, S_IFREG) || !inode->nlink)
        return 0;
      return write_node (d, o->fd, NULL, o->file, inode);
    }
  for (struct rcvmi_dir *dir = o->dir; dir; dir = rcvmi_tree_next_dir (o->dir, dir))
    {
      int fd = -1;

      for (struct rcvmi_node *n = dir->first; n; n = n->next)
        {
          /* Without links: a later copy has taken the place of a directory above. */
          if (!rcvmi_inode_is (n->inode, S_IFREG) || n->inode->origin != index
              || n->flags & RCVMI_NODE_LINKED || n->inode->nlink == 0 || n->inode->flags & RCVMI_INODE_WRITTEN)
            continue;
          if (fd < 0 && n->inode->size)
            {
              fd = rcvmi_dirfd_get (&dirs, dir, d->err);
              if (fd < 0)
                return -1;
            }
          if (write_node (d, fd, dir, n->name, n->inode) < 0)
            return -1;
        }
    }
  return write_linked (d, index, &dirs);
}

int
rcvmi_data_write (struct rcvmi_tree *tree, const struct rcvmi_ext4 *e, int image, bool sync,
                  struct rcvmi_rootfs_progress *p, rcvm_error **err)
{
  struct rcvmi_data d
      = { .tree = tree, .e = e, .progress = p, .image = image, .sync = sync, .err = err };
  int r = rcvmi_writer_init (&d.writer, image, BUFFER_SIZE, err);

  if (r < 0)
    return r;
  d.hosts = calloc (tree->n_devs + 1, sizeof *d.hosts);
  if (!d.hosts)
    r = rcvmi_fail_nomem (err);
  for (size_t i = 0; r == 0 && i < tree->n_origins; i++)
    r = write_origin (&d, i);
  if (r == 0)
    r = rcvmi_writer_flush (&d.writer, err);
  free (d.hosts);
  rcvmi_writer_clear (&d.writer);
  return r < 0 ? rcvm_error_get_code (*err) : 0;
}
