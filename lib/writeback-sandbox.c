/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For a process of our own that reads what a guest wrote: nobody's user and group, no capabilities, and no system
   calls but those that read and write what is open already, and that get memory. */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-parser.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "err.h"

enum
{
  NOBODY = 65534,
  MEMORY = 1 << 30,
  CPU_SECONDS = 900
};

static int
limit (rcvm_error **err)
{
  static const struct
  {
    int what;
    rlim_t value;
  } limits[] = {
#ifndef __SANITIZE_ADDRESS__
    { RLIMIT_DATA, MEMORY },
#endif
    { RLIMIT_CPU, CPU_SECONDS }, { RLIMIT_CORE, 0 }, { RLIMIT_FSIZE, 0 }, { RLIMIT_NPROC, 0 },
  };

  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
    {
      struct rlimit l;

      if (getrlimit ((__rlimit_resource_t) limits[i].what, &l) < 0)
        return rcvmi_fail_errno (err, errno, "cannot read a resource limit");
      if (l.rlim_max == RLIM_INFINITY || l.rlim_max > limits[i].value)
        l.rlim_max = limits[i].value;
      if (l.rlim_cur == RLIM_INFINITY || l.rlim_cur > l.rlim_max)
        l.rlim_cur = l.rlim_max;
      if (setrlimit ((__rlimit_resource_t) limits[i].what, &l) < 0)
        return rcvmi_fail_errno (err, errno, "cannot set a resource limit");
    }
  return 0;
}

/* Whoever is not root has nothing to give up but capabilities. */
static int
drop_user (rcvm_error **err)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct none[2] = { 0 };

  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl (PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
    return rcvmi_fail_errno (err, errno, "cannot give up privileges");
  if (geteuid () == 0
      && (setgroups (0, NULL) < 0 || setresgid (NOBODY, NOBODY, NOBODY) < 0
          || setresuid (NOBODY, NOBODY, NOBODY) < 0))
    /* In a user namespace without that user: the capabilities go all the same. */
    if (errno != EINVAL && errno != EPERM)
      return rcvmi_fail_errno (err, errno, "cannot become nobody");
  if (syscall (SYS_capset, &header, none) < 0)
    return rcvmi_fail_errno (err, errno, "cannot give up the capabilities");
  return 0;
}

static int
filter_calls (rcvm_error **err)
{
  static const int calls[] = {
    SCMP_SYS (read),       SCMP_SYS (pread64), SCMP_SYS (write),         SCMP_SYS (lseek),
    SCMP_SYS (close),      SCMP_SYS (brk),     SCMP_SYS (munmap),        SCMP_SYS (mremap),
    SCMP_SYS (madvise),    SCMP_SYS (exit),    SCMP_SYS (exit_group),    SCMP_SYS (rt_sigreturn),
    SCMP_SYS (getrandom),  SCMP_SYS (getpid),  SCMP_SYS (clock_gettime), SCMP_SYS (time),
    SCMP_SYS (gettimeofday),
#ifdef __SANITIZE_ADDRESS__
    SCMP_SYS (sigaltstack), SCMP_SYS (sched_yield), SCMP_SYS (gettid), SCMP_SYS (futex),
#endif
  };
  scmp_filter_ctx filter = seccomp_init (SCMP_ACT_ERRNO (EPERM));
  int r = filter ? 0 : -ENOMEM;

  for (size_t i = 0; r == 0 && i < sizeof calls / sizeof calls[0]; i++)
    r = seccomp_rule_add (filter, SCMP_ACT_ALLOW, calls[i], 0);
  /* Memory, but none that can be executed. */
  if (r == 0)
    r = seccomp_rule_add (filter, SCMP_ACT_ALLOW, SCMP_SYS (mmap), 1,
                          SCMP_A2 (SCMP_CMP_MASKED_EQ, 4, 0));
  if (r == 0)
    r = seccomp_rule_add (filter, SCMP_ACT_ALLOW, SCMP_SYS (mprotect), 1,
                          SCMP_A2 (SCMP_CMP_MASKED_EQ, 4, 0));
  if (r == 0)
    r = seccomp_load (filter);
  if (filter)
    seccomp_release (filter);
  return r == 0 ? 0 : rcvmi_fail_errno (err, -r, "cannot install a seccomp filter");
}

int
rcvmi_wb_sandbox (rcvm_error **err)
{
  if (limit (err) < 0 || drop_user (err) < 0)
    return -1;
  /* The change of user has taken this away. */
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  return filter_calls (err);
}
