/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between the files of writeback-ext4*.c: reading an image that may say anything. */
#ifndef RCVM_LIB_WRITEBACK_EXT4_H
#define RCVM_LIB_WRITEBACK_EXT4_H

#include <stdbool.h>
#include <stdint.h>

/* clang-format off: these want their types from the first. */
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
/* clang-format on */

#include "writeback-parser.h"
#include "writeback-set.h"
#include "writeback-wire.h"

/* A block whose newest contents are in the journal. */
struct rcvmi_wb_replayed
{
  uint64_t block;
  uint64_t at; /* block of the image that holds the contents */
  uint32_t sequence;
  bool escaped; /* the first four bytes are the journal's magic number */
};

/* What a replay of the journal would write, by rising block; nothing is ever written to the image. */
struct rcvmi_wb_replay
{
  struct rcvmi_wb_replayed *blocks;
  size_t n, cap;
};

struct rcvmi_wb_source
{
  int fd;
  uint64_t size;
  uint32_t block_size;
  struct rcvmi_wb_replay replay;
};

/* writeback-ext4-io.c.  An image opened for reading, its journal replayed in memory if it has to be; `name` is for
   messages. */
int rcvmi_wb_source_open (struct rcvmi_wb_source *source, int fd, const char *name,
                          ext2_filsys *fs, rcvm_error **err);
void rcvmi_wb_source_close (struct rcvmi_wb_source *source, ext2_filsys *fs);
/* Zeros where the image ends. */
int rcvmi_wb_source_read (const struct rcvmi_wb_source *source, uint64_t offset, void *data,
                          size_t len);
/* The first one of the blocks from `block` on that the journal has, at `n` if none. */
size_t rcvmi_wb_replay_find (const struct rcvmi_wb_replay *replay, uint64_t block);
/* The newest contents of a block that the journal has. */
int rcvmi_wb_replay_read (const struct rcvmi_wb_source *source,
                          const struct rcvmi_wb_replayed *replayed, void *data);

/* writeback-ext4-journal.c.  `map` gives the image's block for each of the journal's `n_blocks`. */
int rcvmi_wb_journal_read (struct rcvmi_wb_source *source, const uint64_t *map, uint64_t n_blocks,
                           const char *name, rcvm_error **err);

/* writeback-ext4-dir.c: a directory's entries without "." and "..", in one piece of memory. */
struct rcvmi_wb_entry
{
  uint32_t ino;
  uint8_t kind; /* the walker's */
  uint8_t len;
  char name[]; /* ends with a NUL */
};

struct rcvmi_wb_entries
{
  unsigned char *data;
  size_t len, cap;
};

/* NULL: the first.  NULL at the end. */
struct rcvmi_wb_entry *rcvmi_wb_entry_next (const struct rcvmi_wb_entries *list,
                                            const struct rcvmi_wb_entry *entry);
int rcvmi_wb_entries_read (ext2_filsys fs, uint32_t ino, struct rcvmi_wb_entries *list,
                           const char *image, rcvm_error **err);
/* The inode that `name` leads to, 0 if there is none; *result says whether that is so because of an error. */
uint32_t rcvmi_wb_lookup (ext2_filsys fs, uint32_t dir, const char *name, errcode_t *result);

/* writeback-ext4.c */
struct rcvmi_wb_walk
{
  struct rcvmi_wb_source source;
  ext2_filsys fs;
  const char *image; /* for messages */
  const struct rcvmi_wb_scope *scope;
  rcvmi_wb_emit_fn emit;
  void *user;
  struct tlv_writer out;
  struct tlv_writer xattrs;
  unsigned char *inode;
  struct rcvmi_wb_set dirs;  /* that were entered */
  struct rcvmi_wb_set files; /* with more than one link, that were told */
  rcvm_error **err;
};

/* Fails with RCVM_E_IMAGE; `code` is libext2fs's, or 0. */
int rcvmi_wb_damaged (const struct rcvmi_wb_walk *walk, uint32_t ino, const char *what,
                      errcode_t code);
/* Into walk->inode. */
int rcvmi_wb_read_inode (struct rcvmi_wb_walk *walk, uint32_t ino, struct ext2_inode_large **inode);
/* What overlayfs keeps in attributes; the others are in walk->xattrs. */
struct rcvmi_wb_overlay
{
  bool opaque, copied;
};
int rcvmi_wb_read_xattrs (struct rcvmi_wb_walk *walk, uint32_t ino, struct ext2_inode_large *inode,
                          struct rcvmi_wb_overlay *overlay);
/* A FILE record and what belongs to it; name may be NULL. */
int rcvmi_wb_put_file (struct rcvmi_wb_walk *walk, uint32_t ino, const char *name);
/* Hands out what has gathered if there is much of it, or if `all`. */
int rcvmi_wb_flush (struct rcvmi_wb_walk *walk, bool all);

bool rcvmi_wb_is_whiteout (const struct ext2_inode_large *inode);
struct timespec rcvmi_wb_change_time (const struct ext2_inode_large *inode);
/* A record with no more than these; 0 and NULL: without. */
int rcvmi_wb_put_simple (struct rcvmi_wb_walk *walk, enum rcvmi_wb_type type, const char *name, uint32_t ino);

/* Whether a directory's record says that nothing of the base shows through. */
enum rcvmi_wb_opaque
{
  WB_OPAQUE_AS_IT_IS,
  WB_OPAQUE_NO,
  WB_OPAQUE_YES
};

/* A DIR record; name is NULL for the first. */
int rcvmi_wb_put_dir (struct rcvmi_wb_walk *walk, uint32_t ino, const char *name, enum rcvmi_wb_opaque opaque);

/* writeback-ext4-changes.c: what has changed below `top` since an earlier write-back. */
int rcvmi_wb_walk_changes (struct rcvmi_wb_walk *walk, uint32_t top);

/* writeback-ext4-data.c */
int rcvmi_wb_put_data (struct rcvmi_wb_walk *walk, uint32_t ino, struct ext2_inode_large *inode);
/* writeback-ext4-links.c: names that only the base has. */
int rcvmi_wb_put_base_links (struct rcvmi_wb_walk *walk, int base, uint32_t upper);

#endif
