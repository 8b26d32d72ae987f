/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whose rights a thread has in file systems.  setfsuid and its kin by system call: libc's would change all
 * threads. With an fsuid other than 0 the kernel takes CAP_CHOWN, CAP_DAC_*, CAP_FOWNER, CAP_FSETID and
 * CAP_MKNOD out of the thread's effective set, and puts them back with 0.
 */
#include "config.h"

#include "nfs.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum
{
  NOBODY = 65534
};

static uint32_t
real_id (uint32_t id)
{
  return id == UINT32_MAX ? NOBODY : id;
}

static bool
set_fsuid (uint32_t uid)
{
  syscall (SYS_setfsuid, uid);
  /* It tells of a failure only through the next call. */
  return (uint32_t) syscall (SYS_setfsuid, UINT32_MAX) == uid;
}

static bool
set_fsgid (uint32_t gid)
{
  syscall (SYS_setfsgid, gid);
  return (uint32_t) syscall (SYS_setfsgid, UINT32_MAX) == gid;
}

int
rcvmi_nfs_identity_assume (struct nfs_thread *t, const struct nfs_export *e, const struct nfs_cred *cred)
{
  const struct nfs_export_options *o = &e->options;
  struct nfs_cred squashed = { .uid = o->uid, .gid = o->gid };
  const struct nfs_cred *want = o->squash ? &squashed : cred;
  struct nfs_cred *now = &t->now;
  uint32_t uid = real_id (want->uid), gid = real_id (want->gid);

  /* An export that would need other rights than the process has is refused when it is added. */
  if (!t->server->identities)
    {
      now->uid = geteuid ();
      return 0;
    }
  if (!t->known || now->n_groups != want->n_groups
      || memcmp (now->groups, want->groups, want->n_groups * sizeof want->groups[0]) != 0)
    {
      uint32_t groups[RPC_GROUPS_MAX];

      t->known = false;
      for (uint32_t i = 0; i < want->n_groups; i++)
        groups[i] = real_id (want->groups[i]);
      if (syscall (SYS_setgroups, (size_t) want->n_groups, groups) < 0)
        return errno;
      now->n_groups = want->n_groups;
      memcpy (now->groups, want->groups, want->n_groups * sizeof want->groups[0]);
    }
  if (!t->known || now->gid != gid)
    {
      t->known = false;
      if (!set_fsgid (gid))
        return EPERM;
      now->gid = gid;
    }
  if (!t->known || now->uid != uid)
    {
      t->known = false;
      if (!set_fsuid (uid))
        return EPERM;
      now->uid = uid;
    }
  t->known = true;
  return 0;
}

void
rcvmi_nfs_identity_server (struct nfs_thread *t)
{
  if (t->server->identities && (!t->known || t->now.uid != 0))
    {
      /* Where it fails, what is tried next fails for want of rights. */
      if (!set_fsuid (0))
        t->known = false;
      t->now.uid = 0;
    }
}

void
rcvmi_nfs_identity_restore (struct nfs_thread *t, uint32_t uid)
{
  if (!t->server->identities || t->now.uid == uid)
    return;
  /* What follows must not be done with the server's rights. */
  if (!set_fsuid (uid))
    abort ();
  t->now.uid = uid;
}
