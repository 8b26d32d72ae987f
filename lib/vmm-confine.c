/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The confinement of a VMM: what each of them sees and may use.  Drivers add what is their own. */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  MIB = 1024 * 1024,
  FILES = 1024,
  FILES_PER_CPU = 8,
  /* QEMU's pool for file I/O has at most 64. */
  THREADS = 128
};

/* In the VMM's root. */
#define KERNEL "/vm/kernel"
#define INITRAMFS "/vm/initramfs"

/* No file that it writes has to be larger than the largest disk; and the guest's memory may be a file. */
static uint64_t
largest_file (const struct rcvmi_vmm_config *config)
{
  uint64_t size = config->memory + config->more_memory + MIB;

  for (size_t i = 0; i < config->n_disks; i++)
    {
      struct stat st;

      if (!config->disks[i].readonly && stat (config->disks[i].path, &st) == 0 && (uint64_t) st.st_size > size)
        size = (uint64_t) st.st_size;
    }
  return size;
}

/* What has to be readable by everybody, at another place. */
static int
add_guest_file (struct rcvmi_confine *c, const char *what, const char **path, const char *target, rcvm_error **err)
{
  int code = rcvmi_confine_check_readable (what, *path, err);

  if (code == 0)
    code = rcvmi_confine_add (c, RCVMI_CONFINE_FILE, *path, target, err);
  *path = target;
  return code;
}

int
rcvmi_vmm_confine (struct rcvmi_vmm *vmm, struct rcvmi_vmm_config *config, rcvm_error **err)
{
  /* The jailer makes the others itself. */
  static const char *const devices[] = { "/dev/null", "/dev/urandom" };
  struct rcvmi_confine *c = vmm->confine = malloc (sizeof *c);
  int code;

  if (!c)
    return rcvmi_fail_nomem (err);
  config->host_kernel = config->kernel;
  code = rcvmi_confine_init (c, err);
  c->files = FILES + FILES_PER_CPU * config->cpus;
  c->threads = THREADS + config->cpus;
  c->file_size = largest_file (config);
  for (size_t i = 0; code == 0 && i < (vmm->jailer ? 1 : sizeof devices / sizeof devices[0]); i++)
    code = rcvmi_confine_add_device (c, devices[i], devices[i], err);
  if (code == 0 && strcmp (vmm->accel, "kvm") == 0 && !vmm->jailer)
    code = rcvmi_confine_add_device (c, "/dev/kvm", "/dev/kvm", err);
  if (code == 0)
    code = rcvmi_confine_add_program (c, vmm->program, err);
  if (code == 0)
    code = add_guest_file (c, "the kernel", &config->kernel, KERNEL, err);
  if (code == 0)
    code = add_guest_file (c, "the initramfs", &config->initramfs, INITRAMFS, err);
  return code;
}

/* Nothing of the monitor's environment, which is that of whoever started the VM, but what its loader goes by. */
static char **
make_env (void)
{
  static const char *const kept[] = { "LD_LIBRARY_PATH", "QEMU_MODULE_DIR" };
  char **env = NULL;
  int failed = rcvmi_strv_append (&env, "PATH=/usr/bin:/bin");

  for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
    {
      const char *value = secure_getenv (kept[i]);
      autofree char *text = NULL;

      if (!value || failed)
        continue;
      if (asprintf (&text, "%s=%s", kept[i], value) < 0)
        {
          text = NULL;
          failed = -1;
        }
      else
        failed = rcvmi_strv_append (&env, text);
    }
  if (!failed)
    return env;
  rcvmi_strv_free (env);
  return NULL;
}

int
rcvmi_vmm_spawn_as (struct rcvmi_vmm *vmm, struct rcvmi_proc_how *how, rcvm_error **err)
{
  char **env;
  int code;

  if (!vmm->confine)
    {
      how->prepare = rcvmi_confine_lightly;
      return rcvmi_proc_spawn_as (&vmm->proc, how, err);
    }
  env = make_env ();
  if (!env)
    return rcvmi_fail_nomem (err);
  how->env = env;
  how->dir_fd = -1;
  how->namespaces = rcvmi_confine_namespaces (vmm->confine);
  how->prepare = rcvmi_confine_enter;
  how->user = vmm->confine;
  code = rcvmi_proc_spawn_as (&vmm->proc, how, err);
  rcvmi_strv_free (env);
  return code;
}
