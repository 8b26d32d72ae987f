/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection, between nfs-conn.c, which reads, and nfs-send.c, which writes. */
#ifndef RCVM_LIB_NFS_CONN_H
#define RCVM_LIB_NFS_CONN_H

#include "nfs-server.h"

enum
{
  SCRATCH = 128 << 10,         /* bytes received at once */
  CONNECTIONS_MAX = 64,        /* a client opens 16 at most */
  OUT_MAX = 4 << 20,           /* unsent bytes of one connection, at which it is no longer read from */
  OUT_ALL_MAX = 32 << 20,      /* of all: then the laggard is cut off */
  OUT_FLUSH = 256 << 10,       /* are sent without waiting for more replies */
  IN_FLIGHT_MAX = 64           /* calls of one connection that workers have */
};

struct nfs_conn
{
  struct nfs_conn *next, **prev;
  struct nfs_daemon *daemon;
  int fd;
  struct rcvmi_ev_source *source;
  int64_t active; /* usec: when something was received or sent */

  uint8_t mark[4];
  unsigned mark_len;
  uint32_t frag_left; /* bytes of the fragment still to come, once its mark is there */
  bool last;          /* fragment of its record */
  struct nfs_buf *record; /* what came of it, if it is not all there */

  struct nfs_buf *out, **out_last;
  size_t out_bytes;
  unsigned in_flight;
  bool gone; /* closed; jobs still refer to it */
};

/* Frees what is closed and has no jobs any more. */
void rcvmi_nfs_conn_drop (struct nfs_conn *n);
/* The structure stays as long as jobs refer to it. */
void rcvmi_nfs_conn_close (struct nfs_conn *n);
/* Cuts off who has been idle longest, with replies waiting or at all; not `spare`. */
void rcvmi_nfs_conn_close_laggard (struct nfs_daemon *d, bool with_output, const struct nfs_conn *spare);
/* What to wait for. */
void rcvmi_nfs_conn_watch (struct nfs_conn *n);
/* Sends as much as the socket takes.  False: the connection is broken and closed. */
bool rcvmi_nfs_conn_flush (struct nfs_conn *n);
/* Takes over the reply.  False: the connection is closed. */
bool rcvmi_nfs_conn_queue (struct nfs_conn *n, struct nfs_buf *b);

#endif
