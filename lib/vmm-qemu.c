/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's microvm machine: virtio over MMIO, no firmware.  Where there is a network, PCI Express as well, with a root port
 * for each NIC that there is or may come: it costs the boot nothing that could be measured, and MMIO devices cannot be
 * plugged into a machine that runs.
 */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "vmm-qmp.h"

/* MiB of translated code, which else grows to a gigabyte. */
#define TRANSLATED "128"

enum
{
  MIB = 1024 * 1024,
  /* Numbers of the fds that rcvmi_vmm_spawn passes. */
  CONSOLE_FD = 3,
  AGENT_FD = 4,
  VOLUMES_FD = 5,
  QMP_FD = 6,
  FIRST_TAP_FD = 7, /* those of shares come after the NICs', and those of disks after them */
  ROOT_PORTS = RCVMI_VMM_NICS + RCVMI_VMM_SPARE_NICS,
  DISK_IN_PORT = 1 << 30, /* no NIC has that number */
  HOT_FDSET = 100         /* the first of those of disks that come */
};

#ifdef __aarch64__
#define MULTIARCH "aarch64-linux-gnu"
#else
#define MULTIARCH "x86_64-linux-gnu"
#endif

/* What the driver keeps of a VM. */
struct qemu
{
  struct rcvmi_qmp *qmp;
  size_t n_ports;
  bool used[ROOT_PORTS];
  unsigned number[ROOT_PORTS]; /* of the NIC in that port, or DISK_IN_PORT and more */
  bool hotplug;
  bool has_disk[RCVMI_VMM_HOT_DISKS];
  uint64_t disk_bandwidth, disk_ops; /* of disks that come, too */
  bool async_io;
};

static int
probe (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  vmm->program = rcvmi_vmm_find_program ("RUNCVM_QEMU", "qemu-system-x86_64");
  rcvmi_tsc_read (&vmm->tsc);
  if (!vmm->program)
    return rcvmi_fail (err, RCVM_E_HOST, 0,
                       "QEMU is not there: install qemu-system-x86, or say in RUNCVM_QEMU where qemu-system-x86_64 is");
  return 0;
}

/* A command line that grows; the first failure sticks. */
struct args
{
  char **list;
  bool failed;
};

static void
add (struct args *a, const char *s)
{
  if (rcvmi_strv_append (&a->list, s) < 0)
    a->failed = true;
}

static void __attribute__ ((format (printf, 3, 4)))
add_option (struct args *a, const char *option, const char *fmt, ...)
{
  autofree char *value = NULL;
  va_list ap;

  va_start (ap, fmt);
  if (vasprintf (&value, fmt, ap) < 0)
    {
      value = NULL;
      a->failed = true;
    }
  va_end (ap);
  add (a, option);
  if (value)
    add (a, value);
}

/* Disks are open already: a confined QEMU sees no path of the host, and no user but their owner may open some of them. */
static void
add_disk (struct args *a, const struct rcvmi_vmm_disk *disk, size_t index, size_t fd, const struct rcvmi_tuning *t)
{
  char limits[160];

  snprintf (limits, sizeof limits, ",throttling.bps-total=%" PRIu64 ",throttling.iops-total=%" PRIu64, t->disk_bandwidth, t->disk_ops);
  add_option (a, "-add-fd", "fd=%zu,set=%zu", fd, index);
  add_option (a, "-drive",
              "if=none,id=disk%zu,format=raw,file.driver=%s,file.filename=/dev/fdset/%zu,auto-read-only=off,"
              "file.auto-read-only=off%s%s%s",
              index, disk->device ? "host_device" : "file", index, t->async_io ? ",file.aio=io_uring" : "",
              t->disk_bandwidth || t->disk_ops ? limits : "",
              disk->readonly  ? ",readonly=on,file.locking=off"
              : disk->passing ? ",discard=unmap,cache.no-flush=on"
                              : ",discard=unmap");
  add_option (a, "-device", "virtio-blk-device,drive=disk%zu,serial=%s,werror=report,rerror=report", index,
              disk->serial);
}

static void
format_mac (char out[18], const uint8_t m[6])
{
  snprintf (out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

/* No PCI for this one: it neither comes nor goes, and a machine without other interfaces boots faster without. */
static void
add_link (struct args *a, const struct rcvmi_vmm_nic *n, int fd)
{
  char mac[18];

  format_mac (mac, n->mac);
  add_option (a, "-netdev", "tap,id=link,fd=%d,vhost=off", fd);
  add_option (a, "-device", "virtio-net-device,netdev=link,mac=%s,host_mtu=%u", mac, n->mtu);
}

static void
add_nics (struct args *a, const struct rcvmi_vmm_config *c, struct qemu *q)
{
  q->n_ports = c->n_nics + (c->hotplug ? RCVMI_VMM_SPARE_NICS : 0);
  for (size_t i = 0; i < q->n_ports; i++)
    add_option (a, "-device", "pcie-root-port,id=port%zu,chassis=%zu,slot=%zu", i, i + 1, i + 1);
  for (size_t i = 0; i < c->n_nics; i++)
    {
      const struct rcvmi_vmm_nic *n = &c->nics[i];
      char mac[18];

      format_mac (mac, n->mac);
      add_option (a, "-netdev", "tap,id=net%u,fd=%d,vhost=off", n->number, FIRST_TAP_FD + (int) i);
      add_option (a, "-device", "virtio-net-pci,id=nic%u,netdev=net%u,bus=port%zu,mac=%s,romfile=", n->number, n->number, i,
                  mac);
      q->used[i] = true;
      q->number[i] = n->number;
    }
}

/* The server looks into the guest's memory itself. */
static void
add_shares (struct args *a, const struct rcvmi_vmm_config *c, size_t first)
{
  for (size_t i = 0; i < c->n_shares; i++)
    {
      add_option (a, "-chardev", "socket,id=share%zu,fd=%zu", i, first + i);
      add_option (a, "-device", "vhost-user-fs-device,chardev=share%zu,tag=%s", i, c->shares[i].tag);
    }
}

static char **
make_args (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *c, struct qemu *q)
{
  bool kvm = strcmp (vmm->accel, "kvm") == 0;
  struct args a = { 0 };
  char tsc[48] = "";
  unsigned khz;
  size_t fd;

  add (&a, vmm->program);
  add_option (&a, "-name", "%s", c->id);
  add_option (&a, "-machine", "microvm,x-option-roms=off,isa-serial=on,rtc=on%s%s",
              c->n_nics || c->hotplug ? ",pcie=on" : "",
              c->n_shares || c->tuning.huge_pages ? ",memory-backend=memory" : "");
  /* vhost-user has no devices of before virtio 1.0, and memory that others can map. */
  if (c->n_shares)
    add_option (&a, "-global", "virtio-mmio.force-legacy=false");
  if (c->n_shares || c->tuning.huge_pages)
    add_option (&a, "-object", "memory-backend-memfd,id=memory,share=on%s,size=%" PRIu64 "M",
                c->tuning.huge_pages ? ",hugetlb=on,hugetlbsize=2M" : "", c->memory / MIB);
  add_option (&a, "-accel", "%s", kvm           ? "kvm"
                                 : c->cpus > 1 ? "tcg,tb-size=" TRANSLATED ",thread=multi"
                                               : "tcg,tb-size=" TRANSLATED);
  /* Emulated, "rep movsb", which ERMS makes kernels copy with, goes byte by byte; without it they copy words. */
  add_option (&a, "-cpu", "%s", kvm ? "host" : "max,-erms");
  add_option (&a, "-m", "%" PRIu64 "M", c->memory / MIB);
  add_option (&a, "-smp", "%u", c->cpus);
  add (&a, "-nodefaults");
  add (&a, "-no-user-config");
  add (&a, "-no-reboot");
  add_option (&a, "-display", "none");
  add_option (&a, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
  add_option (&a, "-kernel", "%s", c->kernel);
  add_option (&a, "-initrd", "%s", c->initramfs);
  /* Without KVM the guest has the host's TSC, and cannot calibrate it on a busy host: it is told.  Nor may it judge it by ticks
     of its own, of which a busy host loses many: it would count those from then on. */
  if (!kvm && (khz = rcvmi_tsc_khz (&vmm->tsc)) > 0)
    snprintf (tsc, sizeof tsc, " tsc=reliable tsc_early_khz=%u", khz);
  add_option (&a, "-append", "console=ttyS0 panic=-1 reboot=t random.trust_cpu=on cryptomgr.notests %s%s%s%s",
              c->verbose ? "loglevel=7" : "quiet", tsc,
              c->kernel_args ? " " : "", c->kernel_args ? c->kernel_args : "");
  add_option (&a, "-chardev", "socket,id=console,fd=%d", CONSOLE_FD);
  add_option (&a, "-serial", "chardev:console");
  add_option (&a, "-chardev", "socket,id=agent,fd=%d", AGENT_FD);
  add_option (&a, "-device", "virtio-serial-device");
  add_option (&a, "-device", "virtserialport,chardev=agent,name=" AGENT_PORT_NAME);
  if (c->volumes)
    {
      add_option (&a, "-chardev", "socket,id=volumes,fd=%d", VOLUMES_FD);
      add_option (&a, "-device", "virtserialport,chardev=volumes,name=" AGENT_VOLUMES_PORT_NAME);
    }
  if (c->balloon)
    add_option (&a, "-device", "virtio-balloon-device,deflate-on-oom=on,free-page-reporting=on");
  add_option (&a, "-chardev", "socket,id=qmp,fd=%d", QMP_FD);
  add_option (&a, "-mon", "chardev=qmp,mode=control");
  add_nics (&a, c, q);
  fd = FIRST_TAP_FD + c->n_nics;
  if (c->link.tap_name)
    add_link (&a, &c->link, (int) fd++);
  add_shares (&a, c, fd);
  for (size_t i = 0; i < c->n_disks; i++)
    add_disk (&a, &c->disks[i], i, fd + c->n_shares + i, &c->tuning);
  if (!a.failed)
    return a.list;
  rcvmi_strv_free (a.list);
  return NULL;
}

static void
on_qmp_ready (void *user)
{
  struct rcvmi_vmm *vmm = user;

  vmm->handler->running (vmm->user);
}

static void
on_qmp_broken (void *user, rcvm_error *err)
{
  struct rcvmi_vmm *vmm = user;

  vmm->handler->died (vmm->user, err);
}

/* Where a QEMU that was installed below some prefix has its firmware and its modules. */
static int
add_parts (const struct rcvmi_vmm *vmm, rcvm_error **err)
{
  static const char *const data[] = { "share/qemu", "share/seabios" };
  static const char *const modules[] = { "lib/" MULTIARCH "/qemu", "lib/qemu", "lib64/qemu" };
  const char *asked = secure_getenv ("QEMU_MODULE_DIR"), *slash = strrchr (vmm->program, '/');
  int len = slash ? (int) (slash - vmm->program) : 0, code = 0;
  char path[4096];

  for (size_t i = 0; code == 0 && i < sizeof data / sizeof data[0] + sizeof modules / sizeof modules[0]; i++)
    {
      bool is_data = i < sizeof data / sizeof data[0];

      snprintf (path, sizeof path, "%.*s/../%s", len, vmm->program,
                is_data ? data[i] : modules[i - sizeof data / sizeof data[0]]);
      if (access (path, X_OK) == 0)
        {
          autofree char *real = realpath (path, NULL);

          code = real ? rcvmi_confine_add (vmm->confine, is_data ? RCVMI_CONFINE_FILE : RCVMI_CONFINE_PROGRAM, real, real, err)
                      : rcvmi_fail_nomem (err);
        }
    }
  if (code == 0 && asked && *asked)
    code = rcvmi_confine_add (vmm->confine, RCVMI_CONFINE_PROGRAM, asked, asked, err);
  return code;
}

static void
close_fds (const int *fds, size_t n)
{
  for (size_t i = 0; i < n; i++)
    cleanup_close (&fds[i]);
}

static int
open_disks (const struct rcvmi_vmm_config *config, int fds[RCVMI_VMM_DISKS], rcvm_error **err)
{
  for (size_t i = 0; i < config->n_disks; i++)
    {
      const struct rcvmi_vmm_disk *d = &config->disks[i];

      fds[i] = open (d->path, (d->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
      if (fds[i] < 0)
        {
          int code = rcvmi_fail_errno (err, errno, "cannot open the disk '%.200s' for the VMM", d->path);

          close_fds (fds, i);
          return code;
        }
    }
  return 0;
}

static int
check_tuning (const struct rcvmi_tuning *t, rcvm_error **err)
{
  if (t->net_bandwidth)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "QEMU cannot limit the bandwidth of an interface: use tc on the container's, or Firecracker");
  if (t->track_memory)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "QEMU's driver saves no containers that run, so it tracks no memory: leave RUNCVM_TRACK_MEMORY away, or use Firecracker");
  if (t->cpu_template)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "QEMU has no CPU templates: leave '%.100s' away, or use Firecracker", t->cpu_template);
  return 0;
}

static int
start (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, rcvm_error **err)
{
  struct qemu *q = calloc (1, sizeof *q);
  char **argv = q ? make_args (vmm, config, q) : NULL;
  int qmp[2] = { -1, -1 }, fds[RCVMI_VMM_MORE_FDS], code;
  size_t n = 1;

  vmm->state = q;
  if (q)
    {
      q->hotplug = config->hotplug;
      q->disk_bandwidth = config->tuning.disk_bandwidth;
      q->disk_ops = config->tuning.disk_ops;
      q->async_io = config->tuning.async_io;
    }
  if (!argv)
    return rcvmi_fail_nomem (err);
  for (size_t i = 0; i < config->n_nics; i++)
    fds[n++] = config->nics[i].tap_fd;
  if (config->link.tap_name)
    fds[n++] = config->link.tap_fd;
  for (size_t i = 0; i < config->n_shares; i++)
    fds[n++] = config->shares[i].fd;
  code = check_tuning (&config->tuning, err);
  if (code == 0 && vmm->confine)
    code = add_parts (vmm, err);
  if (code == 0)
    code = open_disks (config, fds + n, err);
  if (code < 0)
    {
      rcvmi_strv_free (argv);
      return code;
    }
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp) < 0)
    code = rcvmi_fail_errno (err, errno, "cannot make QEMU's control socket");
  else
    {
      fds[0] = qmp[1];
      code = rcvmi_vmm_spawn (vmm, argv, fds, n + config->n_disks, err);
    }
  close_fds (fds + n, config->n_disks);
  if (code == 0)
    {
      q->qmp = rcvmi_qmp_new (vmm->ev, steal_fd (&qmp[0]), on_qmp_ready, on_qmp_broken, vmm, err);
      if (!q->qmp)
        code = RCVM_E_NOMEM;
    }
  cleanup_close (&qmp[0]);
  cleanup_close (&qmp[1]);
  rcvmi_strv_free (argv);
  return code;
}

static struct rcvmi_qmp *
qmp_of (struct rcvmi_vmm *vmm)
{
  return ((struct qemu *) vmm->state)->qmp;
}

static size_t
free_port (const struct qemu *q)
{
  size_t port = 0;

  while (port < q->n_ports && q->used[port])
    port++;
  return port;
}

static int
add_nic (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_nic *nic, rcvm_error **err)
{
  struct qemu *q = vmm->state;
  char text[256], mac[18];
  size_t port = free_port (q);
  int code;

  if (q->n_ports == 0)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "QEMU cannot attach a network interface to a VM that was started without a network");
  if (port == q->n_ports)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "QEMU has no slot left for a network interface: a VM has room for %d more than at its start",
                       RCVMI_VMM_SPARE_NICS);
  snprintf (text, sizeof text, "{\"fdname\":\"tap%u\"}", nic->number);
  code = rcvmi_qmp_execute (q->qmp, "getfd", text, nic->tap_fd, err);
  if (code < 0)
    return code;
  snprintf (text, sizeof text, "{\"type\":\"tap\",\"id\":\"net%u\",\"fd\":\"tap%u\",\"vhost\":false}", nic->number,
            nic->number);
  code = rcvmi_qmp_execute (q->qmp, "netdev_add", text, -1, err);
  if (code < 0)
    {
      snprintf (text, sizeof text, "{\"fdname\":\"tap%u\"}", nic->number);
      rcvmi_qmp_execute (q->qmp, "closefd", text, -1, NULL);
      return code;
    }
  format_mac (mac, nic->mac);
  snprintf (text, sizeof text,
            "{\"driver\":\"virtio-net-pci\",\"id\":\"nic%u\",\"netdev\":\"net%u\",\"bus\":\"port%zu\",\"mac\":\"%s\","
            "\"romfile\":\"\"}",
            nic->number, nic->number, port, mac);
  code = rcvmi_qmp_execute (q->qmp, "device_add", text, -1, err);
  if (code < 0)
    {
      snprintf (text, sizeof text, "{\"id\":\"net%u\"}", nic->number);
      rcvmi_qmp_execute (q->qmp, "netdev_del", text, -1, NULL);
      return code;
    }
  q->used[port] = true;
  q->number[port] = nic->number;
  return 0;
}

static int
remove_nic (struct rcvmi_vmm *vmm, unsigned number, rcvm_error **err)
{
  struct qemu *q = vmm->state;
  char text[64];
  bool gone;

  /* Where the guest has switched the slot off the device went with it, and QEMU does not know it any more.  Where it has not,
     the slot stays taken, and the device is a NIC that leads nowhere. */
  snprintf (text, sizeof text, "{\"id\":\"nic%u\"}", number);
  gone = rcvmi_qmp_execute (q->qmp, "device_del", text, -1, NULL) < 0;
  for (size_t i = 0; i < q->n_ports; i++)
    if (gone && q->used[i] && q->number[i] == number)
      q->used[i] = false;
  snprintf (text, sizeof text, "{\"id\":\"net%u\"}", number);
  return rcvmi_qmp_execute (q->qmp, "netdev_del", text, -1, err);
}

/* As those of the start (add_disk). */
static int
add_hot_backend (struct qemu *q, const struct rcvmi_vmm_hot_disk *d, rcvm_error **err)
{
  const char *readonly = d->readonly ? "true" : "false";
  autoclose int fd = -1;
  char text[512], self[40];
  int code;

  /* With the access that it has to the VMM's eyes. */
  snprintf (self, sizeof self, "/proc/self/fd/%d", d->fd);
  fd = open (self, (d->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the disk '%.200s' for the VMM", d->path);
  snprintf (text, sizeof text, "{\"fdset-id\":%u}", HOT_FDSET + d->slot);
  code = rcvmi_qmp_execute (q->qmp, "add-fd", text, fd, err);
  if (code < 0)
    return code;
  snprintf (text, sizeof text,
            "{\"driver\":\"raw\",\"node-name\":\"hot%u\",\"read-only\":%s,\"auto-read-only\":false%s,\"file\":{\"driver\":\"%s\","
            "\"filename\":\"/dev/fdset/%u\",\"read-only\":%s,\"auto-read-only\":false%s%s}}",
            d->slot, readonly, d->readonly ? "" : ",\"discard\":\"unmap\"", d->device ? "host_device" : "file", HOT_FDSET + d->slot,
            readonly, d->readonly ? ",\"locking\":\"off\"" : ",\"discard\":\"unmap\"", q->async_io ? ",\"aio\":\"io_uring\"" : "");
  return rcvmi_qmp_execute (q->qmp, "blockdev-add", text, -1, err);
}

static int
drop_hot_backend (struct qemu *q, unsigned slot, rcvm_error **err)
{
  char text[48];
  int code;

  snprintf (text, sizeof text, "{\"node-name\":\"hot%u\"}", slot);
  code = rcvmi_qmp_execute (q->qmp, "blockdev-del", text, -1, err);
  /* Without users the set is gone by itself where QEMU has taken it for granted. */
  snprintf (text, sizeof text, "{\"fdset-id\":%u}", HOT_FDSET + slot);
  rcvmi_qmp_execute (q->qmp, "remove-fd", text, -1, NULL);
  return code;
}

static int
add_hot_device (struct qemu *q, const struct rcvmi_vmm_hot_disk *d, size_t port, rcvm_error **err)
{
  char text[256], id[16];
  int code;

  snprintf (id, sizeof id, "disk-hot%u", d->slot);
  rcvmi_qmp_expect_deleted (q->qmp, id);
  snprintf (text, sizeof text,
            "{\"driver\":\"virtio-blk-pci\",\"id\":\"%s\",\"drive\":\"hot%u\",\"bus\":\"port%zu\",\"serial\":\"%s\","
            "\"werror\":\"report\",\"rerror\":\"report\"}",
            id, d->slot, port, d->serial);
  code = rcvmi_qmp_execute (q->qmp, "device_add", text, -1, err);
  if (code < 0)
    return code;
  q->has_disk[d->slot] = q->used[port] = true;
  q->number[port] = DISK_IN_PORT + d->slot;
  return 0;
}

static int
limit_hot_device (struct qemu *q, unsigned slot, rcvm_error **err)
{
  char text[256];

  if (!q->disk_bandwidth && !q->disk_ops)
    return 0;
  snprintf (text, sizeof text,
            "{\"id\":\"disk-hot%u\",\"bps\":%" PRIu64 ",\"bps_rd\":0,\"bps_wr\":0,\"iops\":%" PRIu64 ",\"iops_rd\":0,\"iops_wr\":0}",
            slot, q->disk_bandwidth, q->disk_ops);
  return rcvmi_qmp_execute (q->qmp, "block_set_io_throttle", text, -1, err);
}

/* Where the guest has switched the slot off the device went with it; one that the guest has never switched on goes at once.  Only
   then does QEMU let go of the disk. */
static int
remove_hot_disk (struct rcvmi_vmm *vmm, unsigned slot, rcvm_error **err)
{
  struct qemu *q = vmm->state;
  char text[48], id[16];
  int code;

  snprintf (id, sizeof id, "disk-hot%u", slot);
  snprintf (text, sizeof text, "{\"id\":\"%s\"}", id);
  rcvmi_qmp_execute (q->qmp, "device_del", text, -1, NULL);
  code = rcvmi_qmp_await_deleted (q->qmp, id, err);
  if (code == 0)
    code = drop_hot_backend (q, slot, err);
  if (code < 0)
    return code;
  q->has_disk[slot] = false;
  for (size_t i = 0; i < q->n_ports; i++)
    if (q->used[i] && q->number[i] == DISK_IN_PORT + slot)
      q->used[i] = false;
  return 0;
}

static int
add_hot_disk (struct rcvmi_vmm *vmm, struct rcvmi_vmm_hot_disk *d, rcvm_error **err)
{
  struct qemu *q = vmm->state;
  size_t port = free_port (q);
  int code;

  d->slot = 0;
  while (d->slot < RCVMI_VMM_HOT_DISKS && q->has_disk[d->slot])
    d->slot++;
  if (!q->hotplug)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "QEMU cannot attach a disk to a VM that was started without a network and without the annotation "
                       "org.runcvm.hotplug=on");
  if (port == q->n_ports || d->slot == RCVMI_VMM_HOT_DISKS)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "QEMU has no slot left for a disk: a VM has room for %d disks and network interfaces more than at its start",
                       RCVMI_VMM_SPARE_NICS);
  snprintf (d->serial, sizeof d->serial, "hot%u", d->slot);
  d->kept = false;
  code = add_hot_backend (q, d, err);
  if (code == 0)
    code = add_hot_device (q, d, port, err);
  if (code < 0)
    {
      drop_hot_backend (q, d->slot, NULL);
      return code;
    }
  code = limit_hot_device (q, d->slot, err);
  if (code < 0)
    remove_hot_disk (vmm, d->slot, NULL);
  return code;
}

static int
pause_vm (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  return rcvmi_qmp_command (qmp_of (vmm), "stop", err);
}

static int
resume_vm (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  return rcvmi_qmp_command (qmp_of (vmm), "cont", err);
}

/* By the option of its start, a machine that is reset ends. */
static int
reset_vm (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  int code = rcvmi_qmp_execute (qmp_of (vmm), "set-action", "{\"reboot\":\"reset\"}", -1, err);

  if (code == 0)
    code = rcvmi_qmp_command (qmp_of (vmm), "system_reset", err);
  if (code == 0)
    code = rcvmi_qmp_execute (qmp_of (vmm), "set-action", "{\"reboot\":\"shutdown\"}", -1, err);
  return code;
}

static int
set_balloon (struct rcvmi_vmm *vmm, uint64_t memory, uint64_t taken, rcvm_error **err)
{
  char text[64];

  /* QEMU wants to know what is left. */
  snprintf (text, sizeof text, "{\"value\":%" PRIu64 "}", memory - taken);
  return rcvmi_qmp_execute (qmp_of (vmm), "balloon", text, -1, err);
}

static void
clear (struct rcvmi_vmm *vmm)
{
  struct qemu *q = steal_ptr (vmm->state);

  if (q)
    rcvmi_qmp_free (q->qmp);
  free (q);
}

const struct rcvmi_vmm_ops rcvmi_vmm_qemu = {
  .name = "qemu",
  /* docs/cgroups.md has what was measured. */
  .overhead = 256 * (uint64_t) MIB,
  .overhead_per_cpu = 8 * (uint64_t) MIB,
  .has_virtiofs = true,
  .has_link = true,
  .probe = probe,
  .start = start,
  .pause = pause_vm,
  .resume = resume_vm,
  .reset = reset_vm,
  .set_balloon = set_balloon,
  .add_nic = add_nic,
  .remove_nic = remove_nic,
  .add_disk = add_hot_disk,
  .remove_disk = remove_hot_disk,
  .clear = clear,
};
