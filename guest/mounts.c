/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mounts.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "cgroup.h"
#include "cleanup.h"
#include "copyup.h"
#include "disks.h"
#include "kernel.h"
#include "log.h"
#include "modules.h"
#include "path.h"
#include "volumes.h"

enum
{
  READ_AHEAD_KB = 4096
};

#define PROPAGATION (MS_SHARED | MS_SLAVE | MS_PRIVATE | MS_UNBINDABLE)
/* Directories of the initramfs. */
#define WORK "/run/mount"
#define LOWER "/run/lower"
#define UPPER "/run/upper"
#define ROOT "/run/root"
#define STAGE "/run/stage"
#define COPIES STAGE "/copies"

/* Hard links of the base stay links when one of them is written to ("index").  The upper says all by itself: no
   references to the base that only this kernel could follow. */
#define OVERLAY_FEATURES "index=on,redirect_dir=off,metacopy=off"
#define OVERLAY_OPTIONS                                                                           \
  "lowerdir=" LOWER ",upperdir=" UPPER "/upper,workdir=" UPPER "/work," OVERLAY_FEATURES

static bool
is_bind (const struct setup_mount *m)
{
  return (m->flags & MS_BIND) || strcmp (m->type, "bind") == 0;
}

static bool
is_staged (const char *name)
{
  return strncmp (name, "stage:", 6) == 0;
}

bool
mount_is_volume (const struct setup_mount *m)
{
  return strncmp (m->source, "volume:", 7) == 0;
}

bool
mount_is_share (const struct setup_mount *m)
{
  return strncmp (m->source, "9p:", 3) == 0;
}

bool
mount_needs_network (const struct setup *s, const struct setup_mount *m)
{
  if (!is_bind (m))
    return strncmp (m->source, "tcp:", 4) == 0;
  for (size_t i = 0; i < s->n_mounts; i++)
    {
      const char *stage = s->mounts[i].destination;
      size_t n = strlen (stage);

      if (strncmp (s->mounts[i].source, "tcp:", 4) == 0 && is_staged (stage) && strncmp (m->source, stage, n) == 0
          && (!m->source[n] || m->source[n] == '/'))
        return true;
    }
  return false;
}

static bool
is_cgroup (const struct setup_mount *m)
{
  return strcmp (m->type, "cgroup") == 0 || strcmp (m->type, "cgroup2") == 0;
}

/* File systems that belong to the container's namespaces, or that it may mount for itself. */
static bool
belongs_inside (const struct setup *s, const struct setup_mount *m)
{
  static const char *const types[] = { "proc", "sysfs", "mqueue", "tmpfs", "devpts" };

  if (is_staged (m->destination))
    return false;
  if (m->flags & MS_REMOUNT)
    return true;
  if (is_bind (m))
    return !is_staged (m->source);
  if (is_cgroup (m))
    return s->namespaces & K_CLONE_NEWCGROUP;
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (strcmp (m->type, types[i]) == 0)
      return true;
  return false;
}

static uint64_t
attributes (uint64_t flags)
{
  uint64_t a = 0;

  a |= flags & MS_RDONLY ? K_ATTR_RDONLY : 0;
  a |= flags & MS_NOSUID ? K_ATTR_NOSUID : 0;
  a |= flags & MS_NODEV ? K_ATTR_NODEV : 0;
  a |= flags & MS_NOEXEC ? K_ATTR_NOEXEC : 0;
  a |= flags & MS_NODIRATIME ? K_ATTR_NODIRATIME : 0;
  a |= flags & (1 << 8) ? K_ATTR_NOSYMFOLLOW : 0;
  a |= flags & MS_NOATIME ? K_ATTR_NOATIME : flags & MS_STRICTATIME ? K_ATTR_STRICTATIME : 0;
  return a;
}

static int
set_attributes (int tree, uint64_t flags)
{
  struct k_mount_attr attr = { .attr_set = attributes (flags) };

  if (!attr.attr_set)
    return 0;
  if (flags & (MS_NOATIME | MS_STRICTATIME))
    attr.attr_clr = K_ATTR_ATIME;
  return k_mount_setattr (tree, flags & MS_REC ? K_AT_RECURSIVE : 0, &attr);
}

int
mount_clone (int from, uint64_t flags)
{
  unsigned recursive = flags & MS_REC ? K_AT_RECURSIVE : 0;
  int tree = k_open_tree (from, "", AT_EMPTY_PATH | K_OPEN_TREE_CLONE | recursive);

  if (tree >= 0 && set_attributes (tree, flags) < 0)
    {
      int saved = errno;

      close (tree);
      errno = saved;
      return -1;
    }
  return tree;
}

/* Mounts at `dir` of the initramfs. */
static int
mount_at (const char *dir, const char *source, const char *type, uint64_t flags, const char *data,
          struct failure *f)
{
  char device[PATH_MAX];

  if (disk_is_locator (source))
    {
      if (disk_find (source, device, sizeof device, f) < 0)
        return -1;
      source = device;
    }
  if (mkdir (dir, 0755) < 0 && errno != EEXIST)
    return fail (f, "mount", errno, "cannot make %s in the initramfs", dir);
  flags &= ~(uint64_t) (PROPAGATION | MS_REC);
  if (mount (source, dir, type, flags, *data ? data : NULL) == 0)
    return 0;
  if (errno == EROFS && (flags & MS_RDONLY))
    return fail (f, "mount", errno,
                 "cannot mount \"%s\" as %s: it was not unmounted, and its journal has to be written to the disk first", source,
                 type);
  if ((errno == ENODEV || errno == EPROTONOSUPPORT) && strcmp (type, "9p") == 0)
    return fail (f, "mount", errno,
                 "cannot mount \"%s\": the guest's kernel has no 9P client, as Debian's cloud kernel has none: make a guest of "
                 "another kernel (runcvm-mkguest --debian-package linux-image-amd64), or use a live volume (NFS)",
                 source);
  if (errno == ENODEV)
    return fail (f, "mount", errno, "cannot mount \"%s\": the guest's kernel has no file system %s", source, type);
  return fail (f, "mount", errno, "cannot mount \"%s\" as %s", source, type);
}

/* Linux reads 128 KiB ahead of NFS, whatever a READ can have: a fraction of what is under way otherwise. */
static void
read_far_ahead (const char *dir)
{
  char path[80], text[16];
  struct k_statx st;
  int n = snprintf (text, sizeof text, "%d", READ_AHEAD_KB);
  autoclose int fd = -1;

  if (k_statx_known (dir, &st) < 0)
    return;
  snprintf (path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", st.dev_major, st.dev_minor);
  fd = open (path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write (fd, text, (size_t) n) < 0)
    log_write (LOG_DEBUG, "%s stays as it is: %s", path, strerror (errno));
}

/* An export of the volume server, which the kernel's client finds at `server`. */
static int
mount_volume (const char *dir, const struct setup_mount *m, const char *server, unsigned port, struct failure *f)
{
  char source[PATH_MAX], data[PATH_MAX];
  int n = snprintf (source, sizeof source, "%s:%s", server, strchr (m->source, ':') + 1);

  if (n >= (int) sizeof source
      || snprintf (data, sizeof data,
                   "%s%svers=3,proto=tcp,nolock,hard,addr=%s,port=%u,mountaddr=%s,mountproto=tcp,mountport=%u", m->data,
                   *m->data ? "," : "", server, port, server, port)
             >= (int) sizeof data)
    return fail (f, "mount", ENAMETOOLONG, "the volume \"%.100s\" has too many options", m->source);
  if (mount_at (dir, source, m->type, m->flags, data, f) < 0)
    return -1;
  read_far_ahead (dir);
  return 0;
}

/* What a server of 9P shares: the kernel's client gets a socket that leads there. */
static int
mount_share (const char *dir, const struct setup_mount *m, struct failure *f)
{
  char data[PATH_MAX], *end;
  unsigned long number = strtoul (m->source + 3, &end, 10);
  autoclose int fd = *end || end == m->source + 3 || number > UINT32_MAX ? -1 : volumes_connect ((uint32_t) number);

  if (fd < 0)
    return fail (f, "mount", errno, "cannot connect to the server of \"%.100s\"", m->source);
  if (snprintf (data, sizeof data, "%s%strans=fd,rfdno=%d,wfdno=%d", m->data, *m->data ? "," : "", fd, fd)
      >= (int) sizeof data)
    return fail (f, "mount", ENAMETOOLONG, "\"%.100s\" has too many options", m->source);
  return mount_at (dir, m->source, m->type, m->flags, data, f);
}

/* A copy, and over it what the container changes of it, both on the disk of copies. */
static int
mount_copy (const char *dir, const struct setup_mount *m, struct failure *f)
{
  const char *n = m->source + 5;
  char data[512];

  if (!*n || strlen (n) > 10 || n[strspn (n, "0123456789")])
    return fail (f, "mount", EINVAL, "\"%.100s\" is no copy", m->source);
  snprintf (data, sizeof data,
            "lowerdir=" COPIES "/%s,upperdir=" COPIES "/upper%s,workdir=" COPIES "/work%s," OVERLAY_FEATURES, n, n, n);
  return mount_at (dir, "overlay", "overlay", m->flags, data, f);
}

/* Turns the mount at `dir` into a detached tree. */
static int
detach (const char *dir, struct failure *f)
{
  int tree = k_open_tree (AT_FDCWD, dir, K_OPEN_TREE_CLONE);

  if (tree < 0)
    return fail (f, "mount", errno, "cannot take %s off its place", dir);
  if (umount2 (dir, MNT_DETACH) < 0)
    {
      close (tree);
      return fail (f, "mount", errno, "cannot unmount %s", dir);
    }
  return tree;
}

int
mount_disk (const char *device, const char *type, uint64_t flags, struct failure *f)
{
  if (modules_load_fs (type) < 0)
    return fail (f, "mount", errno, "cannot load the kernel module of %s", type);
  return mount_at (WORK, device, type, flags, "", f) < 0 ? -1 : detach (WORK, f);
}

int
mounts_open_stage (const char *name)
{
  autoclose int stage = open (STAGE, O_PATH | O_DIRECTORY | O_CLOEXEC);

  return stage < 0 ? -1 : openat (stage, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int
prepare_root (const struct setup *s, struct failure *f)
{
  uint64_t flags = s->root_disk_readonly ? MS_RDONLY : 0;
  int tree;

  if (modules_load_fs (s->root_fstype) < 0)
    return fail (f, "rootfs", errno, "cannot load the kernel module of %s", s->root_fstype);
  if (!s->upper_disk)
    {
      if (mount_at (WORK, s->root_disk, s->root_fstype, flags, s->root_data, f) < 0)
        return -1;
      return detach (WORK, f);
    }
  if (modules_load_fs ("overlay") < 0)
    return fail (f, "rootfs", errno, "cannot load the kernel module of overlay");
  if (mount_at (LOWER, s->root_disk, s->root_fstype, flags, s->root_data, f) < 0
      || mount_at (UPPER, s->upper_disk, s->root_fstype, 0, "", f) < 0
      || mount_at (WORK, "overlay", "overlay", 0, OVERLAY_OPTIONS, f) < 0)
    return -1;
  tree = detach (WORK, f);
  /* The overlay holds both of them. */
  if (tree >= 0 && (umount2 (LOWER, MNT_DETACH) < 0 || umount2 (UPPER, MNT_DETACH) < 0))
    {
      close (tree);
      return fail (f, "rootfs", errno, "cannot unmount the disks below the overlay");
    }
  return tree;
}

/* What a bind of `source` is of: a volume may show a single file. */
static const char *
in_stage (const struct setup *s, const char *source)
{
  size_t n = strlen (source);

  for (size_t i = 0; i < s->n_file_stages; i++)
    if (strncmp (s->file_stages[i], source, n) == 0 && s->file_stages[i][n] == '/')
      return s->file_stages[i] + 6;
  return source + 6;
}

static int
prepare_bind_of_stage (const struct setup *s, struct setup_mount *m, struct failure *f)
{
  autoclose int stage = open (STAGE, O_PATH | O_DIRECTORY | O_CLOEXEC);
  autoclose int from = stage < 0 ? -1 : path_open (stage, in_stage (s, m->source), O_PATH);

  if (from < 0)
    return fail (f, "mount", errno, "cannot find \"%s\" to mount it at %s", m->source,
                 m->destination);
  m->tree = mount_clone (from, m->flags);
  if (m->tree < 0)
    return fail (f, "mount", errno, "cannot bind \"%s\"", m->source);
  return 0;
}

int
mount_prepare (const struct setup *s, struct setup_mount *m, struct failure *f)
{
  char dir[PATH_MAX];

  if (is_bind (m))
    return prepare_bind_of_stage (s, m, f);
  if (is_cgroup (m))
    {
      autoclose int own = open (CGROUP_CONTAINER, O_PATH | O_DIRECTORY | O_CLOEXEC);

      m->tree = own < 0 ? -1 : mount_clone (own, m->flags);
      return m->tree < 0 ? fail (f, "mount", errno, "cannot bind the container's cgroup") : 0;
    }
  if (is_staged (m->destination))
    {
      if (strchr (m->destination, '/') || strcmp (m->destination + 6, "..") == 0)
        return fail (f, "mount", EINVAL, "\"%s\" is no place to mount at", m->destination);
      snprintf (dir, sizeof dir, STAGE "/%s", m->destination + 6);
      if (mount_is_volume (m))
        return s->link_server ? mount_volume (dir, m, s->link_server, s->link_port, f)
                              : mount_volume (dir, m, "127.0.0.1", (unsigned) volumes_port (), f); /* the tunnel's end */
      if (mount_needs_network (s, m))
        return mount_volume (dir, m, s->server ? s->server : "", s->server_port, f);
      if (strncmp (m->source, "copy:", 5) == 0)
        return mount_copy (dir, m, f);
      return mount_at (dir, m->source, m->type, m->flags, m->data, f);
    }
  if ((mount_is_share (m) ? mount_share (WORK, m, f) : mount_at (WORK, m->source, m->type, m->flags, m->data, f)) < 0)
    return -1;
  m->tree = detach (WORK, f);
  return m->tree < 0 ? -1 : 0;
}

/* Names the destination, or takes the failure of an optional mount as done. */
static int
judge (const struct setup_mount *m, struct failure *f)
{
  if (m->optional)
    {
      log_write (LOG_WARNING, "%s is not mounted: %s", m->destination, f->message);
      return 0;
    }
  log_write (LOG_DEBUG, "the mount at %s failed", m->destination);
  return -1;
}

int
mounts_prepare (struct setup *s, int *root, struct failure *f)
{
  *root = -1;
  if (mkdir ("/run", 0755) < 0 && errno != EEXIST)
    return fail (f, "mount", errno, "cannot make /run in the initramfs");
  if ((mkdir (ROOT, 0755) < 0 && errno != EEXIST) || (mkdir (STAGE, 0755) < 0 && errno != EEXIST)
      || (mkdir (WORK, 0755) < 0 && errno != EEXIST))
    return fail (f, "mount", errno, "cannot make directories in the initramfs");
  *root = prepare_root (s, f);
  if (*root < 0)
    {
      f->stage = "rootfs";
      return -1;
    }
  for (size_t i = 0; i < s->n_mounts; i++)
    {
      struct setup_mount *m = &s->mounts[i];

      if (!is_bind (m) && !(m->flags & MS_REMOUNT)
          && modules_load_fs (is_cgroup (m) ? "cgroup2" : m->type) < 0)
        log_write (LOG_WARNING, "cannot load the kernel module of %s", m->type);
      if (!belongs_inside (s, m) && !mount_needs_network (s, m) && mount_prepare (s, m, f) < 0 && judge (m, f) < 0)
        return -1;
    }
  return 0;
}

/* Attaches a tree that replaces what `to` shows. */
static int
attach_tree (int root, struct setup_mount *m, struct failure *f)
{
  autoclose int tree = steal_fd (&m->tree);
  autoclose int to = -1;
  struct stat st;
  bool is_dir;

  if (fstat (tree, &st) < 0)
    return fail (f, "mount", errno, "cannot look at \"%s\"", m->source);
  is_dir = S_ISDIR (st.st_mode);
  to = is_dir ? path_make_dir (root, m->destination, 0755) : path_make_file (root, m->destination);
  if ((to < 0 && is_dir && (errno == ENOTDIR || errno == EEXIST))
      || (to >= 0 && fstat (to, &st) == 0 && S_ISDIR (st.st_mode) != is_dir))
    return fail (f, "mount", 0, "cannot mount a %s at %s, where the container has a %s: choose another place",
                 is_dir ? "directory" : "file", m->destination, is_dir ? "file" : "directory");
  if (to < 0)
    return fail (f, "mount", errno, "cannot make the mount point %s", m->destination);
  if (k_move_mount (tree, to) < 0)
    return fail (f, "mount", errno, "cannot mount \"%s\" at %s", m->source, m->destination);
  return 0;
}

static int
attach_bind (int root, struct setup_mount *m, struct failure *f)
{
  autoclose int from = path_open (root, m->source, O_PATH);

  if (from < 0)
    return fail (f, "mount", errno, "cannot find \"%s\" to mount it at %s", m->source,
                 m->destination);
  m->tree = mount_clone (from, m->flags);
  if (m->tree < 0)
    return fail (f, "mount", errno, "cannot bind \"%s\" to %s", m->source, m->destination);
  return attach_tree (root, m, f);
}

/* A tmpfs takes the mode of what it covers, unless the options say one. */
static void
tmpfs_data (const struct setup_mount *m, const struct stat *covered, char *out, size_t size)
{
  const char *mode = strstr (m->data, "mode=");

  if (mode && (mode == m->data || mode[-1] == ','))
    snprintf (out, size, "%s", m->data);
  else
    snprintf (out, size, "mode=%04o%s%s", (unsigned) covered->st_mode & 07777, *m->data ? "," : "",
              m->data);
}

static int
attach_copied_up (int root, struct setup_mount *m, int covered, const char *data,
                  struct failure *f)
{
  int copied;

  if (mount_at (WORK, m->source, m->type, m->flags & ~(uint64_t) MS_RDONLY, data, f) < 0)
    return -1;
  copied = copy_up (covered, WORK);
  if (copied < 0)
    fail (f, "mount", errno, "cannot copy what is at %s into its tmpfs", m->destination);
  m->tree = copied < 0 ? -1 : detach (WORK, f);
  if (m->tree < 0)
    {
      umount2 (WORK, MNT_DETACH);
      return -1;
    }
  if (set_attributes (m->tree, m->flags & MS_RDONLY) < 0)
    return fail (f, "mount", errno, "cannot make %s read-only", m->destination);
  return attach_tree (root, m, f);
}

/* proc, tmpfs and the like. */
static int
attach_inside (int root, struct setup_mount *m, struct failure *f)
{
  const char *type = is_cgroup (m) ? "cgroup2" : m->type, *data = is_cgroup (m) ? "" : m->data;
  char place[64], tmpfs_options[PATH_MAX];
  autoclose int covered = path_open (root, m->destination, O_PATH | O_DIRECTORY), to = -1;
  struct stat st;

  if (strcmp (type, "tmpfs") == 0 && covered >= 0 && fstat (covered, &st) == 0)
    {
      tmpfs_data (m, &st, tmpfs_options, sizeof tmpfs_options);
      data = tmpfs_options;
      if (m->copy_up)
        return attach_copied_up (root, m, covered, data, f);
    }
  to = path_make_dir (root, m->destination, 0755);
  if (to < 0)
    return fail (f, "mount", errno, "cannot make the mount point %s", m->destination);
  snprintf (place, sizeof place, "/proc/self/fd/%d", to);
  if (mount (m->source, place, type, m->flags & ~(uint64_t) (PROPAGATION | MS_REC),
             *data ? data : NULL)
      < 0)
    return fail (f, "mount", errno, "cannot mount %s at %s", type, m->destination);
  return 0;
}

/* Other flags for what is there; with MS_BIND, for the mount alone. */
static int
remount (int root, const struct setup_mount *m, struct failure *f)
{
  autoclose int at = path_open (root, m->destination, O_PATH);
  char place[64];

  snprintf (place, sizeof place, "/proc/self/fd/%d", at);
  if (at < 0
      || mount (m->source, place, m->type, m->flags & ~(uint64_t) (PROPAGATION | MS_REC),
                *m->data ? m->data : NULL)
             < 0)
    return fail (f, "mount", errno, "cannot remount %s", m->destination);
  return 0;
}

static int
set_propagation (int root, const char *path, uint64_t propagation, struct failure *f)
{
  struct k_mount_attr attr = { .propagation = propagation & PROPAGATION };
  autoclose int fd = -1;

  if (!attr.propagation)
    return 0;
  fd = path_open (root, path, O_PATH);
  if (fd < 0 || k_mount_setattr (fd, propagation & MS_REC ? K_AT_RECURSIVE : 0, &attr) < 0)
    return fail (f, "mount", errno, "cannot set the propagation of %s", path);
  return 0;
}

static int
attach_one (const struct setup *s, int root, struct setup_mount *m, struct failure *f)
{
  int r;

  if (is_staged (m->destination))
    return 0;
  if (m->destination[strspn (m->destination, "/")] == 0)
    return fail (f, "mount", EINVAL, "nothing can be mounted at \"%s\"", m->destination);
  if (m->flags & MS_REMOUNT)
    r = remount (root, m, f);
  else if (!belongs_inside (s, m))
    r = m->tree < 0 ? 0 : attach_tree (root, m, f); /* else it was optional, and failed */
  else
    r = is_bind (m) ? attach_bind (root, m, f) : attach_inside (root, m, f);
  return r < 0 ? r : set_propagation (root, m->destination, m->propagation, f);
}

int
mounts_attach (struct setup *s, int root_tree, struct failure *f)
{
  autoclose int tree = root_tree;
  autoclose int place = open (ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
  autoclose int root = -1;

  if (place < 0 || k_move_mount (tree, place) < 0)
    return fail (f, "rootfs", errno, "cannot mount the root file system");
  root = open (ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0)
    return fail (f, "rootfs", errno, "cannot open the root directory");
  for (size_t i = 0; i < s->n_mounts; i++)
    if (attach_one (s, root, &s->mounts[i], f) < 0 && judge (&s->mounts[i], f) < 0)
      return -1;
  return steal_fd (&root);
}

int
mounts_enter (const struct setup *s, int root, struct failure *f)
{
  struct k_mount_attr readonly = { .attr_set = K_ATTR_RDONLY };

  if (set_propagation (root, "/", s->root_propagation, f) < 0)
    return -1;
  if (s->root_readonly && k_mount_setattr (root, 0, &readonly) < 0)
    return fail (f, "rootfs", errno, "cannot make the root read-only");
  if (fchdir (root) < 0 || mount (".", "/", NULL, MS_MOVE, NULL) < 0 || chroot (".") < 0
      || chdir ("/") < 0)
    return fail (f, "rootfs", errno, "cannot make the root file system \"/\"");
  return 0;
}
