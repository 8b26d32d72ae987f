/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host side of the agent protocol (agent-wire.h): one guest, its container, its processes. */
#ifndef RCVM_LIB_AGENT_H
#define RCVM_LIB_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include <runcvm/error.h>

#include "ev.h"
#include "log.h"
#include "stream.h"
#include "tlv.h"

enum
{
  RCVMI_AGENT_PROCESS_MAX = 4096, /* at once; the container's own included */
  RCVMI_AGENT_INIT = 0            /* number of the container's own process */
};

struct rcvmi_agent;

/* What the guest says.  None is called from within a function of this header.  Errors are the callee's. */
struct rcvmi_agent_ops
{
  void (*hello) (void *user, const char *kernel, uint64_t boot_usec);
  void (*ready) (void *user);
  void (*setup_failed) (void *user, rcvm_error *err);
  void (*goodbye) (void *user);
  /* What came of rcvmi_agent_net: the record (S_NETWORK fields), or an error.  NULL: nobody asks. */
  void (*net_answer) (void *user, uint32_t number, const unsigned char *record, size_t len, rcvm_error *err);
  /* What came of rcvmi_agent_disk.  NULL: nobody asks. */
  void (*disk_answer) (void *user, uint32_t number, rcvm_error *err);
  /* The same of rcvmi_agent_cgroup: K_NAME/K_VALUE pairs. */
  void (*cgroup_answer) (void *user, uint32_t number, const unsigned char *record, size_t len, rcvm_error *err);
  /* What came of rcvmi_agent_sync: the guest's time before it, or an error.  NULL: nobody asks. */
  void (*synced) (void *user, uint32_t number, uint64_t clock_nsec, rcvm_error *err);
  /* So many processes of the container were killed for want of memory, by now.  NULL: nobody counts. */
  void (*oom) (void *user, uint32_t kills);
  /* A DNS message for the name server of the container's network namespace.  NULL: there is none. */
  void (*name_query) (void *user, uint32_t number, const unsigned char *message, size_t len);
  /* What came of rcvmi_agent_freeze: the guest's clock, or an error.  And later, once, whether it stayed so until
     rcvmi_agent_thaw.  NULL: nobody asks. */
  void (*frozen) (void *user, uint32_t number, uint64_t clock_nsec, rcvm_error *err);
  void (*thawed) (void *user, uint32_t number, rcvm_error *err);
  /* There are changes in copies.  NULL: nobody waits for them. */
  void (*changed) (void *user);
  /* What came of rcvmi_agent_quiesce, and of rcvmi_agent_go_on_from; in between `hello` is called once for each connection but the
     first.  NULL: nobody asks. */
  void (*quiesced) (void *user, rcvm_error *err);
  void (*gone_on) (void *user, rcvm_error *err);
  /* The link is gone, or the guest broke the protocol.  Nothing else is called after it. */
  void (*broken) (void *user, rcvm_error *err);
};

/* What becomes of a process.  The last of the three is either `failed` or `exited`. */
struct rcvmi_agent_process_ops
{
  void (*started) (void *user, uint32_t guest_pid);
  void (*failed) (void *user, rcvm_error *err);
  /* All of its output has been written out.  `code` is 0..255, or 128+N; `signum` is N or 0. */
  void (*exited) (void *user, int code, int signum);
};

/* Takes the fd over in any case. */
struct rcvmi_agent *rcvmi_agent_new (struct rcvmi_ev *ev, int fd, const struct rcvmi_log *log,
                                     const struct rcvmi_agent_ops *ops, void *user, rcvm_error **err);
/* Processes that are left get no more calls. */
void rcvmi_agent_free (struct rcvmi_agent *agent);

/* Frees the record. */
int rcvmi_agent_setup (struct rcvmi_agent *agent, struct tlv_writer *record, rcvm_error **err);
/* NET_ADD, NET_DEL, NET_QUERY; frees the record.  The answer comes with `number`. */
int rcvmi_agent_net (struct rcvmi_agent *agent, uint16_t type, uint32_t number, struct tlv_writer *record,
                     rcvm_error **err);
/* DISK_ADD and DISK_DEL, in the same way. */
int rcvmi_agent_disk (struct rcvmi_agent *agent, uint16_t type, uint32_t number, struct tlv_writer *record, rcvm_error **err);
/* CGROUP_SET and CGROUP_GET, in the same way. */
int rcvmi_agent_cgroup (struct rcvmi_agent *agent, uint16_t type, uint32_t number, struct tlv_writer *record,
                        rcvm_error **err);
/* What was written in the guest until now shall be on its disks; the answer comes with `number`. */
int rcvmi_agent_sync (struct rcvmi_agent *agent, uint32_t number, rcvm_error **err);
/* Gives the guest the host's time of day. */
int rcvmi_agent_set_clock (struct rcvmi_agent *agent, rcvm_error **err);
/* While the guest stands still, no answer of it is late. */
void rcvmi_agent_hold (struct rcvmi_agent *agent);
int rcvmi_agent_go_on (struct rcvmi_agent *agent, rcvm_error **err);
/* The disk of copies stands still in between. */
int rcvmi_agent_freeze (struct rcvmi_agent *agent, uint32_t number, rcvm_error **err);
void rcvmi_agent_thaw (struct rcvmi_agent *agent, uint32_t number);
void rcvmi_agent_name_answer (struct rcvmi_agent *agent, uint32_t number, const void *message, size_t len);
int rcvmi_agent_shutdown (struct rcvmi_agent *agent, rcvm_error **err);

/* The guest shall be quiet, with no process of the container running: RCVM_E_STATE where something else is under way.  When it is, its
   connection may end, and another one take its place. */
int rcvmi_agent_quiesce (struct rcvmi_agent *agent, uint32_t number, rcvm_error **err);
bool rcvmi_agent_is_asleep (const struct rcvmi_agent *agent);
/* Takes the fd over in any case; `hello` follows. */
int rcvmi_agent_reconnect (struct rcvmi_agent *agent, int fd, rcvm_error **err);
/* Frees the record. */
int rcvmi_agent_go_on_from (struct rcvmi_agent *agent, uint32_t number, struct tlv_writer *record, rcvm_error **err);
/* What another agent needs of the container's process, and that one, before its guest has said anything: the guest sleeps, and
   has a process.  adopt takes the fds over in any case. */
void rcvmi_agent_save (struct rcvmi_agent *agent, struct rcvmi_streams_saved *saved);
void rcvmi_agent_expect_sleeper (struct rcvmi_agent *agent);
int rcvmi_agent_adopt (struct rcvmi_agent *agent, const struct rcvmi_streams_saved *saved, const int fds[3],
                       const struct rcvmi_agent_process_ops *ops, void *user, rcvm_error **err);

/* Starts a process; takes the three fds over in any case.  Returns its number, or a negative code. */
int64_t rcvmi_agent_exec (struct rcvmi_agent *agent, const void *record, size_t len, const int fds[3],
                          const struct rcvmi_agent_process_ops *ops, void *user, rcvm_error **err);
/* The owner of a process goes away: its ops are not called any more.  The process goes on, or is killed. */
void rcvmi_agent_forget (struct rcvmi_agent *agent, uint32_t process, bool kill);
int rcvmi_agent_signal (struct rcvmi_agent *agent, uint32_t process, int signum, bool all,
                        rcvm_error **err);
/* AGENT_NOTIFY; nothing where the guest has not yet read what it was sent. */
void rcvmi_agent_notify (struct rcvmi_agent *agent, const void *record, size_t len);
int rcvmi_agent_resize (struct rcvmi_agent *agent, uint32_t process, unsigned rows, unsigned cols,
                        rcvm_error **err);

#endif
