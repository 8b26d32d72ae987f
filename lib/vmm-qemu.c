/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QEMU's microvm machine: virtio over MMIO, no firmware, no PCI. */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "vmm-qmp.h"

enum
{
  MIB = 1024 * 1024,
  /* Numbers of the fds that rcvmi_vmm_spawn passes. */
  CONSOLE_FD = 3,
  AGENT_FD = 4,
  QMP_FD = 5
};

static char *
probe (rcvm_error **err)
{
  char *program = rcvmi_vmm_find_program ("RUNCVM_QEMU", "qemu-system-x86_64");

  if (!program)
    rcvmi_fail (err, RCVM_E_HOST, 0,
                "QEMU is not there: install qemu-system-x86, or say in RUNCVM_QEMU where "
                "qemu-system-x86_64 is");
  return program;
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

/* QEMU's option syntax: a comma in a value is doubled. */
static char *
escape (const char *value)
{
  char *out = malloc (2 * strlen (value) + 1), *p = out;

  if (!out)
    return NULL;
  for (; *value; value++)
    {
      if (*value == ',')
        *p++ = ',';
      *p++ = *value;
    }
  *p = 0;
  return out;
}

static void
add_disk (struct args *a, const struct rcvmi_vmm_disk *disk, size_t index)
{
  autofree char *path = escape (disk->path);

  if (!path)
    {
      a->failed = true;
      return;
    }
  add_option (a, "-drive", "if=none,id=disk%zu,format=raw,file.driver=file,file.filename=%s%s", index, path,
              disk->readonly ? ",readonly=on,file.locking=off" : ",discard=unmap");
  add_option (a, "-device", "virtio-blk-device,drive=disk%zu,serial=%s,werror=report,rerror=report", index,
              disk->serial);
}

static char **
make_args (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *c)
{
  bool kvm = strcmp (vmm->accel, "kvm") == 0;
  struct args a = { 0 };

  add (&a, vmm->program);
  add_option (&a, "-name", "%s", c->id);
  add_option (&a, "-machine", "microvm,x-option-roms=off,isa-serial=on,rtc=on");
  add_option (&a, "-accel", "%s", kvm ? "kvm" : c->cpus > 1 ? "tcg,thread=multi" : "tcg");
  add_option (&a, "-cpu", "%s", kvm ? "host" : "max");
  add_option (&a, "-m", "%" PRIu64 "M", c->memory / MIB);
  add_option (&a, "-smp", "%u", c->cpus);
  add (&a, "-nodefaults");
  add (&a, "-no-user-config");
  add (&a, "-no-reboot");
  add_option (&a, "-display", "none");
  add_option (&a, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
  add_option (&a, "-kernel", "%s", c->kernel);
  add_option (&a, "-initrd", "%s", c->initramfs);
  /* Without KVM the guest cannot calibrate its TSC on a busy host, and sometimes gives up: it is told. */
  add_option (&a, "-append", "console=ttyS0 panic=-1 reboot=t random.trust_cpu=on %s%s%s%s",
              c->verbose ? "loglevel=7" : "quiet", kvm ? "" : " tsc_early_khz=2500000",
              c->kernel_args ? " " : "", c->kernel_args ? c->kernel_args : "");
  add_option (&a, "-chardev", "socket,id=console,fd=%d", CONSOLE_FD);
  add_option (&a, "-serial", "chardev:console");
  add_option (&a, "-chardev", "socket,id=agent,fd=%d", AGENT_FD);
  add_option (&a, "-device", "virtio-serial-device");
  add_option (&a, "-device", "virtserialport,chardev=agent,name=" AGENT_PORT_NAME);
  add_option (&a, "-chardev", "socket,id=qmp,fd=%d", QMP_FD);
  add_option (&a, "-mon", "chardev=qmp,mode=control");
  for (size_t i = 0; i < c->n_disks; i++)
    add_disk (&a, &c->disks[i], i);
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

static int
start (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, rcvm_error **err)
{
  char **argv = make_args (vmm, config);
  int qmp[2] = { -1, -1 }, code;

  if (!argv)
    return rcvmi_fail_nomem (err);
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp) < 0)
    code = rcvmi_fail_errno (err, errno, "cannot make QEMU's control socket");
  else
    code = rcvmi_vmm_spawn (vmm, argv, &qmp[1], 1, err);
  if (code == 0)
    {
      vmm->state = rcvmi_qmp_new (vmm->ev, steal_fd (&qmp[0]), on_qmp_ready, on_qmp_broken, vmm, err);
      if (!vmm->state)
        code = RCVM_E_NOMEM;
    }
  cleanup_close (&qmp[0]);
  cleanup_close (&qmp[1]);
  rcvmi_strv_free (argv);
  return code;
}

static int
pause_vm (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  return rcvmi_qmp_command (vmm->state, "stop", err);
}

static int
resume_vm (struct rcvmi_vmm *vmm, rcvm_error **err)
{
  return rcvmi_qmp_command (vmm->state, "cont", err);
}

static void
clear (struct rcvmi_vmm *vmm)
{
  rcvmi_qmp_free (steal_ptr (vmm->state));
}

const struct rcvmi_vmm_ops rcvmi_vmm_qemu = {
  .name = "qemu",
  .probe = probe,
  .start = start,
  .pause = pause_vm,
  .resume = resume_vm,
  .clear = clear,
};
