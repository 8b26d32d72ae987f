/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options that say what a new container is. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum
{
  DHCP_SECONDS = 30
};

#define AT(field) offsetof (struct container, field)

const struct option_spec container_options[] = {
  { "bundle", 'b', TEXT, AT (bundle), "DIR", "directory with the config.json (default: .)" },
  { "rootfs", 0, TEXT, AT (rootfs), "DIR", "the container's root directory; needs no config.json" },
  { "tty", 't', FLAG, AT (tty), NULL, "give the process a terminal" },
  { "env", 'e', LIST, AT (env), "NAME[=VALUE]", "set a variable, or pass this one on" },
  { "user", 'u', TEXT, AT (user), "USER[:GROUP]", "names or numbers, as the container knows them" },
  { "cwd", 'w', TEXT, AT (cwd), "DIR", "working directory in the container" },
  { "hostname", 0, TEXT, AT (hostname), "NAME", "the container's host name" },
  { "read-only", 0, FLAG, AT (read_only), NULL, "the root file system cannot be written to" },
  { "memory", 'm', BYTES, AT (memory), "SIZE", "memory of the VM: 512M, 2G" },
  { "cpus", 0, NUMBER, AT (cpus), "N", "virtual CPUs" },
  { "rootfs-size", 0, BYTES, AT (rootfs_size), "SIZE", "how much can be written to the root" },
  { "rootfs-disk", 0, TEXT, AT (rootfs_disk), "KIND",
    "overlay (default: a shared image and a disk for changes) or single" },
  { "rootfs-changes", 0, TEXT, AT (rootfs_changes), "WHAT",
    "what becomes of them: writeback (default), discard or keep" },
  { "rootfs-digest", 0, LIST, AT (rootfs_digests), "DIGEST",
    "digest of a layer that the unchanged root is made of, lowest first" },
  { "hypervisor", 0, TEXT, AT (hypervisor), "NAME", "auto (default), qemu or firecracker" },
  { "confine", 0, TEXT, AT (confine), "HOW", "the VMM: auto (default), own, jailer or off" },
  { "kernel", 0, TEXT, AT (kernel), "FILE", "the guest's kernel: a bzImage or vmlinux" },
  { "initramfs", 0, TEXT, AT (initramfs), "FILE",
    "the guest's initramfs (runcvm-mkguest makes both)" },
  { "kernel-args", 0, TEXT, AT (kernel_args), "ARGS", "added to the kernel's command line" },
  { "template", 0, TEXT, AT (template), "on|auto|off",
    "start from a machine that has booted before: always, where it can, never (default)" },
  { "netns", 0, TEXT, AT (netns), "PATH|none|host",
    "take over a namespace's interfaces; loopback only; or NAT to the host's network" },
  { "net-mode", 0, TEXT, AT (net_mode), "tc|bridge", "how interfaces are joined to the VM's (default: tc)" },
  { "nic", 0, LIST, AT (nics), "NAME,WHAT=VALUE...",
    "in place of what it has: address=IP/N, gateway=, route=NET[@IP], mac=, mtu=" },
  { "dhcp", 0, FLAG, AT (dhcp), NULL, "the VM asks a DHCP server for its addresses" },
  { "dhcp-timeout", 0, NUMBER, AT (dhcp_timeout), "SECONDS", "how long it waits for one (default: 30)" },
  { "publish", 'p', LIST, AT (ports), "[IP:]PORT:PORT[/udp]", "a host's port that leads to the VM; with --netns host" },
  { "tap", 0, TEXT, AT (tap), "NAME", "name of the first TAP device (default: a free one)" },
  { "binds", 0, TEXT, AT (binds), "WHAT", "what bind mounts of config.json become: live (default) or copy" },
  { "volume", 'v', LIST, AT (volumes), "SOURCE:TARGET[:OPTION,...]",
    "a directory or file of the host, live in the VM: ro, squash=UID:GID, cached=SECONDS" },
  { "mount", 0, LIST, AT (mounts), "type=TYPE,...",
    "as Docker spells it: type=bind,src=,dst=[,readonly], type=tmpfs,dst=[,tmpfs-size=]" },
  { "annotation", 0, LIST, AT (annotations), "KEY=VALUE",
    "an annotation, as if it stood in config.json" },
  { "pid-file", 0, TEXT, AT (pid_file), "FILE", "write the container's PID on the host to FILE" },
  { "console-socket", 0, TEXT, AT (console_socket), "SOCKET",
    "pass the master of the process's terminal to who listens there" },
  { "no-pivot", 0, FLAG, AT (no_pivot), NULL, "no effect: the VM has a root of its own" },
  { "no-new-keyring", 0, FLAG, AT (no_new_keyring), NULL, "no effect: the VM has keyrings of its own" },
  { "preserve-fds", 0, TEXT, AT (preserve_fds), "N", "0: open files cannot be passed into a VM" },
  { "log-level", 0, TEXT, AT (log_level), "LEVEL", "error, warning (default), info or debug" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

/* "runcvm-" and 12 hexadecimal digits. */
static int
make_id (char id[32])
{
  unsigned char random[6];

  if (getrandom (random, sizeof random, 0) != sizeof random)
    return -1;
  snprintf (id, 32, "runcvm-%02x%02x%02x%02x%02x%02x", random[0], random[1], random[2], random[3],
            random[4], random[5]);
  return 0;
}

static int
add_env (rcvm_vm *vm, const char *text, rcvm_error **err)
{
  char *pair;
  int code;

  if (parse_env (text, &pair) < 0)
    {
      complain ("cli", "out of memory");
      return RCVM_E_NOMEM;
    }
  code = pair ? rcvm_vm_add_env (vm, pair, err) : 0;
  free (pair);
  return code;
}

static int
add_annotation (rcvm_vm *vm, const char *text, rcvm_error **err)
{
  const char *eq = strchr (text, '=');
  char *key = eq ? strndup (text, (size_t) (eq - text)) : NULL;
  int code = -1;

  if (!eq)
    complain ("cli", "the annotation '%s' is not of the form KEY=VALUE", text);
  else if (!key)
    complain ("cli", "out of memory");
  else
    code = rcvm_vm_set_annotation (vm, key, eq + 1, err);
  free (key);
  return code;
}

static int
set_bundle (rcvm_vm *vm, const struct container *c, rcvm_error **err)
{
  char *cwd;
  int code;

  if (c->bundle)
    return rcvm_vm_set_bundle (vm, c->bundle, err);
  if (c->rootfs)
    return 0;
  /* "." would do, but would stand in every message and in the state. */
  cwd = get_current_dir_name ();
  code = rcvm_vm_set_bundle (vm, cwd ? cwd : ".", err);
  free (cwd);
  return code;
}

int
container_set_network (rcvm_vm *vm, const struct container *c, rcvm_error **err)
{
  unsigned dhcp = c->dhcp_timeout ? c->dhcp_timeout : c->dhcp ? DHCP_SECONDS : 0;

  if ((c->netns && rcvm_vm_set_network (vm, c->netns, err) < 0)
      || (c->net_mode && rcvm_vm_set_network_join (vm, c->net_mode, err) < 0)
      || (c->tap && rcvm_vm_set_tap_name (vm, c->tap, err) < 0) || (dhcp && rcvm_vm_set_dhcp (vm, dhcp, err) < 0))
    return -1;
  for (size_t i = 0; i < c->nics.n; i++)
    if (rcvm_vm_add_nic (vm, c->nics.items[i], err) < 0)
      return -1;
  for (size_t i = 0; i < c->ports.n; i++)
    if (rcvm_vm_add_port (vm, c->ports.items[i], err) < 0)
      return -1;
  return 0;
}

int
container_set_annotations (rcvm_vm *vm, const struct container *c, rcvm_error **err)
{
  for (size_t i = 0; i < c->annotations.n; i++)
    if (add_annotation (vm, c->annotations.items[i], err) < 0)
      return -1;
  return 0;
}

static int
set_all (rcvm_vm *vm, const struct container *c, char **command, rcvm_error **err)
{
  if (rcvm_vm_set_log (vm, messages_level (), on_log, NULL, NULL, err) < 0
      || rcvm_vm_set_stdio (vm, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, err) < 0
      || set_bundle (vm, c, err) < 0 || (c->rootfs && rcvm_vm_set_rootfs (vm, c->rootfs, err) < 0)
      || (command && rcvm_vm_set_args (vm, command, err) < 0)
      || (c->tty && rcvm_vm_set_terminal (vm, 1, err) < 0)
      || (c->user && rcvm_vm_set_user (vm, c->user, err) < 0)
      || (c->cwd && rcvm_vm_set_cwd (vm, c->cwd, err) < 0)
      || (c->hostname && rcvm_vm_set_hostname (vm, c->hostname, err) < 0)
      || (c->read_only && rcvm_vm_set_readonly_rootfs (vm, 1, err) < 0)
      || (c->memory && rcvm_vm_set_memory (vm, c->memory, err) < 0)
      || (c->cpus && rcvm_vm_set_cpus (vm, c->cpus, err) < 0)
      || (c->rootfs_size && rcvm_vm_set_rootfs_size (vm, c->rootfs_size, err) < 0)
      || (c->rootfs_disk && rcvm_vm_set_rootfs_disk (vm, c->rootfs_disk, err) < 0)
      || (c->binds && rcvm_vm_set_binds (vm, c->binds, err) < 0)
      || (c->rootfs_changes && rcvm_vm_set_rootfs_changes (vm, c->rootfs_changes, err) < 0)
      || (c->hypervisor && rcvm_vm_set_hypervisor (vm, c->hypervisor, err) < 0)
      || (c->confine && rcvm_vm_set_confinement (vm, c->confine, err) < 0)
      || (c->kernel && rcvm_vm_set_kernel (vm, c->kernel, err) < 0)
      || (c->initramfs && rcvm_vm_set_initramfs (vm, c->initramfs, err) < 0)
      || (c->kernel_args && rcvm_vm_set_kernel_args (vm, c->kernel_args, err) < 0)
      || (c->template && rcvm_vm_set_annotation (vm, "org.runcvm.template", c->template, err) < 0)
      || container_set_network (vm, c, err) < 0 || attach_volumes (vm, &c->volumes, &c->mounts, err) < 0)
    return -1;
  for (size_t i = 0; i < c->env.n; i++)
    if (add_env (vm, c->env.items[i], err) < 0)
      return -1;
  for (size_t i = 0; i < c->rootfs_digests.n; i++)
    if (rcvm_vm_add_rootfs_digest (vm, c->rootfs_digests.items[i], err) < 0)
      return -1;
  return container_set_annotations (vm, c, err);
}

/* Splits [ID] [-- COMMAND...]; -1 has been reported. */
static int
split (const struct command *command, const struct container *c, int argc, char **argv, int need_id,
       const char **id, char ***args)
{
  /* getopt has passed over a "--" that came before any other argument. */
  int past = strcmp (argv[-1], "--") == 0, n = past ? 0 : 1;

  *id = !past && argc > 0 && strcmp (argv[0], "--") != 0 ? argv[0] : NULL;
  if (!*id)
    n = 0;
  if (need_id && !*id)
    return usage_error (command, "an ID is missing"), -1;
  if (!past && argc > n && strcmp (argv[n], "--") != 0)
    {
      if (argv[n][0] == '-')
        return usage_error (command, "option '%s' stands after the ID: options come before it",
                            argv[n]),
               -1;
      return usage_error (command, "'%s' stands after the ID: a command comes after '--'", argv[n]),
             -1;
    }
  if (!past && argc > n)
    {
      past = 1;
      n++;
    }
  *args = argc > n ? argv + n : NULL;
  if (past && !*args)
    return usage_error (command, "the command after '--' is missing"), -1;
  if (!*args && c->rootfs && !c->bundle)
    return usage_error (command, "with --rootfs alone a command is needed, after '--'"), -1;
  return 0;
}

rcvm_vm *
container_new (const struct cli *cli, const struct command *command, const struct container *c,
               int argc, char **argv, int need_id, int *exit_code)
{
  rcvm_error *err = NULL;
  char generated[32];
  const char *id;
  char **args;
  rcvm_vm *vm;

  *exit_code = command->failure;
  if (c->log_level && messages_set_level (c->log_level) < 0)
    {
      usage_error (command, "'%s' is no level for --log-level", c->log_level);
      return NULL;
    }
  if (split (command, c, argc, argv, need_id, &id, &args) < 0 || no_preserved_fds (command, c->preserve_fds) < 0)
    return NULL;
  if (!id && make_id (generated) < 0)
    {
      complain ("cli", "cannot draw random bytes for an ID: give one");
      return NULL;
    }
  vm = rcvm_vm_new (cli->root, id ? id : generated, &err);
  if (vm && set_all (vm, c, args, &err) == 0
      && (!cli->systemd_cgroup || rcvm_vm_set_cgroup_driver (vm, "systemd", &err) == 0))
    return vm;
  rcvm_vm_free (vm);
  if (err)
    fail_with (err, command->failure);
  return NULL;
}

/* The process object of config.json, where there is one to be read; what is wrong with it the library says. */
static char *
read_process (const struct container *c)
{
  static const char *const path[] = { "process", NULL };
  char *name, *text, *process;

  if ((!c->bundle && c->rootfs) || asprintf (&name, "%s/config.json", c->bundle ? c->bundle : ".") < 0)
    return NULL;
  text = read_file (name);
  process = text ? json_get (text, path) : NULL;
  free (text);
  free (name);
  return process;
}

int
container_has_terminal (const struct container *c)
{
  static const char *const path[] = { "terminal", NULL };
  char *process = c->tty ? NULL : read_process (c), *value = process ? json_get (process, path) : NULL;
  int yes = c->tty || (value && strcmp (value, "true") == 0);

  free (value);
  free (process);
  return yes;
}

int
container_set_console (rcvm_vm *vm, const struct command *command, const struct container *c)
{
  rcvm_error *err = NULL;
  unsigned rows, cols;
  char *process;
  int slave, code;

  if (!c->console_socket)
    return 0;
  if (!container_has_terminal (c))
    return usage_error (command, "--console-socket is for a process with a terminal, and this one has none"), -1;
  process = read_process (c);
  console_size (process, &rows, &cols);
  free (process);
  slave = console_open (c->console_socket, rows, cols);
  if (slave < 0)
    return -1;
  code = rcvm_vm_set_console (vm, slave, &err);
  close (slave);
  return code < 0 ? fail_with (err, 1), -1 : 0;
}
