/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "creds.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/prctl.h>

#include <linux/capability.h>
#include <linux/seccomp.h>

struct sets
{
  uint64_t effective, permitted, inheritable;
};

/* What the process shall have in the end. */
static struct sets target;

static int
get_sets (struct sets *s)
{
  struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
  struct __user_cap_data_struct d[2];

  if (syscall (SYS_capget, &header, d) < 0)
    return -1;
  s->effective = d[0].effective | (uint64_t) d[1].effective << 32;
  s->permitted = d[0].permitted | (uint64_t) d[1].permitted << 32;
  s->inheritable = d[0].inheritable | (uint64_t) d[1].inheritable << 32;
  return 0;
}

static int
put_sets (const struct sets *s)
{
  struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
  struct __user_cap_data_struct d[2];

  for (int i = 0; i < 2; i++)
    {
      d[i].effective = (uint32_t) (s->effective >> (32 * i));
      d[i].permitted = (uint32_t) (s->permitted >> (32 * i));
      d[i].inheritable = (uint32_t) (s->inheritable >> (32 * i));
    }
  return (int) syscall (SYS_capset, &header, d);
}

static int
drop_bounding (uint64_t keep)
{
  for (unsigned long cap = 0; cap < 64; cap++)
    if (!(keep >> cap & 1) && prctl (PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
      return errno == EINVAL ? 0 : -1; /* past the kernel's last one */
  return 0;
}

int
creds_assume (const struct request *q, const struct user *u, struct failure *f)
{
  struct sets now;

  if (get_sets (&now) < 0)
    return fail (f, "capabilities", errno, "cannot read the capabilities");
  /* Names that this kernel does not know are left out, as other runtimes do. */
  if (q->caps_given)
    target = (struct sets){ .effective = q->caps[CAP_SET_EFFECTIVE] & now.permitted,
                            .permitted = q->caps[CAP_SET_PERMITTED] & now.permitted,
                            .inheritable = q->caps[CAP_SET_INHERITABLE] & now.permitted };
  else if (u->uid == 0)
    target = now;
  else
    target = (struct sets){ 0 };
  if (q->caps_given && drop_bounding (q->caps[CAP_SET_BOUNDING]) < 0)
    return fail (f, "capabilities", errno, "cannot reduce the bounding set");
  if (prctl (PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
    return fail (f, "capabilities", errno, "cannot keep the capabilities");
  if (setgroups (u->n_groups, u->groups) < 0)
    return fail (f, "user", errno, "cannot set the additional groups");
  if (setresgid (u->gid, u->gid, u->gid) < 0)
    return fail (f, "user", errno, "cannot set the group to %u", (unsigned) u->gid);
  if (setresuid (u->uid, u->uid, u->uid) < 0)
    return fail (f, "user", errno, "cannot set the user to %u", (unsigned) u->uid);
  /* The effective set is the final one from here on, so that files are looked up as the process
     would; what is permitted goes in creds_seal. */
  now.effective = target.effective;
  now.inheritable = target.inheritable;
  if (put_sets (&now) < 0)
    return fail (f, "capabilities", errno, "cannot set the capabilities");
  return 0;
}

static int
raise_ambient (uint64_t caps, struct failure *f)
{
  if (prctl (PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
    return fail (f, "capabilities", errno, "cannot clear the ambient capabilities");
  for (unsigned long cap = 0; cap < 64; cap++)
    if ((caps >> cap & 1) && prctl (PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0
        /* not permitted or inheritable, or unknown: left out */
        && errno != EPERM && errno != EINVAL)
      return fail (f, "capabilities", errno, "cannot set the ambient capabilities");
  return 0;
}

static int
load_seccomp (const struct request *q, struct failure *f)
{
  struct sock_fprog program = { .len = (unsigned short) q->n_seccomp, .filter = q->seccomp };

  if (q->n_seccomp
      && syscall (SYS_seccomp, SECCOMP_SET_MODE_FILTER, q->seccomp_flags, &program) < 0)
    return fail (f, "seccomp", errno, "the kernel refuses the seccomp filter");
  return 0;
}

int
creds_seal (const struct request *q, struct failure *f)
{
  struct sets now;

  if (q->caps_given && raise_ambient (q->caps[CAP_SET_AMBIENT] & target.permitted, f) < 0)
    return -1;
  if (q->no_new_privs && prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return fail (f, "capabilities", errno, "cannot set no_new_privs");
  if (q->n_seccomp && !q->no_new_privs)
    {
      /* Without no_new_privs a filter takes CAP_SYS_ADMIN; the filter in turn must let the capset
         below through. */
      if (get_sets (&now) < 0)
        return fail (f, "capabilities", errno, "cannot read the capabilities");
      now.effective |= now.permitted & (UINT64_C (1) << CAP_SYS_ADMIN);
      if (put_sets (&now) < 0)
        return fail (f, "capabilities", errno, "cannot set the capabilities");
      if (load_seccomp (q, f) < 0)
        return -1;
    }
  if (put_sets (&target) < 0)
    return fail (f, "capabilities", errno, "cannot set the capabilities");
  return q->no_new_privs ? load_seccomp (q, f) : 0;
}
