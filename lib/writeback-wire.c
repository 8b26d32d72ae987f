/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "writeback-wire.h"

#include "writeback-known.h"

#include <string.h>
#include <sys/stat.h>

enum tag
{
  TAG_NAME = 1,
  TAG_MODE,
  TAG_UID,
  TAG_GID,
  TAG_ATIME,
  TAG_ATIME_NSEC,
  TAG_MTIME,
  TAG_MTIME_NSEC,
  TAG_XATTRS,
  TAG_FLAGS,
  TAG_INO,
  TAG_SIZE,
  TAG_MAJOR,
  TAG_MINOR,
  TAG_TARGET,
  TAG_EXTENTS,
  TAG_OFFSET,
  TAG_DATA,
  /* in TAG_XATTRS */
  TAG_XATTR_NAME = 1,
  TAG_XATTR_VALUE
};

enum
{
  FLAG_OPAQUE = 1,
  FLAG_LINKED = 2,
  FLAG_COPIED = 4,
  EXTENT_SIZE = 24,
  XATTR_NAME_MAX_LEN = 255,
  XATTR_VALUE_MAX = 65536,
  DEPTH_MAX = 100000
};

static void
put_metadata (struct tlv_writer *w, const struct rcvmi_wb_record *r,
              const struct tlv_writer *xattrs)
{
  tlv_put_u32 (w, TAG_MODE, r->mode);
  tlv_put_u32 (w, TAG_UID, r->uid);
  tlv_put_u32 (w, TAG_GID, r->gid);
  tlv_put_u64 (w, TAG_ATIME, (uint64_t) r->atime.tv_sec);
  tlv_put_u32 (w, TAG_ATIME_NSEC, (uint32_t) r->atime.tv_nsec);
  tlv_put_u64 (w, TAG_MTIME, (uint64_t) r->mtime.tv_sec);
  tlv_put_u32 (w, TAG_MTIME_NSEC, (uint32_t) r->mtime.tv_nsec);
  tlv_put_u32 (w, TAG_FLAGS,
               (r->opaque ? FLAG_OPAQUE : 0u) | (r->linked ? FLAG_LINKED : 0u)
                   | (r->copied ? FLAG_COPIED : 0u));
  if (xattrs && xattrs->failed)
    w->failed = true;
  else if (xattrs && xattrs->len)
    tlv_put (w, TAG_XATTRS, xattrs->data, xattrs->len);
}

void
rcvmi_wb_encode (struct tlv_writer *w, const struct rcvmi_wb_record *r,
                 const struct tlv_writer *xattrs)
{
  size_t mark = tlv_begin (w, (uint16_t) r->type);

  tlv_put_str (w, TAG_NAME, r->name);
  if (r->type == WB_DIR || r->type == WB_FILE)
    put_metadata (w, r, xattrs);
  if (r->type == WB_FILE || r->type == WB_LINK || r->type == WB_ALSO)
    tlv_put_u32 (w, TAG_INO, r->ino);
  if (r->type == WB_FILE)
    {
      if (S_ISREG (r->mode))
        tlv_put_u64 (w, TAG_SIZE, r->size);
      if (S_ISCHR (r->mode) || S_ISBLK (r->mode))
        {
          tlv_put_u32 (w, TAG_MAJOR, r->major);
          tlv_put_u32 (w, TAG_MINOR, r->minor);
        }
      if (S_ISLNK (r->mode))
        tlv_put_str (w, TAG_TARGET, r->target);
    }
  if (r->type == WB_DATA)
    tlv_put_u64 (w, TAG_OFFSET, r->offset);
  if (r->type == WB_DATA || r->type == WB_KNOWN)
    tlv_put (w, TAG_DATA, r->data, r->len);
  tlv_end (w, mark);
}

void
rcvmi_wb_put_xattr (struct tlv_writer *w, const char *name, const void *value, size_t len)
{
  tlv_put_str (w, TAG_XATTR_NAME, name);
  tlv_put (w, TAG_XATTR_VALUE, value, len);
}

static void
put_le64 (unsigned char *p, uint64_t value)
{
  for (int i = 0; i < 8; i++)
    p[i] = (unsigned char) (value >> (8 * i));
}

static uint64_t
get_le64 (const unsigned char *p)
{
  uint64_t value = 0;

  for (int i = 0; i < 8; i++)
    value |= (uint64_t) p[i] << (8 * i);
  return value;
}

void
rcvmi_wb_put_extents (struct tlv_writer *w, const struct rcvmi_wb_extent *extents, size_t n)
{
  unsigned char bytes[WB_EXTENTS_MAX * EXTENT_SIZE];
  size_t mark = tlv_begin (w, WB_EXTENTS);

  for (size_t i = 0; i < n; i++)
    {
      put_le64 (bytes + i * EXTENT_SIZE, extents[i].offset);
      put_le64 (bytes + i * EXTENT_SIZE + 8, extents[i].image);
      put_le64 (bytes + i * EXTENT_SIZE + 16, extents[i].length);
    }
  tlv_put (w, TAG_EXTENTS, bytes, n * EXTENT_SIZE);
  tlv_end (w, mark);
}

struct rcvmi_wb_extent
rcvmi_wb_get_extent (const struct rcvmi_wb_record *r, size_t i)
{
  const unsigned char *p = r->extents + i * EXTENT_SIZE;

  return (struct rcvmi_wb_extent){ .offset = get_le64 (p),
                                   .image = get_le64 (p + 8),
                                   .length = get_le64 (p + 16) };
}

bool
rcvmi_wb_is_name (const char *name)
{
  size_t len = strlen (name);

  return len > 0 && len <= WB_NAME_MAX && !strchr (name, '/') && strcmp (name, ".") != 0
         && strcmp (name, "..") != 0;
}

/* Relative, and each component a name. */
static bool
is_path (const char *path)
{
  char name[WB_NAME_MAX + 1];

  for (;;)
    {
      size_t n = strcspn (path, "/");

      if (n > WB_NAME_MAX)
        return false;
      memcpy (name, path, n);
      name[n] = 0;
      if (!rcvmi_wb_is_name (name))
        return false;
      if (!path[n])
        return true;
      path += n + 1;
    }
}

bool
rcvmi_wb_is_xattr (const char *name)
{
  static const char *const prefixes[] = { "user.", "trusted.", "security." };

  if (strlen (name) > XATTR_NAME_MAX_LEN)
    return false;
  if (strcmp (name, "system.posix_acl_access") == 0
      || strcmp (name, "system.posix_acl_default") == 0)
    return true;
  /* They would change what the host's own overlays make of the tree. */
  if (strncmp (name, "trusted.overlay.", 16) == 0)
    return false;
  for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
    {
      size_t len = strlen (prefixes[i]);

      if (strncmp (name, prefixes[i], len) == 0)
        return name[len] != 0;
    }
  return false;
}

bool
rcvmi_wb_next_xattr (struct tlv_reader *xattrs, struct rcvmi_wb_xattr *x)
{
  struct tlv_field f;

  if (!tlv_next (xattrs, &f))
    return false;
  if (f.tag != TAG_XATTR_NAME)
    {
      xattrs->bad = true;
      return false;
    }
  x->name = tlv_get_str (xattrs, &f);
  if (!tlv_next (xattrs, &f) || f.tag != TAG_XATTR_VALUE)
    {
      xattrs->bad = true;
      return false;
    }
  x->value = f.data;
  x->len = f.len;
  return !xattrs->bad;
}

static bool
are_xattrs (struct tlv_reader list)
{
  struct rcvmi_wb_xattr x;

  while (rcvmi_wb_next_xattr (&list, &x))
    if (!rcvmi_wb_is_xattr (x.name) || x.len > XATTR_VALUE_MAX)
      return false;
  return !list.bad && list.pos == list.end;
}

/* Which tags were there, as bits. */
static uint32_t
read_fields (struct rcvmi_wb_record *r, struct tlv_reader *t)
{
  struct tlv_field f;
  uint32_t seen = 0, flags;

  while (tlv_next (t, &f))
    {
      if (f.tag < 32)
        seen |= UINT32_C (1) << f.tag;
      switch ((enum tag) f.tag)
        {
        case TAG_NAME: r->name = tlv_get_str (t, &f); break;
        case TAG_MODE: r->mode = tlv_get_u32 (t, &f); break;
        case TAG_UID: r->uid = tlv_get_u32 (t, &f); break;
        case TAG_GID: r->gid = tlv_get_u32 (t, &f); break;
        case TAG_ATIME: r->atime.tv_sec = (time_t) tlv_get_u64 (t, &f); break;
        case TAG_ATIME_NSEC: r->atime.tv_nsec = tlv_get_u32 (t, &f); break;
        case TAG_MTIME: r->mtime.tv_sec = (time_t) tlv_get_u64 (t, &f); break;
        case TAG_MTIME_NSEC: r->mtime.tv_nsec = tlv_get_u32 (t, &f); break;
        case TAG_XATTRS: r->xattrs = tlv_get_record (&f); break;
        case TAG_INO: r->ino = tlv_get_u32 (t, &f); break;
        case TAG_SIZE: r->size = tlv_get_u64 (t, &f); break;
        case TAG_MAJOR: r->major = tlv_get_u32 (t, &f); break;
        case TAG_MINOR: r->minor = tlv_get_u32 (t, &f); break;
        case TAG_TARGET: r->target = tlv_get_str (t, &f); break;
        case TAG_OFFSET: r->offset = tlv_get_u64 (t, &f); break;
        case TAG_FLAGS:
          flags = tlv_get_u32 (t, &f);
          r->opaque = flags & FLAG_OPAQUE;
          r->linked = flags & FLAG_LINKED;
          r->copied = flags & FLAG_COPIED;
          break;
        case TAG_EXTENTS:
          r->extents = f.data;
          r->n_extents = f.len / EXTENT_SIZE;
          t->bad |= f.len % EXTENT_SIZE != 0;
          break;
        case TAG_DATA:
          r->data = f.data;
          r->len = f.len;
          break;
        default:
          t->bad = true;
        }
    }
  return seen;
}

#define BIT(tag) (UINT32_C (1) << (tag))
#define METADATA                                                                                  \
  (BIT (TAG_MODE) | BIT (TAG_UID) | BIT (TAG_GID) | BIT (TAG_ATIME) | BIT (TAG_ATIME_NSEC)        \
   | BIT (TAG_MTIME) | BIT (TAG_MTIME_NSEC) | BIT (TAG_FLAGS))

static const char *
check_metadata (const struct rcvmi_wb_record *r)
{
  /* ext4 holds 34 bits of seconds from 1901 on. */
  const int64_t min = -(INT64_C (1) << 31), max = (INT64_C (1) << 34) + min;

  if (r->atime.tv_nsec >= 1000000000 || r->mtime.tv_nsec >= 1000000000
      || r->atime.tv_sec < min || r->mtime.tv_sec < min || r->atime.tv_sec >= max
      || r->mtime.tv_sec >= max)
    return "a time";
  if (r->uid == (uid_t) -1 || r->gid == (gid_t) -1)
    return "an owner";
  if (r->mode & ~(mode_t) (S_IFMT | 07777))
    return "a mode";
  if (!are_xattrs (r->xattrs))
    return "an attribute";
  return NULL;
}

static const char *
check_file (const struct rcvmi_wb_record *r, uint32_t seen)
{
  uint32_t extra = seen & (BIT (TAG_SIZE) | BIT (TAG_MAJOR) | BIT (TAG_MINOR) | BIT (TAG_TARGET));
  uint32_t want;

  switch (r->mode & S_IFMT)
    {
    case S_IFREG:
      want = BIT (TAG_SIZE);
      break;
    case S_IFLNK:
      want = BIT (TAG_TARGET);
      break;
    case S_IFCHR:
    case S_IFBLK:
      want = BIT (TAG_MAJOR) | BIT (TAG_MINOR);
      break;
    case S_IFIFO:
    case S_IFSOCK:
      want = 0;
      break;
    default:
      return "a type";
    }
  if (extra != want)
    return "the fields of a file";
  if (r->size > INT64_MAX)
    return "a size";
  /* Linux has 12 and 20 bits. */
  if (r->major > 0xfff || r->minor > 0xfffff || (S_ISCHR (r->mode) && !r->major && !r->minor))
    return "a device number";
  if (r->target && (!*r->target || strlen (r->target) > WB_TARGET_MAX))
    return "the target of a symlink";
  return NULL;
}

static const char *
check_fields (const struct rcvmi_wb_record *r, uint32_t seen)
{
  uint32_t want = 0, may = 0;

  switch (r->type)
    {
    case WB_DIR:
      want = METADATA;
      may = BIT (TAG_NAME) | BIT (TAG_XATTRS);
      break;
    case WB_FILE:
      want = METADATA | BIT (TAG_INO);
      may = BIT (TAG_NAME) | BIT (TAG_XATTRS) | BIT (TAG_SIZE) | BIT (TAG_MAJOR) | BIT (TAG_MINOR)
            | BIT (TAG_TARGET);
      break;
    case WB_EXTENTS:
      want = BIT (TAG_EXTENTS);
      break;
    case WB_DATA:
      want = BIT (TAG_OFFSET) | BIT (TAG_DATA);
      break;
    case WB_KNOWN:
      want = BIT (TAG_DATA);
      break;
    case WB_LINK:
    case WB_ALSO:
      want = BIT (TAG_NAME) | BIT (TAG_INO);
      break;
    case WB_WHITEOUT:
      want = BIT (TAG_NAME);
      break;
    case WB_LEAVE:
    case WB_FILE_END:
    case WB_END:
      break;
    default:
      return "a record's type";
    }
  return (seen & want) != want || (seen & ~(want | may)) ? "the fields of a record" : NULL;
}

const char *
rcvmi_wb_decode (struct rcvmi_wb_record *r, uint16_t type, const void *data, size_t len)
{
  const char *wrong;
  struct tlv_reader t;
  uint32_t seen;

  *r = (struct rcvmi_wb_record){ .type = (enum rcvmi_wb_type) type };
  tlv_reader_init (&r->xattrs, "", 0);
  tlv_reader_init (&t, data, len);
  seen = read_fields (r, &t);
  if (t.bad)
    return "the form of a record";
  wrong = check_fields (r, seen);
  if (!wrong && (r->type == WB_DIR || r->type == WB_FILE))
    wrong = check_metadata (r);
  if (wrong)
    return wrong;
  if (r->name && !(r->type == WB_ALSO ? is_path (r->name) : rcvmi_wb_is_name (r->name)))
    return "a name";
  if (r->type == WB_DIR && !S_ISDIR (r->mode))
    return "a directory's type";
  if (r->type == WB_FILE)
    return check_file (r, seen);
  if (r->len > WB_DATA_MAX || r->n_extents > WB_EXTENTS_MAX)
    return "the length of a record";
  return NULL;
}

/* Data follows data, inside of the file; and no more of it than the image can hold: blocks that are
   claimed twice would let a small image fill the host's disk. */
static const char *
check_data (struct rcvmi_wb_order *o, uint64_t offset, uint64_t length)
{
  if (length == 0 || offset < o->next || length > o->size || offset > o->size - length)
    return "where data belongs";
  o->next = offset + length;
  if (length > o->image_size - o->data)
    return "the amount of data";
  o->data += length;
  return NULL;
}

static const char *
check_extents (struct rcvmi_wb_order *o, const struct rcvmi_wb_record *r)
{
  const char *wrong = NULL;

  for (size_t i = 0; !wrong && i < r->n_extents; i++)
    {
      struct rcvmi_wb_extent x = rcvmi_wb_get_extent (r, i);

      wrong = check_data (o, x.offset, x.length);
      if (!wrong && (x.length > o->image_size || x.image > o->image_size - x.length))
        wrong = "a place in the image";
    }
  return wrong;
}

const char *
rcvmi_wb_check_order (struct rcvmi_wb_order *o, const struct rcvmi_wb_record *r)
{
  bool inside = o->depth > 0 && !o->in_file;

  if (o->ended)
    return "a record after the last";
  switch (r->type)
    {
    case WB_DIR:
      if (o->in_file || !r->name == o->began || (r->name && !inside) || o->depth >= DEPTH_MAX)
        break;
      o->began = true;
      o->depth++;
      return NULL;
    case WB_LEAVE:
      if (!inside)
        break;
      o->depth--;
      return NULL;
    case WB_FILE:
      if (o->in_file || !o->began || !r->name != (o->depth == 0))
        break;
      if (S_ISREG (r->mode))
        {
          o->in_file = true;
          o->size = r->size;
          o->next = 0;
        }
      return NULL;
    case WB_EXTENTS:
      if (!o->in_file)
        break;
      return check_extents (o, r);
    case WB_DATA:
      if (!o->in_file)
        break;
      return check_data (o, r->offset, r->len);
    case WB_FILE_END:
      if (!o->in_file)
        break;
      o->in_file = false;
      return NULL;
    case WB_LINK:
    case WB_WHITEOUT:
      if (!inside)
        break;
      return NULL;
    case WB_ALSO:
      if (!o->began || o->depth || o->in_file)
        break;
      return NULL;
    case WB_END:
      if ((!o->began && (!o->repeated || o->known)) || o->depth || o->in_file)
        break;
      o->ended = true;
      return NULL;
    case WB_KNOWN:
      if (!o->repeated || o->began)
        break;
      o->known += r->len;
      return o->known > WB_KNOWN_MAX ? "how much is known" : NULL;
    default:
      break;
    }
  return "the order of records";
}
