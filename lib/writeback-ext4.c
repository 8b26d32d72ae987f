/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walks the directory "upper" (or another that is named) of an image, which overlayfs has written, and tells what it finds as records.
 *
 * Every directory: first what is new or changed in it, then its directories, and last what is gone; so that
 * nothing is removed before what replaces it is there.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-ext4.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"

#define OVERLAY "trusted.overlay."

enum
{
  FLUSH_AT = 256 << 10,
  XATTRS_MAX = 2 << 20,

  KIND_FILE = 0,
  KIND_DIR,
  KIND_WHITEOUT
};

int
rcvmi_wb_damaged (const struct rcvmi_wb_walk *walk, uint32_t ino, const char *what, errcode_t code)
{
  if (code == EXT2_ET_NO_MEMORY)
    return rcvmi_fail_nomem (walk->err);
  if (code)
    return rcvmi_fail (walk->err, RCVM_E_IMAGE, 0,
                       "the image '%s' is damaged: %s (inode %u, libext2fs: %ld)", walk->image,
                       what, ino, (long) code);
  return rcvmi_fail (walk->err, RCVM_E_IMAGE, 0, "the image '%s' is damaged: %s (inode %u)",
                     walk->image, what, ino);
}

int
rcvmi_wb_flush (struct rcvmi_wb_walk *walk, bool all)
{
  if (walk->out.failed)
    return rcvmi_fail_nomem (walk->err);
  if (walk->out.len == 0 || (!all && walk->out.len < FLUSH_AT))
    return 0;
  if (walk->emit (walk->user, walk->out.data, walk->out.len) < 0)
    return rcvmi_fail (walk->err, RCVM_E_CANCELLED, 0, "nobody reads what is in the image");
  walk->out.len = 0;
  return 0;
}

int
rcvmi_wb_read_inode (struct rcvmi_wb_walk *walk, uint32_t ino, struct ext2_inode_large **inode)
{
  struct ext2_inode_large *i = (struct ext2_inode_large *) walk->inode;
  errcode_t code;

  *inode = i;
  if (ino < EXT2_FIRST_INO (walk->fs->super) || ino > walk->fs->super->s_inodes_count)
    return rcvmi_wb_damaged (walk, ino, "a name leads to no inode", 0);
  memset (walk->inode, 0, sizeof *i);
  code = ext2fs_read_inode_full (walk->fs, ino, (struct ext2_inode *) i,
                                 EXT2_INODE_SIZE (walk->fs->super));
  if (code)
    return rcvmi_wb_damaged (walk, ino, "an inode cannot be read", code);
  if (i->i_links_count == 0)
    return rcvmi_wb_damaged (walk, ino, "a name leads to a free inode", 0);
  return 0;
}

bool
rcvmi_wb_is_whiteout (const struct ext2_inode_large *inode)
{
  return LINUX_S_ISCHR (inode->i_mode) && inode->i_block[0] == 0 && inode->i_block[1] == 0;
}

struct reading
{
  struct rcvmi_wb_walk *walk;
  struct rcvmi_wb_overlay *overlay;
  uint32_t ino;
  int code;
};

static int
overlay_xattr (struct reading *r, const char *name, const char *value, size_t len)
{
  if (strcmp (name, "opaque") == 0)
    r->overlay->opaque = len == 1 && *value == 'y';
  else if (strcmp (name, "origin") == 0)
    r->overlay->copied = true;
  else if (strcmp (name, "redirect") == 0 || strcmp (name, "metacopy") == 0
           || strcmp (name, "whiteout") == 0 || strcmp (name, "xwhiteouts") == 0)
    return rcvmi_fail (r->walk->err, RCVM_E_UNSUPPORTED, 0,
                       "the image '%s' was used by an overlay with the feature \"%s\", which the write-back "
                       "does not read (inode %u)",
                       r->walk->image, name, r->ino);
  return 0;
}

enum
{
  ACL_DISK = 1, /* the version of ext4's form */
  ACL_HOST = 2, /* and of the kernel's interface */
  ACL_USER = 0x02,
  ACL_GROUP = 0x08,
  ACL_SHORT = 4, /* bytes of an entry without an id */
  ACL_LONG = 8
};

/* ext4 leaves out the ids that say nothing. */
static void
put_acl (struct reading *r, const char *name, const unsigned char *value, size_t len)
{
  static const unsigned char version[4] = { ACL_HOST }, no_id[4] = { 0xff, 0xff, 0xff, 0xff };
  autofree unsigned char *acl = malloc (len * 2);
  size_t at = sizeof version, out = sizeof version;

  if (len < sizeof version || value[0] != ACL_DISK || value[1] || value[2] || value[3])
    {
      r->code = rcvmi_wb_damaged (r->walk, r->ino, "an ACL is none", 0);
      return;
    }
  if (!acl)
    {
      r->code = rcvmi_fail_nomem (r->walk->err);
      return;
    }
  memcpy (acl, version, sizeof version);
  while (len - at >= ACL_SHORT)
    {
      bool has_id = value[at] == ACL_USER || value[at] == ACL_GROUP;

      if (has_id && len - at < ACL_LONG)
        break;
      memcpy (acl + out, value + at, ACL_SHORT);
      memcpy (acl + out + ACL_SHORT, has_id ? value + at + ACL_SHORT : no_id, 4);
      out += ACL_LONG;
      at += has_id ? ACL_LONG : ACL_SHORT;
    }
  if (at != len)
    r->code = rcvmi_wb_damaged (r->walk, r->ino, "an ACL is none", 0);
  else
    rcvmi_wb_put_xattr (&r->walk->xattrs, name, acl, out);
}

static int
take_xattr (char *name, char *value, size_t len, void *user)
{
  struct reading *r = user;

  if (strncmp (name, OVERLAY, strlen (OVERLAY)) == 0)
    r->code = overlay_xattr (r, name + strlen (OVERLAY), value, len);
  else if (strncmp (name, "system.posix_acl_", 17) == 0)
    put_acl (r, name, (const unsigned char *) value, len);
  else if (rcvmi_wb_is_xattr (name))
    rcvmi_wb_put_xattr (&r->walk->xattrs, name, value, len);
  if (r->code == 0 && r->walk->xattrs.len > XATTRS_MAX)
    r->code = rcvmi_wb_damaged (r->walk, r->ino, "it has too many attributes", 0);
  return r->code < 0 ? XATTR_ABORT : 0;
}

static bool
has_xattrs (const struct rcvmi_wb_walk *walk, const struct ext2_inode_large *inode)
{
  size_t size = EXT2_INODE_SIZE (walk->fs->super);
  size_t at = (size_t) EXT2_GOOD_OLD_INODE_SIZE + inode->i_extra_isize;
  uint32_t magic;

  if (ext2fs_file_acl_block (walk->fs, (const struct ext2_inode *) inode))
    return true;
  if (size <= EXT2_GOOD_OLD_INODE_SIZE || at + sizeof magic > size)
    return false;
  memcpy (&magic, (const unsigned char *) inode + at, sizeof magic);
  return magic != 0;
}

int
rcvmi_wb_read_xattrs (struct rcvmi_wb_walk *walk, uint32_t ino, struct ext2_inode_large *inode,
                      struct rcvmi_wb_overlay *overlay)
{
  struct reading r = { .walk = walk, .overlay = overlay, .ino = ino };
  struct ext2_xattr_handle *handle;
  errcode_t code;

  *overlay = (struct rcvmi_wb_overlay){ 0 };
  walk->xattrs.len = 0;
  if (!has_xattrs (walk, inode))
    return 0;
  code = ext2fs_xattrs_open (walk->fs, ino, &handle);
  if (!code)
    {
      code = ext2fs_xattrs_read_inode (handle, inode);
      if (!code)
        code = ext2fs_xattrs_iterate (handle, take_xattr, &r);
      ext2fs_xattrs_close (&handle);
    }
  if (r.code < 0)
    return r.code;
  if (code)
    return rcvmi_wb_damaged (walk, ino, "attributes cannot be read", code);
  return walk->xattrs.failed ? rcvmi_fail_nomem (walk->err) : 0;
}

static struct timespec
decode_time (const struct ext2_inode_large *inode, uint32_t low, uint32_t extra, size_t end)
{
  struct timespec t = { .tv_sec = (int32_t) low };

  /* The second part is there if the inode is long enough to have it. */
  if ((size_t) EXT2_GOOD_OLD_INODE_SIZE + inode->i_extra_isize >= end)
    {
      t.tv_sec += (int64_t) (extra & 3) << 32;
      t.tv_nsec = extra >> 2;
    }
  return t;
}

#define EXTRA_END(field) (offsetof (struct ext2_inode_large, field) + 4)

static void
set_metadata (struct rcvmi_wb_record *r, const struct ext2_inode_large *inode)
{
  r->mode = inode->i_mode;
  r->uid = inode_uid (*inode);
  r->gid = inode_gid (*inode);
  r->atime = decode_time (inode, inode->i_atime, inode->i_atime_extra, EXTRA_END (i_atime_extra));
  r->mtime = decode_time (inode, inode->i_mtime, inode->i_mtime_extra, EXTRA_END (i_mtime_extra));
}

/* The old form has 8 and 8 bits in the first word, the new one 12 and 20 in the second. */
static void
set_device (struct rcvmi_wb_record *r, const struct ext2_inode_large *inode)
{
  uint32_t old = inode->i_block[0], dev = inode->i_block[1];

  if (old)
    {
      r->major = old >> 8 & 0xff;
      r->minor = old & 0xff;
      return;
    }
  r->major = dev >> 8 & 0xfff;
  r->minor = (dev & 0xff) | (dev >> 12 & 0xfff00);
}

static int
read_target (struct rcvmi_wb_walk *walk, uint32_t ino, struct ext2_inode_large *inode,
             char target[WB_TARGET_MAX + 1])
{
  uint64_t size = EXT2_I_SIZE (inode);
  ext2_file_t file;
  unsigned got = 0;
  errcode_t code;

  if (size == 0 || size > WB_TARGET_MAX)
    return rcvmi_wb_damaged (walk, ino, "a symlink has no usable target", 0);
  if (ext2fs_is_fast_symlink ((struct ext2_inode *) inode))
    {
      if (size > sizeof inode->i_block)
        return rcvmi_wb_damaged (walk, ino, "a symlink has no usable target", 0);
      memcpy (target, inode->i_block, size);
    }
  else
    {
      code = ext2fs_file_open2 (walk->fs, ino, (struct ext2_inode *) inode, 0, &file);
      if (!code)
        {
          code = ext2fs_file_read (file, target, (unsigned) size, &got);
          ext2fs_file_close (file);
        }
      if (code || got != size)
        return rcvmi_wb_damaged (walk, ino, "the target of a symlink cannot be read", code);
    }
  target[size] = 0;
  if (strlen (target) != size)
    return rcvmi_wb_damaged (walk, ino, "a symlink has no usable target", 0);
  return 0;
}

struct timespec
rcvmi_wb_change_time (const struct ext2_inode_large *inode)
{
  return decode_time (inode, inode->i_ctime, inode->i_ctime_extra, EXTRA_END (i_ctime_extra));
}

int
rcvmi_wb_put_simple (struct rcvmi_wb_walk *walk, enum rcvmi_wb_type type, const char *name, uint32_t ino)
{
  struct rcvmi_wb_record r = { .type = type, .name = name, .ino = ino };

  rcvmi_wb_encode (&walk->out, &r, NULL);
  return rcvmi_wb_flush (walk, false);
}

static int
put_new_file (struct rcvmi_wb_walk *walk, uint32_t ino, const char *name,
              struct ext2_inode_large *inode)
{
  struct rcvmi_wb_record r = { .type = WB_FILE, .name = name, .ino = ino };
  char target[WB_TARGET_MAX + 1];
  struct rcvmi_wb_overlay overlay;

  if (rcvmi_wb_read_xattrs (walk, ino, inode, &overlay) < 0)
    return -1;
  set_metadata (&r, inode);
  r.linked = inode->i_links_count > 1;
  r.copied = overlay.copied;
  switch (inode->i_mode & LINUX_S_IFMT)
    {
    case LINUX_S_IFREG:
      r.size = EXT2_I_SIZE (inode);
      break;
    case LINUX_S_IFLNK:
      if (read_target (walk, ino, inode, target) < 0)
        return -1;
      r.target = target;
      break;
    case LINUX_S_IFCHR:
    case LINUX_S_IFBLK:
      set_device (&r, inode);
      break;
    case LINUX_S_IFIFO:
    case LINUX_S_IFSOCK:
      break;
    default:
      return rcvmi_wb_damaged (walk, ino, "an inode has no type", 0);
    }
  rcvmi_wb_encode (&walk->out, &r, &walk->xattrs);
  if (!LINUX_S_ISREG (inode->i_mode))
    return rcvmi_wb_flush (walk, false);
  if (rcvmi_wb_put_data (walk, ino, inode) < 0)
    return -1;
  return rcvmi_wb_put_simple (walk, WB_FILE_END, NULL, 0);
}

int
rcvmi_wb_put_file (struct rcvmi_wb_walk *walk, uint32_t ino, const char *name)
{
  struct ext2_inode_large *inode;

  if (rcvmi_wb_read_inode (walk, ino, &inode) < 0)
    return -1;
  if (inode->i_links_count > 1 || !name)
    {
      if (rcvmi_wb_set_has (&walk->files, ino))
        return name ? rcvmi_wb_put_simple (walk, WB_LINK, name, ino) : 0;
      if (!rcvmi_wb_set_add (&walk->files, ino))
        return rcvmi_fail_nomem (walk->err);
    }
  return put_new_file (walk, ino, name, inode);
}

/* A directory that is open in the walk. */
struct level
{
  struct rcvmi_wb_entries entries;
  struct rcvmi_wb_entry *entry; /* the directory that was entered last */
  uint32_t ino;
};

struct levels
{
  struct level *list;
  size_t n, cap;
};

static int
push_level (struct rcvmi_wb_walk *walk, struct levels *l, uint32_t ino)
{
  if (rcvmi_wb_set_has (&walk->dirs, ino))
    return rcvmi_wb_damaged (walk, ino, "a directory has two names", 0);
  if (!rcvmi_wb_set_add (&walk->dirs, ino))
    return rcvmi_fail_nomem (walk->err);
  if (l->n == l->cap)
    {
      size_t cap = l->cap * 2 + 16;
      struct level *list = reallocarray (l->list, cap, sizeof *list);

      if (!list)
        return rcvmi_fail_nomem (walk->err);
      l->list = list;
      l->cap = cap;
    }
  l->list[l->n++] = (struct level){ .ino = ino };
  return rcvmi_wb_entries_read (walk->fs, ino, &l->list[l->n - 1].entries, walk->image, walk->err);
}

int
rcvmi_wb_put_dir (struct rcvmi_wb_walk *walk, uint32_t ino, const char *name, enum rcvmi_wb_opaque opaque)
{
  struct rcvmi_wb_record r = { .type = WB_DIR, .name = name };
  struct rcvmi_wb_overlay overlay;
  struct ext2_inode_large *inode;

  if (rcvmi_wb_read_inode (walk, ino, &inode) < 0
      || rcvmi_wb_read_xattrs (walk, ino, inode, &overlay) < 0)
    return -1;
  if (!LINUX_S_ISDIR (inode->i_mode))
    return rcvmi_wb_damaged (walk, ino, "it is no directory", 0);
  set_metadata (&r, inode);
  r.opaque = opaque == WB_OPAQUE_AS_IT_IS ? overlay.opaque : opaque == WB_OPAQUE_YES;
  rcvmi_wb_encode (&walk->out, &r, &walk->xattrs);
  return rcvmi_wb_flush (walk, false);
}

/* All entries but whiteouts and directories, which are marked. */
static int
put_files (struct rcvmi_wb_walk *walk, struct level *level)
{
  struct ext2_inode_large *inode;

  for (struct rcvmi_wb_entry *e = NULL; (e = rcvmi_wb_entry_next (&level->entries, e));)
    {
      if (rcvmi_wb_read_inode (walk, e->ino, &inode) < 0)
        return -1;
      if (LINUX_S_ISDIR (inode->i_mode))
        e->kind = KIND_DIR;
      else if (rcvmi_wb_is_whiteout (inode))
        e->kind = KIND_WHITEOUT;
      else if (rcvmi_wb_put_file (walk, e->ino, e->name) < 0)
        return -1;
    }
  return 0;
}

static struct rcvmi_wb_entry *
next_of_kind (const struct level *level, struct rcvmi_wb_entry *e, int kind)
{
  do
    e = rcvmi_wb_entry_next (&level->entries, e);
  while (e && e->kind != kind);
  return e;
}

static int
leave (struct rcvmi_wb_walk *walk, struct levels *l)
{
  struct level *level = &l->list[l->n - 1];

  for (struct rcvmi_wb_entry *e = NULL; (e = next_of_kind (level, e, KIND_WHITEOUT));)
    if (rcvmi_wb_put_simple (walk, WB_WHITEOUT, e->name, 0) < 0)
      return -1;
  free (level->entries.data);
  l->n--;
  return rcvmi_wb_put_simple (walk, WB_LEAVE, NULL, 0);
}

static int
walk_levels (struct rcvmi_wb_walk *walk, struct levels *l, uint32_t top)
{
  if (rcvmi_wb_put_dir (walk, top, NULL, WB_OPAQUE_AS_IT_IS) < 0 || push_level (walk, l, top) < 0
      || put_files (walk, &l->list[0]) < 0)
    return -1;
  while (l->n)
    {
      struct level *level = &l->list[l->n - 1];

      level->entry = next_of_kind (level, level->entry, KIND_DIR);
      if (!level->entry)
        {
          if (leave (walk, l) < 0)
            return -1;
        }
      else if (rcvmi_wb_put_dir (walk, level->entry->ino, level->entry->name, WB_OPAQUE_AS_IT_IS) < 0
               || push_level (walk, l, level->entry->ino) < 0
               || put_files (walk, &l->list[l->n - 1]) < 0)
        return -1;
    }
  return 0;
}

static int
parse (struct rcvmi_wb_walk *walk, int base)
{
  struct levels levels = { 0 };
  errcode_t code;
  uint32_t top;
  int r;

  walk->inode = calloc (1, EXT2_INODE_SIZE (walk->fs->super) + sizeof (struct ext2_inode_large));
  if (!walk->inode)
    return rcvmi_fail_nomem (walk->err);
  top = rcvmi_wb_lookup (walk->fs, EXT2_ROOT_INO, walk->scope->top, &code);
  if (code)
    return rcvmi_wb_damaged (walk, EXT2_ROOT_INO, "its root cannot be read", code);
  if (!top)
    return rcvmi_fail (walk->err, RCVM_E_IMAGE, 0,
                       "the image '%s' has no directory \"%s\": it has no upper layer of a VM's there", walk->image,
                       walk->scope->top);
  r = walk->scope->repeated ? rcvmi_wb_walk_changes (walk, top) : walk_levels (walk, &levels, top);
  for (size_t i = 0; i < levels.n; i++)
    free (levels.list[i].entries.data);
  free (levels.list);
  if (r == 0 && base >= 0)
    r = rcvmi_wb_put_base_links (walk, base, top);
  if (r == 0)
    r = rcvmi_wb_put_simple (walk, WB_END, NULL, 0);
  return r == 0 ? rcvmi_wb_flush (walk, true) : r;
}

int
rcvmi_wb_parse (int image, int base, const char *name, const struct rcvmi_wb_scope *scope, rcvmi_wb_emit_fn emit,
                void *user, rcvm_error **err)
{
  struct rcvmi_wb_walk walk = { .image = name, .scope = scope, .emit = emit, .user = user, .err = err };
  int r = rcvmi_wb_source_open (&walk.source, image, name, &walk.fs, err);

  if (r < 0)
    return r;
  r = parse (&walk, base);
  rcvmi_wb_source_close (&walk.source, &walk.fs);
  tlv_writer_free (&walk.out);
  tlv_writer_free (&walk.xattrs);
  free (walk.inode);
  free (walk.dirs.slots);
  free (walk.files.slots);
  return r;
}
