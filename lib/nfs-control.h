/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the volume server is told, and tells: records of common/tlv.h.
 *
 * The configuration is one record, read to its end from the fd that --config-fd names.  fds in it are
 * numbers of inherited ones.  The control fd (a SOCK_SEQPACKET socket) carries one record a packet: first
 * READY from the server; then REQUESTs to it, each answered by one REPLY with the same ID.  An export at
 * run time may bring its directory or file along as an fd (SCM_RIGHTS); a path is then for listings only,
 * for the server sees no files any more but those it has.  When the control connection ends, so does the
 * server.
 */
#ifndef RCVM_LIB_NFS_CONTROL_H
#define RCVM_LIB_NFS_CONTROL_H

enum nfs_config_tag
{
  NFS_CONFIG_KEY = 1,     /* 16 bytes: the VM's own; the same after a restart of the server */
  NFS_CONFIG_LISTEN_FD,   /* u32, any number of them: a listening stream socket */
  NFS_CONFIG_STREAM_FD,   /* u32, any number: a connected one */
  NFS_CONFIG_CONTROL_FD,  /* u32 */
  NFS_CONFIG_EXPORT,      /* a record of nfs_export_tag, any number */
  NFS_CONFIG_WORKERS,     /* u32: threads that may wait for disks; default 4 */
  NFS_CONFIG_NO_SANDBOX   /* u32 1: keep the rights of who started it */
};

enum nfs_export_tag
{
  NFS_EXPORT_PATH = 1,  /* str: on the host */
  NFS_EXPORT_NAME,      /* str: as it is mounted; the path if left out */
  NFS_EXPORT_FD,        /* u32: it is open already (configuration only) */
  NFS_EXPORT_READ_ONLY, /* u32 */
  NFS_EXPORT_UID,       /* u32: with GID, everyone is uid:gid ("squash"); without: who they say */
  NFS_EXPORT_GID,       /* u32 */
  NFS_EXPORT_CACHED,    /* u32, seconds; 0: strict */
  NFS_EXPORT_DURABLE    /* u32: names are stable before the reply, too */
};

enum nfs_control_tag
{
  NFS_CONTROL_TYPE = 1, /* u32, nfs_control_type */
  NFS_CONTROL_ID,       /* u32 */
  NFS_CONTROL_EXPORT,   /* ADD: a record of nfs_export_tag */
  NFS_CONTROL_NAME,     /* REMOVE: str */
  NFS_CONTROL_CODE,     /* REPLY: u32, 0 or a negative RCVM_E_ value */
  NFS_CONTROL_ERRNO,    /* REPLY: u32 */
  NFS_CONTROL_MESSAGE,  /* REPLY: str, when CODE is not 0 */
  NFS_CONTROL_FIGURES,  /* REPLY to STATS: a record of nfs_figures_tag */
  NFS_CONTROL_ISOLATED  /* READY: u32: 1, the server sees only its exports */
};

enum nfs_control_type
{
  NFS_CONTROL_READY = 1,
  NFS_CONTROL_REPLY,
  NFS_CONTROL_STATS,
  NFS_CONTROL_ADD,
  NFS_CONTROL_REMOVE,
  NFS_CONTROL_STOP,
  NFS_CONTROL_CONNECT /* a connected stream socket comes along as an fd */
};

enum nfs_figures_tag
{
  NFS_FIGURES_READ = 1,    /* u64, bytes */
  NFS_FIGURES_WRITTEN,     /* u64, bytes */
  NFS_FIGURES_REPEATED,    /* u64: answered from memory */
  NFS_FIGURES_GARBAGE,     /* u64: calls that did not decode */
  NFS_FIGURES_CONNECTIONS, /* u32 */
  NFS_FIGURES_OBJECTS,     /* u32: files kept open */
  NFS_FIGURES_PROCEDURE    /* a record of nfs_procedure_tag for each that was called */
};

enum nfs_procedure_tag
{
  NFS_PROCEDURE_NAME = 1, /* str: "GETATTR", "MOUNT.MNT" */
  NFS_PROCEDURE_CALLS,    /* u64 */
  NFS_PROCEDURE_ERRORS,   /* u64: answers that are not NFS3_OK */
  NFS_PROCEDURE_P50,      /* u64, microseconds from arrival to answer */
  NFS_PROCEDURE_P90,
  NFS_PROCEDURE_P99,
  NFS_PROCEDURE_P999,
  NFS_PROCEDURE_MAX
};

#endif
