/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The monitor's own structures; monitor.c is the process, monitor-client.c its connections, monitor-request.c what they ask for. */
#ifndef RCVM_LIB_MONITOR_H
#define RCVM_LIB_MONITOR_H

#include "control.h"
#include "ev.h"
#include "run.h"

enum
{
  MONITOR_REFUSED = 125 /* its exit code when no VM came of it */
};

struct rcvmi_monitor_client;

struct rcvmi_monitor
{
  struct rcvmi_ev *ev;
  const char *root; /* the state directory, absolute */
  int listen_fd;
  struct rcvmi_ev_source *listen_source;
  int signal_fd;
  struct rcvmi_run *run;
  struct rcvmi_log log;
  struct rcvmi_monitor_client *clients;
  struct rcvmi_monitor_client *creator; /* NULL when it has gone */
  bool remove_dir;
  int exit_code;
};

int rcvmi_monitor_listen (struct rcvmi_monitor *m, const struct rcvmi_state_dir *dir, rcvm_error **err);
/* The run is over: the directory of a VM that stopped keeps only its state, that of one that never was goes, and so
   does the lock.  To be done before anybody is told, for who hears of it may look or clean up at once. */
void rcvmi_monitor_leave (struct rcvmi_monitor *m);

/* Takes the fd over in any case. */
int rcvmi_monitor_client_add (struct rcvmi_monitor *m, int fd, bool creator, rcvm_error **err);
/* Sends what is still to be sent, and closes all connections. */
void rcvmi_monitor_clients_end (struct rcvmi_monitor *m);

#endif
