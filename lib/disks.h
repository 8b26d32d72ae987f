/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disks that are one VM's own: DATA/vms/ID@HASH/ (HASH tells state roots apart) with
 *
 *   lock         held (OFD) by the monitor as long as it lives; another byte by whoever recovers what a dead one left
 *   disks.json   whose they are, and what is to become of them
 *   upper.img    what the container changes of its root
 *   upper.img.known*  what of that has been written back while it runs (writeback-known.h)
 *   root.img     its whole root, where that was asked for, or a base that no key stands for
 *   binds.img    copies of what is bound into it
 *   copies.img   those of copy volumes, and what the container changes of them
 *   copies.json  where these changes belong
 *   scratch*.img disks that are empty at first
 *   memory.img   what it has as memory that goes on from a snapshot which is a difference
 *
 * They lie in the data directory, not beside the state: that is a tmpfs, and it does not survive the host's power
 * failure, which the changes do.
 *
 * With `keep` the upper is DATA/kept/HASH/upper.img (HASH of the root's path) and stays there.
 */
#ifndef RCVM_LIB_DISKS_H
#define RCVM_LIB_DISKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include <runcvm/error.h>

struct rcvmi_disks
{
  char *dir;
  int dir_fd;
  int lock_fd;
  char *upper; /* paths that the images have, or will have */
  char *root;
  char *binds;
  char *copies;
  char *kept_dir; /* NULL: the upper goes with the VM */
  int kept_lock_fd;
  bool quiet; /* the guest has unmounted them: what it had is on them */
};

#define RCVMI_DISKS_INIT ((struct rcvmi_disks){ .dir_fd = -1, .lock_fd = -1, .kept_lock_fd = -1 })

/* Makes and locks the directory. */
int rcvmi_disks_open (struct rcvmi_disks *d, const char *state_root, const char *id, rcvm_error **err);
/* The path of a scratch disk, below 24; to be freed. */
char *rcvmi_disks_scratch (const struct rcvmi_disks *d, size_t number);
/* In a worker, which has none of the monitor's fds. */
int rcvmi_disks_reopen (struct rcvmi_disks *d, rcvm_error **err);
/* Writes back what a dead monitor of that id should have, and removes the rest of what it left.  For a worker. */
int rcvmi_disks_settle (const struct rcvmi_disks *d, rcvm_error **err);
/* Whether there are changes that have to be written back. */
bool rcvmi_disks_pending (const struct rcvmi_disks *d);
/* Where the upper's changes belong. */
struct rcvmi_intent
{
  const char *rootfs;
  const char *base;      /* the image below */
  const char *deltas[2]; /* what the upper was filled with, or NULL */
  struct timespec since; /* before that was read */
};

/* Writes it down, before anything can change. */
int rcvmi_disks_intend (const struct rcvmi_disks *d, const struct rcvmi_intent *intent, rcvm_error **err);
/* The upper shall be the one that is kept for `rootfs`: locks it.  RCVM_E_STATE where another VM has it. */
int rcvmi_disks_keep (struct rcvmi_disks *d, const char *rootfs, rcvm_error **err);
/* Whether there is one already.  RCVM_E_STATE where it was made upon another base than `key`. */
int rcvmi_disks_check_kept (const struct rcvmi_disks *d, const char *rootfs, const char *key, bool *exists,
                            rcvm_error **err);
/* Writes the changes back into the root that rcvmi_disks_intend named; nothing where there was none.  Takes its time: for
   a worker. */
int rcvmi_disks_write_back (const struct rcvmi_disks *d, rcvm_error **err);
/* The same of the root alone, of a VM that stands still and will go on: `frozen` as in writeback.h. */
int rcvmi_disks_flush (const struct rcvmi_disks *d, struct timespec frozen, rcvm_error **err);
/* A copy whose changes are to go back. */
struct rcvmi_disks_copy
{
  unsigned number;
  const char *source;
  bool live; /* some of them go back while the VM runs */
};

/* disks-copies.c: writes down where the changes of copies belong, before anything can change. */
int rcvmi_disks_intend_copies (const struct rcvmi_disks *d, const struct rcvmi_disks_copy *copies, size_t n,
                               rcvm_error **err);
/* Writes them back; a part of rcvmi_disks_write_back.  What fails does not hold up the others. */
int rcvmi_disks_write_back_copies (const struct rcvmi_disks *d, rcvm_error **err);

/* Of copies that are live, on a disk that the guest does not change meanwhile. */
struct rcvmi_disks_round
{
  const unsigned *numbers;
  size_t n;
  struct timespec frozen; /* the guest's clock, since when it does not */
  /* The disk may change again.  Negative: it has before. */
  int (*read) (void *user, rcvm_error **err);
  /* Of this one all is written back. */
  void (*done) (void *user, unsigned number);
  void *user;
};
int rcvmi_disks_round (const struct rcvmi_disks *d, const struct rcvmi_disks_round *round, rcvm_error **err);

/* A directory as it was meant, told from another one of that name. */
struct rcvmi_disks_identity
{
  uint64_t ino;
  struct statx_timestamp birth; /* 0 where the file system does not say */
  bool overlay;
};
int rcvmi_disks_identify (const char *path, struct rcvmi_disks_identity *id, rcvm_error **err);
bool rcvmi_disks_is_same (const struct rcvmi_disks_identity *a, const struct rcvmi_disks_identity *b);
/* Replaces the file `name` of the directory. */
struct json_object;
int rcvmi_disks_write_json (const struct rcvmi_disks *d, const char *name, struct json_object *o, rcvm_error **err);
/* *out stays NULL where there is none. */
int rcvmi_disks_read_json (const struct rcvmi_disks *d, const char *name, struct json_object **out, rcvm_error **err);

/* Removes all but what is kept. */
void rcvmi_disks_remove (struct rcvmi_disks *d);
void rcvmi_disks_close (struct rcvmi_disks *d);

/* For a VM whose monitor is dead: writes back what it should have, and removes the rest.  Where that fails, the
   disks stay, and the next call tries again.  With `discard`, the changes are given up.  Nothing if there is nothing. */
int rcvmi_disks_recover (const char *dir, bool discard, rcvm_error **err);

#endif
