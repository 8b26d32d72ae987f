/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The setters of a VM's handle: checked, copied, and used by rcvm_vm_create. */
#include "config.h"

#define RCVMI_STAGE "api"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "handle.h"
#include "visibility.h"

/* Locks the handle if it can still be configured. */
static int
begin (rcvm_vm *vm, rcvm_error **err)
{
  if (!vm)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the VM's handle is NULL");
  rcvmi_handle_lock (vm);
  if (vm->status == RCVM_STATUS_NEW)
    return 0;
  rcvmi_handle_unlock (vm);
  return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is %s: options are set before rcvm_vm_create", vm->id,
                     rcvm_status_name (vm->status));
}

static int
finish (rcvm_vm *vm, int code)
{
  rcvmi_handle_unlock (vm);
  return code;
}

static int
set_string (rcvm_vm *vm, char **at, const char *value, rcvm_error **err)
{
  char *copy = NULL;

  if (value && !(copy = strdup (value)))
    return finish (vm, rcvmi_fail_nomem (err));
  free (*at);
  *at = copy;
  return finish (vm, 0);
}

/* The monitor has another working directory than the caller. */
static int
set_path (rcvm_vm *vm, char **at, const char *value, rcvm_error **err)
{
  autofree char *cwd = NULL;
  autofree char *path = NULL;

  if (!value || value[0] == '/')
    return set_string (vm, at, value, err);
  cwd = get_current_dir_name ();
  if (!cwd)
    return finish (vm, rcvmi_fail_errno (err, errno, "cannot tell what '%s' is relative to", value));
  if (asprintf (&path, "%s/%s", cwd, value) < 0)
    {
      path = NULL;
      return finish (vm, rcvmi_fail_nomem (err));
    }
  return set_string (vm, at, path, err);
}

RCVM_PUBLIC int
rcvm_vm_set_bundle (rcvm_vm *vm, const char *path, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_path (vm, &vm->options.bundle, path, err);
}

RCVM_PUBLIC int
rcvm_vm_set_config_json (rcvm_vm *vm, const char *json, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.config_json, json, err);
}

RCVM_PUBLIC int
rcvm_vm_set_rootfs (rcvm_vm *vm, const char *path, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_path (vm, &vm->options.rootfs, path, err);
}

RCVM_PUBLIC int
rcvm_vm_set_args (rcvm_vm *vm, char *const argv[], rcvm_error **err)
{
  int code = begin (vm, err);
  char **copy;

  if (code < 0)
    return code;
  if (!argv || !argv[0])
    return finish (vm, rcvmi_fail (err, RCVM_E_INVALID, 0, "a process needs at least one argument, its program"));
  copy = rcvmi_strv_copy (argv);
  if (!copy)
    return finish (vm, rcvmi_fail_nomem (err));
  rcvmi_strv_free (vm->options.args);
  vm->options.args = copy;
  return finish (vm, 0);
}

RCVM_PUBLIC int
rcvm_vm_add_env (rcvm_vm *vm, const char *name_value, rcvm_error **err)
{
  int code = begin (vm, err);

  if (code < 0)
    return code;
  if (!name_value || !strchr (name_value, '=') || name_value[0] == '=')
    return finish (vm, rcvmi_fail (err, RCVM_E_INVALID, 0, "'%s' is not of the form NAME=VALUE",
                                   name_value ? name_value : "(null)"));
  if (rcvmi_strv_set_env (&vm->options.env, name_value) < 0)
    return finish (vm, rcvmi_fail_nomem (err));
  return finish (vm, 0);
}

RCVM_PUBLIC int
rcvm_vm_set_user (rcvm_vm *vm, const char *user, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.user, user, err);
}

RCVM_PUBLIC int
rcvm_vm_set_cwd (rcvm_vm *vm, const char *path, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.cwd, path, err);
}

RCVM_PUBLIC int
rcvm_vm_set_hostname (rcvm_vm *vm, const char *name, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.hostname, name, err);
}

RCVM_PUBLIC int
rcvm_vm_set_terminal (rcvm_vm *vm, int on, rcvm_error **err)
{
  int code = begin (vm, err);

  if (code < 0)
    return code;
  vm->options.terminal = on != 0;
  return finish (vm, 0);
}

RCVM_PUBLIC int
rcvm_vm_set_readonly_rootfs (rcvm_vm *vm, int on, rcvm_error **err)
{
  int code = begin (vm, err);

  if (code < 0)
    return code;
  vm->options.readonly_rootfs = on != 0;
  return finish (vm, 0);
}

RCVM_PUBLIC int
rcvm_vm_set_annotation (rcvm_vm *vm, const char *key, const char *value, rcvm_error **err)
{
  autofree char *pair = NULL;
  int code = begin (vm, err);

  if (code < 0)
    return code;
  if (!key || !*key || strchr (key, '=') || !value)
    return finish (vm, rcvmi_fail (err, RCVM_E_INVALID, 0, "'%s' is no key of an annotation",
                                   key ? key : "(null)"));
  if (asprintf (&pair, "%s=%s", key, value) < 0)
    pair = NULL;
  if (!pair || rcvmi_strv_set_env (&vm->options.annotations, pair) < 0)
    return finish (vm, rcvmi_fail_nomem (err));
  return finish (vm, 0);
}

/* With the handle locked. */
static int
set_stdio (rcvm_vm *vm, const int given[3], rcvm_error **err)
{
  int copies[3] = { -1, -1, -1 };
  int code = 0;

  for (int i = 0; i < 3 && code == 0; i++)
    if (given[i] >= 0 && (copies[i] = fcntl (given[i], F_DUPFD_CLOEXEC, 3)) < 0)
      code = rcvmi_fail_errno (err, errno, "cannot duplicate fd %d", given[i]);
  for (int i = 0; i < 3; i++)
    {
      int *surplus = code < 0 ? &copies[i] : &vm->stdio[i];

      cleanup_close (surplus);
      if (code == 0)
        vm->stdio[i] = copies[i];
    }
  return code;
}

RCVM_PUBLIC int
rcvm_vm_set_stdio (rcvm_vm *vm, int in, int out, int err_fd, rcvm_error **err)
{
  int code = begin (vm, err);

  if (code < 0)
    return code;
  code = set_stdio (vm, (const int[3]){ in, out, err_fd }, err);
  if (code == 0)
    vm->options.console = 0;
  return finish (vm, code);
}

RCVM_PUBLIC int
rcvm_vm_set_console (rcvm_vm *vm, int fd, rcvm_error **err)
{
  int code = begin (vm, err);

  if (code < 0)
    return code;
  if (!isatty (fd))
    return finish (vm, rcvmi_fail (err, RCVM_E_INVALID, 0, "fd %d is no terminal", fd));
  code = set_stdio (vm, (const int[3]){ fd, fd, -1 }, err);
  if (code == 0)
    vm->options.console = vm->options.terminal = 1;
  return finish (vm, code);
}

RCVM_PUBLIC int
rcvm_vm_set_hypervisor (rcvm_vm *vm, const char *name, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.hypervisor, name, err);
}

RCVM_PUBLIC int
rcvm_vm_set_confinement (rcvm_vm *vm, const char *how, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.confinement, how, err);
}

RCVM_PUBLIC int
rcvm_vm_set_kernel (rcvm_vm *vm, const char *path, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_path (vm, &vm->options.kernel, path, err);
}

RCVM_PUBLIC int
rcvm_vm_set_initramfs (rcvm_vm *vm, const char *path, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_path (vm, &vm->options.initramfs, path, err);
}

RCVM_PUBLIC int
rcvm_vm_set_cgroup_driver (rcvm_vm *vm, const char *driver, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.cgroup_driver, driver, err);
}

RCVM_PUBLIC int
rcvm_vm_set_kernel_args (rcvm_vm *vm, const char *args, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.kernel_args, args, err);
}

RCVM_PUBLIC int
rcvm_vm_set_memory (rcvm_vm *vm, uint64_t bytes, rcvm_error **err)
{
  int code = begin (vm, err);

  if (code < 0)
    return code;
  vm->options.memory = bytes;
  return finish (vm, 0);
}

RCVM_PUBLIC int
rcvm_vm_set_cpus (rcvm_vm *vm, unsigned cpus, rcvm_error **err)
{
  int code = begin (vm, err);

  if (code < 0)
    return code;
  vm->options.cpus = cpus;
  return finish (vm, 0);
}

RCVM_PUBLIC int
rcvm_vm_set_rootfs_size (rcvm_vm *vm, uint64_t bytes, rcvm_error **err)
{
  int code = begin (vm, err);

  if (code < 0)
    return code;
  vm->options.rootfs_size = bytes;
  return finish (vm, 0);
}

RCVM_PUBLIC int
rcvm_vm_set_network (rcvm_vm *vm, const char *network, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.network, network, err);
}

RCVM_PUBLIC int
rcvm_vm_set_network_join (rcvm_vm *vm, const char *join, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.network_join, join, err);
}

RCVM_PUBLIC int
rcvm_vm_set_tap_name (rcvm_vm *vm, const char *name, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.tap_name, name, err);
}

RCVM_PUBLIC int
rcvm_vm_set_dhcp (rcvm_vm *vm, unsigned seconds, rcvm_error **err)
{
  int code = begin (vm, err);

  if (code < 0)
    return code;
  vm->options.dhcp = seconds;
  return finish (vm, 0);
}

static int
add_string (rcvm_vm *vm, char ***list, const char *value, rcvm_error **err)
{
  if (!value)
    return finish (vm, rcvmi_fail (err, RCVM_E_INVALID, 0, "the value to add is NULL"));
  return finish (vm, rcvmi_strv_append (list, value) < 0 ? rcvmi_fail_nomem (err) : 0);
}

RCVM_PUBLIC int
rcvm_vm_add_nic (rcvm_vm *vm, const char *nic, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : add_string (vm, &vm->options.nics, nic, err);
}

RCVM_PUBLIC int
rcvm_vm_add_port (rcvm_vm *vm, const char *port, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : add_string (vm, &vm->options.ports, port, err);
}

RCVM_PUBLIC int
rcvm_vm_set_rootfs_disk (rcvm_vm *vm, const char *kind, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.rootfs_disk, kind, err);
}

RCVM_PUBLIC int
rcvm_vm_set_binds (rcvm_vm *vm, const char *what, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.binds, what, err);
}

RCVM_PUBLIC int
rcvm_vm_set_rootfs_changes (rcvm_vm *vm, const char *what, rcvm_error **err)
{
  int code = begin (vm, err);

  return code < 0 ? code : set_string (vm, &vm->options.rootfs_changes, what, err);
}

RCVM_PUBLIC int
rcvm_vm_add_rootfs_digest (rcvm_vm *vm, const char *digest, rcvm_error **err)
{
  int code = begin (vm, err);

  if (code < 0)
    return code;
  if (!digest || !*digest)
    return finish (vm, rcvmi_fail (err, RCVM_E_INVALID, 0, "the digest of a layer is missing"));
  if (rcvmi_strv_append (&vm->options.rootfs_digests, digest) < 0)
    return finish (vm, rcvmi_fail_nomem (err));
  return finish (vm, 0);
}

RCVM_PUBLIC int
rcvm_vm_set_log (rcvm_vm *vm, int level, rcvm_log_fn fn, void *user, rcvm_free_fn free_fn,
                 rcvm_error **err)
{
  struct rcvmi_log old;
  rcvm_free_fn old_free;

  if (!vm || level < RCVM_LOG_ERROR || level > RCVM_LOG_DEBUG)
    {
      if (free_fn)
        free_fn (user);
      return rcvmi_fail (err, RCVM_E_INVALID, 0, vm ? "%d is no log level" : "the VM's handle is NULL (level %d)",
                         level);
    }
  rcvmi_handle_lock (vm);
  old = vm->log;
  old_free = vm->log_free;
  vm->log = (struct rcvmi_log){ .level = level, .fn = fn, .user = user };
  vm->log_free = free_fn;
  vm->options.log_level = fn ? level : RCVM_LOG_ERROR;
  rcvmi_handle_unlock (vm);
  if (old_free)
    old_free (old.user);
  return 0;
}
