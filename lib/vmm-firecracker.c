/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Firecracker: a process that is configured through its API socket, and whose guest reaches the host's end of its vsock device
 * through another.  Both lie in the VM's directory.
 *
 * The API is spoken by children of the monitor (vmm-firecracker-api.c): none of it may hold the monitor up, and an answer is
 * parsed where nothing but that child is lost.
 */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm-firecracker.h"

#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "vmm-firecracker-metrics.h"

enum
{
  /* Between an answer that does not come and the end of Firecracker, which says more. */
  DEATH_TIMEOUT_MS = 1000,
  REQUEST_TIMEOUT_MS = 10000,
  SAVE_TIMEOUT_MS = 180000, /* all of the memory is written */
  MIB = 1024 * 1024,
  MEMORY_BLOCK = 2 * MIB,
  ID_MAX = 64,
  ASYNC_MAJOR = 5,
  ASYNC_MINOR = 12
};

/* What the driver keeps of a VM. */
struct firecracker
{
  int dir_fd;     /* where its sockets are: the VM's, or */
  int own_dir_fd; /* that of a confined one, which vanishes when it is closed */
  struct rcvmi_fc_requests requests; /* of the start */
  struct rcvmi_proc worker;          /* that makes them */
  struct rcvmi_ev_source *source;
  int error_fd;
  rcvm_error *error; /* what it failed with */
  struct rcvmi_fc_metrics metrics;
  struct rcvmi_proc warden; /* of a jailed one */
  int warden_error_fd;
  bool has_volumes;
  bool has_pci;      /* so that NICs and disks can come and go */
  bool nics_left;    /* some have gone, and their devices are there */
  uint64_t net_bandwidth, disk_bandwidth, disk_ops; /* of those that come, too */
  bool async_io;
  struct
  {
    bool used;
    bool there;    /* it has a device, which stays */
    bool readonly; /* for ever */
  } hot[RCVMI_VMM_HOT_DISKS];
};

static int
probe (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  int code = 0;

  vmm->program = rcvmi_vmm_find_program ("RUNCVM_FIRECRACKER", "firecracker");
  if (!vmm->program)
    return rcvmi_fail (err, RCVM_E_HOST, 0,
                       "Firecracker is not there: put its program into PATH, or say in RUNCVM_FIRECRACKER where it is");
  code = rcvmi_vmm_ask_version (vmm->program, "Firecracker v", &vmm->version, err);
  if (code == 0 && vmm->version < RCVMI_FC_OLDEST)
    code = rcvmi_fail (err, RCVM_E_HOST, 0, "'%s' is Firecracker %u.%u, and 1.7 is the oldest that can be used", vmm->program,
                       vmm->version / RCVMI_VMM_MINOR, vmm->version % RCVMI_VMM_MINOR);
  if (code < 0)
    free (steal_ptr (vmm->program));
  return code;
}

static int
check_kernel (const struct rcvmi_vmm *vmm, const char *kernel, rcvm_error **err)
{
  if (vmm->version < RCVMI_FC_BZIMAGE_SINCE && !rcvmi_vmm_kernel_is_elf (kernel))
    return rcvmi_fail (err, RCVM_E_HOST, 0,
                       "this Firecracker boots no compressed kernel, which '%s' is: give it a vmlinux, which runcvm-mkguest makes "
                       "as well",
                       kernel);
#ifdef __x86_64__
  if (vmm->version < RCVMI_FC_ACPI_SINCE && !rcvmi_vmm_kernel_has (kernel, "virtio_mmio.device"))
    return rcvmi_fail (err, RCVM_E_HOST, 0,
                       "Firecracker %u.%u tells a guest of its devices by arguments that the kernel '%s' does not know "
                       "(CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES; Debian's kernels have it not): 1.8 does so by ACPI, or use QEMU, or another kernel",
                       vmm->version / RCVMI_VMM_MINOR, vmm->version % RCVMI_VMM_MINOR, kernel);
#endif
  return 0;
}

/* Firecracker takes letters, digits and hyphens. */
static void
make_id (char out[ID_MAX + 1], const char *id)
{
  size_t n = 0;

  for (; id[n] && n < ID_MAX; n++)
    out[n] = (id[n] >= '0' && id[n] <= '9') || (id[n] >= 'a' && id[n] <= 'z') || (id[n] >= 'A' && id[n] <= 'Z') ? id[n] : '-';
  out[n] = 0;
}

static int
carry_out (void *user, rcvm_error **err)
{
  struct firecracker *f = user;

  return rcvmi_fc_carry_out (RCVMI_PROC_FORK_FD, &f->requests, err);
}

static int
fork_worker (struct firecracker *f, rcvm_error **err)
{
  return rcvmi_proc_fork_with (&f->worker, carry_out, f, &f->dir_fd, 1, &f->error_fd, err);
}

/* What has become of the worker, which has ended or will not live longer. */
static int
end_worker (struct firecracker *f, rcvm_error **err)
{
  int code = rcvmi_proc_read_error (steal_fd (&f->error_fd), rcvmi_proc_reap (&f->worker),
                                    "the process that speaks to Firecracker", err);

  rcvmi_fc_requests_clear (&f->requests);
  return code;
}

static void
on_no_death (void *user, uint32_t events)
{
  struct rcvmi_vmm *vmm = user;
  struct firecracker *f = vmm->state;

  (void) events;
  vmm->handler->died (vmm->user, steal_ptr (f->error));
}

static void
on_worker_ended (void *user, uint32_t events)
{
  struct rcvmi_vmm *vmm = user;
  struct firecracker *f = vmm->state;
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_ev_remove (steal_ptr (f->source));
  if (end_worker (f, &e) == 0)
    vmm->handler->running (vmm->user);
  else if (rcvm_error_get_code (e) != RCVM_E_SYSTEM)
    vmm->handler->died (vmm->user, e);
  else
    {
      /* Most likely it is dead, and the reason is about to be known. */
      f->error = e;
      e = NULL;
      f->source = rcvmi_ev_add_timer (vmm->ev, DEATH_TIMEOUT_MS, on_no_death, vmm, &e);
      if (!f->source)
        vmm->handler->died (vmm->user, e);
    }
}

static void
remove_sockets (int dir_fd)
{
  unlinkat (dir_fd, RCVMI_FC_API_SOCKET, 0);
  unlinkat (dir_fd, RCVMI_FC_VSOCK, 0);
  unlinkat (dir_fd, RCVMI_FC_AGENT_SOCKET, 0);
  unlinkat (dir_fd, RCVMI_FC_VOLUMES_SOCKET, 0);
  unlinkat (dir_fd, RCVMI_FC_METRICS_FIFO, 0);
}

/* The VMM may connect to what was made for it, whoever it is. */
static int
listen_for (struct rcvmi_vmm *vmm, enum rcvmi_vmm_channel channel, int dir_fd, const char *name, rcvm_error **err)
{
  uid_t owner = vmm->confine ? vmm->confine->id : (uid_t) -1;
  int code = rcvmi_vmm_listen (vmm, channel, dir_fd, name, err);

  if (code == 0 && fchownat (dir_fd, name, owner, owner, AT_SYMLINK_NOFOLLOW) < 0)
    code = rcvmi_fail_errno (err, errno, "cannot give the socket '%s' to the VMM", name);
  return code;
}

/* A VM that stands still must not write.  Threads that write for io_uring stop with the process since they are the process's own. */
static int
check_io_engine (const struct rcvmi_vmm_config *config, rcvm_error **err)
{
  struct utsname u;
  unsigned major = 0, minor = 0;

  if (!config->tuning.async_io || uname (&u) < 0 || sscanf (u.release, "%u.%u", &major, &minor) != 2)
    return 0;
  if (major > ASYNC_MAJOR || (major == ASYNC_MAJOR && minor >= ASYNC_MINOR))
    return 0;
  return rcvmi_fail (err, RCVM_E_HOST, 0,
                     "Firecracker's io engine 'async' takes Linux 5.12 on the host, which has %u.%u: before, a VM that is paused may go on "
                     "writing to its disks",
                     major, minor);
}

/* Its own first arguments are its program and its id, which the jailer passes itself. */
static int
spawn (struct rcvmi_vmm *vmm, const char *id, char *argv[], rcvm_error **err)
{
  struct firecracker *f = vmm->state;
  char **jailed;
  int code;

  if (!vmm->confine || !vmm->jailer)
    return rcvmi_vmm_spawn_plain (vmm, argv, f->dir_fd, vmm->confine ? RCVMI_FC_LOG : NULL, err);
  code = rcvmi_fc_jail_args (&jailed, vmm, id, argv + 3, err);
  if (code < 0)
    return code;
  code = rcvmi_vmm_spawn_plain (vmm, jailed, f->dir_fd, RCVMI_FC_LOG, err);
  rcvmi_strv_free (jailed);
  return code < 0 ? code : rcvmi_fc_watch_over (vmm, &f->warden, &f->warden_error_fd, err);
}

static int
start (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *asked, rcvm_error **err)
{
  struct firecracker *f = calloc (1, sizeof *f);
  struct rcvmi_vmm_config seen = *asked, *config = &seen;
  char id[ID_MAX + 1];
  /* Its last place is for --enable-pci. */
  char *argv[] = { vmm->program, (char *) "--id", id, (char *) "--api-sock", (char *) RCVMI_FC_API_SOCKET, (char *) "--level",
                   (char *) (config->verbose ? "Info" : "Warning"), (char *) "--metrics-path", (char *) RCVMI_FC_METRICS_FIFO,
                   /* Its standard output is the guest's console. */
                   (char *) "--log-path", (char *) (vmm->confine ? RCVMI_FC_LOG : "/proc/self/fd/2"), NULL, NULL };
  int code;

  if (!f)
    return rcvmi_fail_nomem (err);
  vmm->state = f;
  f->own_dir_fd = -1;
  f->metrics = RCVMI_FC_METRICS_INIT;
  f->warden = RCVMI_PROC_INIT;
  f->warden_error_fd = -1;
  make_id (id, config->id);
  f->dir_fd = config->dir_fd;
  f->worker = RCVMI_PROC_INIT;
  f->error_fd = -1;
  f->has_pci = config->hotplug;
  f->has_volumes = config->volumes;
  f->net_bandwidth = config->tuning.net_bandwidth;
  f->disk_bandwidth = config->tuning.disk_bandwidth;
  f->disk_ops = config->tuning.disk_ops;
  f->async_io = config->tuning.async_io;
  if (f->has_pci)
    argv[sizeof argv / sizeof argv[0] - 2] = (char *) "--enable-pci";
  code = check_io_engine (config, err);
  if (code == 0)
    code = check_kernel (vmm, config->host_kernel ? config->host_kernel : config->kernel, err);
  if (code == 0 && vmm->confine)
    {
      config->dir_fd = -1;
      code = rcvmi_fc_confine (vmm, config, id, err);
      /* From here on it is the driver's own. */
      if (config->dir_fd >= 0)
        f->dir_fd = f->own_dir_fd = config->dir_fd;
    }
  if (code == 0 && config->from.memory)
    code = rcvmi_fc_restore (&f->requests, config, vmm->version, err);
  else if (code == 0)
    code = rcvmi_fc_configure (&f->requests, config, vmm->version, err);
  if (code < 0)
    return code;
  remove_sockets (f->dir_fd);
  code = listen_for (vmm, RCVMI_VMM_AGENT, f->dir_fd, RCVMI_FC_AGENT_SOCKET, err);
  if (code == 0 && config->volumes)
    code = listen_for (vmm, RCVMI_VMM_VOLUMES, f->dir_fd, RCVMI_FC_VOLUMES_SOCKET, err);
  if (code == 0)
    code = rcvmi_fc_metrics_open (&f->metrics, vmm->ev, f->dir_fd, vmm->confine ? vmm->confine->id : (uid_t) -1, err);
  if (code == 0)
    code = spawn (vmm, id, argv, err);
  if (code == 0)
    code = fork_worker (f, err);
  if (code < 0)
    return code;
  f->source = rcvmi_ev_add (vmm->ev, f->worker.pidfd, EPOLLIN, on_worker_ended, vmm, err);
  return f->source ? 0 : RCVM_E_SYSTEM;
}

/* Whether it can be spoken to now. */
static int
check_idle (const struct firecracker *f, rcvm_error **err)
{
  if (f->worker.pid > 0 || f->error_fd >= 0)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "Firecracker is still starting the VM");
  return 0;
}

/* The requests that have been added, to a VM that runs, and its answer. */
static int
ask_within (struct rcvmi_vmm *vmm, int timeout_ms, rcvm_error **err)
{
  struct firecracker *f = vmm->state;
  struct pollfd p;
  int code, r;

  if (f->requests.failed)
    {
      rcvmi_fc_requests_clear (&f->requests);
      return rcvmi_fail_nomem (err);
    }
  code = fork_worker (f, err);
  if (code < 0)
    {
      rcvmi_fc_requests_clear (&f->requests);
      return code;
    }
  p = (struct pollfd){ .fd = f->worker.pidfd, .events = POLLIN };
  do
    r = poll (&p, 1, timeout_ms);
  while (r < 0 && errno == EINTR);
  if (r > 0)
    return end_worker (f, err);
  rcvmi_proc_kill (&f->worker);
  end_worker (f, NULL);
  return rcvmi_fail (err, RCVM_E_TIMEOUT, 0, "Firecracker did not answer within %d seconds", timeout_ms / 1000);
}

static int
ask (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  return ask_within (vmm, REQUEST_TIMEOUT_MS, err);
}

static int
save (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  struct firecracker *f = vmm->state;
  int code = check_idle (f, err);

  if (code == 0)
    code = rcvmi_fc_save (&f->requests, RCVMI_FC_MEMORY, RCVMI_FC_STATE, false, err);
  return code < 0 ? code : ask_within (vmm, SAVE_TIMEOUT_MS, err);
}

/* Not by the API: since 1.16 a VM that it resumes gets nothing by vsock any more, for the device then waits until the guest has
   taken an event that only a snapshot sends. */
static int
pause_vm (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  if (rcvmi_proc_stop (&vmm->proc) < 0)
    return rcvmi_fail (err, RCVM_E_VMM, errno, "cannot stop Firecracker's process");
  return 0;
}

static int
resume_vm (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  if (rcvmi_proc_continue (&vmm->proc) < 0)
    return rcvmi_fail (err, RCVM_E_VMM, errno, "cannot let Firecracker's process go on");
  return 0;
}

/* One request with one number, of MiB. */
static int
patch_size (struct rcvmi_vmm *vmm, const char *path, const char *name, uint64_t bytes, const char *what, rcvm_error **err)
{
  struct firecracker *f = vmm->state;
  struct json_object *body, *value;
  int code = check_idle (f, err);

  if (code < 0)
    return code;
  body = json_object_new_object ();
  value = json_object_new_int64 ((int64_t) (bytes / MIB));
  if (!body || !value || json_object_object_add (body, name, value) < 0)
    {
      json_object_put (value);
      json_object_put (body);
      return rcvmi_fail_nomem (err);
    }
  rcvmi_fc_add (&f->requests, "PATCH", path, body, what);
  return ask (vmm, err);
}

static int
set_balloon (struct rcvmi_vmm *vmm, uint64_t memory, uint64_t taken, rcvm_error **err)
{
  (void) memory;
  return patch_size (vmm, "/balloon", "amount_mib", taken, "the balloon", err);
}

/* In whole blocks, which the guest takes when it can. */
static int
set_more_memory (struct rcvmi_vmm *vmm, uint64_t more, rcvm_error **err)
{
  return patch_size (vmm, "/hotplug/memory", "requested_size_mib", (more + MEMORY_BLOCK - 1) / MEMORY_BLOCK * MEMORY_BLOCK,
                     "the memory that is to be added", err);
}

static int
check_pci (const struct rcvmi_vmm *vmm, const char *what, rcvm_error **err)
{
  const struct firecracker *f = vmm->state;

  if (f->has_pci)
    return check_idle (f, err);
  if (vmm->version < RCVMI_FC_HOTPLUG_SINCE)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "Firecracker %u.%u cannot attach %s to a VM that runs: 1.16 is the first that can, or use QEMU",
                       vmm->version / RCVMI_VMM_MINOR, vmm->version % RCVMI_VMM_MINOR, what);
  return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                     "Firecracker cannot attach %s to a VM that was started without PCI: start it with the annotation "
                     "org.runcvm.hotplug=on",
                     what);
}

static int
add_nic (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_nic *nic, rcvm_error **err)
{
  struct firecracker *f = vmm->state;
  struct rcvmi_tuning tuning = { .net_bandwidth = f->net_bandwidth };
  int code = check_pci (vmm, "network interfaces", err);

  if (code == 0)
    code = rcvmi_fc_give_tap (vmm, nic->tap_name, err);
  if (code < 0)
    return code;
  rcvmi_fc_put_nic (&f->requests, nic, &tuning);
  return ask (vmm, err);
}

/* The device stays.  Firecracker could drop it, but has then forgotten for ever which of its addresses on the bus are free, while the
   guest's kernel would give them to the next device: that one could never be reached.  Its TAP goes, and the guest has let go of it. */
static int
remove_nic (struct rcvmi_vmm *vmm, unsigned number, rcvm_error **err)
{
  struct firecracker *f = vmm->state;

  (void) number;
  f->nics_left = true;
  return check_pci (vmm, "network interfaces", err);
}

/* A free slot, best one whose device is there: these stay, as NICs do.  Whether a device can be written to cannot be changed. */
static unsigned
find_slot (const struct firecracker *f, bool readonly)
{
  unsigned found = RCVMI_VMM_HOT_DISKS;

  for (unsigned i = 0; i < RCVMI_VMM_HOT_DISKS; i++)
    if (!f->hot[i].used && f->hot[i].there && f->hot[i].readonly == readonly)
      return i;
    else if (!f->hot[i].used && !f->hot[i].there && found == RCVMI_VMM_HOT_DISKS)
      found = i;
  return found;
}

/* The device of a slot gets another disk, as that of one that has gone got none: the guest hears of its size. */
static int
add_disk (struct rcvmi_vmm *vmm, struct rcvmi_vmm_hot_disk *d, rcvm_error **err)
{
  struct firecracker *f = vmm->state;
  struct rcvmi_tuning tuning = { .disk_bandwidth = f->disk_bandwidth, .disk_ops = f->disk_ops, .async_io = f->async_io };
  int code = check_pci (vmm, "disks", err);
  char path[32];

  if (code < 0)
    return code;
  d->slot = find_slot (f, d->readonly);
  if (d->slot == RCVMI_VMM_HOT_DISKS)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "Firecracker has no slot left for a disk: a VM has room for %d that come while it runs, and one that was read-only "
                       "stays so",
                       RCVMI_VMM_HOT_DISKS);
  d->serial[0] = 0;
  d->kept = f->hot[d->slot].there;
  if (vmm->confine)
    code = rcvmi_fc_show_hot_disk (vmm, d, path, err);
  if (code < 0)
    return code;
  if (d->kept)
    rcvmi_fc_change_hot_disk (&f->requests, d->slot, vmm->confine ? path : d->path);
  else
    rcvmi_fc_put_hot_disk (&f->requests, d, vmm->confine ? path : d->path, &tuning);
  code = ask (vmm, err);
  if (code < 0)
    {
      if (vmm->confine)
        rcvmi_fc_hide_hot_disk (vmm, d->slot, NULL);
      return code;
    }
  f->hot[d->slot].used = f->hot[d->slot].there = true;
  f->hot[d->slot].readonly = d->readonly;
  return 0;
}

static int
remove_disk (struct rcvmi_vmm *vmm, unsigned slot, rcvm_error **err)
{
  struct firecracker *f = vmm->state;
  int code = check_pci (vmm, "disks", err);

  if (code < 0)
    return code;
  rcvmi_fc_change_hot_disk (&f->requests, slot, RCVMI_FC_NO_DISK);
  code = ask (vmm, err);
  if (code == 0 && vmm->confine)
    code = rcvmi_fc_hide_hot_disk (vmm, slot, err);
  if (code == 0)
    f->hot[slot].used = false;
  return code;
}

/* It is asked for what has been counted by now; one that stands still says nothing. */
static char *
figures (struct rcvmi_vmm *vmm, const char *id, bool stands_still, rcvm_error **err)
{
  struct firecracker *f = vmm->state;
  rcvm_error *e = NULL;

  if (!f)
    return strdup ("");
  if (!stands_still && check_idle (f, NULL) == 0)
    {
      rcvmi_fc_add (&f->requests, "PUT", "/actions", json_tokener_parse ("{\"action_type\":\"FlushMetrics\"}"), "its metrics");
      if (ask (vmm, &e) < 0)
        rcvmi_log_at (vmm->log, RCVM_LOG_DEBUG, "vmm", "%s", rcvm_error_get_message (e));
      rcvm_error_free (e);
      rcvmi_fc_metrics_read (&f->metrics);
    }
  return rcvmi_fc_metrics_text (&f->metrics, id, err);
}

/* A VM that runs is saved. */

static const char *const offered[] = { RCVMI_FC_NEW_MEMORY, RCVMI_FC_NEW_STATE };

/* A device that came and went is in the saved machine, and would want what is behind it when that goes on; so would a disk that came. */
static int
check_left (const struct firecracker *f, rcvm_error **err)
{
  if (f->nics_left)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "a VM from which a network interface was taken away cannot be saved: Firecracker keeps its device for good");
  for (unsigned i = 0; i < RCVMI_VMM_HOT_DISKS; i++)
    if (f->hot[i].there)
      return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "a VM to which a disk came while it ran cannot be saved%s",
                         f->hot[i].used ? "" : ", although that has gone: Firecracker keeps its device for good");
  return 0;
}

static int
offer (struct rcvmi_vmm *vmm, const char *memory, const char *state, rcvm_error **err)
{
  struct firecracker *f = vmm->state;
  int code = check_idle (f, err);

  if (code == 0)
    code = check_left (f, err);
  return code < 0 ? code : rcvmi_vmm_offer (vmm, f->dir_fd, offered, (const char *[]){ memory, state }, 2, err);
}

static void
withdraw (struct rcvmi_vmm *vmm)
{
  struct firecracker *f = vmm->state;

  if (f)
    rcvmi_vmm_withdraw (vmm, f->dir_fd, offered, 2);
}

static int
control (struct rcvmi_vmm *vmm)
{
  struct firecracker *f = vmm->state;

  return f->dir_fd;
}

static int
listen_again (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  struct firecracker *f = vmm->state;
  int code;

  unlinkat (f->dir_fd, RCVMI_FC_AGENT_SOCKET, 0);
  code = listen_for (vmm, RCVMI_VMM_AGENT, f->dir_fd, RCVMI_FC_AGENT_SOCKET, err);
  if (code == 0 && f->has_volumes)
    {
      unlinkat (f->dir_fd, RCVMI_FC_VOLUMES_SOCKET, 0);
      code = listen_for (vmm, RCVMI_VMM_VOLUMES, f->dir_fd, RCVMI_FC_VOLUMES_SOCKET, err);
    }
  return code;
}

static int
carry_out_here (struct rcvmi_fc_requests *r, int code, rcvm_error **err)
{
  if (code == 0)
    code = rcvmi_fc_carry_out (RCVMI_PROC_FORK_FD, r, err);
  rcvmi_fc_requests_clear (r);
  return code;
}

static int
save_running (bool noted, rcvm_error **err)
{
  struct rcvmi_fc_requests r = { 0 };
  int code = rcvmi_fc_save (&r, RCVMI_FC_NEW_MEMORY, RCVMI_FC_NEW_STATE, noted, err);

  return carry_out_here (&r, code, err);
}

static int
go_on_running (rcvm_error **err)
{
  struct rcvmi_fc_requests r = { 0 };
  int code = rcvmi_fc_resume (&r, err);

  return carry_out_here (&r, code, err);
}

static void
clear (struct rcvmi_vmm *vmm)
{
  struct firecracker *f = steal_ptr (vmm->state);

  if (!f)
    return;
  rcvmi_ev_remove (f->source);
  rcvmi_proc_kill (&f->worker);
  cleanup_close (&f->error_fd);
  rcvmi_fc_requests_clear (&f->requests);
  rcvm_error_free (f->error);
  rcvmi_fc_metrics_close (&f->metrics);
  rcvmi_proc_kill (&f->warden);
  cleanup_close (&f->warden_error_fd);
  remove_sockets (f->dir_fd);
  cleanup_close (&f->own_dir_fd);
  free (f);
}

const struct rcvmi_vmm_ops rcvmi_vmm_firecracker = {
  .name = "firecracker",
  .needs_kvm = true,
  /* Firecracker takes a few MiB, a worker with libcurl 5; the rest is for the monitor, the volume server and page tables. */
  .overhead = 64 * (uint64_t) MIB,
  .overhead_per_cpu = (uint64_t) MIB,
  .opens_taps = true,
  .hotplug_is_slow = true,
  .nics_stay = true,
  .nic_hotplug_since = RCVMI_FC_HOTPLUG_SINCE,
  .complaint = "Error: ",
  .probe = probe,
  .find_jailer = rcvmi_fc_find_jailer,
  .start = start,
  .pause = pause_vm,
  .resume = resume_vm,
  .set_balloon = set_balloon,
  .set_more_memory = set_more_memory,
  .add_nic = add_nic,
  .remove_nic = remove_nic,
  .add_disk = add_disk,
  .remove_disk = remove_disk,
  .figures = figures,
  .shape = rcvmi_fc_shape,
  .save = save,
  .offer = offer,
  .withdraw = withdraw,
  .control = control,
  .listen_again = listen_again,
  .save_running = save_running,
  .go_on_running = go_on_running,
  .clear = clear,
};
