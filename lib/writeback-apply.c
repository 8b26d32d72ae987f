/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records in, changes of the host's tree out.
 *
 * A run that was interrupted, anywhere, is repeated from the start.  The records are the same, as the image is only
 * read; and each one says what a name shall be, not how it differs: a file is new, a name is gone, a directory has this
 * metadata.  So what the first run has done already is done once more, with the same result.  What makes this
 * true for directories that are to hold nothing but what is named: their names are compared with the host's when all of
 * them have come, whoever made the directory.  And for hard links: see writeback-links.c.
 *
 * A file becomes visible complete, by a rename.  Where directory and file take each other's place, the two are exchanged.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-apply.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

static int
fail_at (const struct rcvmi_wb_tree *t, const char *name, int errnum, const char *what,
         rcvm_error **err)
{
  autofree char *path = rcvmi_wb_tree_name (t, name);

  if (errnum == EXDEV)
    return rcvmi_fail (err, RCVM_E_STATE, errnum,
                       "cannot %s '%s': another file system is mounted there; unmount it", what,
                       path ? path : "?");
  if (errnum == EPERM && geteuid () != 0)
    return rcvmi_fail (err, RCVM_E_PERMISSION, errnum,
                       "cannot %s '%s': only root can write back what belongs to other users in the container; have such "
                       "changes kept or discarded (--rootfs-changes)",
                       what, path ? path : "?");
  return rcvmi_fail_errno (err, errnum, "cannot %s '%s'", what, path ? path : "?");
}

int
rcvmi_wb_keep (struct rcvmi_wb_kept *k, const struct rcvmi_wb_record *r)
{
  size_t len = (size_t) (r->xattrs.end - r->xattrs.pos);

  k->record = *r;
  k->name = r->name ? strdup (r->name) : NULL;
  k->target = r->target ? strdup (r->target) : NULL;
  k->xattrs = malloc (len + 1);
  if ((r->name && !k->name) || (r->target && !k->target) || !k->xattrs)
    {
      rcvmi_wb_kept_clear (k);
      return -ENOMEM;
    }
  memcpy (k->xattrs, r->xattrs.pos, len);
  k->record.name = k->name;
  k->record.target = k->target;
  tlv_reader_init (&k->record.xattrs, k->xattrs, len);
  return 0;
}

void
rcvmi_wb_kept_clear (struct rcvmi_wb_kept *k)
{
  free (k->name);
  free (k->target);
  free (k->xattrs);
  *k = (struct rcvmi_wb_kept){ 0 };
}

void
rcvmi_wb_apply_init (struct rcvmi_wb_apply *a, int image, const char *image_name, int root,
                     const char *rootfs, const char *staging,
                     const struct rcvmi_writeback_options *options, uint64_t image_size)
{
  *a = (struct rcvmi_wb_apply){
    .image = image,
    .image_name = image_name,
    .options = options,
    .deltas = { -1, -1 },
    .staging = { .root = root, .where = rootfs, .name = staging, .fd = -1 },
    .order = { .image_size = image_size },
    .file = { .fd = -1, .image = image },
  };
  rcvmi_wb_tree_init (&a->tree, root, rootfs);
}

static void
clear_level (struct rcvmi_wb_apply_level *l)
{
  for (size_t i = 0; i < l->n; i++)
    free (l->names[i]);
  free (l->names);
  rcvmi_wb_kept_clear (&l->dir);
}

void
rcvmi_wb_apply_clear (struct rcvmi_wb_apply *a)
{
  while (a->n)
    clear_level (&a->levels[--a->n]);
  free (a->levels);
  rcvmi_wb_kept_clear (&a->root);
  rcvmi_wb_kept_clear (&a->current);
  rcvmi_wb_file_clear (&a->file);
  rcvmi_wb_tree_clear (&a->tree);
  cleanup_close (&a->staging.fd);
  a->staging.fd = -1;
  for (size_t i = 0; i < RCVMI_WRITEBACK_DELTAS; i++)
    {
      cleanup_close (&a->deltas[i]);
      a->deltas[i] = -1;
    }
  free (a->staged.slots);
  free (a->copied.slots);
  for (size_t i = 0; i < a->n_shared; i++)
    free (a->shared[i].path);
  free (a->shared);
  free (a->timed);
}

bool
rcvmi_wb_is_excluded (const struct rcvmi_wb_apply *a, const char *path, const char *name)
{
  size_t len = path ? strlen (path) : 0;

  for (size_t i = 0; a->options && i < a->options->n_exclude; i++)
    {
      const char *e = a->options->exclude[i];

      if (*e == '/' && strncmp (e + 1, path ? path : "", len) == 0
          && strcmp (e + 1 + len + (len && e[1 + len] == '/'), name) == 0
          && (!len || e[1 + len] == '/'))
        return true;
    }
  return false;
}

static bool
is_skipped (const struct rcvmi_wb_apply *a, const char *name)
{
  return a->skipped || rcvmi_wb_is_excluded (a, a->tree.path_len ? a->tree.path : NULL, name);
}

/* Where all that is named is known. */
static int
track (struct rcvmi_wb_apply *a, const char *name, rcvm_error **err)
{
  struct rcvmi_wb_apply_level *l = &a->levels[a->n - 1];

  if (a->skipped || !l->tracked)
    return 0;
  if (l->n == l->cap)
    {
      size_t cap = l->cap * 2 + 32;
      char **names = reallocarray (l->names, cap, sizeof *names);

      if (!names)
        return rcvmi_fail_nomem (err);
      l->names = names;
      l->cap = cap;
    }
  if (!(l->names[l->n] = strdup (name)))
    return rcvmi_fail_nomem (err);
  l->n++;
  return 0;
}

static int
new_name (struct rcvmi_wb_apply *a, char name[32], rcvm_error **err)
{
  int staging = rcvmi_wb_staging_fd (&a->staging, err);

  if (staging >= 0)
    rcvmi_wb_staging_new_name (&a->staging, name);
  return staging;
}

static void
staged_name (char name[32], uint32_t ino)
{
  snprintf (name, 32, "i%u", ino);
}

/* A directory is in the way of a file. */
static int
replace_dir (struct rcvmi_wb_apply *a, struct rcvmi_wb_tree *t, const char *staged,
             const char *name, rcvm_error **err)
{
  int dir = rcvmi_wb_tree_fd (t, err);

  if (dir < 0)
    return -1;
  if (renameat2 (a->staging.fd, staged, dir, name, RENAME_EXCHANGE) == 0)
    return rcvmi_wb_remove_in_place (a->staging.fd, staged, a->staging.where, err);
  /* An overlay on the host does not do that with a directory of its lower layers. */
  if (rcvmi_wb_remove (t, &a->staging, name, err) < 0)
    return -1;
  dir = rcvmi_wb_tree_fd (t, err);
  if (dir < 0)
    return -1;
  return renameat (a->staging.fd, staged, dir, name) < 0
             ? fail_at (t, name, errno, "replace the directory", err)
             : 0;
}

int
rcvmi_wb_install (struct rcvmi_wb_apply *a, struct rcvmi_wb_tree *t, const char *staged,
                  const char *name, rcvm_error **err)
{
  int dir = rcvmi_wb_tree_fd (t, err);

  if (dir < 0)
    return -1;
  if (renameat (a->staging.fd, staged, dir, name) == 0)
    return 0;
  if (errno == EISDIR)
    return replace_dir (a, t, staged, name, err);
  return fail_at (t, name, errno, "replace", err);
}

int
rcvmi_wb_install_link (struct rcvmi_wb_apply *a, struct rcvmi_wb_tree *t, uint32_t ino,
                       const char *name, rcvm_error **err)
{
  char staged[32], fresh[32];
  int staging = new_name (a, fresh, err), code;

  if (staging < 0)
    return -1;
  staged_name (staged, ino);
  if (linkat (staging, staged, staging, fresh, 0) < 0)
    return fail_at (t, name, errno, "link", err);
  code = rcvmi_wb_install (a, t, fresh, name, err);
  /* Where the name was a link to it already, rename has left both. */
  if (code == 0)
    unlinkat (staging, fresh, 0);
  return code;
}

/* A name for an inode that lies in staging. */
static int
place_link (struct rcvmi_wb_apply *a, uint32_t ino, const char *name, rcvm_error **err)
{
  if (is_skipped (a, name))
    return 0;
  if (rcvmi_wb_set_has (&a->copied, ino) && !(a->options && a->options->base))
    {
      int waits = rcvmi_wb_share (a, ino, name, err);

      if (waits)
        return waits < 0 ? waits : 0;
    }
  return rcvmi_wb_install_link (a, &a->tree, ino, name, err);
}

/* The file in staging is complete. */
static int
place_file (struct rcvmi_wb_apply *a, const struct rcvmi_wb_record *r, rcvm_error **err)
{
  char staged[32];
  int code;

  code = rcvmi_wb_file_finish (&a->file, r);
  if (code < 0)
    return fail_at (&a->tree, r->name, -code, "set the metadata of", err);
  if (!r->linked && r->name)
    {
      if (is_skipped (a, r->name))
        {
          unlinkat (a->staging.fd, a->file.name, 0);
          return 0;
        }
      return rcvmi_wb_install (a, &a->tree, a->file.name, r->name, err);
    }
  staged_name (staged, r->ino);
  if (rcvmi_wb_set_has (&a->staged, r->ino))
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the reader of the image '%s' repeats itself",
                       a->image_name);
  if (renameat (a->staging.fd, a->file.name, a->staging.fd, staged) < 0)
    return fail_at (&a->tree, r->name, errno, "make", err);
  if (!rcvmi_wb_set_add (&a->staged, r->ino)
      || (r->copied && !rcvmi_wb_set_add (&a->copied, r->ino)))
    return rcvmi_fail_nomem (err);
  return r->name ? place_link (a, r->ino, r->name, err) : 0;
}

static int
begin_file (struct rcvmi_wb_apply *a, const struct rcvmi_wb_record *r, rcvm_error **err)
{
  int staging = new_name (a, a->file.name, err), code;

  if (staging < 0 || (r->name && track (a, r->name, err) < 0))
    return -1;
  a->file.staging = staging;
  code = rcvmi_wb_file_make (&a->file, r);
  if (code < 0)
    return fail_at (&a->tree, r->name, -code, "write", err);
  if (!S_ISREG (r->mode))
    return place_file (a, r, err);
  rcvmi_wb_kept_clear (&a->current);
  return rcvmi_wb_keep (&a->current, r) < 0 ? rcvmi_fail_nomem (err) : 0;
}

static int
fill_file (struct rcvmi_wb_apply *a, const struct rcvmi_wb_record *r, rcvm_error **err)
{
  int code = r->type == WB_DATA ? rcvmi_wb_file_write (&a->file, r) : 0;

  for (size_t i = 0; code == 0 && i < r->n_extents; i++)
    {
      struct rcvmi_wb_extent x = rcvmi_wb_get_extent (r, i);

      code = rcvmi_wb_file_copy (&a->file, &x);
    }
  return code < 0 ? fail_at (&a->tree, a->current.name, -code, "write", err) : 0;
}

/* Something that is no directory is in the way of one. */
static int
replace_file (struct rcvmi_wb_apply *a, int dir, const char *name, rcvm_error **err)
{
  char fresh[32];
  int staging = new_name (a, fresh, err);

  if (staging < 0)
    return -1;
  if (mkdirat (staging, fresh, 0700) < 0)
    return fail_at (&a->tree, name, errno, "make the directory", err);
  if (renameat2 (staging, fresh, dir, name, RENAME_EXCHANGE) == 0)
    {
      unlinkat (staging, fresh, 0);
      return 0;
    }
  /* Not every file system can. */
  unlinkat (staging, fresh, AT_REMOVEDIR);
  if (unlinkat (dir, name, 0) < 0 || mkdirat (dir, name, 0700) < 0)
    return fail_at (&a->tree, name, errno, "make the directory", err);
  return 0;
}

/* Enters the directory, and makes it what it has to be to be entered; *existed says what it was. */
static int
enter (struct rcvmi_wb_apply *a, const char *name, bool *existed, rcvm_error **err)
{
  int code = rcvmi_wb_tree_enter (&a->tree, name), dir;

  *existed = code == 0;
  if (code == 0)
    return 0;
  dir = rcvmi_wb_tree_fd (&a->tree, err);
  if (dir < 0)
    return -1;
  if (code == -ENOENT)
    {
      if (mkdirat (dir, name, 0700) < 0)
        return fail_at (&a->tree, name, errno, "make the directory", err);
    }
  else if (code != -ENOTDIR && code != -ELOOP)
    return fail_at (&a->tree, name, -code, "open the directory", err);
  else if (replace_file (a, dir, name, err) < 0)
    return -1;
  code = rcvmi_wb_tree_enter (&a->tree, name);
  return code < 0 ? fail_at (&a->tree, name, -code, "open the directory", err) : 0;
}

static int
push (struct rcvmi_wb_apply *a, const struct rcvmi_wb_record *r, bool existed, rcvm_error **err)
{
  struct rcvmi_wb_apply_level *l;
  bool complete = r->opaque || (a->n && a->levels[a->n - 1].complete);

  if (a->n == a->cap)
    {
      size_t cap = a->cap * 2 + 32;
      struct rcvmi_wb_apply_level *levels = reallocarray (a->levels, cap, sizeof *levels);

      if (!levels)
        return rcvmi_fail_nomem (err);
      a->levels = levels;
      a->cap = cap;
    }
  l = &a->levels[a->n];
  *l = (struct rcvmi_wb_apply_level){ .complete = complete, .tracked = existed && (complete || a->deltas[0] >= 0
                                                                                     || a->deltas[1] >= 0) };
  if (rcvmi_wb_keep (&l->dir, r) < 0)
    return rcvmi_fail_nomem (err);
  a->n++;
  return 0;
}

static int
begin_dir (struct rcvmi_wb_apply *a, const struct rcvmi_wb_record *r, rcvm_error **err)
{
  bool existed = true;

  if (r->name && track (a, r->name, err) < 0)
    return -1;
  if (r->name && is_skipped (a, r->name))
    {
      a->skipped++;
      return 0;
    }
  if (r->name && enter (a, r->name, &existed, err) < 0)
    return -1;
  return push (a, r, existed, err);
}

static int
compare_names (const void *a, const void *b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

static bool
is_before (const struct statx_timestamp *t, const struct timespec *since)
{
  return t->tv_sec < since->tv_sec || (t->tv_sec == since->tv_sec && t->tv_nsec < since->tv_nsec);
}

/* Whether the guest got it with the delta.  What is younger was put there by others while the VM ran.  Its birth says that: its
   time of change is now, if this run or an interrupted one has removed another link of it, or half of what is below it. */
static bool
was_in_delta (const struct rcvmi_wb_apply *a, int list, const char *name)
{
  struct statx st;

  if (statx (list, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_CTIME | STATX_BTIME, &st) < 0
      || (S_ISCHR (st.stx_mode) && st.stx_rdev_major == 0 && st.stx_rdev_minor == 0))
    return false;
  return is_before (st.stx_mask & STATX_BTIME ? &st.stx_btime : &st.stx_ctime, &a->options->since);
}

/* Removes what the guest did not have any more, of the names in `list`, which is taken over. */
static int
remove_others_of (struct rcvmi_wb_apply *a, const struct rcvmi_wb_apply_level *l, int list, rcvm_error **err)
{
  DIR *dir = fdopendir (list);
  int code = 0;

  if (!dir)
    {
      code = fail_at (&a->tree, NULL, errno, "read the directory", err);
      close (list);
      return code;
    }
  while (code == 0)
    {
      struct dirent *e;
      char *name;

      errno = 0;
      e = readdir (dir);
      if (!e)
        {
          if (errno)
            code = fail_at (&a->tree, NULL, errno, "read the directory", err);
          break;
        }
      name = e->d_name;
      if (rcvmi_wb_is_name (name)
          && !(l->n && bsearch (&name, l->names, l->n, sizeof name, compare_names))
          && !is_skipped (a, name) && strcmp (name, a->staging.name) != 0
          && (l->complete || was_in_delta (a, dirfd (dir), name)))
        code = rcvmi_wb_remove (&a->tree, &a->staging, name, err);
    }
  closedir (dir);
  return code;
}

/* What the guest did not have any more: of all that is there, or of what came with a delta.  That would have left no whiteout,
   as there is nothing below it. */
static int
remove_others (struct rcvmi_wb_apply *a, const struct rcvmi_wb_apply_level *l, rcvm_error **err)
{
  int fd = rcvmi_wb_tree_fd (&a->tree, err), list, code = 0;

  if (fd < 0)
    return -1;
  if (l->n)
    qsort (l->names, l->n, sizeof *l->names, compare_names);
  if (l->complete)
    {
      list = rcvmi_wb_open_dir (fd, "");
      return list < 0 ? fail_at (&a->tree, NULL, -list, "read the directory", err)
                      : remove_others_of (a, l, list, err);
    }
  for (size_t i = 0; code == 0 && i < RCVMI_WRITEBACK_DELTAS; i++)
    if (a->deltas[i] >= 0)
      {
        list = rcvmi_wb_open_dir (a->deltas[i], a->tree.path_len ? a->tree.path : "");
        if (list >= 0)
          code = remove_others_of (a, l, list, err);
        else if (list != -ENOENT && list != -ENOTDIR && list != -ELOOP)
          code = fail_at (&a->tree, NULL, -list, "read the delta of the directory", err);
      }
  return code;
}

static int
end_dir (struct rcvmi_wb_apply *a, rcvm_error **err)
{
  struct rcvmi_wb_apply_level *l = &a->levels[a->n - 1];
  int code = 0, fd;

  if (a->skipped)
    {
      a->skipped--;
      return 0;
    }
  if (l->tracked)
    code = remove_others (a, l, err);
  if (code == 0 && a->n == 1)
    {
      /* The root is finished when the staging directory is gone from it. */
      a->root = l->dir;
      l->dir = (struct rcvmi_wb_kept){ 0 };
    }
  else if (code == 0)
    {
      fd = rcvmi_wb_tree_fd (&a->tree, err);
      code = fd < 0 ? -1 : rcvmi_wb_dir_finish (fd, &l->dir.record);
      if (fd >= 0 && code < 0)
        code = fail_at (&a->tree, NULL, -code, "set the metadata of the directory", err);
      if (code == 0)
        rcvmi_wb_tree_leave (&a->tree);
    }
  clear_level (l);
  a->n--;
  return code;
}

static int
apply (struct rcvmi_wb_apply *a, const struct rcvmi_wb_record *r, rcvm_error **err)
{
  switch (r->type)
    {
    case WB_DIR:
      return begin_dir (a, r, err);
    case WB_LEAVE:
      return end_dir (a, err);
    case WB_FILE:
      return begin_file (a, r, err);
    case WB_EXTENTS:
    case WB_DATA:
      return fill_file (a, r, err);
    case WB_FILE_END:
      return place_file (a, &a->current.record, err);
    case WB_LINK:
    case WB_ALSO:
      if (!rcvmi_wb_set_has (&a->staged, r->ino))
        return rcvmi_fail (err, RCVM_E_PROTOCOL, 0,
                           "the reader of the image '%s' links a file that it did not tell of",
                           a->image_name);
      if (r->type == WB_ALSO)
        return rcvmi_wb_install_also (a, r, err);
      return track (a, r->name, err) < 0 ? -1 : place_link (a, r->ino, r->name, err);
    case WB_WHITEOUT:
      if (is_skipped (a, r->name))
        return 0;
      return rcvmi_wb_remove (&a->tree, &a->staging, r->name, err);
    case WB_KNOWN:
      return rcvmi_wb_known_file_add (a->known, r->data, r->len, err);
    default:
      return 0;
    }
}

int
rcvmi_wb_apply_record (struct rcvmi_wb_apply *a, uint16_t type, const void *data, size_t len,
                       rcvm_error **err)
{
  struct rcvmi_wb_record r;
  const char *wrong = rcvmi_wb_decode (&r, type, data, len);

  if (!wrong)
    wrong = rcvmi_wb_check_order (&a->order, &r);
  if (wrong)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0,
                       "the reader of the image '%s' sent what cannot be (%s): the image is made to deceive",
                       a->image_name, wrong);
  if (r.name && (r.type == WB_DIR || r.type == WB_FILE || r.type == WB_LINK || r.type == WB_WHITEOUT))
    rcvmi_wb_put_seen (a, r.name);
  return apply (a, &r, err);
}

int
rcvmi_wb_apply_finish (struct rcvmi_wb_apply *a, rcvm_error **err)
{
  int code = rcvmi_wb_install_shared (a, err);

  if (code == 0)
    code = rcvmi_wb_remove_puts (a, err);
  if (code == 0)
    code = rcvmi_wb_staging_clean (&a->staging, err);
  if (code == 0 && a->order.began)
    {
      code = rcvmi_wb_dir_finish (a->tree.root, &a->root.record);
      if (code < 0)
        code = fail_at (&a->tree, NULL, -code, "set the metadata of the directory", err);
    }
  return code;
}
