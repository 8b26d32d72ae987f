/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

/* In the order in which "auto" tries them. */
static const struct rcvmi_vmm_ops *const drivers[] = { &rcvmi_vmm_qemu };

char *
rcvmi_vmm_find_program (const char *variable, const char *name)
{
  const char *asked = secure_getenv (variable), *path = getenv ("PATH");
  char candidate[4096];

  if (asked && *asked)
    return access (asked, X_OK) == 0 ? strdup (asked) : NULL;
  if (!path || !*path)
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  while (*path)
    {
      size_t len = strcspn (path, ":");

      snprintf (candidate, sizeof candidate, "%.*s/%s", (int) len, path, name);
      if (len > 0 && access (candidate, X_OK) == 0)
        return strdup (candidate);
      path += len + (path[len] == ':');
    }
  return NULL;
}

int
rcvmi_vmm_choose (struct rcvmi_vmm *vmm, enum rcvmi_hypervisor wanted, rcvm_error **err)
{
  bool kvm = rcvmi_vmm_kvm_usable (&vmm->accel_reason);

  if (wanted == RCVMI_HYPERVISOR_FIRECRACKER)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "this version has no driver for Firecracker: use --hypervisor qemu or auto");
  for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++)
    {
      const struct rcvmi_vmm_ops *ops = drivers[i];
      rcvm_error *e = NULL;

      if (ops->needs_kvm && !kvm)
        continue;
      vmm->program = ops->probe (&e);
      if (!vmm->program)
        {
          if (i + 1 < sizeof drivers / sizeof drivers[0] && wanted == RCVMI_HYPERVISOR_AUTO)
            {
              rcvm_error_free (e);
              continue;
            }
          return rcvmi_error_pass (err, e);
        }
      vmm->ops = ops;
      vmm->accel = kvm ? "kvm" : "tcg";
      return 0;
    }
  return rcvmi_fail (err, RCVM_E_HOST, 0, "no VMM can run here: install qemu-system-x86");
}

/* Text. */

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
  free (t->buf);
  *t = (struct rcvmi_vmm_text){ .fd = -1 };
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
  rcvmi_proc_describe (status, how, sizeof how);
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

int
rcvmi_vmm_spawn (struct rcvmi_vmm *vmm, char *const argv[], const int *more, size_t n_more,
                 rcvm_error **err)
{
  int agent[2] = { -1, -1 }, volumes[2] = { -1, -1 }, console[2] = { -1, -1 }, output[2] = { -1, -1 };
  int fds[RCVMI_VMM_NICS + 9], code;

  if (n_more > RCVMI_VMM_NICS + 6)
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
  code = rcvmi_proc_spawn (&vmm->proc, vmm->program, argv, output[1], fds, 3 + n_more, err);
  if (code < 0)
    goto out;
  vmm->agent_fd = steal_fd (&agent[0]);
  vmm->volumes_fd = steal_fd (&volumes[0]);
  code = open_text (vmm, &vmm->console, steal_fd (&console[0]), err);
  if (code == 0)
    code = open_text (vmm, &vmm->output, steal_fd (&output[0]), err);
  if (code == 0)
    {
      vmm->proc_source = rcvmi_ev_add (vmm->ev, vmm->proc.pidfd, EPOLLIN, on_proc_ended, vmm, err);
      code = vmm->proc_source ? 0 : RCVM_E_SYSTEM;
    }
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

int
rcvmi_vmm_start (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, rcvm_error **err)
{
  int code = rcvmi_vmm_check_files (config->kernel, config->initramfs, config->memory, err);

  if (code == 0 && config->n_shares && !vmm->ops->has_virtiofs)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the VMM driver '%s' cannot share directories by virtiofs: use live volumes (NFS), or QEMU",
                       vmm->ops->name);
  return code < 0 ? code : vmm->ops->start (vmm, config, err);
}

int
rcvmi_vmm_add_nic (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_nic *nic, rcvm_error **err)
{
  if (!vmm->ops->add_nic)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "the VMM driver '%s' cannot attach network interfaces to a VM that runs",
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
  cleanup_close (&vmm->agent_fd);
  cleanup_close (&vmm->volumes_fd);
  vmm->agent_fd = vmm->volumes_fd = -1;
  close_text (&vmm->console);
  close_text (&vmm->output);
  free (steal_ptr (vmm->program));
  free (steal_ptr (vmm->accel_reason));
}
