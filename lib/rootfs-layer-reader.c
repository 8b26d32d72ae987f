/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libarchive takes the names in pax headers for text: it converts them to the locale's encoding,
 * and where that is UTF-8 it composes what was decomposed.  A name is bytes, and must stay what it
 * is.  In the locale "C", which this thread has while a header is read, nothing but ASCII can be
 * converted, and libarchive then says so and gives the bytes as they were.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "rootfs-layer-reader.h"

#include <endian.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-layer-libarchive.h"
#include "rootfs-layer-stream.h"

/* A header with all its attributes and the map of a sparse file.  Unpacked, a few bytes may be
   very many. */
#define HEADER_MAX (4 * 1024 * 1024)
#define NANOSECONDS 1000000000
/* What the host's device numbers and ext4's have room for. */
#define MAJOR_MAX 4095
#define MINOR_MAX 1048575

struct rcvmi_layer_reader
{
  const char *path;
  struct rcvmi_layer_stream *stream;
  struct rcvmi_rootfs_progress *progress;
  struct rcvmi_libarchive lib;
  struct archive *a;
  struct archive_entry *e;
  locale_t c_locale;
  uint64_t number;
  uint64_t header; /* bytes read for the one that is being read; counted down in `in_header` alone */
  bool in_header;
  bool something; /* before the first entry there is more than zeros */
  rcvm_error *failure; /* of what libarchive has called back */
};

static bool
is_zero (const char *p, size_t len)
{
  return len == 0 || (p[0] == 0 && memcmp (p, p + 1, len - 1) == 0);
}

static la_ssize_t
read_callback (struct archive *a, void *user, const void **data)
{
  struct rcvmi_layer_reader *r = user;
  uint64_t before = rcvmi_layer_stream_position (r->stream);
  ssize_t n = rcvmi_layer_stream_read (r->stream, data, &r->failure);

  if (n > 0 && r->number == 0 && !is_zero (*data, (size_t) n))
    r->something = true;
  if (n > 0 && r->in_header)
    {
      r->header += (uint64_t) n;
      if (r->header > HEADER_MAX)
        {
          rcvmi_layer_reader_fail (r, RCVM_E_IMAGE, "a header of more than 4 MiB", &r->failure);
          n = -1;
        }
    }
  /* Not from within a header, as the locale is not the caller's then. */
  else if (n > 0
           && rcvmi_rootfs_progress (r->progress, 0, rcvmi_layer_stream_position (r->stream) - before,
                                     &r->failure)
                  < 0)
    n = -1;
  if (n < 0)
    {
      r->lib.archive_set_error (a, EIO, "see the reader");
      return -1;
    }
  return n;
}

static la_int64_t
skip_callback (struct archive *a, void *user, la_int64_t n)
{
  struct rcvmi_layer_reader *r = user;

  (void) a;
  return rcvmi_layer_stream_skip (r->stream, n);
}

int
rcvmi_layer_reader_fail (const struct rcvmi_layer_reader *r, int code, const char *what, rcvm_error **err)
{
  const char *name = r->e ? r->lib.archive_entry_pathname (r->e) : NULL;
  const char *verb = code == RCVM_E_IMAGE ? "is damaged" : "cannot be used";

  if (name)
    return rcvmi_fail (err, code, 0, "the layer '%s' %s at '%.512s': %s", r->path, verb, name, what);
  return rcvmi_fail (err, code, 0, "the layer '%s' %s: %s", r->path, verb, what);
}

static int
fail_archive (struct rcvmi_layer_reader *r, rcvm_error **err)
{
  const char *what = r->lib.archive_error_string (r->a);

  if (r->failure)
    return rcvmi_error_pass (err, steal_ptr (r->failure));
  if (r->lib.archive_errno (r->a) == ENOMEM)
    return rcvmi_fail_nomem (err);
  return rcvmi_layer_reader_fail (r, RCVM_E_IMAGE, what && *what ? what : "it is no tar", err);
}

int
rcvmi_layer_reader_open (struct rcvmi_layer_reader **out, const struct rcvmi_origin *origin,
                         struct rcvmi_rootfs_progress *p, rcvm_error **err)
{
  struct rcvmi_layer_reader *r = calloc (1, sizeof *r);
  int code;

  if (!r)
    return rcvmi_fail_nomem (err);
  r->path = origin->path;
  r->progress = p;
  r->c_locale = newlocale (LC_CTYPE_MASK, "C", (locale_t) 0);
  code = rcvmi_libarchive_load (&r->lib, err);
  if (code == 0)
    r->a = r->lib.archive_read_new ();
  if (code == 0 && (!r->c_locale || !r->a))
    code = rcvmi_fail_nomem (err);
  if (code == 0)
    code = rcvmi_layer_stream_open (&r->stream, origin->fd, r->path, err);
  if (code < 0)
    {
      rcvmi_layer_reader_close (r);
      return code;
    }
  r->lib.archive_read_support_format_tar (r->a);
  if (r->lib.archive_read_open2 (r->a, r, NULL, read_callback, skip_callback, NULL) != ARCHIVE_OK)
    {
      code = fail_archive (r, err);
      rcvmi_layer_reader_close (r);
      return code;
    }
  *out = r;
  return 0;
}

void
rcvmi_layer_reader_close (struct rcvmi_layer_reader *r)
{
  if (!r)
    return;
  if (r->a)
    r->lib.archive_read_free (r->a);
  rcvmi_layer_stream_close (r->stream);
  if (r->c_locale)
    freelocale (r->c_locale);
  rcvm_error_free (r->failure);
  rcvmi_libarchive_unload (&r->lib);
  free (r);
}

/* What comes after the last entry: the mark of the end, and what the checksum of all covers. */
static int
finish (struct rcvmi_layer_reader *r, int64_t behind_last, rcvm_error **err)
{
  bool packed = rcvmi_layer_stream_is_packed (r->stream);
  const void *data;
  ssize_t n;

  r->e = NULL;
  /* A packed one has its own end to tell by, and some programs leave the mark out. */
  if (!packed && r->lib.archive_filter_bytes (r->a, 0) == behind_last)
    return rcvmi_layer_reader_fail (r, RCVM_E_IMAGE,
                                    "it is cut short, as the mark at its end is missing", err);
  if (!packed && r->number)
    return 0;
  while ((n = rcvmi_layer_stream_read (r->stream, &data, err)) > 0)
    {
      if (rcvmi_rootfs_progress (r->progress, 0, 0, err) < 0)
        return -1;
      if (r->number == 0 && !is_zero (data, (size_t) n))
        r->something = true;
    }
  if (n < 0)
    return -1;
  /* Other files start with zeros, too, which is what the end looks like. */
  if (r->number == 0 && r->something)
    return rcvmi_layer_reader_fail (r, RCVM_E_IMAGE, "it is no tar", err);
  return 0;
}

static int
check_ids (struct rcvmi_layer_reader *r, struct rcvmi_layer_entry *entry, rcvm_error **err)
{
  int64_t uid = r->lib.archive_entry_uid (r->e), gid = r->lib.archive_entry_gid (r->e);

  if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
    return rcvmi_layer_reader_fail (r, RCVM_E_IMAGE, "an owner that no file can have", err);
  entry->uid = (uint32_t) uid;
  entry->gid = (uint32_t) gid;
  return 0;
}

static uint64_t
pack_time (int64_t sec, long nsec)
{
  if (nsec < 0 || nsec >= NANOSECONDS)
    nsec = 0;
  /* libarchive takes the sign of "-5.25" for that of the seconds alone; that of "-0.25" is lost. */
  if (sec < 0 && nsec)
    {
      sec--;
      nsec = NANOSECONDS - nsec;
    }
  return rcvmi_time_pack (sec, (uint32_t) nsec);
}

static int
describe (struct rcvmi_layer_reader *r, struct rcvmi_layer_entry *entry, rcvm_error **err)
{
  struct archive_entry *e = r->e;

  *entry = (struct rcvmi_layer_entry){ .number = r->number, .path = r->lib.archive_entry_pathname (e) };
  if (!entry->path)
    return rcvmi_layer_reader_fail (r, RCVM_E_IMAGE, "an entry without a name", err);
  entry->hardlink = r->lib.archive_entry_hardlink (e);
  if (entry->hardlink)
    return 0;
  entry->mode = (uint16_t) ((r->lib.archive_entry_filetype (e) & S_IFMT)
                            | (r->lib.archive_entry_perm (e) & 07777));
  entry->mtime = pack_time (r->lib.archive_entry_mtime (e), r->lib.archive_entry_mtime_nsec (e));
  entry->atime = entry->mtime;
  if (r->lib.archive_entry_atime_is_set (e))
    entry->atime = pack_time (r->lib.archive_entry_atime (e), r->lib.archive_entry_atime_nsec (e));
  if (check_ids (r, entry, err) < 0)
    return -1;
  /* Which is what the host gives to each. */
  if (S_ISLNK (entry->mode))
    entry->mode = S_IFLNK | 0777;
  switch (entry->mode & S_IFMT)
    {
    case S_IFREG:
      if (r->lib.archive_entry_size (e) < 0)
        return rcvmi_layer_reader_fail (r, RCVM_E_IMAGE, "a negative size", err);
      entry->size = (uint64_t) r->lib.archive_entry_size (e);
      r->lib.archive_entry_sparse_reset (e);
      return 0;
    case S_IFLNK:
      entry->target = r->lib.archive_entry_symlink (e);
      if (!entry->target || !*entry->target || strlen (entry->target) >= RCVMI_BLOCK)
        return rcvmi_layer_reader_fail (r, RCVM_E_IMAGE, "a symlink with a target of an impossible length",
                                        err);
      return 0;
    case S_IFCHR:
    case S_IFBLK:
      if (r->lib.archive_entry_rdevmajor (e) > MAJOR_MAX || r->lib.archive_entry_rdevminor (e) > MINOR_MAX)
        return rcvmi_layer_reader_fail (r, RCVM_E_IMAGE, "a device number that is out of range", err);
      entry->rdev = makedev ((unsigned) r->lib.archive_entry_rdevmajor (e),
                             (unsigned) r->lib.archive_entry_rdevminor (e));
      return 0;
    case S_IFDIR:
    case S_IFIFO:
      return 0;
    default:
      return rcvmi_layer_reader_fail (r, RCVM_E_IMAGE, "an entry of an unknown type", err);
    }
}

/* The only warnings that leave an entry whole: see above. */
static bool
is_about_encoding (const struct rcvmi_layer_reader *r)
{
  const char *what = r->lib.archive_error_string (r->a);

  return what && strstr (what, "can't be converted");
}

int
rcvmi_layer_reader_next (struct rcvmi_layer_reader *r, struct rcvmi_layer_entry *entry, rcvm_error **err)
{
  int64_t behind_last = 0;
  locale_t old;
  int code;

  if (r->e && r->lib.archive_read_data_skip (r->a) != ARCHIVE_OK)
    return fail_archive (r, err);
  if (r->e)
    behind_last = r->lib.archive_filter_bytes (r->a, 0);
  r->header = 0;
  r->in_header = true;
  old = uselocale (r->c_locale);
  code = r->lib.archive_read_next_header (r->a, &r->e);
  uselocale (old);
  r->in_header = false;
  if (code == ARCHIVE_EOF)
    return finish (r, behind_last, err);
  if (code != ARCHIVE_OK && (code != ARCHIVE_WARN || !is_about_encoding (r)))
    {
      if (code != ARCHIVE_WARN)
        r->e = NULL;
      return fail_archive (r, err);
    }
  r->number++;
  return describe (r, entry, err) < 0 ? -1 : 1;
}

/* The kernel's form of an ACL. */
struct acl_entry
{
  uint16_t tag, perm;
  uint32_t id;
};

static uint16_t
acl_tag (int tag)
{
  switch (tag)
    {
    case ARCHIVE_ENTRY_ACL_USER_OBJ:
      return 1;
    case ARCHIVE_ENTRY_ACL_USER:
      return 2;
    case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
      return 4;
    case ARCHIVE_ENTRY_ACL_GROUP:
      return 8;
    case ARCHIVE_ENTRY_ACL_MASK:
      return 16;
    case ARCHIVE_ENTRY_ACL_OTHER:
      return 32;
    default:
      return 0;
    }
}

static int
compare_acl (const void *a, const void *b)
{
  const struct acl_entry *x = a, *y = b;
  uint16_t x_tag = le16toh (x->tag), y_tag = le16toh (y->tag);
  uint32_t x_id = le32toh (x->id), y_id = le32toh (y->id);

  return x_tag != y_tag ? (x_tag > y_tag) - (x_tag < y_tag) : (x_id > y_id) - (x_id < y_id);
}

static int
add_acl (struct rcvmi_layer_reader *r, int type, const char *name, struct rcvmi_xattr_list *list)
{
  int count = r->lib.archive_entry_acl_reset (r->e, type), got_type, permset, tag, id;
  autofree char *value = NULL;
  struct acl_entry *entries;
  const char *who;
  size_t n = 0;

  /* Three say no more than the mode; libarchive makes them up from it. */
  if (count <= (type == ARCHIVE_ENTRY_ACL_TYPE_ACCESS ? 3 : 0))
    return 0;
  if (count > 8000)
    return -E2BIG;
  value = malloc (sizeof *entries * ((size_t) count + 4));
  if (!value)
    return -ENOMEM;
  *(uint32_t *) (void *) value = htole32 (2);
  entries = (struct acl_entry *) (void *) (value + sizeof (uint32_t));
  while (r->lib.archive_entry_acl_next (r->e, type, &got_type, &permset, &tag, &id, &who) == ARCHIVE_OK
         && n < (size_t) count + 3)
    {
      uint16_t t = acl_tag (tag);
      bool named = t == 2 || t == 8;

      if (!t)
        return -EINVAL;
      if (named && id < 0)
        return -ENOTSUP;
      entries[n++] = (struct acl_entry){ htole16 (t), htole16 ((uint16_t) (permset & 7)),
                                         htole32 (named ? (uint32_t) id : UINT32_MAX) };
    }
  qsort (entries, n, sizeof *entries, compare_acl);
  return rcvmi_xattr_list_add (list, name, value, sizeof (uint32_t) + n * sizeof *entries);
}

int
rcvmi_layer_reader_xattrs (struct rcvmi_layer_reader *r, struct rcvmi_xattr_list *list)
{
  const char *name;
  const void *value;
  size_t len;
  int code;

  r->lib.archive_entry_xattr_reset (r->e);
  while (r->lib.archive_entry_xattr_next (r->e, &name, &value, &len) == ARCHIVE_OK)
    {
      code = name ? rcvmi_xattr_list_add (list, name, value, len) : 0;
      if (code < 0)
        return code;
    }
  code = add_acl (r, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access", list);
  if (code == 0)
    code = add_acl (r, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default", list);
  return code;
}

bool
rcvmi_layer_reader_is_sparse (struct rcvmi_layer_reader *r)
{
  return r->lib.archive_entry_sparse_reset (r->e) > 0;
}

int
rcvmi_layer_reader_segment (struct rcvmi_layer_reader *r, uint64_t *offset, uint64_t *len)
{
  la_int64_t at, n;

  if (r->lib.archive_entry_sparse_next (r->e, &at, &n) != ARCHIVE_OK)
    return 0;
  *offset = (uint64_t) at;
  *len = (uint64_t) n;
  return 1;
}

int
rcvmi_layer_reader_data (struct rcvmi_layer_reader *r, const void **data, size_t *len, uint64_t *offset,
                         rcvm_error **err)
{
  la_int64_t at = 0;
  int code = r->lib.archive_read_data_block (r->a, data, len, &at);

  if (code == ARCHIVE_EOF)
    return 0;
  if (code != ARCHIVE_OK || at < 0)
    return fail_archive (r, err);
  *offset = (uint64_t) at;
  return 1;
}
