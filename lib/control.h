/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control protocol: what a handle (in any process) and a VM's monitor say to each other.  Frames are
 * those of agent-wire.h; payloads are TLV records.  It is spoken over the socket that the creator passed to the
 * monitor as fd 3, and over the socket "control" in the VM's state directory, which only its owner can reach.
 *
 *   client                                         monitor
 *     CREATE (options; fds)   ------------------>            on the creator's connection, once
 *     START | KILL | RESIZE | STOP | PAUSE | RESUME  --->
 *     EXEC (exec options; fds) ----------------->            the connection is that process's from then on
 *                             <------------------  OK | ERROR          one for each request, in order
 *                             <------------------  LOG                 to the creator, until it is gone
 *                             <------------------  EXITED              of the container, or of the exec
 *
 * In requests that carry standard streams, the header's process number is a bit mask of the fds that come with
 * the frame: 1 stdin, 2 stdout, 4 stderr.
 */
#ifndef RCVM_LIB_CONTROL_H
#define RCVM_LIB_CONTROL_H

#include <runcvm/error.h>

#include "link.h"
#include "tlv.h"

enum rcvmi_control_frame
{
  CONTROL_CREATE = 1, /* struct rcvmi_options */
  CONTROL_START = 2,
  CONTROL_KILL = 3,   /* A_SIGNAL, A_ALL */
  CONTROL_RESIZE = 4, /* A_ROWS, A_COLS */
  CONTROL_EXEC = 5,   /* struct rcvmi_exec_options */
  CONTROL_STOP = 6,   /* ends the VM at once */
  CONTROL_PAUSE = 7,
  CONTROL_RESUME = 8,
  CONTROL_UPDATE = 9,     /* A_MESSAGE: OCI resources as JSON */
  CONTROL_STATS = 10,     /* empty; a JSON frame comes before the OK */
  CONTROL_PROCESSES = 11, /* the same */
  CONTROL_SNAPSHOT = 13,  /* A_MESSAGE: a directory; A_ALL: 1: it goes on then; CONTROL_PARENT */
  CONTROL_FLUSH = 12,     /* empty: the root on the host shall be as it is in the VM */
  CONTROL_NET_SHOW = 20,   /* empty; a JSON frame comes before the OK */
  CONTROL_NET_ATTACH = 21, /* A_MESSAGE: name of an interface of the VM's network namespace */
  CONTROL_NET_DETACH = 22, /* the same */
  CONTROL_VOLUMES = 23,    /* empty; a JSON frame comes before the OK */
  CONTROL_FIGURES = 24,    /* empty; before the OK, a JSON frame whose text is what the VMM has counted, for Prometheus */
  CONTROL_DISK_ATTACH = 28, /* enum rcvmi_control_disk_tag */
  CONTROL_DISK_DETACH = 29, /* CD_TARGET */

  CONTROL_OK = 32,     /* A_PID: of the monitor (CREATE) or in the guest (EXEC) */
  CONTROL_ERROR = 33,  /* CE_* */
  CONTROL_LOG = 34,    /* A_LEVEL, A_STAGE, A_MESSAGE */
  CONTROL_EXITED = 35, /* A_EXIT_CODE, or CE_* where no exit code is known */
  CONTROL_STATUS = 36, /* A_BYTES: the container's new enum rcvm_status */
  CONTROL_JSON = 37,   /* A_MESSAGE: what was asked for */
  CONTROL_OOM = 38     /* A_BYTES: how many processes were killed for want of memory, by now */
};

enum rcvmi_control_disk_tag
{
  CD_SOURCE = 1,   /* str: absolute, on the host */
  CD_TARGET = 2,   /* str: in the container */
  CD_FSTYPE = 3,   /* str; absent: what is found */
  CD_READONLY = 4  /* u32 */
};

enum rcvmi_control_snapshot_tag
{
  CONTROL_PARENT = 80 /* str: the directory of a snapshot, to which the new one is a difference */
};

enum rcvmi_control_error_tag
{
  CE_CODE = 64, /* u32: -code */
  CE_ERRNO = 65,
  CE_EXIT_CODE = 66,
  CE_STAGE = 67,
  CE_MESSAGE = 68
};

/* A root directory, a VM's directory below it, the file names in it. */
#define RCVMI_CONTROL_SOCKET "control"

/* An error as fields of a record. */
void rcvmi_control_put_error (struct tlv_writer *w, const rcvm_error *e);
/* The error of an ERROR or EXITED frame: returns its code, or 0 if there is none in it. */
int rcvmi_control_get_error (const unsigned char *data, size_t len, rcvm_error **err);

#endif
