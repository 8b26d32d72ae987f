/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the caller asked for, apart from what config.json says: filled by the setters of a handle,
 * carried to the monitor as a TLV record, read by plan.c.
 *
 * In every member, NULL, 0 or -1 (for the ints) means "not asked for".
 */
#ifndef RCVM_LIB_OPTIONS_H
#define RCVM_LIB_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include <runcvm/error.h>

#include "tlv.h"

struct rcvmi_options
{
  char *id;
  char *bundle;      /* absolute */
  char *config_json; /* text in place of the bundle's file */
  char *rootfs;      /* absolute */
  char **args;       /* NULL-terminated, as all lists here */
  char **env;        /* NAME=VALUE */
  char **annotations; /* KEY=VALUE */
  char *user;
  char *cwd;
  char *hostname;
  int terminal;
  unsigned console;    /* 1: stdin is the user's terminal, to be made raw and followed */
  int readonly_rootfs;
  char *hypervisor;
  char *confinement;   /* "auto", "own", "jailer", "off" */
  char *kernel;
  char *initramfs;
  char *kernel_args;
  uint64_t memory;
  unsigned cpus;
  uint64_t rootfs_size;
  char *rootfs_disk;    /* "overlay", "single" */
  char *rootfs_changes; /* "writeback", "discard", "keep" */
  char **rootfs_digests;
  unsigned rows;
  unsigned cols;
  int log_level;
  char *binds;        /* "live", "copy" */
  char **volumes;     /* for each three strings: source, target (both absolute), options "ro,squash=U:G,cached=N,transport=tcp"; or
                         "", target, and mount data: a tmpfs; or source, target, and "type=block,ro,fstype=ext4" */
  char *network;      /* "none", "host", a path ... */
  char *network_join; /* "tc", "bridge" */
  char *tap_name;
  unsigned dhcp;      /* seconds */
  char **nics;
  char **ports;
  char *cgroup_driver; /* "cgroupfs", "systemd" */
  char *snapshot;      /* absolute: the VM goes on from there */
};

/* A process to start in a running container. */
struct rcvmi_exec_options
{
  char *process_json; /* an OCI process object */
  char **args;
  char **env;
  char *user;
  char *cwd;
  int terminal;
  unsigned rows;
  unsigned cols;
  unsigned tied; /* 1: it ends with the connection that started it */
};

#define RCVMI_OPTIONS_INIT                                                                        \
  ((struct rcvmi_options){ .terminal = -1, .readonly_rootfs = -1, .log_level = -1 })
#define RCVMI_EXEC_OPTIONS_INIT ((struct rcvmi_exec_options){ .terminal = -1 })

void rcvmi_options_clear (struct rcvmi_options *o);
void rcvmi_options_encode (const struct rcvmi_options *o, struct tlv_writer *w);
/* `o` is overwritten; after a failure it is clear. */
int rcvmi_options_decode (struct rcvmi_options *o, const void *data, size_t len, rcvm_error **err);

void rcvmi_exec_options_clear (struct rcvmi_exec_options *o);
void rcvmi_exec_options_encode (const struct rcvmi_exec_options *o, struct tlv_writer *w);
int rcvmi_exec_options_decode (struct rcvmi_exec_options *o, const void *data, size_t len,
                               rcvm_error **err);

/* Lists of strings.  append copies `s`; set_env replaces the entry with the same NAME= or appends. Both
   return 0 or -1 (no memory), the list being unchanged then. */
int rcvmi_strv_append (char ***list, const char *s);
int rcvmi_strv_set_env (char ***list, const char *name_value);
size_t rcvmi_strv_length (char *const *list);
char **rcvmi_strv_copy (char *const *list);
void rcvmi_strv_free (char **list);

#endif
