/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "rootfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-data.h"
#include "rootfs-ext4.h"
#include "rootfs-layer.h"
#include "rootfs-layout.h"
#include "rootfs-scan.h"
#include "visibility.h"

#define METADATA_BUFFER (256 * 1024)
#define REPORT_FILES 256
#define REPORT_BYTES (UINT64_C (4) << 20)
#define TREE_MEMORY_MIN (UINT64_C (64) << 20)
#define TREE_MEMORY_MAX (UINT64_C (1) << 30)

/* One of them, or none. */
struct source
{
  const char *directory;
  const char *const *layers;
};

struct rcvm_rootfs_options
{
  struct rcvmi_rootfs_params params;
};

RCVM_PUBLIC rcvm_rootfs_options *
rcvm_rootfs_options_new (rcvm_error **err)
{
  rcvm_rootfs_options *o = calloc (1, sizeof *o);

  if (o)
    o->params = RCVMI_ROOTFS_PARAMS_INIT;
  else
    rcvmi_fail_nomem (err);
  return o;
}

RCVM_PUBLIC void
rcvm_rootfs_options_free (rcvm_rootfs_options *o)
{
  if (!o)
    return;
  for (size_t i = 0; i < o->params.n_copies; i++)
    {
      free (o->params.copies[i].source);
      free (o->params.copies[i].destination);
    }
  free (o->params.copies);
  free (o);
}

RCVM_PUBLIC int
rcvm_rootfs_options_set_size (rcvm_rootfs_options *o, uint64_t bytes, rcvm_error **err)
{
  if (!o || bytes > INT64_MAX)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the size of an image must be below 8 EiB");
  o->params.size = bytes;
  return 0;
}

RCVM_PUBLIC int
rcvm_rootfs_options_set_headroom (rcvm_rootfs_options *o, unsigned percent, rcvm_error **err)
{
  if (!o || percent > 100000)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the headroom must be 0 to 100000 percent");
  o->params.headroom = percent;
  return 0;
}

RCVM_PUBLIC int
rcvm_rootfs_options_set_journal (rcvm_rootfs_options *o, int journal, rcvm_error **err)
{
  if (!o)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "no options were given to set the journal in");
  o->params.journal = journal != 0;
  return 0;
}

RCVM_PUBLIC int
rcvm_rootfs_options_set_sync (rcvm_rootfs_options *o, int sync, rcvm_error **err)
{
  if (!o)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "no options were given to set the syncing in");
  o->params.sync = sync != 0;
  return 0;
}

RCVM_PUBLIC int
rcvm_rootfs_options_set_progress (rcvm_rootfs_options *o, rcvm_progress_fn fn, void *user,
                                  rcvm_error **err)
{
  if (!o)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "no options were given to set the callback in");
  o->params.progress = fn;
  o->params.progress_user = user;
  return 0;
}

RCVM_PUBLIC int
rcvm_rootfs_options_set_missing_source (rcvm_rootfs_options *o, int missing, rcvm_error **err)
{
  if (!o || missing < RCVM_ROOTFS_MISSING_FAILS || missing > RCVM_ROOTFS_MISSING_FILE)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%d says nothing about missing sources", missing);
  o->params.missing = (enum rcvm_rootfs_missing) missing;
  return 0;
}

RCVM_PUBLIC int
rcvm_rootfs_options_add_copy (rcvm_rootfs_options *o, const char *source, const char *destination,
                              rcvm_error **err)
{
  autofree char *from = NULL, *to = NULL;
  struct rcvmi_rootfs_copy *copies;

  if (!o || !source || !*source)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a copy needs a source");
  if (!destination || destination[0] != '/')
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the destination '%s' of a copy must be absolute",
                       destination ? destination : "");
  from = strdup (source);
  to = strdup (destination);
  copies = reallocarray (o->params.copies, o->params.n_copies + 1, sizeof *copies);
  if (copies)
    o->params.copies = copies;
  if (!copies || !from || !to)
    return rcvmi_fail_nomem (err);
  copies[o->params.n_copies++] = (struct rcvmi_rootfs_copy){
    .source = steal_ptr (from),
    .destination = steal_ptr (to),
    .missing = o->params.missing,
  };
  return 0;
}

RCVM_PUBLIC int
rcvm_rootfs_build (const char *source, const char *image, const rcvm_rootfs_options *options,
                   rcvm_error **err)
{
  struct rcvmi_rootfs_params defaults = RCVMI_ROOTFS_PARAMS_INIT;

  if (!source || !*source || !image || !*image)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a root disk needs a source and an image");
  return rcvmi_rootfs_build (source, image, options ? &options->params : &defaults, err);
}

RCVM_PUBLIC int
rcvm_rootfs_build_layers (const char *const *layers, const char *image, const rcvm_rootfs_options *options,
                          rcvm_error **err)
{
  struct rcvmi_rootfs_params defaults = RCVMI_ROOTFS_PARAMS_INIT;

  if (!layers || !layers[0] || !image || !*image)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a root disk needs at least one layer and an image");
  for (size_t i = 0; layers[i]; i++)
    if (!*layers[i])
      return rcvmi_fail (err, RCVM_E_INVALID, 0, "layer %zu has no name", i + 1);
  return rcvmi_rootfs_build_layers (layers, image, options ? &options->params : &defaults, err);
}

int
rcvmi_rootfs_report (struct rcvmi_rootfs_progress *p, rcvm_error **err)
{
  p->next_files = p->files + REPORT_FILES;
  p->next_bytes = p->bytes + REPORT_BYTES;
  if (p->fn && p->fn (p->user, p->phase, p->files, p->bytes))
    return rcvmi_fail (err, RCVM_E_CANCELLED, 0, "the building of the root disk was cancelled");
  return 0;
}

void
rcvmi_rootfs_phase (struct rcvmi_rootfs_progress *p, const char *phase)
{
  p->phase = phase;
  p->files = p->bytes = p->next_files = p->next_bytes = 0;
}

int
rcvmi_rootfs_progress (struct rcvmi_rootfs_progress *p, uint64_t files, uint64_t bytes,
                       rcvm_error **err)
{
  p->files += files;
  p->bytes += bytes;
  if (p->files < p->next_files && p->bytes < p->next_bytes)
    return 0;
  return rcvmi_rootfs_report (p, err);
}

/* The image while it is made: without a name where the file system can do that, so that nothing is left of
   it however the process ends; otherwise beside its final name, under one that no image has. */
struct file
{
  const char *image;
  char *directory;
  char *temporary; /* NULL: nameless */
  int fd;
};

static void
file_clear (struct file *f)
{
  if (f->temporary)
    unlink (f->temporary);
  free (f->temporary);
  free (f->directory);
  cleanup_close (&f->fd);
}

static int
file_check_free (const struct file *f, rcvm_error **err)
{
  struct stat st;

  if (lstat (f->image, &st) == 0)
    return rcvmi_fail (err, RCVM_E_EXISTS, 0,
                       "the image '%s' exists already; remove it or choose another name", f->image);
  if (errno != ENOENT)
    return rcvmi_fail_errno (err, errno, "cannot create the image '%s'", f->image);
  return 0;
}

static int
file_create (struct file *f, rcvm_error **err)
{
  const char *slash = strrchr (f->image, '/');

  f->directory = slash ? strndup (f->image, slash == f->image ? 1 : (size_t) (slash - f->image))
                       : strdup (".");
  if (!f->directory)
    return rcvmi_fail_nomem (err);
  /* It holds files of root that nobody else may read. */
  f->fd = open (f->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (f->fd >= 0)
    return 0;
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)
    return rcvmi_fail_errno (err, errno, "cannot create the image '%s'", f->image);
  if (asprintf (&f->temporary, "%s.XXXXXX", f->image) < 0)
    {
      f->temporary = NULL;
      return rcvmi_fail_nomem (err);
    }
  f->fd = mkostemp (f->temporary, O_CLOEXEC);
  if (f->fd < 0)
    {
      int errnum = errno;

      free (f->temporary);
      f->temporary = NULL;
      return rcvmi_fail_errno (err, errnum, "cannot create the image '%s'", f->image);
    }
  return 0;
}

static int
file_publish (struct file *f, rcvm_error **err)
{
  char self[32];
  int r;

  if (f->temporary)
    {
      r = renameat2 (AT_FDCWD, f->temporary, AT_FDCWD, f->image, RENAME_NOREPLACE);
      if (r < 0 && errno == EINVAL)
        {
          /* A file system without that flag, but perhaps with hard links. */
          r = link (f->temporary, f->image);
          if (r == 0)
            unlink (f->temporary);
        }
      if (r == 0)
        {
          free (f->temporary);
          f->temporary = NULL;
        }
    }
  else
    {
      snprintf (self, sizeof self, "/proc/self/fd/%d", f->fd);
      r = linkat (AT_FDCWD, self, AT_FDCWD, f->image, AT_SYMLINK_FOLLOW);
    }
  if (r < 0 && errno == EEXIST)
    return file_check_free (f, err);
  if (r < 0)
    return rcvmi_fail_errno (err, errno, "cannot give the image its name '%s'", f->image);
  return 0;
}

static int
sync_image (int fd, rcvm_error **err)
{
  if (fsync (fd) < 0)
    return rcvmi_fail_errno (err, errno, "cannot write the image to disk");
  return 0;
}

static int
sync_directory (const char *path, rcvm_error **err)
{
  autoclose int fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  /* One that cannot be opened or synced has its own way of keeping names. */
  if (fd >= 0 && fsync (fd) < 0 && errno != EINVAL && errno != EROFS)
    return rcvmi_fail_errno (err, errno, "cannot write the directory '%s' to disk", path);
  return 0;
}

/* Inodes by their numbers, and what hangs on them: directories, long targets, attributes, extents. */
static int
write_metadata (struct rcvmi_tree *tree, struct rcvmi_ext4 *e, int fd,
                struct rcvmi_rootfs_progress *p, rcvm_error **err)
{
  __attribute__ ((cleanup (rcvmi_writer_clear))) struct rcvmi_writer table = { 0 };
  __attribute__ ((cleanup (rcvmi_writer_clear))) struct rcvmi_writer blocks = { 0 };
  struct rcvmi_dir *root = tree->root->inode->u.dir;
  uint32_t last = RCVMI_EXT4_ROOT_INO;

  if (rcvmi_writer_init (&table, fd, METADATA_BUFFER, err) < 0
      || rcvmi_writer_init (&blocks, fd, METADATA_BUFFER, err) < 0
      || rcvmi_ext4_write_inode (e, &table, &blocks, tree->root->inode, err) < 0)
    return -1;
  for (struct rcvmi_dir *dir = root; dir; dir = rcvmi_tree_next_dir (root, dir))
    {
      if (rcvmi_ext4_write_dir (e, &blocks, dir, err) < 0)
        return -1;
      for (struct rcvmi_node *n = dir->first; n; n = n->next)
        {
          if (n->inode->ino <= last)
            continue;
          last = n->inode->ino;
          if (rcvmi_ext4_write_inode (e, &table, &blocks, n->inode, err) < 0
              || rcvmi_rootfs_progress (p, 1, 0, err) < 0)
            return -1;
        }
    }
  if (rcvmi_writer_flush (&blocks, err) < 0 || rcvmi_writer_flush (&table, err) < 0)
    return -1;
  return 0;
}

static int
write_image (struct rcvmi_tree *tree, const struct rcvmi_rootfs_params *params, struct file *f,
             struct rcvmi_rootfs_progress *p, rcvm_error **err)
{
  struct rcvmi_layout layout;
  struct rcvmi_ext4 *e = NULL;
  int r = -1;

  if (rcvmi_layout_plan (&layout, tree, params, err) < 0 || file_create (f, err) < 0)
    return -1;
  if (ftruncate (f->fd, (off_t) layout.image_size) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make the image '%s' that large", f->image);
  if (rcvmi_ext4_new (&e, f->fd, &layout.geometry, err) < 0)
    return -1;
  rcvmi_rootfs_phase (p, "write");
  if (rcvmi_layout_assign (&layout, tree, e, err) < 0
      || rcvmi_data_write (tree, e, f->fd, params->sync, p, err) < 0
      || rcvmi_rootfs_report (p, err) < 0)
    goto out;
  rcvmi_rootfs_phase (p, "finish");
  if (write_metadata (tree, e, f->fd, p, err) < 0
      || rcvmi_ext4_finish (e, layout.used, err) < 0 || rcvmi_rootfs_report (p, err) < 0)
    goto out;
  r = 0;
out:
  rcvmi_ext4_free (e);
  return r;
}

/* A tree of more memory than that would not fit into an image of that size; what is left over is for entries that
   other layers replace. */
static struct rcvmi_layer_limits
layer_limits (uint64_t size)
{
  uint64_t memory = TREE_MEMORY_MAX;

  if (size && size < TREE_MEMORY_MAX / 2 - TREE_MEMORY_MIN)
    memory = TREE_MEMORY_MIN + size * 2;
  return (struct rcvmi_layer_limits){ .memory = memory };
}

static int
scan_layers (struct rcvmi_tree *tree, const char *const *layers, const struct rcvmi_rootfs_params *params,
             struct rcvmi_rootfs_progress *p, rcvm_error **err)
{
  struct rcvmi_layer_limits limits = layer_limits (params->size);

  for (; *layers; layers++)
    if (rcvmi_layer_scan (tree, *layers, &limits, p, err) < 0)
      return -1;
  return 0;
}

static int
scan_sources (struct rcvmi_tree *tree, const struct source *source, const struct rcvmi_rootfs_params *params,
              struct rcvmi_rootfs_progress *p, rcvm_error **err)
{
  rcvmi_rootfs_phase (p, "scan");
  if (rcvmi_tree_init (tree, err) < 0
      || (source->directory ? rcvmi_scan_root (tree, source->directory, p, err)
                            : rcvmi_tree_empty_root (tree, err))
             < 0)
    return -1;
  if (source->layers && scan_layers (tree, source->layers, params, p, err) < 0)
    return -1;
  for (size_t i = 0; i < params->n_copies; i++)
    if (rcvmi_scan_copy (tree, &params->copies[i], p, err) < 0)
      return -1;
  return rcvmi_rootfs_report (p, err);
}

static int
build (const struct source *source, const char *image, const struct rcvmi_rootfs_params *params,
       rcvm_error **err)
{
  __attribute__ ((cleanup (rcvmi_tree_clear))) struct rcvmi_tree tree = { 0 };
  __attribute__ ((cleanup (file_clear))) struct file f = { .image = image, .fd = -1 };
  struct rcvmi_rootfs_progress p = { .fn = params->progress, .user = params->progress_user };
  rcvm_error *e = NULL;

  if (file_check_free (&f, &e) < 0 || scan_sources (&tree, source, params, &p, &e) < 0
      || write_image (&tree, params, &f, &p, &e) < 0
      || (params->sync && sync_image (f.fd, &e) < 0) || file_publish (&f, &e) < 0)
    return rcvmi_error_pass (err, e);
  if (params->sync && sync_directory (f.directory, &e) < 0)
    {
      unlink (image);
      return rcvmi_error_pass (err, e);
    }
  return 0;
}

int
rcvmi_rootfs_build (const char *source, const char *image, const struct rcvmi_rootfs_params *params,
                    rcvm_error **err)
{
  return build (&(struct source){ .directory = source }, image, params, err);
}

int
rcvmi_rootfs_build_layers (const char *const *layers, const char *image,
                           const struct rcvmi_rootfs_params *params, rcvm_error **err)
{
  return build (&(struct source){ .layers = layers }, image, params, err);
}
