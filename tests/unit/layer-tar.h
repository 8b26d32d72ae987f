/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tars as tests want them, whether they make sense or not. */
#ifndef RCVM_TESTS_LAYER_TAR_H
#define RCVM_TESTS_LAYER_TAR_H

#include <stddef.h>
#include <stdint.h>

struct tar
{
  unsigned char *data;
  size_t len, cap;
};

/* What an entry is; the rest of the fields as they are needed. */
struct tar_entry
{
  const char *name;
  char type; /* 0: '0' */
  const char *target;
  const char *text;       /* contents */
  uint64_t size;          /* where it is to be another one than that of the contents */
  unsigned mode, uid, gid; /* mode 0: 0644, or 0755 for directories */
  unsigned major, minor;
  int64_t mtime; /* 0: 1000000000 */
};

void tar_entry (struct tar *t, struct tar_entry entry);
void tar_file (struct tar *t, const char *name, const char *text);
void tar_dir (struct tar *t, const char *name);
void tar_link (struct tar *t, const char *name, const char *target);
void tar_hard (struct tar *t, const char *name, const char *target);
/* An attribute of the pax header for the entry that comes next. */
void tar_pax (struct tar *t, const char *key, const void *value, size_t len);
void tar_bytes (struct tar *t, const void *data, size_t len);
/* The mark of the end. */
void tar_end (struct tar *t);
/* Into a file; what packs it, and frees the tar. */
void tar_write (struct tar *t, const char *path);
void tar_write_gzip (struct tar *t, const char *path);
void tar_write_zstd (struct tar *t, const char *path);
void tar_free (struct tar *t);

#endif
