/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of one run share.  run.c has the table of stages and drives them; each run-*.c has the stages
 * of one concern.
 */
#ifndef RCVM_LIB_RUN_PARTS_H
#define RCVM_LIB_RUN_PARTS_H

#include <netinet/in.h>

#include "run.h"

#include "cgroup.h"
#include "disks.h"
#include "net.h"
#include "plan.h"
#include "proc.h"
#include "rootfs.h"
#include "snapshot.h"
#include "spec.h"
#include "template.h"
#include "vmm.h"

enum
{
  /* A guest that has not spoken by then never will, however busy the host. */
  RCVMI_RUN_BOOT_TIMEOUT_MS = 180000,
  RCVMI_RUN_SHUTDOWN_TIMEOUT_MS = 15000
};

/* What the beginning of a stage comes to.  After PENDING, a callback calls rcvmi_run_advance or rcvmi_run_fail. */
enum rcvmi_run_step
{
  RCVMI_STEP_DONE,
  RCVMI_STEP_PENDING,
  RCVMI_STEP_FAILED
};

/* A forked child, whose memory goes with it. */
struct rcvmi_worker
{
  struct rcvmi_proc proc;
  struct rcvmi_ev_source *source;
  int error_fd;
};

/* Hooks of one kind, run by a child. */
struct rcvmi_run_hooks
{
  struct rcvmi_worker worker;
  void (*done) (struct rcvmi_run *run, rcvm_error *err); /* the error is the callee's */
  bool begun;     /* some may have run: those of the end have to */
  size_t next_kind; /* of those before the VM is made */
  bool end_waits; /* for those of after the start */
  uint32_t guest_pid;
};

struct rcvmi_run
{
  struct rcvmi_ev *ev;
  const struct rcvmi_log *log;
  const struct rcvmi_run_handler *handler;
  void *user;

  struct rcvmi_options options;
  int stdio[3];
  int console; /* the user's terminal that the process has, or -1 */
  struct rcvmi_state_dir dir;
  struct rcvmi_state state;

  size_t stage; /* the one under way, or the number of stages: created */
  int64_t stage_start;
  bool start_wanted, process_ended, ending;

  struct rcvmi_spec *spec;
  struct rcvmi_plan *plan;
  struct rcvmi_disks disks;
  char *base; /* the shared image; in use as long as base_fd is open */
  int base_fd;
  struct rcvmi_worker worker; /* of the rootfs stage, and of the end */
  int worker_fd;              /* our end of what it reports on */
  void (*written_back) (struct rcvmi_run *run);
  bool disks_built;           /* and what an earlier VM of that id had left is settled */
  bool changes_wanted;        /* the container may have changed its root, and nothing was made of that yet */
  struct rcvmi_cgroup cgroup; /* n is 0: none */
  struct rcvmi_limits limits;
  int host_netns_fd;          /* where the monitor came from; -1: it is there still */
  struct rcvmi_run_hooks hooks;
  struct rcvmi_run_disks *more_disks; /* NULL: none */
  struct rcvmi_run_attach *attach;    /* NULL: none has come yet */
  struct rcvmi_run_notify *notify;    /* NULL: none */
  struct rcvmi_run_shares *shares;    /* NULL: none */
  struct rcvmi_run_live *live;        /* NULL: none */
  struct rcvmi_run_diods *diods;      /* NULL: none */
  struct rcvmi_run_unfsd *unfsd;      /* NULL: our own server, if any */
  struct rcvmi_run_volumes *volumes; /* NULL: none */
  struct rcvmi_run_listener *listener; /* NULL: none is by TCP */
  struct rcvmi_run_link *link;         /* NULL: they are by the tunnel, or by TCP */
  int64_t shutdown_extended;         /* ms */
  bool names;                      /* the guest may ask the namespace's name server */
  struct rcvmi_run_query *queries; /* run-names.c */
  unsigned n_queries;
  struct rcvmi_net *net; /* NULL: none */
  struct rcvmi_ev_source *net_source;
  struct rcvmi_run_net_op *net_ops;
  uint32_t net_number;
  bool start_waits_for_net;
  struct rcvmi_run_flush *flush;   /* run-flush.c */
  struct rcvmi_run_put *put;       /* run-put.c; NULL: nobody is watched */
  struct rcvmi_run_request *requests; /* about limits and statistics */
  uint32_t request_number;
  struct rcvmi_run_template *template; /* NULL: none is wanted */
  struct rcvmi_run_snapshot *snapshot; /* NULL: it is not being saved */
  char machine[RCVMI_SNAPSHOT_ID + 1];     /* of its snapshots; "": not drawn yet */
  char noted_since[RCVMI_SNAPSHOT_ID + 1]; /* the snapshot since which the VMM notes what changes, if it does; "": none */
  struct rcvmi_run_restore *restore;   /* NULL: it did not come from a snapshot, or goes on already */
  struct rcvmi_vmm vmm;
  bool takes_channels; /* the stage "kernel" has begun */
  int64_t boot_began_ms, boot_cpu_ms; /* CPU time of the VMM at the last look */
  unsigned boot_resets;
  struct rcvmi_agent *agent;
  struct rcvmi_ev_source *timer;
  struct rcvmi_ev_source *deferred;
  rcvm_error *error; /* what ends the run */
};

/* run.c */

/* The stage under way is done: the next ones, until one has to wait. */
void rcvmi_run_advance (struct rcvmi_run *run);
/* Ends the run with `err`, which becomes the run's. */
void rcvmi_run_fail (struct rcvmi_run *run, rcvm_error *err);
/* Goes on with an end that waited for hooks. */
void rcvmi_run_end_after_hooks (struct rcvmi_run *run);
/* Ends the run when the callbacks under way have returned: they may belong to what is about to be freed. */
void rcvmi_run_defer_end (struct rcvmi_run *run);
/* The one timer of the run; 0: none. */
void rcvmi_run_set_timer (struct rcvmi_run *run, unsigned ms, rcvmi_ev_fn fn);
int rcvmi_run_save (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_add_phase (struct rcvmi_run *run, const char *name, int64_t usec);

/* run-plan.c */
enum rcvmi_run_step rcvmi_run_begin_spec (struct rcvmi_run *run, rcvm_error **err);
enum rcvmi_run_step rcvmi_run_begin_plan (struct rcvmi_run *run, rcvm_error **err);

/* run-cgroup.c */
/* While a VM is saved: what is written then is in the page cache, which counts as the group's, and version 1 rather kills than waits for a
   disk.  Then the limit is set again; what cannot be done is logged. */
void rcvmi_run_lift_memory (struct rcvmi_run *run, bool lift);
enum rcvmi_run_step rcvmi_run_begin_cgroup (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_cgroup (struct rcvmi_run *run);
/* Writes those whose `late` is as given, and tells systemd where the group is its. */
int rcvmi_run_limit (struct rcvmi_run *run, const struct rcvmi_limits *limits, bool late, rcvm_error **err);
struct rcvmi_limits_vm rcvmi_run_limits_vm (const struct rcvmi_run *run);
/* The boot is over: from now on its time is the container's. */
int rcvmi_run_limit_time (struct rcvmi_run *run, rcvm_error **err);

/* run-resources.c */
/* While the guest stands still, no answer is late. */
void rcvmi_run_hold_requests (struct rcvmi_run *run);
int rcvmi_run_go_on_with_requests (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_requests (struct rcvmi_run *run);
/* For the agent's ops. */
void rcvmi_run_cgroup_answer (void *user, uint32_t number, const unsigned char *record, size_t len, rcvm_error *err);
void rcvmi_run_oom (void *user, uint32_t kills);

/* run-hooks.c */
enum rcvmi_run_step rcvmi_run_begin_hooks (struct rcvmi_run *run, rcvm_error **err);
/* Ends those that run. */
void rcvmi_run_undo_hooks (struct rcvmi_run *run);
/* The same, but `done` follows. */
void rcvmi_run_abort_hooks (struct rcvmi_run *run);
/* Adds those that the guest runs to the record of the container's process. */
int rcvmi_run_put_hooks (struct rcvmi_run *run, rcvm_error **err);
/* Begins those of after the start, or of the end; `done` follows.  False: there are none. */
bool rcvmi_run_poststart (struct rcvmi_run *run, void (*done) (struct rcvmi_run *run, rcvm_error *err));
bool rcvmi_run_poststop (struct rcvmi_run *run, void (*done) (struct rcvmi_run *run, rcvm_error *err));

/* run-rootfs.c */
/* A child that runs `fn` and has `given` as its first fd, if that is one; `done` is called when it has ended. */
int rcvmi_run_start_worker (struct rcvmi_run *run, struct rcvmi_worker *w, int (*fn) (void *user, rcvm_error **err), int given,
                            rcvmi_ev_fn done, rcvm_error **err);
/* What came of it. */
int rcvmi_run_end_worker (struct rcvmi_worker *w, const char *what, rcvm_error **err);
void rcvmi_run_stop_worker (struct rcvmi_worker *w);
enum rcvmi_run_step rcvmi_run_begin_rootfs (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_rootfs (struct rcvmi_run *run);
/* Begins to write the root's changes back, where that is wanted; `done` follows.  False: there is nothing to do. */
bool rcvmi_run_write_back (struct rcvmi_run *run, void (*done) (struct rcvmi_run *run));

/* run-pause.c: the CPUs, and all that waits for them, whatever the status says. */
int rcvmi_run_stand_still (struct rcvmi_run *run, rcvm_error **err);
int rcvmi_run_go_on (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_set_status (struct rcvmi_run *run, int status);

/* run-flush.c */
/* Whether the root's changes are written back when the VM is paused; and both, with `done` to follow. */
bool rcvmi_run_flush_pauses (const struct rcvmi_run *run);
int rcvmi_run_flush_and_pause (struct rcvmi_run *run, rcvmi_run_json_fn done, void *user, rcvm_error **err);
/* From now on who looks at the container's files on the host waits until they are what they are in the VM. */
void rcvmi_run_watch_lookers (struct rcvmi_run *run);
/* The VM is gone: nothing is written back any more but by the end. */
void rcvmi_run_abort_flush (struct rcvmi_run *run);
void rcvmi_run_undo_flush (struct rcvmi_run *run);
/* For the agent's ops. */
void rcvmi_run_synced (void *user, uint32_t number, uint64_t clock_nsec, rcvm_error *err);

/* Whether the guest syncs for a round, or its changes are being written. */
bool rcvmi_run_is_flushing (const struct rcvmi_run *run);

/* run-put.c: what others put into the container's root on the host. */

/* From now on it is put into the guest.  `upper`: of the overlay that the root is. */
void rcvmi_run_watch_puts (struct rcvmi_run *run, const char *upper);
/* Somebody may be about to. */
void rcvmi_run_puts_looked (struct rcvmi_run *run);
/* Somebody has. */
bool rcvmi_run_puts_are_due (struct rcvmi_run *run);
/* What is written from here on is ours; until then.  The time of nothing that comes later is that of our last change, once the
   worker has settled. */
void rcvmi_run_puts_hold (struct rcvmi_run *run);
void rcvmi_run_puts_settle (void);
void rcvmi_run_puts_written (struct rcvmi_run *run);
/* It can be done again. */
void rcvmi_run_puts_go_on (struct rcvmi_run *run);
void rcvmi_run_abort_puts (struct rcvmi_run *run);
void rcvmi_run_undo_puts (struct rcvmi_run *run);

/* run-disks.c */
enum rcvmi_run_step rcvmi_run_begin_disks (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_disks (struct rcvmi_run *run);
/* In the worker of stage "rootfs": makes those that are not there yet. */
int rcvmi_run_build_scratch (struct rcvmi_run *run, rcvm_error **err);
/* What the VMM is to have of them, in the plan's order; returns what is behind the last. */
struct rcvmi_vmm_disk *rcvmi_run_put_disks (struct rcvmi_run *run, struct rcvmi_vmm_disk *out);

/* What file system is on it, by the kernel's name; RCVM_E_INVALID: none. */
struct rcvmi_host_disk;
int rcvmi_run_disk_type (const struct rcvmi_plan_disk *p, const struct rcvmi_host_disk *d, char type[RCVMI_ROOTFS_TYPE],
                         rcvm_error **err);

/* run-attach.c: disks that come while the VM runs, and go. */
void rcvmi_run_disk_answer (void *user, uint32_t number, rcvm_error *err);
/* While the guest stands still, no answer is late. */
void rcvmi_run_hold_attach (struct rcvmi_run *run);
int rcvmi_run_go_on_with_attach (struct rcvmi_run *run, rcvm_error **err);
/* The guest goes, and with it what it was asked for; and the VMM has gone. */
void rcvmi_run_undo_attach_ops (struct rcvmi_run *run);
void rcvmi_run_undo_attach (struct rcvmi_run *run);

/* run-copies.c.  In the worker of stage "rootfs": makes the disk of copies, and writes down where they belong. */
int rcvmi_run_build_copies (struct rcvmi_run *run, rcvm_error **err);
int rcvmi_run_intend_copies (struct rcvmi_run *run, rcvm_error **err);

/* run-live.c: copies that go back while the VM runs. */
int rcvmi_run_begin_live (struct rcvmi_run *run, rcvm_error **err);
/* The container's process runs. */
void rcvmi_run_start_live (struct rcvmi_run *run);
/* Nothing is begun, and nothing late, until it goes on. */
void rcvmi_run_hold_live (struct rcvmi_run *run);
int rcvmi_run_go_on_with_live (struct rcvmi_run *run, rcvm_error **err);
/* Ends what is under way, and lets the guest go on. */
void rcvmi_run_undo_live (struct rcvmi_run *run);
/* For the agent's ops. */
void rcvmi_run_copies_frozen (void *user, uint32_t number, uint64_t clock_nsec, rcvm_error *err);
void rcvmi_run_copies_thawed (void *user, uint32_t number, rcvm_error *err);
void rcvmi_run_copies_changed (void *user);

/* run-notify.c */
enum rcvmi_run_step rcvmi_run_begin_notify (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_notify (struct rcvmi_run *run);

/* run-shares.c */
enum rcvmi_run_step rcvmi_run_begin_shares (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_shares (struct rcvmi_run *run);
void rcvmi_run_put_shares (struct rcvmi_run *run, struct rcvmi_vmm_config *config);

/* run-volumes.c */
enum rcvmi_run_step rcvmi_run_begin_volumes (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_volumes (struct rcvmi_run *run);
/* The VMM is there: the guest's connections lead to the server. */
int rcvmi_run_carry_volumes (struct rcvmi_run *run, rcvm_error **err);
/* Takes the socket of a client, for the server. */
void rcvmi_run_volumes_admit (struct rcvmi_run_volumes *v, int fd);

/* The key of its handles; NULL: there is no server. */
const uint8_t *rcvmi_run_volumes_key (const struct rcvmi_run *run);

/* run-diod.c */
int rcvmi_run_start_diods (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_diods (struct rcvmi_run *run);
/* The connection to one, which can be had once; -1. */
int rcvmi_run_take_diod (struct rcvmi_run *run, uint32_t number);

/* run-unfsd.c: rcvmi_run_advance follows when it is ready. */
int rcvmi_run_start_unfsd (struct rcvmi_run *run, const int *exports, rcvm_error **err);
void rcvmi_run_undo_unfsd (struct rcvmi_run *run);
/* A connection to it; -1. */
int rcvmi_run_connect_unfsd (struct rcvmi_run *run);

/* run-listener.c: `fd`, which it takes, listens for IPv4. */
typedef bool (*rcvmi_run_peer_fn) (const struct rcvmi_run *run, const struct in_addr *peer);
struct rcvmi_run_listener *rcvmi_run_listener_new (struct rcvmi_run *run, int fd, rcvmi_run_peer_fn is_the_vms, rcvm_error **err);
/* How many connections came from others than the VM. */
uint64_t rcvmi_run_listener_refused (const struct rcvmi_run_listener *l);
void rcvmi_run_listener_free (struct rcvmi_run_listener *l);

/* run-volumes-tcp.c: the network is there: for volumes by TCP, the guest is told where they are. */
int rcvmi_run_listen_volumes (struct rcvmi_run *run, rcvm_error **err);

/* run-volumes-link.c: an interface for the VM that leads to the volumes and nowhere else, where there can be one. */
int rcvmi_run_make_link (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_link (struct rcvmi_run *run);
void rcvmi_run_put_link (const struct rcvmi_run *run, struct rcvmi_vmm_config *config);
/* Whether the guest has sent anything by it since it was last asked. */
bool rcvmi_run_link_is_used (struct rcvmi_run *run);

/* run-net.c */
/* The monitor moves into the container's network namespace, so that others find that by its PID. */
enum rcvmi_run_step rcvmi_run_begin_netns (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_netns (struct rcvmi_run *run);
enum rcvmi_run_step rcvmi_run_begin_net (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_net (struct rcvmi_run *run);
void rcvmi_run_undo_net_ops (struct rcvmi_run *run);
/* What the VMM is to have of it. */
int rcvmi_run_net_config (struct rcvmi_run *run, struct rcvmi_vmm_config *config, rcvm_error **err);
/* From now on the guest follows what happens in the namespace. */
int rcvmi_run_net_watch (struct rcvmi_run *run, rcvm_error **err);
/* Takes in what has happened: 1 if the guest is at it, then rcvmi_run_start_process follows; 0 if all is done. */
int rcvmi_run_net_sync (struct rcvmi_run *run, rcvm_error **err);
/* Nothing is asked of the guest from here, and nothing waited for, until it goes on. */
void rcvmi_run_net_hold (struct rcvmi_run *run);
int rcvmi_run_net_go_on (struct rcvmi_run *run, rcvm_error **err);
/* For the agent's ops. */
void rcvmi_run_net_answer (void *user, uint32_t number, const unsigned char *record, size_t len, rcvm_error *err);

/* run-names.c */

/* Whether the container's resolv.conf names the name server that is in the host's half of its network namespace; from then on the
   guest may ask it. */
bool rcvmi_run_wants_names (struct rcvmi_run *run);
/* For the agent's ops. */
void rcvmi_run_name_query (void *user, uint32_t number, const unsigned char *message, size_t len);
void rcvmi_run_undo_names (struct rcvmi_run *run);

/* run-template.c */

/* The driver is known: whether the VM may start from a template. */
int rcvmi_run_check_template (struct rcvmi_run *run, rcvm_error **err);
/* Finds or makes it; rcvmi_run_start_vmm follows after PENDING. */
enum rcvmi_run_step rcvmi_run_begin_template (struct rcvmi_run *run, const struct rcvmi_vmm_config *config, rcvm_error **err);
void rcvmi_run_undo_template (struct rcvmi_run *run);
void rcvmi_run_put_template (struct rcvmi_run *run, struct rcvmi_vmm_config *config);
/* What the guest is told of disks that it did not boot with, and of a NIC. */
int rcvmi_run_tell_template (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_tell_device (struct rcvmi_run *run, unsigned number, struct tlv_writer *w);
/* True: the template was the reason, and is gone with the error; the VM shall boot. */
bool rcvmi_run_blame_template (struct rcvmi_run *run, rcvm_error *err);
void rcvmi_run_doubt_template (struct rcvmi_run *run);

/* run-snapshot.c */

/* The guest has connected once more. */
void rcvmi_run_snapshot_returned (struct rcvmi_run *run);
void rcvmi_run_undo_snapshot (struct rcvmi_run *run);
/* Its agent does nothing else. */
bool rcvmi_run_is_being_saved (const struct rcvmi_run *run);
/* What a guest that goes on is told in any case. */
int rcvmi_run_put_moment (struct tlv_writer *w, rcvm_error **err);
/* For the agent's ops. */
void rcvmi_run_quiesced (void *user, rcvm_error *err);
void rcvmi_run_gone_on (void *user, rcvm_error *err);

/* run-restore.c */

/* Where a snapshot is asked for: reads it, and makes the options those that it was made with. */
int rcvmi_run_begin_restore (struct rcvmi_run *run, rcvm_error **err);
/* What the machine was saved with is not asked for again. */
void rcvmi_run_restore_plan (struct rcvmi_run *run);
void rcvmi_run_undo_restore (struct rcvmi_run *run);
/* The key of the volume server's handles; NULL: a new one. */
const uint8_t *rcvmi_run_restore_key (const struct rcvmi_run *run);
/* The MAC that the guest's interface has. */
bool rcvmi_run_restore_mac (const struct rcvmi_run *run, unsigned number, uint8_t mac[6]);
/* In the worker of stage "rootfs". */
struct rcvmi_cache_entry;
int rcvmi_run_restore_disks (struct rcvmi_run *run, struct rcvmi_cache_entry *base, rcvm_error **err);
int rcvmi_run_put_restore (struct rcvmi_run *run, struct rcvmi_vmm_config *config, rcvm_error **err);
int rcvmi_run_start_restored (struct rcvmi_run *run, const struct rcvmi_agent_process_ops *ops, rcvm_error **err);
/* It goes on, or cannot. */
void rcvmi_run_restored (struct rcvmi_run *run, rcvm_error *err);

/* run-vmm.c */
int rcvmi_run_configure (struct rcvmi_run *run, struct rcvmi_vmm_config *config, rcvm_error **err);
int rcvmi_run_choose_vmm (struct rcvmi_run *run, rcvm_error **err);
int rcvmi_run_start_vmm (struct rcvmi_run *run, rcvm_error **err);
extern const struct rcvmi_vmm_handler rcvmi_run_vmm_handler;
enum rcvmi_run_step rcvmi_run_begin_vmm (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_vmm (struct rcvmi_run *run);
enum rcvmi_run_step rcvmi_run_begin_kernel (struct rcvmi_run *run, rcvm_error **err);
void rcvmi_run_undo_agent (struct rcvmi_run *run);
enum rcvmi_run_step rcvmi_run_begin_agent (struct rcvmi_run *run, rcvm_error **err);

/* run-process.c */

void rcvmi_run_process_started (struct rcvmi_run *run, uint32_t guest_pid);

/* Starts it; the run fails if that does not work. */
void rcvmi_run_start_process (struct rcvmi_run *run);
/* What the guest does takes its time, but goes on. */
void rcvmi_run_extend_shutdown (struct rcvmi_run *run);
/* The process has ended: lets the guest make its disks quiet. */
void rcvmi_run_begin_shutdown (struct rcvmi_run *run);
/* They are, or never will be. */
void rcvmi_run_finish_shutdown (struct rcvmi_run *run);

#endif
