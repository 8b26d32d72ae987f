/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "snapshot"
#include "snapshot.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "template.h"

#define TEMPORARY ".tmp."

enum
{
  TRIES = 3,
  OPTIONS_MAX = 8 * 1024 * 1024,
  STATE_MAX = RCVMI_SNAPSHOT_STATE_MAX
};

char *
rcvmi_snapshot_path (const char *dir, const char *name)
{
  char *path;

  return asprintf (&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static void
hex_of (struct rcvmi_sha256 *sha, char hex[RCVMI_SHA256_HEX + 1])
{
  uint8_t digest[RCVMI_SHA256_BYTES];

  rcvmi_sha256_final (sha, digest);
  rcvmi_sha256_hex (digest, hex);
}

int
rcvmi_snapshot_identify (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, struct rcvmi_snapshot *s,
                         rcvm_error **err)
{
  struct rcvmi_vmm_config shape = *config;
  struct rcvmi_sha256 sha;
  int code;

  /* A restored VM's changes to its root go with it, whatever those of the first one were for: its disks are what they were saved as. */
  for (size_t i = 0; i < shape.n_disks; i++)
    shape.disks[i].passing = true;
  snprintf (s->vmm, sizeof s->vmm, "%s", vmm->ops->name);
  s->version = vmm->version;
  rcvmi_sha256_init (&sha);
  code = rcvmi_template_add_cpu (&sha, err);
  hex_of (&sha, s->cpu);
  if (code < 0)
    return code;
  rcvmi_sha256_init (&sha);
  code = vmm->ops->shape (vmm, &shape, &sha, err);
  hex_of (&sha, s->shape);
  return code;
}

int
rcvmi_snapshot_check (const struct rcvmi_snapshot *s, const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config,
                      rcvm_error **err)
{
  struct rcvmi_snapshot here = { 0 };
  int code;

  if (strcmp (s->vmm, vmm->ops->name) != 0)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "the snapshot is of the VMM driver '%s', and this VM's is '%s'", s->vmm, vmm->ops->name);
  if (s->version != vmm->version)
    return rcvmi_fail (err, RCVM_E_HOST, 0, "the snapshot was made by Firecracker %u.%u, and '%s' is %u.%u: use that one (RUNCVM_FIRECRACKER)",
                       s->version / RCVMI_VMM_MINOR, s->version % RCVMI_VMM_MINOR, vmm->program, vmm->version / RCVMI_VMM_MINOR,
                       vmm->version % RCVMI_VMM_MINOR);
  code = rcvmi_snapshot_identify (vmm, config, &here, err);
  if (code < 0)
    return code;
  if (strcmp (s->cpu, here.cpu) != 0)
    return rcvmi_fail (err, RCVM_E_HOST, 0,
                       "the snapshot was made on a host with another processor or kernel, and its guest knows that one only: restore it there");
  if (strcmp (s->shape, here.shape) != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "the machine of the snapshot is another than the one that is asked for: CPUs, memory, disks, network interfaces and their "
                       "limits have to be the same, in number and order");
  return 0;
}

/* It is written. */

void
rcvmi_snapshot_draw_id (char id[RCVMI_SNAPSHOT_ID + 1])
{
  uint8_t bytes[RCVMI_SNAPSHOT_ID / 2];

  /* So few bytes come at once, or the host has not booted yet. */
  while (getrandom (bytes, sizeof bytes, 0) != sizeof bytes)
    continue;
  for (size_t i = 0; i < sizeof bytes; i++)
    snprintf (id + 2 * i, 3, "%02x", bytes[i]);
}

int
rcvmi_snapshot_name (const char *place, char **temp, rcvm_error **err)
{
  char id[RCVMI_SNAPSHOT_ID + 1];
  struct dirent *entry;
  DIR *dir = opendir (place);
  bool empty = true;

  *temp = NULL;
  while (dir && (entry = readdir (dir)))
    empty &= strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0;
  if (dir)
    closedir (dir);
  else if (errno != ENOENT)
    return rcvmi_fail_errno (err, errno, "cannot make the snapshot '%.200s'", place);
  if (!empty)
    return rcvmi_fail (err, RCVM_E_EXISTS, 0, "there is something in '%.200s' already: a snapshot needs a directory that is new or empty", place);
  rcvmi_snapshot_draw_id (id);
  if (asprintf (temp, "%s" TEMPORARY "%.8s", place, id) < 0)
    {
      *temp = NULL;
      return rcvmi_fail_nomem (err);
    }
  return 0;
}

int
rcvmi_snapshot_begin (const char *temp, rcvm_error **err)
{
  static const char *const files[] = { "memory", "state" };

  if (mkdir (temp, 0700) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make the directory '%.200s'", temp);
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
    {
      autofree char *path = rcvmi_snapshot_path (temp, files[i]);
      autoclose int fd = path ? open (path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;

      if (fd < 0)
        return path ? rcvmi_fail_errno (err, errno, "cannot make '%.200s'", path) : rcvmi_fail_nomem (err);
    }
  return 0;
}

static bool
is_of_a_snapshot (const char *name)
{
  static const char *const files[] = { "index", "options", "memory", "changes", "state" };

  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
    if (strcmp (name, files[i]) == 0)
      return true;
  return strncmp (name, "disk-", 5) == 0;
}

void
rcvmi_snapshot_discard (const char *temp)
{
  const char *slash = strrchr (temp, '/');
  struct dirent *entry;
  DIR *dir;
  int fd;

  if (!slash || !strstr (slash, TEMPORARY))
    return;
  /* Who was writing there may not have ended quite yet. */
  for (int i = 0; i < TRIES; i++)
    {
      fd = open (temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      dir = fd < 0 ? NULL : fdopendir (fd);
      if (!dir && fd >= 0)
        close (fd);
      if (!dir)
        return;
      while ((entry = readdir (dir)))
        if (is_of_a_snapshot (entry->d_name))
          unlinkat (fd, entry->d_name, 0);
      closedir (dir);
      if (rmdir (temp) == 0 || errno != ENOTEMPTY)
        return;
    }
}

int
rcvmi_snapshot_copy_part (int from, off_t at, int to, off_t there, uint64_t len)
{
  while (len > 0)
    {
      loff_t in = at, out = there;
      ssize_t n = copy_file_range (from, &in, to, &out, (size_t) len, 0);

      if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
        {
          static char buf[256 * 1024]; /* in a worker */

          n = pread (from, buf, len < sizeof buf ? (size_t) len : sizeof buf, at);
          if (n > 0)
            n = pwrite (to, buf, (size_t) n, there);
        }
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return -1;
      if (n == 0)
        break;
      at += n;
      there += n;
      len -= (uint64_t) n;
    }
  return 0;
}

int
rcvmi_snapshot_copy_range (int from, int to, off_t at, off_t end)
{
  while (at < end)
    {
      off_t data = lseek (from, at, SEEK_DATA), hole;

      if (data < 0)
        return errno == ENXIO ? 0 : -1;
      if (data >= end)
        return 0;
      hole = lseek (from, data, SEEK_HOLE);
      if (hole < 0)
        return -1;
      if (hole > end)
        hole = end;
      if (rcvmi_snapshot_copy_part (from, data, to, data, (uint64_t) (hole - data)) < 0)
        return -1;
      at = hole;
    }
  return 0;
}

static int
write_file (const char *dir, const char *name, const void *data, size_t len, rcvm_error **err)
{
  autofree char *path = rcvmi_snapshot_path (dir, name);
  autoclose int fd = path ? open (path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
  ssize_t n;

  if (!path)
    return rcvmi_fail_nomem (err);
  n = fd < 0 ? -1 : write (fd, data, len);
  if (n >= 0 && (size_t) n < len)
    errno = ENOSPC;
  if (n < 0 || (size_t) n < len || fsync (fd) < 0)
    return rcvmi_fail_errno (err, errno, "cannot write '%.200s'", path);
  return 0;
}

int
rcvmi_snapshot_read_file (int dir_fd, const char *dir, const char *name, size_t max, char **out, size_t *len, rcvm_error **err)
{
  autoclose int fd = openat (dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  struct stat st;
  size_t done = 0;

  *out = NULL;
  *len = 0;
  if (fd < 0 || fstat (fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%.200s/%s', which a snapshot has", dir, name);
  if (!S_ISREG (st.st_mode) || (uint64_t) st.st_size > max)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.200s/%s' is no file of a snapshot", dir, name);
  *out = malloc ((size_t) st.st_size + 1);
  if (!*out)
    return rcvmi_fail_nomem (err);
  while (done < (size_t) st.st_size)
    {
      ssize_t n = read (fd, *out + done, (size_t) st.st_size - done);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return rcvmi_fail_errno (err, errno, "cannot read '%.200s/%s'", dir, name);
      if (n == 0)
        break;
      done += (size_t) n;
    }
  (*out)[done] = 0;
  *len = done;
  return 0;
}

void
rcvmi_snapshot_digest (const void *data, size_t len, char hex[RCVMI_SHA256_HEX + 1])
{
  uint8_t digest[RCVMI_SHA256_BYTES];

  rcvmi_sha256 (data, len, digest);
  rcvmi_sha256_hex (digest, hex);
}

/* The VMM's user wrote it; from here on it is ours alone. */
static int
take_file (const char *dir, const char *name, uint64_t *size, bool has_holes, rcvm_error **err)
{
  autofree char *path = rcvmi_snapshot_path (dir, name);
  autoclose int fd = path ? open (path, O_RDWR | O_NOFOLLOW | O_CLOEXEC) : -1;
  struct stat st;

  if (!path)
    return rcvmi_fail_nomem (err);
  if (fd < 0 || fstat (fd, &st) < 0 || fchown (fd, geteuid (), getegid ()) < 0 || fchmod (fd, 0600) < 0
      || (has_holes && rcvmi_template_dig_holes (fd, (uint64_t) st.st_size) < 0) || fsync (fd) < 0)
    return rcvmi_fail_errno (err, errno, "cannot take over '%.200s'", path);
  if (st.st_size == 0)
    return rcvmi_fail (err, RCVM_E_VMM, 0, "the VMM has written nothing to '%.200s'", path);
  *size = (uint64_t) st.st_size;
  return 0;
}

/* From the directory `from` to the directory `to`, both without links. */
static int
relative_path (const char *from, const char *to, char out[PATH_MAX])
{
  size_t common = 0, n = 0;

  for (size_t i = 0; from[i] && from[i] == to[i]; i++)
    if (from[i] == '/')
      common = i;
  /* `from` lies in `to`. */
  if (strncmp (from, to, strlen (to)) == 0 && from[strlen (to)] == '/')
    common = strlen (to);
  for (const char *c = from + common; *c && n + 3 < PATH_MAX; c++)
    if (*c == '/')
      n += (size_t) snprintf (out + n, PATH_MAX - n, "../");
  if (to[common])
    n += (size_t) snprintf (out + n, PATH_MAX - n, "%s", to + common + 1);
  return n < PATH_MAX ? 0 : -1;
}

int
rcvmi_snapshot_descend (struct rcvmi_snapshot *s, const char *place, const char *parent, rcvm_error **err)
{
  struct rcvmi_snapshot_memory m = { 0 };
  struct rcvmi_snapshot *below = malloc (sizeof *below);
  const char *slash = strrchr (place, '/');
  autofree char *above = slash == place ? strdup ("/") : strndup (place, (size_t) (slash - place));
  autofree char *real = above ? realpath (above, NULL) : NULL, *real_parent = realpath (parent, NULL), *from = NULL;
  struct stat st;
  int code;

  if (!below || !above || (real && asprintf (&from, "%s%s", strcmp (real, "/") == 0 ? "" : real, slash) < 0))
    {
      from = NULL;
      code = rcvmi_fail_nomem (err);
    }
  else if (!real)
    code = rcvmi_fail_errno (err, errno, "cannot make the snapshot '%.200s'", place);
  else if (!real_parent || stat (real_parent, &st) < 0 || !S_ISDIR (st.st_mode))
    code = rcvmi_fail_errno (err, real_parent ? ENOTDIR : errno, "there is no snapshot '%.200s' to which another one could be a difference", parent);
  else
    code = rcvmi_snapshot_memory_open (&m, real_parent, below, err);
  rcvmi_snapshot_memory_close (&m);
  if (code == 0 && strcmp (below->machine, s->machine) != 0)
    code = rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot '%.200s' is another container's, so this one's cannot be a difference to it", parent);
  else if (code == 0 && below->depth == RCVMI_SNAPSHOT_DEEP)
    code = rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot '%.200s' is the %dth difference in a row already: save a whole one", parent,
                       RCVMI_SNAPSHOT_DEEP);
  else if (code == 0 && relative_path (from, real_parent, s->parent) < 0)
    code = rcvmi_fail (err, RCVM_E_INVALID, 0, "the way from '%.200s' to '%.200s' is too long", place, parent);
  if (code == 0)
    {
      s->depth = below->depth + 1;
      memcpy (s->parent_digest, below->digest, sizeof s->parent_digest);
      memcpy (s->parent_id, below->id, sizeof s->parent_id);
    }
  free (below);
  return code;
}

/* What is in the parent already goes. */
static int
reduce (struct rcvmi_snapshot *s, const char *temp, const char *parent, rcvm_error **err)
{
  autofree char *path = rcvmi_snapshot_path (temp, "memory");
  autoclose int fd = path ? open (path, O_RDWR | O_NOFOLLOW | O_CLOEXEC) : -1;
  struct rcvmi_snapshot_memory m = { 0 };
  autofree uint8_t *changes = NULL;
  size_t len = 0;
  int code;

  if (!path)
    code = rcvmi_fail_nomem (err);
  else if (fd < 0)
    code = rcvmi_fail_errno (err, errno, "cannot take over '%.200s'", path);
  else
    code = rcvmi_snapshot_memory_open_known (&m, parent, s->parent_digest, err);
  if (code == 0)
    {
      len = rcvmi_snapshot_changes_len (m.size);
      changes = malloc (len + 1);
      code = changes ? rcvmi_snapshot_memory_reduce (&m, fd, changes, err) : rcvmi_fail_nomem (err);
    }
  if (code == 0)
    {
      rcvmi_snapshot_digest (changes, len, s->changes_digest);
      code = write_file (temp, "changes", changes, len, err);
    }
  rcvmi_snapshot_memory_close (&m);
  return code;
}

int
rcvmi_snapshot_publish (struct rcvmi_snapshot *s, const char *temp, const char *place, const char *parent,
                        const struct rcvmi_options *options, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  autoclose int dir = open (temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  autofree char *state = NULL, *index = NULL;
  size_t len;
  int code = s->depth ? reduce (s, temp, parent, err) : 0;

  if (code == 0)
    code = take_file (temp, "memory", &s->memory, true, err);
  if (code == 0)
    code = take_file (temp, "state", &s->state, false, err);
  if (code == 0)
    code = rcvmi_snapshot_read_file (dir, temp, "state", STATE_MAX, &state, &len, err);
  if (code < 0)
    return code;
  rcvmi_snapshot_digest (state, len, s->state_digest);
  rcvmi_options_encode (options, &w);
  if (w.failed)
    code = rcvmi_fail_nomem (err);
  else
    {
      rcvmi_snapshot_digest (w.data, w.len, s->options_digest);
      code = write_file (temp, "options", w.data, w.len, err);
    }
  tlv_writer_free (&w);
  if (code == 0)
    code = rcvmi_snapshot_encode (s, &index, err);
  if (code == 0)
    code = write_file (temp, "index", index, strlen (index), err);
  if (code < 0)
    return code;
  if (dir < 0 || fsync (dir) < 0 || rename (temp, place) < 0)
    return rcvmi_fail_errno (err, errno, "cannot put the snapshot into its place '%.200s'", place);
  return 0;
}

/* It is read. */

static int
check_length (const char *dir, const char *name, uint64_t size, rcvm_error **err)
{
  autofree char *path = rcvmi_snapshot_path (dir, name);
  struct stat st;

  if (!path)
    return rcvmi_fail_nomem (err);
  if (lstat (path, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot find '%.200s', which the snapshot has", path);
  if (!S_ISREG (st.st_mode) || (uint64_t) st.st_size != size)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot's file '%.200s' has %jd bytes, and was made with %ju", path,
                       (intmax_t) st.st_size, (uintmax_t) size);
  return 0;
}

/* One whose digest the index has; the caller frees it. */
static int
read_checked (int dir_fd, const char *dir, const char *name, size_t max, const char *digest, char **out, size_t *len, rcvm_error **err)
{
  char hex[RCVMI_SHA256_HEX + 1];
  int code = rcvmi_snapshot_read_file (dir_fd, dir, name, max, out, len, err);

  if (code < 0)
    return code;
  rcvmi_snapshot_digest (*out, *len, hex);
  if (strcmp (hex, digest) != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot's file '%.200s/%s' is not what was written", dir, name);
  return 0;
}

int
rcvmi_snapshot_read (struct rcvmi_snapshot *s, const char *dir, struct rcvmi_options *options, rcvm_error **err)
{
  autoclose int dir_fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  autofree char *state = NULL, *made = NULL;
  struct rcvmi_snapshot_memory m = { 0 };
  char name[RCVMI_SNAPSHOT_SERIAL + 8], digest[RCVMI_SHA256_HEX + 1];
  size_t len;
  int code;

  *options = RCVMI_OPTIONS_INIT;
  if (dir_fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%.200s/index', which a snapshot has", dir);
  code = rcvmi_snapshot_read_index (s, dir_fd, dir, err);
  if (code < 0)
    return code;
  code = check_length (dir, "memory", s->memory, err);
  if (code == 0)
    code = check_length (dir, "state", s->state, err);
  for (size_t i = 0; code == 0 && i < s->n_disks; i++)
    {
      snprintf (name, sizeof name, "disk-%s", s->disks[i].serial);
      code = check_length (dir, name, s->disks[i].stored, err);
    }
  if (code == 0)
    code = read_checked (dir_fd, dir, "state", STATE_MAX, s->state_digest, &state, &len, err);
  if (code == 0)
    code = read_checked (dir_fd, dir, "options", OPTIONS_MAX, s->options_digest, &made, &len, err);
  if (code == 0 && s->depth)
    {
      memcpy (digest, s->digest, sizeof digest);
      code = rcvmi_snapshot_memory_open (&m, dir, s, err);
      if (code == 0 && strcmp (digest, s->digest) != 0)
        code = rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot '%.200s' became another one while it was read", dir);
    }
  rcvmi_snapshot_memory_close (&m);
  return code < 0 ? code : rcvmi_options_decode (options, made, len, err);
}
