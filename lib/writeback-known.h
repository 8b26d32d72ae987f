/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an earlier write-back of the same image has written: the names in the directory that overlayfs has written, and which state
 * of them went out.  The reader of the image makes it, and reads it the next time; for the writer it is a heap of bytes that it
 * keeps in a file.
 */
#ifndef RCVM_LIB_WRITEBACK_KNOWN_H
#define RCVM_LIB_WRITEBACK_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "tlv.h"

enum
{
  WB_KNOWN_MAX = 256 << 20, /* bytes */

  /* Kinds of a name. */
  WB_KNOWN_FILE = 0, /* anything that is none of the others */
  WB_KNOWN_DIR,
  WB_KNOWN_WHITEOUT,

  /* Of a write-back that may not have come to its end. */
  WB_KNOWN_DIRTY = 1, /* it was to be written, and has to be again */
  WB_KNOWN_GHOST = 2, /* it is not there any more */
  WB_KNOWN_MOVED = 4  /* a directory in the place of something else */
};

struct rcvmi_wb_known_entry
{
  uint32_t ino, generation;
  int64_t sec; /* of the last change */
  uint32_t nsec;
  uint8_t kind, flags, len;
  const char *name; /* `len` bytes */
};

/* A directory's names, in the order of rcvmi_wb_known_compare.  The root is the name "." of a directory 0. */
struct rcvmi_wb_known_dir
{
  uint32_t ino;
  size_t first, n;
};

struct rcvmi_wb_known
{
  struct timespec since; /* what has changed at this time or later may have changed once more */
  struct rcvmi_wb_known_entry *entries;
  struct rcvmi_wb_known_dir *dirs; /* by rising inode number */
  size_t n_entries, n_dirs;
};

/* Points into `data`.  0, -EINVAL where it is none, -ENOMEM. */
int rcvmi_wb_known_parse (struct rcvmi_wb_known *k, const void *data, size_t len);
void rcvmi_wb_known_clear (struct rcvmi_wb_known *k);
/* NULL: not known. */
const struct rcvmi_wb_known_dir *rcvmi_wb_known_dir (const struct rcvmi_wb_known *k, uint32_t ino);
/* `dir` may be NULL. */
const struct rcvmi_wb_known_entry *rcvmi_wb_known_find (const struct rcvmi_wb_known *k, const struct rcvmi_wb_known_dir *dir,
                                                        const char *name, size_t len);

/* In the order of the bytes, what is shorter first. */
int rcvmi_wb_known_compare (const char *a, size_t a_len, const char *b, size_t b_len);

/* The same, written: a head, then a directory with so many entries, and each of them. */
void rcvmi_wb_known_put_head (struct tlv_writer *w, struct timespec since);
void rcvmi_wb_known_put_dir (struct tlv_writer *w, uint32_t ino, uint32_t n);
void rcvmi_wb_known_put_entry (struct tlv_writer *w, const struct rcvmi_wb_known_entry *e);

#endif
