/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "resources.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "cleanup.h"

static int
set_oom_score (pid_t pid, int score)
{
  char path[64], value[16];
  autoclose int fd = -1;

  if (pid)
    snprintf (path, sizeof path, "/proc/%d/oom_score_adj", (int) pid);
  else
    strcpy (path, "/proc/self/oom_score_adj");
  fd = open (path, O_WRONLY | O_CLOEXEC);
  snprintf (value, sizeof value, "%d", score);
  return fd < 0 || write (fd, value, strlen (value)) < 0 ? -1 : 0;
}

int
resources_apply (const struct request *q, pid_t pid, struct failure *f)
{
  for (size_t i = 0; i < q->n_rlimits; i++)
    {
      const struct request_rlimit *l = &q->rlimits[i];
      struct rlimit limit = { .rlim_cur = l->soft, .rlim_max = l->hard };

      /* The kernel's number, which the libraries give different types. */
      if (syscall (SYS_prlimit64, pid, l->type, &limit, NULL) < 0)
        return fail (f, "rlimit", errno, "cannot set resource limit %u", l->type);
    }
  if (q->has_oom_score && set_oom_score (pid, q->oom_score) < 0)
    return fail (f, "oom", errno, "cannot set the OOM score to %d", q->oom_score);
  if (q->has_ioprio && syscall (SYS_ioprio_set, 1, pid, q->ioprio) < 0)
    return fail (f, "ioprio", errno, "cannot set the I/O priority to %u", q->ioprio);
  if (q->has_scheduler && syscall (SYS_sched_setattr, pid, &q->scheduler, 0) < 0)
    return fail (f, "scheduler", errno, "cannot set the scheduling policy %u",
                 q->scheduler.policy);
  return 0;
}
