/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the volume server is started with: a record (nfs-control.h) or a command line. */
#ifndef RCVM_LIB_NFS_SETTINGS_H
#define RCVM_LIB_NFS_SETTINGS_H

#include "nfs.h"
#include "tlv.h"

enum
{
  RCVMI_NFS_FDS = 64,
  RCVMI_NFS_EXPORTS = 256
};

/* Strings point into what they were parsed from. */
struct nfs_export_settings
{
  const char *path;
  const char *name; /* NULL: the path */
  int fd;           /* -1: none */
  struct nfs_export_options options;
};

struct nfs_settings
{
  uint8_t key[RCVMI_NFS_KEY];
  bool has_key;
  int listen_fds[RCVMI_NFS_FDS], stream_fds[RCVMI_NFS_FDS];
  unsigned n_listen_fds, n_stream_fds;
  int control_fd; /* -1: none */
  const char *listen[RCVMI_NFS_FDS]; /* "ADDRESS:PORT", from the command line */
  unsigned n_listen;
  struct nfs_export_settings exports[RCVMI_NFS_EXPORTS];
  unsigned n_exports;
  unsigned workers;
  bool no_sandbox;
  char *record; /* what strings point into */
};

bool rcvmi_nfs_settings_parse_export (const struct tlv_field *f, struct nfs_export_settings *e);
/* Reads the record to its end; closes the fd. */
int rcvmi_nfs_settings_read (int fd, struct nfs_settings *s, rcvm_error **err);
/* Changes argv's strings. */
int rcvmi_nfs_settings_command_line (int argc, char **argv, struct nfs_settings *s, rcvm_error **err);
void rcvmi_nfs_settings_free (struct nfs_settings *s);

#endif
