/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What diod, virtiofsd and unfsd have in common: programs of others that serve a VM's files, one process or more for each VM. */
#ifndef RCVM_LIB_RUN_SERVER_H
#define RCVM_LIB_RUN_SERVER_H

#include "confine.h"
#include "run-parts.h"

struct rcvmi_run_server
{
  struct rcvmi_run *run;
  struct rcvmi_proc proc;
  struct rcvmi_ev_source *death;
  int output_fd;
};

#define RCVMI_RUN_SERVER_INIT { .proc = RCVMI_PROC_INIT, .output_fd = -1 }

/* How it ended. */
struct rcvmi_run_server_end
{
  int status;     /* of wait(2) */
  bool expected;  /* the VM ends as well */
  char how[64];   /* in words */
  char text[256]; /* the last line that it wrote, or "" */
};

/* Its path: of the variable, of PATH, or of places where users' searches do not lead, which end with NULL. */
char *rcvmi_run_find_server (const char *variable, const char *name, const char *const *places, const char *advice,
                             rcvm_error **err);
/* The directory that is to be served, O_PATH. */
int rcvmi_run_server_open (const char *server, const char *source, const char *target, rcvm_error **err);
/* What a confined one may do: serve files as others, and no more. */
int rcvmi_run_server_confine (struct rcvmi_confine *c, const char *program, rcvm_error **err);
/* The pipe for what it writes. */
int rcvmi_run_server_pipe (struct rcvmi_run_server *s, int *writer, rcvm_error **err);
/* Calls that when its process has ended. */
int rcvmi_run_server_watch (struct rcvmi_run_server *s, rcvmi_ev_fn fn, void *user, rcvm_error **err);
/* To be called then. */
void rcvmi_run_server_reap (struct rcvmi_run_server *s, struct rcvmi_run_server_end *end);
/* `what` and how it ended, as an error. */
int rcvmi_run_server_error (const struct rcvmi_run_server_end *end, const char *what, rcvm_error **err);
/* And as the VM's failure. */
void rcvmi_run_server_fail (struct rcvmi_run_server *s, const struct rcvmi_run_server_end *end, const char *what);
/* Kills it. */
void rcvmi_run_server_clear (struct rcvmi_run_server *s);

#endif
