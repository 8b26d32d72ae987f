/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A network namespace, opened and checked, and what has to be done inside of it. */
#ifndef RCVM_LIB_NET_NS_H
#define RCVM_LIB_NET_NS_H

#include <stdbool.h>
#include <sys/types.h>

#include <runcvm/error.h>

struct rcvmi_netns
{
  int fd;    /* of the namespace; -1: not open */
  bool own;  /* the calling thread's */
  dev_t dev; /* which one it is: */
  ino_t ino;
};

#define RCVMI_NETNS_INIT ((struct rcvmi_netns){ .fd = -1 })

/* The first that is set counts: fd >= 0, pid > 0, path; else it is the calling thread's own. */
int rcvmi_netns_open (struct rcvmi_netns *ns, const char *path, pid_t pid, int fd, rcvm_error **err);
/* One that nobody else is in, and that is gone when nothing holds it any more. */
int rcvmi_netns_new (struct rcvmi_netns *ns, rcvm_error **err);
void rcvmi_netns_close (struct rcvmi_netns *ns);

enum
{
  RCVMI_NETNS_FDS = 2
};

/* Runs `fn` inside the namespace; it may fill fds (-1 before), which become the caller's, and returns 0 or
   -errno, which is handed on.  It runs in a child that shares the caller's memory while the caller waits:
   system calls only, no malloc, no locks, and what it writes to memory may be lost. A failure to get there
   sets err; its code, negated, is returned then: a positive number. */
int rcvmi_netns_run (const struct rcvmi_netns *ns, int (*fn) (void *user, int *fds), void *user, int *fds,
                     rcvm_error **err);

/* socket(2) in the namespace. */
int rcvmi_netns_socket (const struct rcvmi_netns *ns, int domain, int type, int protocol, rcvm_error **err);
/* A file below /proc/sys/net as the namespace has it.  Both return as rcvmi_netns_run does. */
int rcvmi_netns_sysctl_set (const struct rcvmi_netns *ns, const char *path, const char *value,
                            rcvm_error **err);
int rcvmi_netns_sysctl_get (const struct rcvmi_netns *ns, const char *path, int *value, rcvm_error **err);

#endif
