/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a confined Firecracker sees.  It opens disks and TAPs by their names, so these have to be there, and its user has to be
 * allowed to: what is the library's own becomes that user's, devices are nodes of that user's, and images of others are mounted
 * with their owner mapped.
 */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm-firecracker.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

/* Not where a program may be. */
#define PLACE "/vm/run"

/* Its user's, or, where VMs share it, readable by all who get to see it: no directory above it lets anybody through. */
static int
give (const struct rcvmi_vmm_disk *d, uid_t id, rcvm_error **err)
{
  autoclose int fd = open (d->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;
  int r;

  if (fd < 0 || fstat (fd, &st) < 0)
    r = -1;
  else if (d->readonly)
    r = st.st_mode & S_IROTH ? 0 : fchmod (fd, (st.st_mode & 0777) | 0444);
  else
    r = fchown (fd, id, id);
  return r == 0 ? 0 : rcvmi_fail_errno (err, errno, "cannot give the disk '%.200s' to the VMM", d->path);
}

static int
add_disk (struct rcvmi_confine *c, struct rcvmi_vmm_disk *d, char *seen, size_t size, rcvm_error **err)
{
  enum rcvmi_confine_kind kind = d->readonly ? RCVMI_CONFINE_FILE : RCVMI_CONFINE_WRITABLE;
  int code = 0;

  snprintf (seen, size, "/vm/%s", d->serial);
  if (d->device)
    code = rcvmi_confine_add_device (c, d->path, seen, err);
  else if (d->own)
    {
      code = give (d, c->id, err);
      if (code == 0)
        code = rcvmi_confine_add (c, kind, d->path, seen, err);
    }
  else
    code = rcvmi_confine_add_foreign (c, kind, d->path, seen, err);
  d->path = seen;
  return code;
}

int
rcvmi_fc_show_hot_disk (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_hot_disk *d, char path[32], rcvm_error **err)
{
  snprintf (path, 32, RCVMI_FC_HOT_DISK, d->slot);
  return rcvmi_confine_show (vmm->confine, vmm->proc.pid, d->fd, d->readonly, d->path, path, err);
}

int
rcvmi_fc_hide_hot_disk (const struct rcvmi_vmm *vmm, unsigned slot, rcvm_error **err)
{
  char path[32];

  snprintf (path, sizeof path, RCVMI_FC_HOT_DISK, slot);
  return rcvmi_confine_hide (vmm->proc.pid, path, err);
}

int
rcvmi_fc_give_tap (const struct rcvmi_vmm *vmm, const char *name, rcvm_error **err)
{
  struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
  autoclose int fd = -1;

  if (!vmm->confine)
    return 0;
  fd = open ("/dev/net/tun", O_RDWR | O_CLOEXEC);

  snprintf (r.ifr_name, sizeof r.ifr_name, "%s", name);
  if (fd < 0 || ioctl (fd, TUNSETIFF, &r) < 0 || ioctl (fd, TUNSETOWNER, (unsigned long) vmm->confine->id) < 0)
    return rcvmi_fail_errno (err, errno, "cannot give the TAP '%s' to the VMM", name);
  return 0;
}

/* A file of the library's that shall be written to. */
static int
add_writable (struct rcvmi_confine *c, const char *path, const char *seen, rcvm_error **err)
{
  struct rcvmi_vmm_disk d = { .path = path };
  int code = give (&d, c->id, err);

  return code < 0 ? code : rcvmi_confine_add (c, RCVMI_CONFINE_WRITABLE, path, seen, err);
}

static int
copy (int to, int from, uint64_t at, uint64_t len)
{
  char buf[65536];

  while (len)
    {
      ssize_t n = pread (from, buf, len < sizeof buf ? len : sizeof buf, (off_t) at);

      if (n <= 0 || write (to, buf, (size_t) n) != n)
        return -1;
      at += (uint64_t) n;
      len -= (uint64_t) n;
    }
  return 0;
}

/* The memory stays where it is: VMs that go on from it share it.  The state is read once. */
static int
add_saved (struct rcvmi_confine *c, struct rcvmi_vmm_saved *s, int dir_fd, rcvm_error **err)
{
  struct rcvmi_vmm_disk d = { .path = s->memory, .readonly = true };
  autoclose int fd = openat (dir_fd, "state", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
  int code = give (&d, c->id, err);

  if (code == 0)
    code = rcvmi_confine_add (c, RCVMI_CONFINE_FILE, s->memory, RCVMI_FC_MEMORY, err);
  if (code == 0 && (fd < 0 || fchown (fd, c->id, c->id) < 0 || copy (fd, s->state_fd, s->state_at, s->state_len) < 0))
    code = rcvmi_fail_errno (err, errno, "cannot hand the state of the template to the VMM");
  s->memory = RCVMI_FC_MEMORY;
  s->state = PLACE "/state";
  return code;
}

int
rcvmi_fc_confine (struct rcvmi_vmm *vmm, struct rcvmi_vmm_config *config, const char *id, rcvm_error **err)
{
  struct rcvmi_confine *c = vmm->confine;
  bool has_net = config->n_nics > 0 || config->nic_hotplug;
  int code = vmm->jailer ? rcvmi_confine_add_jail (c, vmm->program, id, &config->dir_fd, err)
                         : rcvmi_confine_add_place (c, PLACE, config->from.state_len, &config->dir_fd, err);

  if (code == 0 && !vmm->jailer && !(c->dir = strdup (PLACE)))
    code = rcvmi_fail_nomem (err);
  for (size_t i = 0; code == 0 && i < config->n_disks; i++)
    code = add_disk (c, &config->disks[i], config->seen[i], sizeof config->seen[i], err);
  if (code == 0 && has_net && !vmm->jailer)
    code = rcvmi_confine_add_device (c, "/dev/net/tun", "/dev/net/tun", err);
  for (unsigned i = 0; code == 0 && config->hotplug && i < RCVMI_VMM_HOT_DISKS; i++)
    {
      char path[32];

      snprintf (path, sizeof path, RCVMI_FC_HOT_DISK, i);
      code = rcvmi_confine_add (c, RCVMI_CONFINE_EMPTY, NULL, path, err);
    }
  for (size_t i = 0; code == 0 && i < config->n_nics; i++)
    code = rcvmi_fc_give_tap (vmm, config->nics[i].tap_name, err);
  if (code == 0 && config->from.memory)
    code = add_saved (c, &config->from, config->dir_fd, err);
  if (code == 0 && config->into.memory)
    code = add_writable (c, config->into.memory, RCVMI_FC_MEMORY, err);
  if (code == 0 && config->into.memory)
    code = add_writable (c, config->into.state, RCVMI_FC_STATE, err);
  /* A TAP is opened by its name in the namespace where it is. */
  c->shares_net = has_net;
  return code;
}

/* The jailer.  Of the same release: what the one passes on the other has to understand. */

int
rcvmi_fc_find_jailer (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  unsigned version = 0;
  int code;

  vmm->jailer = rcvmi_vmm_find_program ("RUNCVM_JAILER", "jailer");
  if (!vmm->jailer)
    return rcvmi_fail (err, RCVM_E_HOST, 0,
                       "Firecracker's jailer is not there: put its program into PATH, say in RUNCVM_JAILER where it is, or use --confine own");
  code = rcvmi_vmm_ask_version (vmm->jailer, "Jailer v", &version, err);
  if (code == 0 && version != vmm->version)
    code = rcvmi_fail (err, RCVM_E_HOST, 0, "'%.200s' is the jailer of Firecracker %u.%u, and Firecracker is %u.%u: use those of one release",
                       vmm->jailer, version / RCVMI_VMM_MINOR, version % RCVMI_VMM_MINOR, vmm->version / RCVMI_VMM_MINOR,
                       vmm->version % RCVMI_VMM_MINOR);
  return code;
}

static int
kill_orphan (void *user, rcvm_error **err)
{
  struct pollfd p[2] = { { .fd = RCVMI_PROC_FORK_FD, .events = POLLIN }, { .fd = RCVMI_PROC_FORK_FD + 1, .events = POLLIN } };

  (void) user;
  (void) err;
  /* It is to outlive the monitor. */
  prctl (PR_SET_PDEATHSIG, 0);
  while (poll (p, 2, -1) < 0 && errno == EINTR)
    ;
  if (!p[0].revents)
    syscall (SYS_pidfd_send_signal, RCVMI_PROC_FORK_FD, SIGKILL, NULL, 0);
  return 0;
}

int
rcvmi_fc_watch_over (struct rcvmi_vmm *vmm, struct rcvmi_proc *warden, int *error_fd, rcvm_error **err)
{
  autoclose int monitor = (int) syscall (SYS_pidfd_open, getpid (), 0);
  int fds[2] = { vmm->proc.pidfd, monitor };

  if (monitor < 0)
    return rcvmi_fail_errno (err, errno, "cannot watch over the VMM");
  return rcvmi_proc_fork_with (warden, kill_orphan, NULL, fds, 2, error_fd, err);
}

/* After the program, the jailer's own options, and then Firecracker's, from its own `argv`. */
int
rcvmi_fc_jail_args (char ***out, const struct rcvmi_vmm *vmm, const char *id, char *const argv[], rcvm_error **err)
{
  const struct rcvmi_confine *c = vmm->confine;
  char user[24], files[48], size[48];
  const char *const own[] = { vmm->jailer, "--id", id, "--exec-file", vmm->program, "--uid", user, "--gid", user, "--chroot-base-dir",
                              c->jail_base, "--resource-limit", files, "--resource-limit", size, "--" };
  int failed = 0;

  snprintf (user, sizeof user, "%u", (unsigned) c->id);
  snprintf (files, sizeof files, "no-file=%" PRIu64, c->files);
  snprintf (size, sizeof size, "fsize=%" PRIu64, c->file_size);
  *out = NULL;
  for (size_t i = 0; !failed && i < sizeof own / sizeof own[0]; i++)
    failed = rcvmi_strv_append (out, own[i]);
  for (; !failed && *argv; argv++)
    failed = rcvmi_strv_append (out, *argv);
  if (!failed)
    return 0;
  rcvmi_strv_free (*out);
  *out = NULL;
  return rcvmi_fail_nomem (err);
}
