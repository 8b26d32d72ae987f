/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The EXEC record, read.  Strings point into the record. */
#ifndef RCVM_GUEST_REQUEST_H
#define RCVM_GUEST_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <linux/filter.h>

#include "failure.h"
#include "kernel.h"

enum
{
  CAP_SET_BOUNDING,
  CAP_SET_EFFECTIVE,
  CAP_SET_INHERITABLE,
  CAP_SET_PERMITTED,
  CAP_SET_AMBIENT,
  CAP_SETS
};

struct request_rlimit
{
  uint32_t type;
  uint64_t soft, hard;
};

struct request_hook
{
  const char *path;
  char **argv, **env; /* NULL-terminated, or NULL */
  size_t n_argv, n_env;
  unsigned timeout; /* seconds; 0: none */
};

struct request
{
  char **argv, **env; /* NULL-terminated */
  size_t n_argv, n_env;
  const char *cwd;
  const char *user; /* NULL: uid and gid count */
  uid_t uid;
  gid_t gid;
  gid_t *groups;
  size_t n_groups;
  bool has_umask;
  mode_t mask;
  bool terminal, no_stdin, names, unpack;
  unsigned rows, cols;
  unsigned caps_given; /* bit mask of CAP_SET_* */
  uint64_t caps[CAP_SETS];
  struct request_rlimit *rlimits;
  size_t n_rlimits;
  bool no_new_privs;
  bool has_oom_score;
  int oom_score;
  struct sock_filter *seccomp;
  size_t n_seccomp;
  unsigned seccomp_flags;
  bool has_ioprio;
  unsigned ioprio;
  bool has_scheduler;
  struct k_sched_attr scheduler;
  struct request_hook *hooks;
  size_t n_hooks;
  const char *state; /* for them */
};

int request_parse (struct request *q, const void *record, size_t len, struct failure *f);
void request_free (struct request *q);

/* NAME's value in the environment, or NULL. */
const char *request_env (const struct request *q, const char *name);

#endif
