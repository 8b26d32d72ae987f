/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between writeback.c, writeback-apply.c and writeback-links.c. */
#ifndef RCVM_LIB_WRITEBACK_APPLY_H
#define RCVM_LIB_WRITEBACK_APPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <runcvm/error.h>

#include "writeback-file.h"
#include "writeback-known-file.h"
#include "writeback-set.h"
#include "writeback-tree.h"
#include "writeback-wire.h"
#include "writeback.h"

/* What is kept of a record when its buffer is used for the next. */
struct rcvmi_wb_kept
{
  struct rcvmi_wb_record record;
  char *name;
  char *target;
  unsigned char *xattrs;
};

int rcvmi_wb_keep (struct rcvmi_wb_kept *kept, const struct rcvmi_wb_record *record);
void rcvmi_wb_kept_clear (struct rcvmi_wb_kept *kept);

struct rcvmi_wb_apply_level
{
  struct rcvmi_wb_kept dir;
  bool complete; /* nothing of the base shows through */
  bool tracked;  /* so what is not named goes */
  char **names;
  size_t n, cap;
};

/* A name of the host whose inode has more names. */
struct rcvmi_wb_shared
{
  char *path;   /* NULL: only an earlier run knew one */
  uint32_t ino; /* in the image */
  dev_t host_dev;
  ino_t host_ino;
};

struct rcvmi_wb_apply
{
  int image;
  const char *image_name;
  const struct rcvmi_writeback_options *options;
  int deltas[RCVMI_WRITEBACK_DELTAS]; /* their directories, or -1 */
  struct rcvmi_wb_tree tree;
  struct rcvmi_wb_staging staging;
  struct rcvmi_wb_order order;
  /* For WB_KNOWN. */
  struct rcvmi_wb_known_file *known;
  struct rcvmi_wb_apply_level *levels;
  size_t n, cap;
  size_t skipped; /* levels of an excluded directory */
  struct rcvmi_wb_kept root;
  struct rcvmi_wb_kept current; /* a regular file whose data comes */
  struct rcvmi_wb_file file;
  struct rcvmi_wb_set staged; /* inodes that lie in staging, for more names */
  struct rcvmi_wb_set copied; /* those of them that the base had */
  char *timed; /* the directory whose times were kept last */
  struct rcvmi_wb_shared *shared;
  size_t n_shared, cap_shared;
  bool sharing; /* names have been given to shared inodes, in this run or in one before */
};

void rcvmi_wb_apply_init (struct rcvmi_wb_apply *a, int image, const char *image_name, int root,
                          const char *rootfs, const char *staging,
                          const struct rcvmi_writeback_options *options, uint64_t image_size);
void rcvmi_wb_apply_clear (struct rcvmi_wb_apply *a);
/* One field of the stream. */
int rcvmi_wb_apply_record (struct rcvmi_wb_apply *a, uint16_t type, const void *data, size_t len,
                           rcvm_error **err);
/* After the last: names that share an inode with a changed one, the staging directory, the root's metadata. */
int rcvmi_wb_apply_finish (struct rcvmi_wb_apply *a, rcvm_error **err);

/* Whether `path`/`name` of the rootfs was excluded. */
bool rcvmi_wb_is_excluded (const struct rcvmi_wb_apply *a, const char *path, const char *name);
/* Gives a file of staging its name in the directory that the tree is in: at once, so that the name is the old file
   or the new one. */
int rcvmi_wb_install (struct rcvmi_wb_apply *a, struct rcvmi_wb_tree *t, const char *staged,
                      const char *name, rcvm_error **err);
/* The same for one more name of inode `ino`. */
int rcvmi_wb_install_link (struct rcvmi_wb_apply *a, struct rcvmi_wb_tree *t, uint32_t ino,
                           const char *name, rcvm_error **err);

/* writeback-links.c: whether the name, in the directory that the tree is in, has to wait for the others of its
   inode: 1, 0 or an error. */
int rcvmi_wb_share (struct rcvmi_wb_apply *a, uint32_t ino, const char *name, rcvm_error **err);
int rcvmi_wb_install_shared (struct rcvmi_wb_apply *a, rcvm_error **err);
/* Tidies up behind a run that was interrupted.  `again`: what the next run has to know stays. */
int rcvmi_wb_recover (struct rcvmi_wb_apply *a, bool again, rcvm_error **err);
/* A name that only the base has. */
int rcvmi_wb_install_also (struct rcvmi_wb_apply *a, const struct rcvmi_wb_record *record,
                           rcvm_error **err);

/* writeback-puts.c: the image has told of a name in the directory that the tree is in; and what it has not told of goes. */
void rcvmi_wb_put_seen (struct rcvmi_wb_apply *a, const char *name);
int rcvmi_wb_remove_puts (struct rcvmi_wb_apply *a, rcvm_error **err);

#endif
