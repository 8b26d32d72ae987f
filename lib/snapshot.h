/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container that ran, in a directory (docs/snapshots.md):
 *
 *   index        a SHA-256 of what follows, and JSON: all that has to fit, lengths, streams, interfaces
 *   options      what the VM was made with (options.h)
 *   memory       of the guest, with holes where it is zero; of a difference: the pages only that are others than those of its parent,
 *   changes      and which these are (snapshot-memory.c)
 *   state        the VMM's
 *   disk-SERIAL  the VM's own disks
 *
 * It is written beside its place, and put there in one step.
 */
#ifndef RCVM_LIB_SNAPSHOT_H
#define RCVM_LIB_SNAPSHOT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <runcvm/error.h>

#include "cache.h"
#include "digest.h"
#include "options.h"
#include "stream.h"
#include "vmm.h"

enum
{
  RCVMI_SNAPSHOT_SERIAL = 24,
  RCVMI_SNAPSHOT_KEY = 16,
  RCVMI_SNAPSHOT_ID = 32,   /* hexadecimal digits */
  RCVMI_SNAPSHOT_DEEP = 16, /* differences on top of each other */
  RCVMI_SNAPSHOT_PAGE = 4096,
  RCVMI_SNAPSHOT_STATE_MAX = 16 * 1024 * 1024,
  RCVMI_SNAPSHOT_PLACES = 4 * 1024 * 1024 /* of a disk */
};

struct rcvmi_snapshot_disk
{
  char serial[RCVMI_SNAPSHOT_SERIAL];
  uint64_t size;     /* of the disk */
  uint64_t stored;   /* of its file */
  uint64_t n_places; /* where it was written to: a list at the file's end, and ... */
  char digest[RCVMI_SHA256_HEX + 1]; /* ... that list's */
};

struct rcvmi_snapshot
{
  char id[RCVMI_SNAPSHOT_ID + 1];      /* its own; drawn */
  char machine[RCVMI_SNAPSHOT_ID + 1]; /* the same in all that a VM is saved as, and VMs that go on from there */
  char parent[PATH_MAX]; /* from its directory to the one that it is a difference to; "": it is whole */
  char parent_digest[RCVMI_SHA256_HEX + 1];  /* of the index there */
  char parent_id[RCVMI_SNAPSHOT_ID + 1]; /* not written */
  char changes_digest[RCVMI_SHA256_HEX + 1]; /* of a difference */
  unsigned depth;                     /* how many are below */
  char digest[RCVMI_SHA256_HEX + 1]; /* of its own index, once that was written or read */
  char vmm[32]; /* the driver's name */
  unsigned version; /* of the VMM */
  char cpu[RCVMI_SHA256_HEX + 1];   /* the host's */
  char shape[RCVMI_SHA256_HEX + 1]; /* the machine's */
  char base[RCVMI_CACHE_KEY_MAX + 1]; /* key of the image that is below the root; "": none, or among the disks */
  bool hotplug;                     /* devices may come to it */
  uint64_t memory, state;           /* lengths */
  char state_digest[RCVMI_SHA256_HEX + 1], options_digest[RCVMI_SHA256_HEX + 1];
  uint32_t guest_pid;
  struct rcvmi_streams_saved streams;
  struct
  {
    unsigned number;
    uint8_t mac[6];
  } nics[RCVMI_VMM_NICS];
  size_t n_nics;
  struct rcvmi_snapshot_disk disks[RCVMI_VMM_DISKS];
  size_t n_disks;
  bool has_key; /* of the volume server's handles */
  uint8_t key[RCVMI_SNAPSHOT_KEY];
};

/* What a processor and its kernel are, and what a machine is, as text. */
int rcvmi_snapshot_identify (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, struct rcvmi_snapshot *s,
                             rcvm_error **err);

void rcvmi_snapshot_draw_id (char id[RCVMI_SNAPSHOT_ID + 1]);

/* A name for a directory beside `place`, which must be free or empty; to be freed. */
int rcvmi_snapshot_name (const char *place, char **temp, rcvm_error **err);
/* Makes it.  The memory's and the state's files are there, empty. */
int rcvmi_snapshot_begin (const char *temp, rcvm_error **err);
/* PATH/NAME, to be freed; NULL: no memory. */
char *rcvmi_snapshot_path (const char *dir, const char *name);
/* A part of a file with its holes, into one that has nothing there; shares its blocks where the file system can.  -1 with errno. */
int rcvmi_snapshot_copy_range (int from, int to, off_t at, off_t end);
/* Bytes without regard to holes, to another place. */
int rcvmi_snapshot_copy_part (int from, off_t at, int to, off_t there, uint64_t len);
/* snapshot-disk.c: a disk becomes a file of a snapshot, and the other way; all but the serial is filled. */
int rcvmi_snapshot_disk_pack (const char *from, const char *to, struct rcvmi_snapshot_disk *d, rcvm_error **err);
int rcvmi_snapshot_disk_unpack (const char *from, const char *to, const struct rcvmi_snapshot_disk *d, rcvm_error **err);
/* Makes it, whose `machine` is known, a difference to the snapshot in `parent`.  RCVM_E_NOT_FOUND: there is none; RCVM_E_INVALID: it is another
   machine's, or too many are on top of each other. */
int rcvmi_snapshot_descend (struct rcvmi_snapshot *s, const char *place, const char *parent, rcvm_error **err);
/* All files but the index are written: looks at them, writes it, and puts the directory in its place.  The memory is whole; that of a
   difference to `parent` is reduced. */
int rcvmi_snapshot_publish (struct rcvmi_snapshot *s, const char *temp, const char *place, const char *parent,
                            const struct rcvmi_options *options, rcvm_error **err);
/* Removes one that was begun: only files of a snapshot, from a directory whose name rcvmi_snapshot_name has made. */
void rcvmi_snapshot_discard (const char *temp);

/* Reads the index and checks the lengths of all and the digests of the small files.  Fills `options`, which are the caller's. */
int rcvmi_snapshot_read (struct rcvmi_snapshot *s, const char *dir, struct rcvmi_options *options, rcvm_error **err);
/* The index alone, and a file in whole, to be freed, with a NUL behind; `dir` is for messages. */
int rcvmi_snapshot_read_index (struct rcvmi_snapshot *s, int dir_fd, const char *dir, rcvm_error **err);
int rcvmi_snapshot_read_file (int dir_fd, const char *dir, const char *name, size_t max, char **out, size_t *len, rcvm_error **err);
void rcvmi_snapshot_digest (const void *data, size_t len, char hex[RCVMI_SHA256_HEX + 1]);
/* The index's own bytes; those that are made, to be freed, end with a NUL. */
int rcvmi_snapshot_encode (struct rcvmi_snapshot *s, char **text, rcvm_error **err);
int rcvmi_snapshot_parse (struct rcvmi_snapshot *s, const char *text, size_t len, const char **why);
/* Whether this host can go on from it with that machine: RCVM_E_HOST, RCVM_E_INVALID, with what is different. */
int rcvmi_snapshot_check (const struct rcvmi_snapshot *s, const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config,
                          rcvm_error **err);

/* snapshot-memory.c: the memory of a snapshot, with those that it is a difference to. */
struct rcvmi_snapshot_memory
{
  struct
  {
    int fd;
    uint8_t *changes; /* a bit for each page that is here; NULL: all are */
  } layers[RCVMI_SNAPSHOT_DEEP + 1]; /* from the top */
  size_t n;
  uint64_t size;
};

/* Checks and opens them all; `top` is what the directory's own index says. */
int rcvmi_snapshot_memory_open (struct rcvmi_snapshot_memory *m, const char *dir, struct rcvmi_snapshot *top, rcvm_error **err);
/* The same of one whose index is known by its digest.  RCVM_E_INVALID: it is another one now. */
int rcvmi_snapshot_memory_open_known (struct rcvmi_snapshot_memory *m, const char *dir, const char *digest, rcvm_error **err);
void rcvmi_snapshot_memory_close (struct rcvmi_snapshot_memory *m);
/* Into an empty file; blocks are shared where the file system can. */
int rcvmi_snapshot_memory_copy (const struct rcvmi_snapshot_memory *m, int to, rcvm_error **err);
/* Both: that of the known snapshot into the file `path`, which is empty, or is made (`flags`: O_CREAT). */
int rcvmi_snapshot_memory_put (const char *dir, const char *digest, const char *path, int flags, rcvm_error **err);
/* Compares a memory with it: pages that are the same become holes, the others are noted in `changes`. */
int rcvmi_snapshot_memory_reduce (const struct rcvmi_snapshot_memory *m, int fd, uint8_t *changes, rcvm_error **err);
size_t rcvmi_snapshot_changes_len (uint64_t memory);

#endif
