/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The volume server as a process: connections, workers, figures, the one who controls it. */
#ifndef RCVM_LIB_NFS_SERVER_H
#define RCVM_LIB_NFS_SERVER_H

#include "ev.h"
#include "nfs.h"

/* nfs-stats.c */
enum
{
  RCVMI_NFS_BUCKETS = 216
};

struct nfs_figures
{
  uint64_t calls;
  uint64_t errors; /* answers other than NFS3_OK, of all kinds: a LOOKUP that found nothing is one */
  uint32_t latency[RCVMI_NFS_BUCKETS];
};

struct nfs_stats
{
  struct nfs_figures of[RCVMI_NFS_COUNTED];
  uint64_t bytes_read, bytes_written;
  uint64_t repeated; /* answered from memory */
  uint64_t garbage;  /* records and arguments that do not decode */
};

void rcvmi_nfs_stats_add (struct nfs_stats *s, const struct nfs_call *c, int64_t now);
/* In microseconds, at most an eighth too high; 0 without any. */
uint64_t rcvmi_nfs_stats_percentile (const struct nfs_figures *f, double percent);

/* nfs-drc.c: replies to calls that must not be done twice. */
enum
{
  RCVMI_NFS_REMEMBERED = 512
};

struct nfs_drc_entry
{
  uint64_t check; /* of the call and who made it */
  int64_t when;   /* usec */
  struct nfs_job *job; /* it is being run */
  size_t len;          /* of the reply; 0: none yet */
  uint8_t *reply;
};

struct nfs_drc
{
  struct nfs_drc_entry *entries;
  uint32_t xids[RCVMI_NFS_REMEMBERED]; /* theirs: what is looked through */
  unsigned next;
};

/* What is known of the call; else a new entry is begun. NULL: it cannot be remembered. */
struct nfs_drc_entry *rcvmi_nfs_drc_find (struct nfs_drc *d, const struct nfs_call *c, bool *is_new);
void rcvmi_nfs_drc_answer (struct nfs_drc_entry *e, const struct nfs_buf *reply);
void rcvmi_nfs_drc_free (struct nfs_drc *d);

/* nfs-pool.c */
struct nfs_conn;

/* A call that is another thread's for a while. */
struct nfs_job
{
  struct nfs_job *next;
  struct nfs_call call;
  struct nfs_buf *record;
  struct nfs_conn *conn;
  struct nfs_drc_entry *remembered;
};

struct nfs_pool;
struct nfs_pool *rcvmi_nfs_pool_new (struct nfs_server *s, unsigned max_workers, rcvm_error **err);
int rcvmi_nfs_pool_fd (const struct nfs_pool *p); /* readable: something is done */
void rcvmi_nfs_pool_submit (struct nfs_pool *p, struct nfs_job *job);
/* All that is done, in no order. */
struct nfs_job *rcvmi_nfs_pool_take (struct nfs_pool *p);
/* What waits is not run any more, but handed back by take as the rest is; what runs is waited for. */
void rcvmi_nfs_pool_stop (struct nfs_pool *p);
void rcvmi_nfs_pool_free (struct nfs_pool *p);

/* nfs-conn.c */
struct nfs_daemon;
int rcvmi_nfs_conn_add (struct nfs_daemon *d, int fd, rcvm_error **err); /* takes over fd */
void rcvmi_nfs_conn_done (struct nfs_daemon *d, struct nfs_job *job);
void rcvmi_nfs_conns_free (struct nfs_daemon *d);
/* Nothing runs and nothing is left to send. */
bool rcvmi_nfs_conns_are_idle (const struct nfs_daemon *d);

/* nfs-server.c */
struct nfs_listener
{
  struct nfs_listener *next;
  struct nfs_daemon *daemon;
  int fd;
  struct rcvmi_ev_source *source;
};

struct nfs_daemon
{
  struct rcvmi_ev *ev;
  struct nfs_server *core;
  struct nfs_thread *thread;
  struct nfs_pool *pool;
  struct rcvmi_ev_source *pool_source;
  struct nfs_listener *listeners;
  struct nfs_conn *conns;
  unsigned n_conns;
  size_t out_bytes;  /* of all connections */
  unsigned in_flight;
  uint8_t *scratch;  /* what is received at first */
  struct nfs_drc drc;
  struct nfs_stats stats;
  struct rcvmi_ev_source *trim_timer, *stop_timer;
  bool stopping;
  int control_fd; /* -1: none */
  struct rcvmi_ev_source *control_source, *signal_source;
  int signal_fd;
};

struct nfs_daemon *rcvmi_nfs_daemon_new (const uint8_t *key, unsigned workers, rcvm_error **err);
int rcvmi_nfs_daemon_listen (struct nfs_daemon *d, int fd, rcvm_error **err); /* takes over fd */
/* SIGTERM and SIGINT stop it; they have to be blocked. */
int rcvmi_nfs_daemon_signals (struct nfs_daemon *d, rcvm_error **err);
int rcvmi_nfs_daemon_run (struct nfs_daemon *d, rcvm_error **err);
/* Answers what has been begun, then ends. */
void rcvmi_nfs_daemon_stop (struct nfs_daemon *d);
/* Something happened: files may be open that have to be closed after a while. */
void rcvmi_nfs_daemon_touch (struct nfs_daemon *d);
/* Something was answered or ended: perhaps the last that a stop waits for. */
void rcvmi_nfs_daemon_progress (struct nfs_daemon *d);
void rcvmi_nfs_daemon_free (struct nfs_daemon *d);

/* nfs-control.c: see nfs-control.h */
/* Takes over fd. */
int rcvmi_nfs_control_start (struct nfs_daemon *d, int fd, bool isolated, rcvm_error **err);

/* nfs-sandbox.c: least privilege.  After this the process sees no file but what it has open. */
int rcvmi_nfs_sandbox_files (rcvm_error **err);
int rcvmi_nfs_sandbox_rights (const struct nfs_server *s, rcvm_error **err);

#endif
