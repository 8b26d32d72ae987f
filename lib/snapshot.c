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
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include <runcvm/version.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "json.h"
#include "template.h"

#define FORMAT 1

enum
{
  INDEX_MAX = 64 * 1024,
  OPTIONS_MAX = 8 * 1024 * 1024,
  STATE_MAX = 16 * 1024 * 1024
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
  struct rcvmi_sha256 sha;
  int code;

  snprintf (s->vmm, sizeof s->vmm, "%s", vmm->ops->name);
  s->version = vmm->version;
  rcvmi_sha256_init (&sha);
  code = rcvmi_template_add_cpu (&sha, err);
  hex_of (&sha, s->cpu);
  if (code < 0)
    return code;
  rcvmi_sha256_init (&sha);
  code = vmm->ops->shape (vmm, config, &sha, err);
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

int
rcvmi_snapshot_begin (const char *place, char **temp, rcvm_error **err)
{
  static const char *const files[] = { "memory", "state" };
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
  if (asprintf (temp, "%s.tmp.XXXXXX", place) < 0)
    {
      *temp = NULL;
      return rcvmi_fail_nomem (err);
    }
  if (!mkdtemp (*temp))
    {
      free (steal_ptr (*temp));
      return rcvmi_fail_errno (err, errno, "cannot make a directory beside '%.200s'", place);
    }
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
    {
      autofree char *path = rcvmi_snapshot_path (*temp, files[i]);
      autoclose int fd = path ? open (path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;

      if (fd < 0)
        return path ? rcvmi_fail_errno (err, errno, "cannot make '%.200s'", path) : rcvmi_fail_nomem (err);
    }
  return 0;
}

void
rcvmi_snapshot_discard (const char *temp)
{
  autoclose int fd = open (temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int again = fd < 0 ? -1 : fcntl (fd, F_DUPFD_CLOEXEC, 3);
  DIR *dir = again < 0 ? NULL : fdopendir (again);
  struct dirent *entry;

  while (dir && (entry = readdir (dir)))
    if (entry->d_name[0] != '.')
      unlinkat (fd, entry->d_name, 0);
  if (dir)
    closedir (dir);
  else if (again >= 0)
    close (again);
  rmdir (temp);
}

static int
copy_data (int from, int to, off_t size)
{
  off_t at = 0;

  while (at < size)
    {
      off_t data = lseek (from, at, SEEK_DATA), hole;

      if (data < 0)
        return errno == ENXIO ? 0 : -1;
      hole = lseek (from, data, SEEK_HOLE);
      if (hole < 0)
        return -1;
      for (at = data; at < hole;)
        {
          loff_t in = at, out = at;
          ssize_t n = copy_file_range (from, &in, to, &out, (size_t) (hole - at), 0);

          if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
            {
              static char buf[256 * 1024]; /* in a worker */
              size_t want = hole - at < (off_t) sizeof buf ? (size_t) (hole - at) : sizeof buf;

              n = pread (from, buf, want, at);
              if (n > 0)
                n = pwrite (to, buf, (size_t) n, at);
            }
          if (n < 0 && errno == EINTR)
            continue;
          if (n < 0)
            return -1;
          if (n == 0)
            break;
          at += n;
        }
      at = hole;
    }
  return 0;
}

int
rcvmi_snapshot_copy (const char *from, const char *to, uint64_t *size, rcvm_error **err)
{
  autoclose int in = open (from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  autoclose int out = in < 0 ? -1 : open (to, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  struct stat st;

  if (in < 0 || fstat (in, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the disk '%.200s'", from);
  if (out < 0)
    return rcvmi_fail_errno (err, errno, "cannot make '%.200s'", to);
  if (size)
    *size = (uint64_t) st.st_size;
  if (ioctl (out, FICLONE, in) == 0)
    return 0;
  if (ftruncate (out, st.st_size) < 0 || copy_data (in, out, st.st_size) < 0)
    return rcvmi_fail_errno (err, errno, "cannot copy '%.200s' to '%.200s'", from, to);
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

/* The whole of it, to be freed, with a NUL behind. */
static int
read_file (const char *dir, const char *name, size_t max, char **out, size_t *len, rcvm_error **err)
{
  autofree char *path = rcvmi_snapshot_path (dir, name);
  autoclose int fd = path ? open (path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
  struct stat st;
  size_t done = 0;

  *out = NULL;
  if (!path)
    return rcvmi_fail_nomem (err);
  if (fd < 0 || fstat (fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%.200s', which a snapshot has", path);
  if (!S_ISREG (st.st_mode) || (uint64_t) st.st_size > max)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.200s' is no file of a snapshot", path);
  *out = malloc ((size_t) st.st_size + 1);
  if (!*out)
    return rcvmi_fail_nomem (err);
  while (done < (size_t) st.st_size)
    {
      ssize_t n = read (fd, *out + done, (size_t) st.st_size - done);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return rcvmi_fail_errno (err, errno, "cannot read '%.200s'", path);
      if (n == 0)
        break;
      done += (size_t) n;
    }
  (*out)[done] = 0;
  *len = done;
  return 0;
}

static void
digest_of (const void *data, size_t len, char hex[RCVMI_SHA256_HEX + 1])
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

static struct json_object *
hex_json (const uint8_t *data, size_t len)
{
  char text[2 * 32 + 1] = "";

  for (size_t i = 0; i < len && i < 32; i++)
    snprintf (text + 2 * i, 3, "%02x", data[i]);
  return json_object_new_string (text);
}

static struct json_object *
to_json (const struct rcvmi_snapshot *s, struct rcvmi_json *b)
{
  struct json_object *o = json_object_new_object (), *streams = json_object_new_object (), *nics = json_object_new_array (),
                     *disks = json_object_new_array ();

  rcvmi_json_put_int (b, o, "format", FORMAT);
  rcvmi_json_put_str (b, o, "library", RCVM_VERSION_STRING);
  rcvmi_json_put_str (b, o, "vmm", s->vmm);
  rcvmi_json_put_int (b, o, "vmmVersion", s->version);
  rcvmi_json_put_str (b, o, "cpu", s->cpu);
  rcvmi_json_put_str (b, o, "shape", s->shape);
  rcvmi_json_put_str (b, o, "base", s->base);
  rcvmi_json_put_int (b, o, "memory", (int64_t) s->memory);
  rcvmi_json_put_int (b, o, "state", (int64_t) s->state);
  rcvmi_json_put_str (b, o, "stateDigest", s->state_digest);
  rcvmi_json_put_str (b, o, "optionsDigest", s->options_digest);
  rcvmi_json_put_int (b, o, "guestPid", s->guest_pid);
  rcvmi_json_put_int (b, streams, "inCredit", s->streams.in_credit);
  rcvmi_json_put_int (b, streams, "inEnded", s->streams.in_ended);
  rcvmi_json_put_int (b, streams, "outOwed", s->streams.owed[0]);
  rcvmi_json_put_int (b, streams, "outEnded", s->streams.ended[0]);
  rcvmi_json_put_int (b, streams, "outBroken", s->streams.broken[0]);
  rcvmi_json_put_int (b, streams, "errOwed", s->streams.owed[1]);
  rcvmi_json_put_int (b, streams, "errEnded", s->streams.ended[1]);
  rcvmi_json_put_int (b, streams, "errBroken", s->streams.broken[1]);
  rcvmi_json_put (b, o, "streams", streams);
  for (size_t i = 0; i < s->n_nics; i++)
    {
      struct json_object *nic = rcvmi_json_append_object (b, nics);

      rcvmi_json_put_int (b, nic, "number", s->nics[i].number);
      rcvmi_json_put (b, nic, "mac", hex_json (s->nics[i].mac, sizeof s->nics[i].mac));
    }
  rcvmi_json_put (b, o, "nics", nics);
  for (size_t i = 0; i < s->n_disks; i++)
    {
      struct json_object *disk = rcvmi_json_append_object (b, disks);

      rcvmi_json_put_str (b, disk, "serial", s->disks[i].serial);
      rcvmi_json_put_int (b, disk, "size", (int64_t) s->disks[i].size);
    }
  rcvmi_json_put (b, o, "disks", disks);
  if (s->has_key)
    rcvmi_json_put (b, o, "volumesKey", hex_json (s->key, sizeof s->key));
  return o;
}

static int
write_index (const struct rcvmi_snapshot *s, const char *temp, rcvm_error **err)
{
  struct rcvmi_json b = { false };
  struct json_object *o = to_json (s, &b);
  char hex[RCVMI_SHA256_HEX + 1];
  autofree char *text = NULL;
  const char *json = o && !b.failed ? json_object_to_json_string_ext (o, JSON_C_TO_STRING_PRETTY) : NULL;
  int n = -1;

  if (json)
    {
      digest_of (json, strlen (json), hex);
      n = asprintf (&text, "%s\n%s", hex, json);
    }
  json_object_put (o);
  if (n < 0)
    {
      text = NULL;
      return rcvmi_fail_nomem (err);
    }
  return write_file (temp, "index", text, (size_t) n, err);
}

int
rcvmi_snapshot_publish (struct rcvmi_snapshot *s, const char *temp, const char *place, const struct rcvmi_options *options,
                        rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  autoclose int dir = open (temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  autofree char *state = NULL;
  size_t len;
  int code = take_file (temp, "memory", &s->memory, true, err);

  if (code == 0)
    code = take_file (temp, "state", &s->state, false, err);
  if (code == 0)
    code = read_file (temp, "state", STATE_MAX, &state, &len, err);
  if (code < 0)
    return code;
  digest_of (state, len, s->state_digest);
  rcvmi_options_encode (options, &w);
  if (w.failed)
    code = rcvmi_fail_nomem (err);
  else
    {
      digest_of (w.data, w.len, s->options_digest);
      code = write_file (temp, "options", w.data, w.len, err);
    }
  tlv_writer_free (&w);
  if (code == 0)
    code = write_index (s, temp, err);
  if (code < 0)
    return code;
  if (dir < 0 || fsync (dir) < 0 || rename (temp, place) < 0)
    return rcvmi_fail_errno (err, errno, "cannot put the snapshot into its place '%.200s'", place);
  return 0;
}

/* It is read. */

struct source
{
  struct json_object *o;
  bool bad;
};

static struct json_object *
get (struct source *s, const char *key, enum json_type type)
{
  struct json_object *v = NULL;

  if (!s->o || !json_object_object_get_ex (s->o, key, &v) || json_object_get_type (v) != type)
    {
      s->bad = true;
      return NULL;
    }
  return v;
}

static uint64_t
number (struct source *s, const char *key, uint64_t max)
{
  struct json_object *v = get (s, key, json_type_int);
  int64_t n = v ? json_object_get_int64 (v) : 0;

  if (n < 0 || (uint64_t) n > max)
    s->bad = true;
  return s->bad ? 0 : (uint64_t) n;
}

static void
text (struct source *s, const char *key, char *out, size_t size)
{
  struct json_object *v = get (s, key, json_type_string);
  const char *value = v ? json_object_get_string (v) : "";

  if (strlen (value) >= size || strchr (value, '/'))
    s->bad = true;
  else
    snprintf (out, size, "%s", value);
}

static void
bytes (struct source *s, const char *key, uint8_t *out, size_t len)
{
  char hex[65] = "";

  text (s, key, hex, sizeof hex);
  if (strlen (hex) != 2 * len || strspn (hex, "0123456789abcdef") != 2 * len)
    s->bad = true;
  for (size_t i = 0; !s->bad && i < len; i++)
    {
      char pair[3] = { hex[2 * i], hex[2 * i + 1], 0 };

      out[i] = (uint8_t) strtoul (pair, NULL, 16);
    }
}

static void
take_lists (struct rcvmi_snapshot *s, struct source *f)
{
  struct json_object *nics = get (f, "nics", json_type_array), *disks = get (f, "disks", json_type_array);

  s->n_nics = nics ? json_object_array_length (nics) : 0;
  s->n_disks = disks ? json_object_array_length (disks) : 0;
  if (s->n_nics > RCVMI_VMM_NICS || s->n_disks > RCVMI_VMM_DISKS)
    f->bad = true;
  for (size_t i = 0; !f->bad && i < s->n_nics; i++)
    {
      struct source n = { json_object_array_get_idx (nics, i), false };

      s->nics[i].number = (unsigned) number (&n, "number", UINT16_MAX);
      bytes (&n, "mac", s->nics[i].mac, sizeof s->nics[i].mac);
      f->bad |= n.bad;
    }
  for (size_t i = 0; !f->bad && i < s->n_disks; i++)
    {
      struct source d = { json_object_array_get_idx (disks, i), false };

      text (&d, "serial", s->disks[i].serial, sizeof s->disks[i].serial);
      s->disks[i].size = number (&d, "size", INT64_MAX);
      f->bad |= d.bad;
    }
}

static void
take_streams (struct rcvmi_streams_saved *t, struct source *f)
{
  struct source s = { get (f, "streams", json_type_object), false };

  t->in_credit = (uint32_t) number (&s, "inCredit", AGENT_WINDOW);
  t->in_ended = number (&s, "inEnded", 1);
  t->owed[0] = (uint32_t) number (&s, "outOwed", AGENT_WINDOW);
  t->ended[0] = number (&s, "outEnded", 1);
  t->broken[0] = number (&s, "outBroken", 1);
  t->owed[1] = (uint32_t) number (&s, "errOwed", AGENT_WINDOW);
  t->ended[1] = number (&s, "errEnded", 1);
  t->broken[1] = number (&s, "errBroken", 1);
  f->bad |= s.bad;
}

int
rcvmi_snapshot_parse (struct rcvmi_snapshot *s, const char *data, size_t len, const char **why)
{
  char hex[RCVMI_SHA256_HEX + 1], library[64] = "";
  struct source f = { 0 };

  memset (s, 0, sizeof *s);
  *why = "its index is damaged";
  if (len <= RCVMI_SHA256_HEX || data[RCVMI_SHA256_HEX] != '\n')
    return 1;
  digest_of (data + RCVMI_SHA256_HEX + 1, len - RCVMI_SHA256_HEX - 1, hex);
  if (memcmp (hex, data, RCVMI_SHA256_HEX) != 0)
    return 1;
  f.o = json_tokener_parse (data + RCVMI_SHA256_HEX + 1);
  text (&f, "library", library, sizeof library);
  if (!f.bad && (number (&f, "format", UINT32_MAX) != FORMAT || strcmp (library, RCVM_VERSION_STRING) != 0))
    {
      *why = "another version of libruncvm has made it";
      json_object_put (f.o);
      return 1;
    }
  text (&f, "vmm", s->vmm, sizeof s->vmm);
  s->version = (unsigned) number (&f, "vmmVersion", UINT32_MAX);
  text (&f, "cpu", s->cpu, sizeof s->cpu);
  text (&f, "shape", s->shape, sizeof s->shape);
  text (&f, "base", s->base, sizeof s->base);
  s->memory = number (&f, "memory", INT64_MAX);
  s->state = number (&f, "state", STATE_MAX);
  text (&f, "stateDigest", s->state_digest, sizeof s->state_digest);
  text (&f, "optionsDigest", s->options_digest, sizeof s->options_digest);
  s->guest_pid = (uint32_t) number (&f, "guestPid", UINT32_MAX);
  take_streams (&s->streams, &f);
  take_lists (s, &f);
  s->has_key = f.o && json_object_object_get_ex (f.o, "volumesKey", NULL);
  if (s->has_key)
    bytes (&f, "volumesKey", s->key, sizeof s->key);
  json_object_put (f.o);
  return f.bad;
}

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

int
rcvmi_snapshot_read (struct rcvmi_snapshot *s, const char *dir, struct rcvmi_options *options, rcvm_error **err)
{
  autofree char *index = NULL, *state = NULL, *made = NULL;
  char hex[RCVMI_SHA256_HEX + 1], name[RCVMI_SNAPSHOT_SERIAL + 8];
  const char *why;
  size_t len;
  int code = read_file (dir, "index", INDEX_MAX, &index, &len, err);

  *options = RCVMI_OPTIONS_INIT;
  if (code < 0)
    return code;
  if (rcvmi_snapshot_parse (s, index, len, &why) != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.200s' cannot be restored: %s", dir, why);
  code = check_length (dir, "memory", s->memory, err);
  if (code == 0)
    code = check_length (dir, "state", s->state, err);
  for (size_t i = 0; code == 0 && i < s->n_disks; i++)
    {
      snprintf (name, sizeof name, "disk-%s", s->disks[i].serial);
      code = check_length (dir, name, s->disks[i].size, err);
    }
  if (code == 0)
    code = read_file (dir, "state", STATE_MAX, &state, &len, err);
  if (code < 0)
    return code;
  digest_of (state, len, hex);
  if (strcmp (hex, s->state_digest) != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot's file '%.200s/state' is not what was written", dir);
  code = read_file (dir, "options", OPTIONS_MAX, &made, &len, err);
  if (code < 0)
    return code;
  digest_of (made, len, hex);
  if (strcmp (hex, s->options_digest) != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot's file '%.200s/options' is not what was written", dir);
  return rcvmi_options_decode (options, made, len, err);
}
