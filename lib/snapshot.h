/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container that ran, in a directory (docs/snapshots.md):
 *
 *   index        a SHA-256 of what follows, and JSON: all that has to fit, lengths, streams, interfaces
 *   options      what the VM was made with (options.h)
 *   memory       of the guest, with holes where it is zero
 *   state        the VMM's
 *   disk-SERIAL  the VM's own disks
 *
 * It is written beside its place, and put there in one step.
 */
#ifndef RCVM_LIB_SNAPSHOT_H
#define RCVM_LIB_SNAPSHOT_H

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
  RCVMI_SNAPSHOT_KEY = 16
};

struct rcvmi_snapshot
{
  char vmm[32]; /* the driver's name */
  unsigned version; /* of the VMM */
  char cpu[RCVMI_SHA256_HEX + 1];   /* the host's */
  char shape[RCVMI_SHA256_HEX + 1]; /* the machine's */
  char base[RCVMI_CACHE_KEY_MAX + 1]; /* key of the image that is below the root; "": none, or among the disks */
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
  struct
  {
    char serial[RCVMI_SNAPSHOT_SERIAL];
    uint64_t size;
  } disks[RCVMI_VMM_DISKS];
  size_t n_disks;
  bool has_key; /* of the volume server's handles */
  uint8_t key[RCVMI_SNAPSHOT_KEY];
};

/* What a processor and its kernel are, and what a machine is, as text. */
int rcvmi_snapshot_identify (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, struct rcvmi_snapshot *s,
                             rcvm_error **err);

/* Makes a directory beside `place`, which must be free or empty; *temp is to be freed.  The memory's and the state's files are there,
   empty. */
int rcvmi_snapshot_begin (const char *place, char **temp, rcvm_error **err);
/* PATH/NAME, to be freed; NULL: no memory. */
char *rcvmi_snapshot_path (const char *dir, const char *name);
/* A file with its holes; shares its blocks where the file system can.  Its length goes to *size. */
int rcvmi_snapshot_copy (const char *from, const char *to, uint64_t *size, rcvm_error **err);
/* All files but the index are written: looks at them, writes it, and puts the directory in its place. */
int rcvmi_snapshot_publish (struct rcvmi_snapshot *s, const char *temp, const char *place, const struct rcvmi_options *options,
                            rcvm_error **err);
/* Removes one that was begun. */
void rcvmi_snapshot_discard (const char *temp);

/* Reads the index and checks the lengths of all and the digests of the small files.  Fills `options`, which are the caller's. */
int rcvmi_snapshot_read (struct rcvmi_snapshot *s, const char *dir, struct rcvmi_options *options, rcvm_error **err);
/* The index's own bytes. */
int rcvmi_snapshot_parse (struct rcvmi_snapshot *s, const char *text, size_t len, const char **why);
/* Whether this host can go on from it with that machine: RCVM_E_HOST, RCVM_E_INVALID, with what is different. */
int rcvmi_snapshot_check (const struct rcvmi_snapshot *s, const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config,
                          rcvm_error **err);

#endif
