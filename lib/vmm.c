/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

/* In the order in which "auto" tries them. */
static const struct rcvmi_vmm_ops *const drivers[] = { &rcvmi_vmm_firecracker, &rcvmi_vmm_qemu };

enum
{
  N_DRIVERS = sizeof drivers / sizeof drivers[0]
};

static int
choose_this (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_ops *ops, bool kvm, rcvm_error **err)
{
  int code;

  if (ops->needs_kvm && !kvm)
    return rcvmi_fail (err, RCVM_E_HOST, 0, "the VMM driver '%s' needs KVM, and %s: use --hypervisor auto or qemu", ops->name,
                       vmm->accel_reason ? vmm->accel_reason : "it is not usable here");
  code = ops->probe (vmm, err);
  if (code < 0)
    return code;
  vmm->ops = ops;
  vmm->accel = kvm ? "kvm" : "tcg";
  return 0;
}

bool
rcvmi_vmm_can_attach_nics (const struct rcvmi_vmm *vmm)
{
  return vmm->ops->add_nic && vmm->version >= vmm->ops->nic_hotplug_since;
}

/* What the driver, which has been asked for its version, cannot do of that; NULL: nothing. */
static const char *
find_lack (const struct rcvmi_vmm *vmm, unsigned needs)
{
  if ((needs & RCVMI_VMM_NEEDS_MORE_NICS) && !rcvmi_vmm_can_attach_nics (vmm))
    return "attach network interfaces to a VM that runs";
  if ((needs & RCVMI_VMM_NEEDS_VIRTIOFS) && !vmm->ops->has_virtiofs)
    return "share directories by virtiofs";
  if ((needs & RCVMI_VMM_NEEDS_LINK) && !vmm->ops->has_link)
    return "link a VM to its volumes";
  return NULL;
}

int
rcvmi_vmm_choose (struct rcvmi_vmm *vmm, enum rcvmi_hypervisor wanted, unsigned needs, rcvm_error **err)
{
  bool kvm = rcvmi_vmm_kvm_usable (&vmm->accel_reason);

  if (wanted == RCVMI_HYPERVISOR_FIRECRACKER)
    return choose_this (vmm, &rcvmi_vmm_firecracker, kvm, err);
  if (wanted == RCVMI_HYPERVISOR_QEMU)
    return choose_this (vmm, &rcvmi_vmm_qemu, kvm, err);
  for (size_t i = 0; i + 1 < N_DRIVERS; i++)
    {
      rcvm_error *e = NULL;
      const char *lack = NULL;

      if (choose_this (vmm, drivers[i], kvm, &e) == 0)
        {
          lack = find_lack (vmm, needs);
          if (!lack)
            return 0;
          rcvmi_fail (&e, RCVM_E_UNSUPPORTED, 0, "this %s cannot %s", drivers[i]->name, lack);
          free (steal_ptr (vmm->program));
          vmm->ops = NULL;
          vmm->version = 0;
        }
      rcvmi_log (vmm->log, RCVM_LOG_DEBUG, "%s", rcvm_error_get_message (e));
      rcvm_error_free (e);
    }
  return choose_this (vmm, drivers[N_DRIVERS - 1], kvm, err);
}

int
rcvmi_vmm_find_jailer (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  if (!vmm->ops->find_jailer)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the jailer confines Firecracker alone, and this VM's VMM is '%s': use --confine own, or --hypervisor firecracker",
                       vmm->ops->name);
  return vmm->ops->find_jailer (vmm, err);
}

/* Text. */

/* The log starts over with what is kept when it is full: a guest that talks for months takes no more of the disk. */
static void
log_text (struct rcvmi_vmm_text *t, const char *piece, size_t n)
{
  if (t->log_fd < 0)
    t->log_fd = openat (t->dir_fd, RCVMI_VMM_CONSOLE_LOG, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (t->log_fd >= 0 && t->logged + n > RCVMI_VMM_LOG && ftruncate (t->log_fd, 0) == 0 && lseek (t->log_fd, 0, SEEK_SET) == 0)
    {
      piece = t->buf;
      n = t->len;
      t->logged = 0;
    }
  t->logged += n;
  /* A full disk ends the log, not the VM. */
  if (t->log_fd < 0 || write (t->log_fd, piece, n) != (ssize_t) n)
    t->dir_fd = -1;
}

static void
on_text (void *user, uint32_t events)
{
  struct rcvmi_vmm_text *t = user;
  char piece[4096];
  ssize_t n;

  (void) events;
  n = read (t->fd, piece, sizeof piece);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0)
    {
      rcvmi_ev_remove (steal_ptr (t->source));
      return;
    }
  if (t->len + (size_t) n > RCVMI_VMM_TEXT)
    {
      size_t surplus = t->len + (size_t) n - RCVMI_VMM_TEXT;

      memmove (t->buf, t->buf + surplus, t->len - surplus);
      t->len -= surplus;
    }
  memcpy (t->buf + t->len, piece, (size_t) n);
  t->len += (size_t) n;
  if (t->dir_fd >= 0)
    log_text (t, piece, (size_t) n);
}

static int
open_text (struct rcvmi_vmm *vmm, struct rcvmi_vmm_text *t, int fd, rcvm_error **err)
{
  t->fd = fd;
  t->buf = malloc (RCVMI_VMM_TEXT + 1);
  if (!t->buf)
    return rcvmi_fail_nomem (err);
  if (fcntl (fd, F_SETFL, O_NONBLOCK | fcntl (fd, F_GETFL)) < 0)
    return rcvmi_fail_errno (err, errno, "cannot prepare the VMM's output");
  t->source = rcvmi_ev_add (vmm->ev, fd, EPOLLIN, on_text, t, err);
  return t->source ? 0 : RCVM_E_SYSTEM;
}

static void
close_text (struct rcvmi_vmm_text *t)
{
  rcvmi_ev_remove (t->source);
  if (t->fd >= 0)
    close (t->fd);
  if (t->log_fd >= 0)
    close (t->log_fd);
  free (t->buf);
  *t = RCVMI_VMM_TEXT_INIT;
}

/* The last line that is not empty, or the first that holds `needle` from there on; in printable ASCII, for it goes to
   terminals and into JSON. */
static void
find_line (struct rcvmi_vmm_text *t, const char *needle, char *line, size_t size)
{
  size_t len;

  line[0] = 0;
  if (!t->buf)
    return;
  while (t->source && t->len < RCVMI_VMM_TEXT)
    {
      size_t before = t->len;

      on_text (t, EPOLLIN);
      if (t->len == before)
        break;
    }
  t->buf[t->len] = 0;
  for (char *p = t->buf; p < t->buf + t->len; p += len + 1)
    {
      char *found = p;

      len = strcspn (p, "\r\n");
      if (len == 0)
        continue;
      if (needle && !(found = memmem (p, len, needle, strlen (needle))))
        continue;
      snprintf (line, size, "%.*s", (int) (len - (size_t) (found - p)), found);
      if (needle)
        break;
    }
  for (char *c = line; *c; c++)
    if (*c < 0x20 || *c > 0x7e)
      *c = '?';
}

/* The process. */

static void
describe_death (struct rcvmi_vmm *vmm, pid_t pid, int status, rcvm_error **err)
{
  char line[400], how[64];

  find_line (&vmm->console, "Kernel panic", line, sizeof line);
  if (line[0])
    {
      rcvmi_fail_at (err, "agent", RCVM_E_GUEST, 0, "the guest's kernel gave up: %s", line);
      return;
    }
  if (WIFEXITED (status) && WEXITSTATUS (status) == 0)
    {
      find_line (&vmm->console, "rcvm-init: fatal: ", line, sizeof line);
      if (!line[0])
        find_line (&vmm->console, NULL, line, sizeof line);
      rcvmi_fail_at (err, "agent", RCVM_E_GUEST, 0,
                     "the guest stopped by itself before its process had ended%s%s",
                     line[0] ? "; its console's last word: " : "", line);
      return;
    }
  vmm->killed = WIFSIGNALED (status);
  rcvmi_proc_describe (status, how, sizeof how);
  find_line (&vmm->output, vmm->ops->complaint, line, sizeof line);
  if (!line[0])
    find_line (&vmm->output, NULL, line, sizeof line);
  if (WIFSIGNALED (status))
    rcvmi_fail (err, RCVM_E_VMM, 0, "the VMM (%s, pid %d) was killed by %s%s", vmm->ops->name, pid, how,
                WTERMSIG (status) == SIGKILL ? "; if nobody did that, the host may be out of memory" : "");
  else
    rcvmi_fail (err, RCVM_E_VMM, 0, "the VMM (%s, pid %d) ended with %s%s%s", vmm->ops->name, pid, how,
                line[0] ? ": " : "", line);
}

static void
on_proc_ended (void *user, uint32_t events)
{
  struct rcvmi_vmm *vmm = user;
  pid_t pid = vmm->proc.pid;
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_ev_remove (steal_ptr (vmm->proc_source));
  describe_death (vmm, pid, rcvmi_proc_reap (&vmm->proc), &e);
  vmm->handler->died (vmm->user, e);
}

/* What all VMMs have: `output` for what it says itself, `console` for what the guest does. */
static int
watch_child (struct rcvmi_vmm *vmm, int *console, int *output, rcvm_error **err)
{
  int code = open_text (vmm, &vmm->console, steal_fd (console), err);

  if (code == 0)
    code = open_text (vmm, &vmm->output, steal_fd (output), err);
  if (code < 0)
    return code;
  vmm->proc_source = rcvmi_ev_add (vmm->ev, vmm->proc.pidfd, EPOLLIN, on_proc_ended, vmm, err);
  return vmm->proc_source ? 0 : RCVM_E_SYSTEM;
}

int
rcvmi_vmm_spawn (struct rcvmi_vmm *vmm, char *const argv[], const int *more, size_t n_more,
                 rcvm_error **err)
{
  int agent[2] = { -1, -1 }, volumes[2] = { -1, -1 }, console[2] = { -1, -1 }, output[2] = { -1, -1 };
  int fds[3 + RCVMI_VMM_MORE_FDS], code;
  struct rcvmi_proc_how how = { .path = vmm->program, .argv = argv, .dir_fd = -1, .fds = fds, .n_fds = 3 + n_more };

  if (n_more > RCVMI_VMM_MORE_FDS)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "too many fds for the VMM");
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, agent) < 0
      || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, volumes) < 0
      || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) < 0
      || pipe2 (output, O_CLOEXEC) < 0)
    {
      code = rcvmi_fail_errno (err, errno, "cannot make the VMM's channels");
      goto out;
    }
  fds[0] = console[1];
  fds[1] = agent[1];
  fds[2] = volumes[1];
  memcpy (fds + 3, more, n_more * sizeof *more);
  how.stdout_fd = how.stderr_fd = output[1];
  code = rcvmi_vmm_spawn_as (vmm, &how, err);
  if (code < 0)
    goto out;
  vmm->agent_fd = steal_fd (&agent[0]);
  vmm->volumes_fd = steal_fd (&volumes[0]);
  code = watch_child (vmm, &console[0], &output[0], err);
out:
  for (int i = 0; i < 2; i++)
    {
      cleanup_close (&agent[i]);
      cleanup_close (&volumes[i]);
      cleanup_close (&console[i]);
      cleanup_close (&output[i]);
    }
  return code;
}

/* A pipe that has a name. */
static int
make_fifo (const struct rcvmi_vmm *vmm, int dir_fd, const char *name, int fds[2])
{
  uid_t owner = vmm->confine ? vmm->confine->id : (uid_t) -1;

  if (mkfifoat (dir_fd, name, 0600) < 0 || fchownat (dir_fd, name, owner, owner, AT_SYMLINK_NOFOLLOW) < 0)
    return -1;
  fds[0] = openat (dir_fd, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  fds[1] = fds[0] < 0 ? -1 : openat (dir_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
  return fds[1] < 0 ? -1 : 0;
}

int
rcvmi_vmm_spawn_plain (struct rcvmi_vmm *vmm, char *const argv[], int dir_fd, const char *log, rcvm_error **err)
{
  int console[2] = { -1, -1 }, output[2] = { -1, -1 }, code = 0;
  struct rcvmi_proc_how how = { .path = vmm->jailer ? vmm->jailer : vmm->program, .argv = argv, .dir_fd = dir_fd };

  if (pipe2 (console, O_CLOEXEC) < 0 || (log ? make_fifo (vmm, dir_fd, log, output) : pipe2 (output, O_CLOEXEC)) < 0)
    code = rcvmi_fail_errno (err, errno, "cannot make the VMM's channels");
  how.stdout_fd = console[1];
  how.stderr_fd = output[1];
  if (code == 0)
    code = rcvmi_vmm_spawn_as (vmm, &how, err);
  if (code == 0)
    code = watch_child (vmm, &console[0], &output[0], err);
  for (int i = 0; i < 2; i++)
    {
      cleanup_close (&console[i]);
      cleanup_close (&output[i]);
    }
  return code;
}

/* The channels where the guest connects. */

static void
stop_listening (struct rcvmi_vmm_listener *l)
{
  rcvmi_ev_remove (steal_ptr (l->source));
  cleanup_close (&l->fd);
  l->fd = -1;
}

static void
on_guest_connects (void *user, uint32_t events)
{
  struct rcvmi_vmm_listener *l = user;
  struct rcvmi_vmm *vmm = l->vmm;
  int fd = accept4 (l->fd, NULL, NULL, SOCK_CLOEXEC);

  (void) events;
  if (fd < 0)
    return;
  /* The first process of the guest has come before the container could; nobody else is let in. */
  stop_listening (l);
  if (l == &vmm->listeners[RCVMI_VMM_AGENT])
    vmm->agent_fd = fd;
  else
    vmm->volumes_fd = fd;
  vmm->handler->connected (vmm->user);
}

int
rcvmi_vmm_listen (struct rcvmi_vmm *vmm, enum rcvmi_vmm_channel channel, int dir_fd, const char *name, rcvm_error **err)
{
  struct rcvmi_vmm_listener *l = &vmm->listeners[channel];
  struct sockaddr_un sun = { .sun_family = AF_UNIX };

  /* Through /proc, so that the length of the path does not matter. */
  snprintf (sun.sun_path, sizeof sun.sun_path, "/proc/self/fd/%d/%s", dir_fd, name);
  l->vmm = vmm;
  l->fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (l->fd < 0 || bind (l->fd, (struct sockaddr *) &sun, sizeof sun) < 0 || listen (l->fd, 1) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make the socket '%s' for the guest's connection", name);
  l->source = rcvmi_ev_add (vmm->ev, l->fd, EPOLLIN, on_guest_connects, l, err);
  return l->source ? 0 : RCVM_E_SYSTEM;
}

int
rcvmi_vmm_start (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, rcvm_error **err)
{
  int code = rcvmi_vmm_check_files (config->kernel, config->initramfs, config->memory, err);
  struct rcvmi_vmm_config seen = *config;

  if (code == 0 && config->n_shares && !vmm->ops->has_virtiofs)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the VMM driver '%s' cannot share directories by virtiofs: use live volumes (NFS), or QEMU",
                       vmm->ops->name);
  if (code == 0 && config->more_memory && !vmm->ops->set_more_memory)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the VMM driver '%s' cannot add memory to a VM that runs: leave org.runcvm.memory-max away, or use Firecracker",
                       vmm->ops->name);
  vmm->console.dir_fd = config->dir_fd;
  if (code == 0 && vmm->confined)
    code = rcvmi_vmm_confine (vmm, &seen, err);
  return code < 0 ? code : vmm->ops->start (vmm, &seen, err);
}

uint64_t
rcvmi_vmm_overhead (const struct rcvmi_vmm *vmm, unsigned cpus)
{
  return vmm->ops->overhead + cpus * vmm->ops->overhead_per_cpu;
}

int
rcvmi_vmm_pause (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  if (!vmm->ops->pause)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "the VMM driver '%s' cannot pause a VM", vmm->ops->name);
  return vmm->ops->pause (vmm, err);
}

int
rcvmi_vmm_resume (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  if (!vmm->ops->resume)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "the VMM driver '%s' cannot resume a VM", vmm->ops->name);
  return vmm->ops->resume (vmm, err);
}

int
rcvmi_vmm_reset (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  if (!vmm->ops->reset)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "the VMM driver '%s' cannot reset a VM", vmm->ops->name);
  return vmm->ops->reset (vmm, err);
}

int
rcvmi_vmm_set_more_memory (struct rcvmi_vmm *vmm, uint64_t more, rcvm_error **err)
{
  return vmm->ops->set_more_memory (vmm, more, err);
}

int
rcvmi_vmm_set_balloon (struct rcvmi_vmm *vmm, uint64_t memory, uint64_t taken, rcvm_error **err)
{
  return vmm->ops->set_balloon (vmm, memory, taken, err);
}

void
rcvmi_vmm_last_words (struct rcvmi_vmm *vmm, char *line, size_t size)
{
  find_line (&vmm->console, NULL, line, size);
}

int
rcvmi_vmm_add_nic (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_nic *nic, rcvm_error **err)
{
  if (!vmm->ops->add_nic)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "the VMM driver '%s' cannot attach network interfaces to a VM that was started without them: choose qemu for it",
                       vmm->ops->name);
  return vmm->ops->add_nic (vmm, nic, err);
}

int
rcvmi_vmm_remove_nic (struct rcvmi_vmm *vmm, unsigned number, rcvm_error **err)
{
  if (!vmm->ops->remove_nic)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the VMM driver '%s' cannot detach network interfaces from a VM that runs", vmm->ops->name);
  return vmm->ops->remove_nic (vmm, number, err);
}

/* A confined one may write to no file that is larger than the largest of its start, or what this has been raised to. */
static int
raise_file_size (const struct rcvmi_vmm *vmm, uint64_t bytes, rcvm_error **err)
{
  struct rlimit l = { .rlim_cur = bytes, .rlim_max = bytes };

  if (bytes <= vmm->confine->file_size)
    return 0;
  if (prlimit (vmm->proc.pid, RLIMIT_FSIZE, &l, NULL) < 0)
    return rcvmi_fail (err, RCVM_E_PERMISSION, errno,
                       "cannot let the confined VMM write to a file larger than all disks of its start, which takes CAP_SYS_RESOURCE: attach a "
                       "block device, or start the VM with --confine off");
  vmm->confine->file_size = bytes;
  return 0;
}

int
rcvmi_vmm_add_disk (struct rcvmi_vmm *vmm, struct rcvmi_vmm_hot_disk *disk, rcvm_error **err)
{
  int code = 0;

  if (!vmm->ops->add_disk)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "the VMM driver '%s' cannot attach disks to a VM that runs", vmm->ops->name);
  if (vmm->confine && !disk->device && !disk->readonly)
    code = raise_file_size (vmm, disk->bytes, err);
  return code < 0 ? code : vmm->ops->add_disk (vmm, disk, err);
}

int
rcvmi_vmm_remove_disk (struct rcvmi_vmm *vmm, unsigned slot, rcvm_error **err)
{
  return vmm->ops->remove_disk (vmm, slot, err);
}

int
rcvmi_vmm_save (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  if (!vmm->ops->save)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "the VMM driver '%s' cannot save a VM", vmm->ops->name);
  return vmm->ops->save (vmm, err);
}

int
rcvmi_vmm_take_agent (struct rcvmi_vmm *vmm)
{
  return steal_fd (&vmm->agent_fd);
}

int
rcvmi_vmm_take_volumes (struct rcvmi_vmm *vmm)
{
  return steal_fd (&vmm->volumes_fd);
}

void
rcvmi_vmm_stop (struct rcvmi_vmm *vmm)
{
  rcvmi_ev_remove (steal_ptr (vmm->proc_source));
  rcvmi_proc_kill (&vmm->proc);
  if (vmm->ops && vmm->ops->clear)
    vmm->ops->clear (vmm);
  for (int i = 0; i < RCVMI_VMM_CHANNELS; i++)
    stop_listening (&vmm->listeners[i]);
  cleanup_close (&vmm->agent_fd);
  cleanup_close (&vmm->volumes_fd);
  vmm->agent_fd = vmm->volumes_fd = -1;
  close_text (&vmm->console);
  close_text (&vmm->output);
  if (vmm->confine)
    rcvmi_confine_clear (vmm->confine);
  free (steal_ptr (vmm->confine));
  free (steal_ptr (vmm->program));
  free (steal_ptr (vmm->accel_reason));
}
