/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `checkpoint` and `restore`, with runc's options; what these ask of CRIU and nothing here could mean is refused. */
#include "cli.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct checkpoint_values
{
  const char *image_path, *work_path, *parent_path, *status_fd, *page_server, *manage_cgroups, *empty_ns, *lsm_profile, *lsm_context;
  int leave_running, pre_dump, lazy_pages, harmless;
  /* of restore */
  struct container container;
  int detach, keep;
};

#define AT(field) offsetof (struct checkpoint_values, field)
#define AT_CONTAINER(field) offsetof (struct checkpoint_values, container.field)

static const struct option_spec common_options[] = {
  { "image-path", 0, TEXT, AT (image_path), "DIR", "the snapshot's directory (default: ./checkpoint)" },
  { "work-path", 0, TEXT, AT (work_path), "DIR", "no effect: nothing else is written" },
  { "tcp-established", 0, FLAG, AT (harmless), NULL, "no effect: connections are in the guest's memory" },
  { "ext-unix-sk", 0, FLAG, AT (harmless), NULL, "no effect" },
  { "shell-job", 0, FLAG, AT (harmless), NULL, "no effect: the streams are those of who restores it" },
  { "file-locks", 0, FLAG, AT (harmless), NULL, "no effect: locks are in the guest's memory" },
  { "manage-cgroups-mode", 0, TEXT, AT (manage_cgroups), "MODE", "no effect: a restored VM has a cgroup of its own" },
  { "empty-ns", 0, TEXT, AT (empty_ns), "NAMESPACE", "no effect: namespaces are the guest's" },
  { "auto-dedup", 0, FLAG, AT (harmless), NULL, "no effect" },
  { "lazy-pages", 0, FLAG, AT (lazy_pages), NULL, "refused" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

static const struct option_spec checkpoint_options[] = {
  { "leave-running", 0, FLAG, AT (leave_running), NULL, "the container goes on" },
  { "parent-path", 0, TEXT, AT (parent_path), "DIR", "only what has changed since that snapshot; seen from --image-path" },
  { "status-fd", 0, TEXT, AT (status_fd), "FD", "refused" },
  { "page-server", 0, TEXT, AT (page_server), "ADDRESS", "refused" },
  { "pre-dump", 0, FLAG, AT (pre_dump), NULL, "refused" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

static const struct option_spec restore_options[] = {
  { "bundle", 'b', TEXT, AT_CONTAINER (bundle), "DIR", "another bundle than the one that it was made from" },
  { "detach", 'd', FLAG, AT (detach), NULL, "leave it running, without stdin" },
  { "keep", 0, FLAG, AT (keep), NULL, "do not delete it when it has stopped" },
  { "pid-file", 0, TEXT, AT_CONTAINER (pid_file), "FILE", "write the container's PID on the host to FILE" },
  { "console-socket", 0, TEXT, AT_CONTAINER (console_socket), "SOCKET", "pass the master of its terminal to who listens there" },
  { "hostname", 0, TEXT, AT_CONTAINER (hostname), "NAME", "another host name" },
  { "netns", 0, TEXT, AT_CONTAINER (netns), "PATH|none|host", "another network, with as many interfaces" },
  { "nic", 0, LIST, AT_CONTAINER (nics), "NAME,WHAT=VALUE...", "as of `runcvm run`" },
  { "publish", 'p', LIST, AT_CONTAINER (ports), "[IP:]PORT:PORT[/udp]", "as of `runcvm run`" },
  { "annotation", 0, LIST, AT_CONTAINER (annotations), "KEY=VALUE", "as of `runcvm run`" },
  { "log-level", 0, TEXT, AT_CONTAINER (log_level), "LEVEL", "error, warning (default), info or debug" },
  { "no-subreaper", 0, FLAG, AT (harmless), NULL, "no effect: no process is left to adopt" },
  { "no-pivot", 0, FLAG, AT (harmless), NULL, "no effect: the VM has a root of its own" },
  { "lsm-profile", 0, TEXT, AT (lsm_profile), "PROFILE", "no effect" },
  { "lsm-mount-context", 0, TEXT, AT (lsm_context), "CONTEXT", "no effect" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

/* -1 has been reported. */
static int
check_refused (const struct command *command, const struct checkpoint_values *v)
{
  const char *what = v->status_fd ? "status-fd" : v->page_server ? "page-server" : v->pre_dump ? "pre-dump" : v->lazy_pages ? "lazy-pages" : NULL;

  return what ? usage_error (command, "--%s is of CRIU: a VM is saved as a whole, in one step", what), -1 : 0;
}

static const char *
place (const struct checkpoint_values *v)
{
  return v->image_path ? v->image_path : "checkpoint";
}

/* Without "." and "..", as far as names tell: as runc joins --image-path and --parent-path. */
static void
clean_path (char *path)
{
  bool absolute = path[0] == '/';
  size_t out = absolute, depth = 0;
  char *next = path;

  while (*next)
    {
      size_t len = strcspn (next, "/");
      char *part = next;

      next += len + (next[len] == '/');
      if (len == 0 || (len == 1 && part[0] == '.') || (absolute && depth == 0 && len == 2 && memcmp (part, "..", 2) == 0))
        continue;
      if (len == 2 && memcmp (part, "..", 2) == 0 && depth > 0)
        {
          for (depth--; out > (size_t) absolute && path[out - 1] != '/'; out--)
            continue;
          out -= out > (size_t) absolute;
          continue;
        }
      depth += !(len == 2 && memcmp (part, "..", 2) == 0);
      if (out > (size_t) absolute)
        path[out++] = '/';
      memmove (path + out, part, len);
      out += len;
    }
  if (out == 0)
    path[out++] = '.';
  path[out] = 0;
}

/* The directory that --parent-path means, to be freed; NULL has been reported. */
static char *
parent_place (const struct checkpoint_values *v)
{
  char *path;

  if (v->parent_path[0] == '/')
    {
      usage_error (&cmd_checkpoint, "--parent-path is seen from --image-path, so it is not absolute: '%s' is", v->parent_path);
      return NULL;
    }
  if (asprintf (&path, "%s/%s", place (v), v->parent_path) < 0)
    {
      complain ("cli", "there is no memory");
      return NULL;
    }
  clean_path (path);
  return path;
}

static int
checkpoint (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct checkpoint_values *v = values;
  rcvm_error *err = NULL;
  char *parent = NULL;
  rcvm_vm *vm;
  int code = 0;

  if (check_one_id (&cmd_checkpoint, argc, argv) < 0 || check_refused (&cmd_checkpoint, v) < 0)
    return cmd_checkpoint.failure;
  if (v->parent_path && !(parent = parent_place (v)))
    return cmd_checkpoint.failure;
  vm = rcvm_vm_open (cli->root, argv[0], &err);
  if (!vm || rcvm_vm_snapshot (vm, place (v), parent, v->leave_running ? RCVM_SNAPSHOT_LEAVE_RUNNING : 0, &err) < 0)
    code = fail_with (err, cmd_checkpoint.failure);
  rcvm_vm_free (vm);
  free (parent);
  return code;
}

static int
set_own (rcvm_vm *vm, const struct checkpoint_values *v, rcvm_error **err)
{
  const struct container *c = &v->container;
  int slave, code;

  if (rcvm_vm_set_log (vm, messages_level (), on_log, NULL, NULL, err) < 0
      || rcvm_vm_set_stdio (vm, v->detach ? -1 : STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, err) < 0
      || (c->bundle && rcvm_vm_set_bundle (vm, c->bundle, err) < 0)
      || (c->hostname && rcvm_vm_set_hostname (vm, c->hostname, err) < 0) || container_set_network (vm, c, err) < 0
      || container_set_annotations (vm, c, err) < 0)
    return -1;
  if (!c->console_socket)
    return 0;
  slave = console_open (c->console_socket, 0, 0);
  if (slave < 0)
    return -1;
  code = rcvm_vm_set_console (vm, slave, err);
  close (slave);
  return code;
}

static int
go_on (rcvm_vm *vm, const struct checkpoint_values *v, int signal_fd)
{
  const struct target target = target_of_vm (vm);
  rcvm_error *err = NULL;
  int code;

  if (set_own (vm, v, &err) < 0 || rcvm_vm_restore (vm, place (v), &err) < 0)
    return err ? fail_with (err, cmd_restore.failure) : cmd_restore.failure;
  if (v->container.pid_file && write_pid_file (v->container.pid_file, rcvm_vm_get_pid (vm)) < 0)
    {
      complain ("cli", "cannot write the PID file '%s': %s", v->container.pid_file, strerror (errno));
      if (rcvm_vm_delete (vm, 1, &err) < 0)
        fail_with (err, 1);
      return cmd_restore.failure;
    }
  if (v->detach)
    return 0;
  code = foreground_wait (&target, signal_fd, &err);
  code = code < 0 ? fail_with (err, 0) : code;
  err = NULL;
  if (!v->keep && rcvm_vm_delete (vm, rcvm_vm_get_status (vm) != RCVM_STATUS_STOPPED, &err) < 0)
    code = fail_with (err, 0);
  return code;
}

static int
restore (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct checkpoint_values *v = values;
  rcvm_error *err = NULL;
  int code, signal_fd;
  rcvm_vm *vm;

  if (check_one_id (&cmd_restore, argc, argv) < 0 || check_refused (&cmd_restore, v) < 0)
    return cmd_restore.failure;
  if (v->container.log_level && messages_set_level (v->container.log_level) < 0)
    return usage_error (&cmd_restore, "'%s' is no level for --log-level", v->container.log_level);
  if (v->container.console_socket && !v->detach)
    return usage_error (&cmd_restore, "--console-socket goes with --detach");
  signal_fd = foreground_open ();
  if (signal_fd < 0)
    return cmd_restore.failure;
  vm = rcvm_vm_new (cli->root, argv[0], &err);
  code = vm ? go_on (vm, v, signal_fd) : fail_with (err, cmd_restore.failure);
  rcvm_vm_free (vm);
  close (signal_fd);
  return code;
}

const struct command cmd_checkpoint = {
  .name = "checkpoint",
  .usage = "[OPTIONS] ID",
  .summary = "save a running container, with its VM (Firecracker)",
  .details = "The container ends then, as by SIGKILL, unless it is left running.  `restore` makes VMs of what was\n"
             "saved, as many as wanted, on this host.  With --parent-path it is saved as what is different from\n"
             "an earlier snapshot, which has to stay where it is.",
  .examples = "  runcvm checkpoint --leave-running --image-path /srv/snapshots/web web\n"
              "  runcvm checkpoint --leave-running --parent-path ../web --image-path /srv/snapshots/web-2 web\n"
              "  runcvm restore --image-path /srv/snapshots/web --hostname web2 web2",
  .options = { common_options, checkpoint_options },
  .values_size = sizeof (struct checkpoint_values),
  .failure = 1,
  .run = checkpoint,
};

const struct command cmd_restore = {
  .name = "restore",
  .usage = "[OPTIONS] ID",
  .summary = "a new VM goes on where one was saved by `checkpoint`",
  .details = "Its streams are those of this command; without --detach it is waited for, and its exit code returned.",
  .options = { common_options, restore_options },
  .values_size = sizeof (struct checkpoint_values),
  .failure = 1,
  .run = restore,
};
