/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "disks.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "defaults.h"
#include "err.h"
#include "json.h"
#include "overlay-mount.h"
#include "put-list.h"
#include "writeback.h"

#define SCRATCH "scratch%zu.img"

enum
{
  SCRATCH_MAX = 24,
  MAX_RECORD = 64 * 1024,
  MAX_TRIES = 1000,
  /* Bytes of the lock.  Who recovers takes both; the first says to others who recover that they had better wait, which nobody
     does for the life of a VM. */
  LIFE = 0,
  RECOVERY = 1
};

/* Tells names apart that are equal in their last part (FNV-1a). */
static uint64_t
hash (const char *s)
{
  uint64_t h = UINT64_C (0xcbf29ce484222325);

  for (; *s; s++)
    h = (h ^ (unsigned char) *s) * UINT64_C (0x100000001b3);
  return h;
}

static int
make_dirs (char *path, rcvm_error **err)
{
  for (char *p = path + 1;; p++)
    if (*p == '/' || *p == 0)
      {
        char c = *p;

        *p = 0;
        /* What a container holds is not for every user of the host. */
        if (mkdir (path, c ? 0755 : 0700) < 0 && errno != EEXIST)
          return rcvmi_fail_errno (err, errno, "cannot make the data directory '%s'", path);
        *p = c;
        if (c == 0)
          return 0;
      }
}

static int
open_lock (const char *dir, int *fd, rcvm_error **err)
{
  autofree char *path = NULL;

  if (asprintf (&path, "%s/lock", dir) < 0)
    {
      path = NULL;
      return rcvmi_fail_nomem (err);
    }
  *fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  return *fd < 0 ? rcvmi_fail_errno (err, errno, "cannot open '%s'", path) : 0;
}

/* 1: locked; 0: somebody else has it, and `wait` was not asked for. */
static int
lock_byte (const char *dir, int fd, off_t byte, bool wait, rcvm_error **err)
{
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
  int r;

  do
    r = fcntl (fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
  while (r < 0 && errno == EINTR);
  if (r == 0)
    return 1;
  if (!wait && (errno == EAGAIN || errno == EACCES))
    return 0;
  return rcvmi_fail_errno (err, errno, "cannot lock '%s/lock'", dir);
}

/* Whether the lock is the one that others take: whoever had it may have removed the directory. */
static bool
is_there (const struct rcvmi_disks *d)
{
  struct stat locked, there;
  autofree char *path = NULL;

  if (asprintf (&path, "%s/lock", d->dir) < 0)
    {
      path = NULL;
      return false;
    }
  return fstat (d->lock_fd, &locked) == 0 && lstat (path, &there) == 0 && locked.st_ino == there.st_ino
         && locked.st_dev == there.st_dev;
}

/* Who can write there decides what is written into the containers' roots. */
static int
check_owner (const char *path, int fd, rcvm_error **err)
{
  struct stat st;

  if (fstat (fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot read the data directory '%s'", path);
  if (st.st_uid != geteuid ())
    return rcvmi_fail (err, RCVM_E_PERMISSION, 0,
                       "the data directory '%s' belongs to user %lu; use one of your own (RUNCVM_DATA_DIR)", path,
                       (unsigned long) st.st_uid);
  if (st.st_mode & 022)
    return rcvmi_fail (err, RCVM_E_PERMISSION, 0,
                       "others can write to the data directory '%s'; make it mode 0700", path);
  return 0;
}

/* It and the one that it is in, where others could exchange it. */
static int
open_checked (const char *dir, int *fd, rcvm_error **err)
{
  autoclose int parent = -1;
  int r;

  *fd = open (dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (*fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%s'", dir);
  parent = openat (*fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the directory that '%s' is in", dir);
  r = check_owner (dir, *fd, err);
  return r < 0 ? r : check_owner (dir, parent, err);
}

static int
set_paths (struct rcvmi_disks *d, rcvm_error **err)
{
  if (asprintf (&d->upper, "%s/upper.img", d->dir) < 0)
    d->upper = NULL;
  if (asprintf (&d->root, "%s/root.img", d->dir) < 0)
    d->root = NULL;
  if (asprintf (&d->binds, "%s/binds.img", d->dir) < 0)
    d->binds = NULL;
  if (asprintf (&d->copies, "%s/copies.img", d->dir) < 0)
    d->copies = NULL;
  return d->upper && d->root && d->binds && d->copies ? 0 : rcvmi_fail_nomem (err);
}

/* Waits for whoever is recovering the directory. */
static int
make_and_lock (struct rcvmi_disks *d, rcvm_error **err)
{
  for (int tries = 1;; tries++)
    {
      int r = make_dirs (d->dir, err);

      if (r == 0)
        r = open_lock (d->dir, &d->lock_fd, err);
      if (r == 0)
        r = lock_byte (d->dir, d->lock_fd, LIFE, true, err);
      /* Removed in between; or a symlink that leads nowhere. */
      if (r == RCVM_E_NOT_FOUND && tries < MAX_TRIES)
        {
          rcvm_error_free (*err);
          *err = NULL;
          continue;
        }
      if (r < 0)
        return r;
      if (is_there (d))
        return open_checked (d->dir, &d->dir_fd, err);
      cleanup_close (&d->lock_fd);
      d->lock_fd = -1;
    }
}

int
rcvmi_disks_identify (const char *rootfs, struct rcvmi_disks_identity *id, rcvm_error **err)
{
  struct statfs fs;
  struct statx st;

  if (statx (AT_FDCWD, rootfs, 0, STATX_INO | STATX_BTIME, &st) < 0 || statfs (rootfs, &fs) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the root file system '%s'", rootfs);
  *id = (struct rcvmi_disks_identity){ .ino = st.stx_ino, .overlay = fs.f_type == OVERLAYFS_SUPER_MAGIC };
  if (st.stx_mask & STATX_BTIME)
    id->birth = st.stx_btime;
  return 0;
}

/* The number alone is the same for the root of each ext4, and so is the path. */
bool
rcvmi_disks_is_same (const struct rcvmi_disks_identity *a, const struct rcvmi_disks_identity *b)
{
  if (a->overlay || b->overlay)
    return a->overlay == b->overlay;
  return a->ino == b->ino
         && (!a->birth.tv_sec || !b->birth.tv_sec
             || (a->birth.tv_sec == b->birth.tv_sec && a->birth.tv_nsec == b->birth.tv_nsec));
}

/* 1: `rootfs` is the overlayfs with that upper directory. */
static int
has_upper (const char *rootfs, const char *upper, rcvm_error **err)
{
  struct rcvmi_overlay_mount now;
  struct stat a, b;
  int r = rcvmi_overlay_mount_find (rootfs, &now, err);

  if (r < 0)
    return r;
  r = now.upper && stat (now.upper, &a) == 0 && stat (upper, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
  rcvmi_overlay_mount_clear (&now);
  return r;
}

int
rcvmi_disks_write_json (const struct rcvmi_disks *d, const char *name, struct json_object *o, rcvm_error **err)
{
  size_t len;
  const char *text = json_object_to_json_string_length (o, JSON_C_TO_STRING_PLAIN, &len);
  autoclose int fd = -1;
  ssize_t n;

  if (!text)
    return rcvmi_fail_nomem (err);
  fd = openat (d->dir_fd, "disks.json.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  n = fd < 0 ? -1 : write (fd, text, len);
  if (n >= 0 && (size_t) n < len)
    return rcvmi_fail_errno (err, ENOSPC, "cannot write '%s/%s'", d->dir, name);
  if (n < 0 || renameat (d->dir_fd, "disks.json.new", d->dir_fd, name) < 0)
    return rcvmi_fail_errno (err, errno, "cannot write '%s/%s'", d->dir, name);
  return 0;
}

int
rcvmi_disks_intend (const struct rcvmi_disks *d, const struct rcvmi_intent *intent, rcvm_error **err)
{
  autofree char *real = realpath (intent->rootfs, NULL);
  struct json_object *o;
  struct rcvmi_disks_identity id;
  struct rcvmi_json b = { false };
  int r;

  if (!real)
    return rcvmi_fail_errno (err, errno, "cannot open the root file system '%s'", intent->rootfs);
  r = rcvmi_disks_identify (real, &id, err);
  if (r < 0)
    return r;
  o = json_object_new_object ();
  rcvmi_json_put (&b, o, "rootfs", json_object_new_string (real));
  rcvmi_json_put (&b, o, "ino", json_object_new_uint64 (id.ino));
  rcvmi_json_put (&b, o, "overlay", json_object_new_boolean (id.overlay));
  rcvmi_json_put (&b, o, "birthSec", json_object_new_int64 (id.birth.tv_sec));
  rcvmi_json_put (&b, o, "birthNsec", json_object_new_int64 (id.birth.tv_nsec));
  rcvmi_json_put (&b, o, "base", json_object_new_string (intent->base));
  if (intent->deltas[0])
    rcvmi_json_put (&b, o, "upper", json_object_new_string (intent->deltas[0]));
  if (intent->deltas[1])
    rcvmi_json_put (&b, o, "init", json_object_new_string (intent->deltas[1]));
  rcvmi_json_put (&b, o, "sinceSec", json_object_new_int64 (intent->since.tv_sec));
  rcvmi_json_put (&b, o, "sinceNsec", json_object_new_int64 (intent->since.tv_nsec));
  r = b.failed ? rcvmi_fail_nomem (err) : rcvmi_disks_write_json (d, "disks.json", o, err);
  json_object_put (o);
  return r;
}

static const char *
get_text (struct json_object *o, const char *key)
{
  struct json_object *value;

  return json_object_object_get_ex (o, key, &value) ? json_object_get_string (value) : NULL;
}

static int64_t
get_number (struct json_object *o, const char *key)
{
  struct json_object *value;

  return json_object_object_get_ex (o, key, &value) ? json_object_get_int64 (value) : 0;
}

static uint64_t
get_count (struct json_object *o, const char *key)
{
  struct json_object *value;

  return json_object_object_get_ex (o, key, &value) ? json_object_get_uint64 (value) : 0;
}

int
rcvmi_disks_read_json (const struct rcvmi_disks *d, const char *name, struct json_object **out, rcvm_error **err)
{
  autoclose int fd = openat (d->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  autofree char *text = NULL;
  ssize_t n;

  *out = NULL;
  if (fd < 0 && errno == ENOENT)
    return 0;
  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%s/%s'", d->dir, name);
  text = malloc (MAX_RECORD);
  if (!text)
    return rcvmi_fail_nomem (err);
  n = read (fd, text, MAX_RECORD - 1);
  if (n < 0)
    return rcvmi_fail_errno (err, errno, "cannot read '%s/%s'", d->dir, name);
  text[n] = 0;
  *out = json_tokener_parse (text);
  return *out ? 1 : rcvmi_fail (err, RCVM_E_STATE, 0, "'%s/%s' is damaged", d->dir, name);
}

static int
read_record (const struct rcvmi_disks *d, struct json_object **out, rcvm_error **err)
{
  rcvm_error *e = NULL;
  int r = rcvmi_disks_read_json (d, "disks.json", out, &e);

  if ((r < 0 && rcvm_error_get_code (e) == RCVM_E_STATE) || (r > 0 && (!get_text (*out, "rootfs") || !get_text (*out, "base"))))
    {
      rcvm_error_free (e);
      json_object_put (steal_ptr (*out));
      return rcvmi_fail (err, RCVM_E_STATE, 0,
                         "'%s/disks.json' does not say where the changes of 'upper.img' beside it belong: write them "
                         "back by hand (runcvm rootfs write-back), then remove the directory",
                         d->dir);
    }
  return r < 0 ? rcvmi_error_pass (err, e) : 0;
}

/* Some of the changes have been written back while the VM ran. */
static bool
was_flushed (const struct rcvmi_disks *d)
{
  return faccessat (d->dir_fd, "upper.img.known", F_OK, 0) == 0 || faccessat (d->dir_fd, "upper.img.known.begun", F_OK, 0) == 0;
}

/* What others have put there is told in one write-back, and only there: the names go before that is noted as done.  In an image that was
   not synced it may be missing, without having been removed. */
static int
write_back (const struct rcvmi_disks *d, const char *rootfs, bool synced, struct rcvmi_writeback_options *options, rcvm_error **err)
{
  struct rcvmi_writeback *w = NULL;
  struct rcvmi_puts puts = { 0 };
  int r = synced ? rcvmi_puts_read_at (&puts, d->dir_fd, err) : 0;

  if (r < 0)
    return r;
  options->puts = &puts;
  w = rcvmi_writeback_apply (d->upper, rootfs, options, err);
  if (!w)
    r = -1;
  else if (puts.n && unlinkat (d->dir_fd, RCVMI_PUT_FILE, 0) < 0 && errno != ENOENT)
    r = rcvmi_fail_errno (err, errno, "cannot remove '%s/%s'", d->dir, RCVMI_PUT_FILE);
  else
    r = rcvmi_writeback_commit (w, err);
  rcvmi_writeback_free (w);
  rcvmi_puts_clear (&puts);
  return r;
}

/* `frozen`: NULL where the VM has stopped. */
static int
carry_out (const struct rcvmi_disks *d, struct json_object *record, const struct timespec *frozen, rcvm_error **err)
{
  const char *rootfs = get_text (record, "rootfs"), *base = get_text (record, "base"),
             *upper = get_text (record, "upper");
  struct rcvmi_disks_identity id, meant = { .ino = get_count (record, "ino"),
                                            .birth = { .tv_sec = get_number (record, "birthSec"),
                                                       .tv_nsec = (uint32_t) get_number (record, "birthNsec") },
                                            .overlay = get_number (record, "overlay") };
  /* The base helps, and may have been evicted since the VM died. */
  struct rcvmi_writeback_options options
      = { .base = access (base, R_OK) == 0 ? base : NULL,
          .deltas = { upper, get_text (record, "init") },
          .since = { .tv_sec = get_number (record, "sinceSec"), .tv_nsec = get_number (record, "sinceNsec") },
          .repeated = frozen || was_flushed (d) };
  int r = rcvmi_disks_identify (rootfs, &id, err);

  if (frozen)
    options.frozen = *frozen;
  if (r < 0)
    return r;
  /* An unmounted overlayfs leaves an empty directory, which is not the container's root. */
  r = rcvmi_disks_is_same (&id, &meant);
  /* And the next container's may be mounted at the same place. */
  if (r && upper)
    r = has_upper (rootfs, upper, err);
  if (r < 0)
    return r;
  if (!r)
    return rcvmi_fail (err, RCVM_E_STATE, 0,
                       "'%s' is not the root file system that it was when the VM started: its changes stay in '%s'",
                       rootfs, d->upper);
  return write_back (d, rootfs, frozen || d->quiet, &options, err);
}

static int
write_root_back (const struct rcvmi_disks *d, rcvm_error **err)
{
  struct json_object *record;
  int r;

  if (faccessat (d->dir_fd, "upper.img", F_OK, 0) < 0 && errno == ENOENT)
    return 0;
  r = read_record (d, &record, err);
  if (r < 0 || !record)
    return r;
  r = carry_out (d, record, NULL, err);
  json_object_put (record);
  if (r == 0 && unlinkat (d->dir_fd, "disks.json", 0) < 0 && errno != ENOENT)
    r = rcvmi_fail_errno (err, errno, "cannot remove '%s/disks.json'", d->dir);
  return r;
}

int
rcvmi_disks_flush (const struct rcvmi_disks *d, struct timespec frozen, rcvm_error **err)
{
  struct json_object *record;
  int r = read_record (d, &record, err);

  if (r < 0 || !record)
    return r;
  r = carry_out (d, record, &frozen, err);
  json_object_put (record);
  return r;
}

int
rcvmi_disks_write_back (const struct rcvmi_disks *d, rcvm_error **err)
{
  rcvm_error *e = NULL;
  int root = write_root_back (d, &e), copies = rcvmi_disks_write_back_copies (d, root < 0 ? NULL : &e);

  return root < 0 || copies < 0 ? rcvmi_error_pass (err, e) : 0;
}

static char *
default_dir (const char *state_root, const char *id)
{
  autofree char *data = rcvmi_default_data_dir ();
  char *dir;

  return !data || asprintf (&dir, "%s/vms/%s@%08x", data, id, (unsigned) hash (state_root)) < 0 ? NULL : dir;
}

int
rcvmi_disks_open (struct rcvmi_disks *d, const char *state_root, const char *id, rcvm_error **err)
{
  rcvm_error *e = NULL;
  int r;

  *d = RCVMI_DISKS_INIT;
  d->dir = default_dir (state_root, id);
  r = d->dir ? set_paths (d, &e) : rcvmi_fail_nomem (&e);
  /* Whoever looks for it has another working directory. */
  if (r == 0 && d->dir[0] != '/')
    r = rcvmi_fail (&e, RCVM_E_INVALID, 0, "the data directory of '%s' is relative: RUNCVM_DATA_DIR has to begin with /",
                    d->dir);
  if (r == 0)
    r = make_and_lock (d, &e);
  if (r < 0)
    {
      rcvmi_disks_close (d);
      return rcvmi_error_pass (err, e);
    }
  return 0;
}

int
rcvmi_disks_reopen (struct rcvmi_disks *d, rcvm_error **err)
{
  d->lock_fd = d->kept_lock_fd = -1;
  d->dir_fd = open (d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return d->dir_fd < 0 ? rcvmi_fail_errno (err, errno, "cannot open '%s'", d->dir) : 0;
}

char *
rcvmi_disks_scratch (const struct rcvmi_disks *d, size_t number)
{
  char *path;

  return asprintf (&path, "%s/" SCRATCH, d->dir, number) < 0 ? NULL : path;
}

/* The disk of copies, and the notes beside it. */
static int
remove_copies (const struct rcvmi_disks *d, rcvm_error **err)
{
  int fd = openat (d->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), code = 0;
  DIR *dir = fd < 0 ? NULL : fdopendir (fd);
  struct dirent *e;

  if (!dir)
    {
      code = rcvmi_fail_errno (err, errno, "cannot read the directory '%s'", d->dir);
      cleanup_close (&fd);
      return code;
    }
  while (code == 0 && (e = readdir (dir)))
    if (strncmp (e->d_name, "copies.img", 10) == 0 && unlinkat (d->dir_fd, e->d_name, 0) < 0 && errno != ENOENT)
      code = rcvmi_fail_errno (err, errno, "cannot remove '%s/%s'", d->dir, e->d_name);
  closedir (dir);
  return code;
}

static int
remove_images (const struct rcvmi_disks *d, rcvm_error **err)
{
  static const char *const names[]
      = { "upper.img",  "upper.img.write-back", "upper.img.known", "upper.img.known.begun", "upper.img.known.new",
          "root.img",   "binds.img",            "copies.json",     "disks.json.new",        "disks.json",
          "memory.img", RCVMI_PUT_FILE };

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (unlinkat (d->dir_fd, names[i], 0) < 0 && errno != ENOENT)
      return rcvmi_fail_errno (err, errno, "cannot remove '%s/%s'", d->dir, names[i]);
  if (remove_copies (d, err) < 0)
    return RCVM_E_SYSTEM;
  for (size_t i = 0; i < SCRATCH_MAX; i++)
    {
      char name[32];

      snprintf (name, sizeof name, SCRATCH, i);
      if (unlinkat (d->dir_fd, name, 0) < 0 && errno != ENOENT)
        return rcvmi_fail_errno (err, errno, "cannot remove '%s/%s'", d->dir, name);
    }
  return 0;
}

int
rcvmi_disks_settle (const struct rcvmi_disks *d, rcvm_error **err)
{
  rcvm_error *e = NULL;
  autofree char *text = NULL;
  int r = rcvmi_disks_write_back (d, &e);

  if (r == 0)
    return remove_images (d, err);
  if (asprintf (&text,
                "the changes of an earlier VM of that id have to be written back first (remove '%s' to give them up), "
                "and %s",
                d->dir, rcvm_error_get_message (e))
      < 0)
    {
      text = NULL;
      return rcvmi_error_pass (err, e);
    }
  r = rcvmi_error_restore (err, r, rcvm_error_get_errno (e), rcvm_error_get_exit_code (e), rcvm_error_get_stage (e),
                           text);
  rcvm_error_free (e);
  return r;
}

bool
rcvmi_disks_pending (const struct rcvmi_disks *d)
{
  return d->dir_fd >= 0
         && ((faccessat (d->dir_fd, "upper.img", F_OK, 0) == 0 && faccessat (d->dir_fd, "disks.json", F_OK, 0) == 0)
             || faccessat (d->dir_fd, "copies.json", F_OK, 0) == 0);
}

int
rcvmi_disks_keep (struct rcvmi_disks *d, const char *rootfs, rcvm_error **err)
{
  autofree char *data = rcvmi_default_data_dir (), *real = realpath (rootfs, NULL);
  autoclose int dir = -1;
  int r;

  if (!real)
    return rcvmi_fail_errno (err, errno, "cannot open the root file system '%s'", rootfs);
  if (!data || asprintf (&d->kept_dir, "%s/kept/%016llx", data, (unsigned long long) hash (real)) < 0)
    {
      d->kept_dir = NULL;
      return rcvmi_fail_nomem (err);
    }
  r = make_dirs (d->kept_dir, err);
  if (r == 0)
    r = open_checked (d->kept_dir, &dir, err);
  if (r == 0)
    r = open_lock (d->kept_dir, &d->kept_lock_fd, err);
  if (r == 0)
    r = lock_byte (d->kept_dir, d->kept_lock_fd, LIFE, false, err);
  if (r < 0)
    return r;
  if (r == 0)
    return rcvmi_fail (err, RCVM_E_STATE, 0,
                       "the changes that are kept for '%s' are in use by another VM: wait until it has stopped, or "
                       "discard this one's",
                       rootfs);
  free (d->upper);
  if (asprintf (&d->upper, "%s/upper.img", d->kept_dir) < 0)
    d->upper = NULL;
  return d->upper ? 0 : rcvmi_fail_nomem (err);
}

int
rcvmi_disks_check_kept (const struct rcvmi_disks *d, const char *rootfs, const char *key, bool *exists,
                        rcvm_error **err)
{
  autofree char *path = NULL;
  autoclose int fd = -1;
  char known[256];
  ssize_t n;

  if (asprintf (&path, "%s/key", d->kept_dir) < 0)
    {
      path = NULL;
      return rcvmi_fail_nomem (err);
    }
  *exists = access (d->upper, F_OK) == 0;
  fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  n = fd < 0 ? -1 : read (fd, known, sizeof known);
  if (n < 0)
    return rcvmi_fail_errno (err, errno, "cannot read '%s'", path);
  if ((size_t) n == strlen (key) && memcmp (known, key, (size_t) n) == 0)
    return 0;
  if (*exists)
    return rcvmi_fail (err, RCVM_E_STATE, 0,
                       "'%s' has changed since changes to it were kept in '%s': remove that directory to begin "
                       "anew",
                       rootfs, d->kept_dir);
  if (ftruncate (fd, 0) < 0 || pwrite (fd, key, strlen (key), 0) != (ssize_t) strlen (key))
    return rcvmi_fail_errno (err, errno, "cannot write '%s'", path);
  return 0;
}

/* Whoever waits for the lock finds that it is no longer that of the directory. */
static int
remove_files (const struct rcvmi_disks *d, rcvm_error **err)
{
  int r = remove_images (d, err);

  if (r < 0)
    return r;
  if (unlinkat (d->dir_fd, "lock", 0) < 0 && errno != ENOENT)
    return rcvmi_fail_errno (err, errno, "cannot remove '%s/lock'", d->dir);
  if (rmdir (d->dir) < 0 && errno != ENOENT)
    return rcvmi_fail_errno (err, errno, "cannot remove the directory '%s'", d->dir);
  return 0;
}

void
rcvmi_disks_remove (struct rcvmi_disks *d)
{
  if (d->dir_fd >= 0)
    remove_files (d, NULL);
  rcvmi_disks_close (d);
}

void
rcvmi_disks_close (struct rcvmi_disks *d)
{
  cleanup_close (&d->dir_fd);
  cleanup_close (&d->lock_fd);
  cleanup_close (&d->kept_lock_fd);
  free (d->dir);
  free (d->upper);
  free (d->root);
  free (d->binds);
  free (d->copies);
  free (d->kept_dir);
  *d = RCVMI_DISKS_INIT;
}

/* 1: locked; 0: nothing is left to be done, or the next VM of that id has it in use, and has done it. */
static int
lock_to_recover (struct rcvmi_disks *d, rcvm_error **err)
{
  rcvm_error *e = NULL;
  int r = open_lock (d->dir, &d->lock_fd, &e);

  /* Who else recovers it has to have finished before anybody can be told that it is. */
  if (r == 0)
    r = lock_byte (d->dir, d->lock_fd, RECOVERY, true, &e);
  if (r > 0)
    r = lock_byte (d->dir, d->lock_fd, LIFE, false, &e);
  if (r > 0 && !is_there (d))
    r = 0;
  if (r == RCVM_E_NOT_FOUND)
    {
      rcvm_error_free (e);
      return 0;
    }
  return r < 0 ? rcvmi_error_pass (err, e) : r;
}

int
rcvmi_disks_recover (const char *dir, bool discard, rcvm_error **err)
{
  struct rcvmi_disks d = RCVMI_DISKS_INIT;
  rcvm_error *e = NULL;
  int r = (d.dir = strdup (dir)) ? set_paths (&d, &e) : rcvmi_fail_nomem (&e);

  if (r == 0)
    r = open_checked (dir, &d.dir_fd, &e);
  if (r == RCVM_E_NOT_FOUND)
    {
      rcvm_error_free (steal_ptr (e));
      rcvmi_disks_close (&d);
      return 0;
    }
  if (r == 0)
    r = lock_to_recover (&d, &e);
  if (r > 0 && !discard && (r = rcvmi_disks_write_back (&d, &e)) == 0)
    r = 1;
  if (r > 0)
    r = remove_files (&d, &e);
  rcvmi_disks_close (&d);
  return r < 0 ? rcvmi_error_pass (err, e) : 0;
}
