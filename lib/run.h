/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One run, from config.json to the exit code: the pipeline that the monitor drives.
 *
 *   rcvmi_run_create  ->  created | failed
 *   rcvmi_run_start   ->  started | not_started (the run then ends: stopped)
 *   the process ends, the VM dies, or rcvmi_run_stop  ->  stopped
 */
#ifndef RCVM_LIB_RUN_H
#define RCVM_LIB_RUN_H

#include <runcvm/error.h>

#include "agent.h"
#include "ev.h"
#include "log.h"
#include "options.h"
#include "state.h"

struct rcvmi_run;

/* Errors are the callee's.  None is called from within a function of this header. */
struct rcvmi_run_handler
{
  void (*created) (void *user);
  void (*failed) (void *user, rcvm_error *err); /* nothing is left of it */
  void (*started) (void *user, uint32_t guest_pid);
  void (*not_started) (void *user, rcvm_error *err);
  void (*status) (void *user, int status);
  void (*oom) (void *user, uint32_t kills); /* processes of the container, for want of memory; by now */
  void (*stopped) (void *user); /* rcvmi_run_state says how */
};

/* `options` and `stdio` (fds, -1: /dev/null) become the run's in any case. */
struct rcvmi_run *rcvmi_run_new (struct rcvmi_ev *ev, const struct rcvmi_log *log,
                                 struct rcvmi_options *options, const int stdio[3],
                                 const struct rcvmi_run_handler *handler, void *user, rcvm_error **err);
void rcvmi_run_free (struct rcvmi_run *run);

/* Takes over the directory, which the caller has made. */
void rcvmi_run_create (struct rcvmi_run *run, struct rcvmi_state_dir *dir);
int rcvmi_run_start (struct rcvmi_run *run, rcvm_error **err);
int rcvmi_run_kill (struct rcvmi_run *run, int signum, bool all, rcvm_error **err);
int rcvmi_run_resume (struct rcvmi_run *run, rcvm_error **err);
int rcvmi_run_resize (struct rcvmi_run *run, unsigned rows, unsigned cols, rcvm_error **err);
/* The size of the user's terminal may have changed. */
void rcvmi_run_follow_console (struct rcvmi_run *run);
/* Takes back what the stages have done; for a monitor that has to go without `stopped`. */
void rcvmi_run_undo (struct rcvmi_run *run);
/* Ends it at once, in whatever state; `stopped` (or `failed`) follows. */
void rcvmi_run_stop (struct rcvmi_run *run);
/* The same, but a guest that answers may bring home what it has not written to its disks yet. */
void rcvmi_run_stop_gently (struct rcvmi_run *run);

/* A further process; takes the fds over in any case.  Returns its number. */
int64_t rcvmi_run_exec (struct rcvmi_run *run, const struct rcvmi_exec_options *options, const int fds[3],
                        const struct rcvmi_agent_process_ops *ops, void *user, rcvm_error **err);
/* What came of a request about the network: JSON (of the guest's half, for show) or NULL, and an error, which is the
   callee's.  `done` may be called before the function returns; not after a failure. */
typedef void (*rcvmi_run_net_fn) (void *user, const char *json, rcvm_error *err);
int rcvmi_run_net_show (struct rcvmi_run *run, rcvmi_run_net_fn done, void *user, rcvm_error **err);
/* An interface of the namespace, by name: waits until the guest has it, or has let go of it. */
int rcvmi_run_net_attach (struct rcvmi_run *run, const char *name, rcvmi_run_net_fn done, void *user, rcvm_error **err);
int rcvmi_run_net_detach (struct rcvmi_run *run, const char *name, rcvmi_run_net_fn done, void *user, rcvm_error **err);
/* A disk of the host at a path in the container, while the VM runs; `fstype` may be NULL.  `done` as above, but with no JSON. */
struct rcvmi_run_disk_order
{
  const char *source, *target, *fstype;
  bool read_only;
};
int rcvmi_run_disk_attach (struct rcvmi_run *run, const struct rcvmi_run_disk_order *order, rcvmi_run_net_fn done, void *user,
                           rcvm_error **err);
int rcvmi_run_disk_detach (struct rcvmi_run *run, const char *target, rcvmi_run_net_fn done, void *user, rcvm_error **err);
void rcvmi_run_attach_forget (struct rcvmi_run *run, void *user);
/* The disks that the VM has as volumes, as a JSON array, to be freed. */
char *rcvmi_run_disks_json (struct rcvmi_run *run, rcvm_error **err);
/* Who waits goes away. */
void rcvmi_run_net_forget (struct rcvmi_run *run, void *user);
/* What came of a request: JSON, or NULL where there is none to tell, and an error, which is the callee's.  `done` may be called
   before the function returns; not after a failure. */
typedef void (*rcvmi_run_json_fn) (void *user, const char *json, rcvm_error *err);
int rcvmi_run_pause (struct rcvmi_run *run, rcvmi_run_json_fn done, void *user, rcvm_error **err);
/* Writes back what the container has changed in its root so far. */
int rcvmi_run_flush (struct rcvmi_run *run, rcvmi_run_json_fn done, void *user, rcvm_error **err);
/* Who waits for one of both goes away. */
void rcvmi_run_flush_forget (struct rcvmi_run *run, void *user);
/* Whether the guest is to have first what others have put into its root; `done` follows then.  And who waits for that goes away. */
bool rcvmi_run_puts_first (struct rcvmi_run *run, void (*done) (void *user), void *user);
void rcvmi_run_puts_forget (struct rcvmi_run *run, void *user);
/* Saves it into the directory, which is new or empty; then it goes on, or ends. */
struct rcvmi_run_snapshot_order
{
  const char *dir;    /* absolute */
  const char *parent; /* absolute; NULL: it is no difference */
  bool leave_running;
};
int rcvmi_run_snapshot (struct rcvmi_run *run, const struct rcvmi_run_snapshot_order *order, rcvmi_run_json_fn done, void *user, rcvm_error **err);
void rcvmi_run_snapshot_forget (struct rcvmi_run *run, void *user);
/* `json`: OCI resources. */
int rcvmi_run_update (struct rcvmi_run *run, const char *json, rcvmi_run_json_fn done, void *user, rcvm_error **err);
int rcvmi_run_stats (struct rcvmi_run *run, rcvmi_run_json_fn done, void *user, rcvm_error **err);
/* Who waits goes away. */
void rcvmi_run_forget_requests (struct rcvmi_run *run, void *user);
/* The PIDs on the host, as a JSON array; to be freed. */
char *rcvmi_run_processes (struct rcvmi_run *run, rcvm_error **err);
/* The volumes and the server's figures, as JSON. */
/* What the VMM has counted, as Prometheus text, to be freed. */
char *rcvmi_run_figures (struct rcvmi_run *run, rcvm_error **err);
int rcvmi_run_volumes_show (struct rcvmi_run *run, rcvmi_run_net_fn done, void *user, rcvm_error **err);
void rcvmi_run_volumes_forget (struct rcvmi_run *run, void *user);
/* The host's half as JSON; to be freed. */
char *rcvmi_run_net_host_json (struct rcvmi_run *run, rcvm_error **err);

/* For the signals, sizes and owners of further processes; NULL while there is none. */
struct rcvmi_agent *rcvmi_run_agent (struct rcvmi_run *run);

const struct rcvmi_state *rcvmi_run_state (const struct rcvmi_run *run);
struct rcvmi_state_dir *rcvmi_run_dir (struct rcvmi_run *run);

#endif
