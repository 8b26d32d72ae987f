/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Directories of an image. */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-ext4.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"

static size_t
entry_size (size_t len)
{
  return (sizeof (struct rcvmi_wb_entry) + len + 1 + 3) & ~(size_t) 3;
}

struct rcvmi_wb_entry *
rcvmi_wb_entry_next (const struct rcvmi_wb_entries *list, const struct rcvmi_wb_entry *entry)
{
  size_t at = 0;

  if (entry)
    at = (size_t) ((const unsigned char *) entry - list->data) + entry_size (entry->len);
  return at < list->len ? (struct rcvmi_wb_entry *) (list->data + at) : NULL;
}

struct reading
{
  struct rcvmi_wb_entries *list;
  bool no_memory, bad;
};

static int
add_entry (ext2_ino_t dir, int where, struct ext2_dir_entry *dirent, int offset, int blocksize,
           char *buf, void *user)
{
  struct reading *r = user;
  struct rcvmi_wb_entries *list = r->list;
  size_t len = (size_t) ext2fs_dirent_name_len (dirent), size = entry_size (len);
  struct rcvmi_wb_entry *e;

  (void) dir, (void) where, (void) offset, (void) blocksize, (void) buf;
  if ((len == 1 && dirent->name[0] == '.') || (len == 2 && memcmp (dirent->name, "..", 2) == 0))
    return 0;
  if (list->cap - list->len < size)
    {
      size_t cap = list->cap * 2 + size + 1024;
      unsigned char *data = realloc (list->data, cap);

      if (!data)
        {
          r->no_memory = true;
          return DIRENT_ABORT;
        }
      list->data = data;
      list->cap = cap;
    }
  e = (struct rcvmi_wb_entry *) (list->data + list->len);
  e->ino = dirent->inode;
  e->kind = 0;
  e->len = (uint8_t) len;
  memcpy (e->name, dirent->name, len);
  e->name[len] = 0;
  if (strlen (e->name) != len || !rcvmi_wb_is_name (e->name))
    {
      r->bad = true;
      return DIRENT_ABORT;
    }
  list->len += size;
  return 0;
}

int
rcvmi_wb_entries_read (ext2_filsys fs, uint32_t ino, struct rcvmi_wb_entries *list,
                       const char *image, rcvm_error **err)
{
  struct reading r = { .list = list };
  errcode_t code = ext2fs_dir_iterate2 (fs, ino, 0, NULL, add_entry, &r);

  if (r.no_memory || code == EXT2_ET_NO_MEMORY)
    return rcvmi_fail_nomem (err);
  if (r.bad)
    return rcvmi_fail (err, RCVM_E_IMAGE, 0,
                       "the image '%s' is damaged: a directory (inode %u) has an entry that is no file name",
                       image, ino);
  if (code)
    return rcvmi_fail (err, RCVM_E_IMAGE, 0,
                       "the image '%s' is damaged: a directory (inode %u) cannot be read (libext2fs: %ld)",
                       image, ino, (long) code);
  return 0;
}

uint32_t
rcvmi_wb_lookup (ext2_filsys fs, uint32_t dir, const char *name, errcode_t *result)
{
  ext2_ino_t ino = 0;
  errcode_t code = ext2fs_lookup (fs, dir, name, (int) strlen (name), NULL, &ino);

  *result = code == EXT2_ET_FILE_NOT_FOUND ? 0 : code;
  return code ? 0 : ino;
}
