/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the monitor's side of the control protocol share: monitor-client.c, monitor-request.c, monitor-news.c. */
#ifndef RCVM_LIB_MONITOR_PARTS_H
#define RCVM_LIB_MONITOR_PARTS_H

#include "monitor.h"

struct rcvmi_monitor_client
{
  struct rcvmi_monitor *monitor;
  struct rcvmi_monitor_client *next;
  struct rcvmi_link link;
  struct rcvmi_ev_source *source;
  bool waits_start;  /* an answer to START is due */
  bool waits_create; /* an answer to CREATE is due */
  bool waits_stop;
  bool waits_net;
  bool waits_request; /* about limits or statistics */
  bool wants_net_json;
  bool is_exec;       /* the connection of a further process */
  bool exec_answered;
  bool exec_ended;
  bool tied; /* the process is killed when its connection ends before it */
  uint32_t process;
  bool waits_exec; /* until the guest has what others have put into its root */
  struct rcvmi_exec_options exec;
  int exec_fds[3];
};

/* Answers and news.  A client that cannot be reached is dropped when its socket says so. */
void rcvmi_monitor_send (struct rcvmi_monitor_client *c, uint16_t type, struct tlv_writer *w);
void rcvmi_monitor_send_ok (struct rcvmi_monitor_client *c, uint32_t pid);
void rcvmi_monitor_send_error (struct rcvmi_monitor_client *c, const rcvm_error *e);
void rcvmi_monitor_send_exited (struct rcvmi_monitor_client *c, int exit_code, const rcvm_error *e);
/* Success, or that error, which is freed. */
void rcvmi_monitor_answer (struct rcvmi_monitor_client *c, int code, rcvm_error *e);
/* Nothing follows if its process has ended, and whoever polls the connection shall see that, however many they are. */
void rcvmi_monitor_client_end (struct rcvmi_monitor_client *c);

/* Carries a request out, or sees to it that it is answered later. */
void rcvmi_monitor_request (struct rcvmi_monitor_client *c, const struct agent_header *h,
                            const unsigned char *payload);

/* What the run tells, to all clients; the user is the monitor. */
extern const struct rcvmi_run_handler rcvmi_monitor_run_handler;
void rcvmi_monitor_log (void *user, int level, const char *stage, const char *message);

#endif
