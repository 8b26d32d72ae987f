/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct exec
{
  const char *user, *cwd, *process, *pid_file, *console_socket, *preserve_fds, *label, *apparmor, *cgroup;
  struct list env, caps, gids;
  int tty, interactive, detach, no_new_privs, ignore_paused;
};

#define AT(field) offsetof (struct exec, field)

static const struct option_spec options[] = {
  { "tty", 't', FLAG, AT (tty), NULL, "give the process a terminal" },
  { "interactive", 'i', FLAG, AT (interactive), NULL,
    "pass stdin also with --detach; with --tty it must be a terminal" },
  { "env", 'e', LIST, AT (env), "NAME[=VALUE]", "set a variable, or pass this one on" },
  { "user", 'u', TEXT, AT (user), "USER[:GROUP]", "names or numbers, as the container knows them" },
  { "cwd", 'w', TEXT, AT (cwd), "DIR", "working directory in the container" },
  { "process", 'p', TEXT, AT (process), "FILE",
    "an OCI process object (JSON), in place of COMMAND" },
  { "detach", 'd', FLAG, AT (detach), NULL, "return when the process runs" },
  { "pid-file", 0, TEXT, AT (pid_file), "FILE",
    "with --detach: write the PID of a process that stands for this one" },
  { "console-socket", 0, TEXT, AT (console_socket), "SOCKET",
    "with --detach: pass the master of its terminal to who listens there" },
  { "preserve-fds", 0, TEXT, AT (preserve_fds), "N", "0: open files cannot be passed into a VM" },
  { "process-label", 0, TEXT, AT (label), "LABEL", "no effect: the guest has no SELinux policy" },
  { "apparmor", 0, TEXT, AT (apparmor), "PROFILE", "no effect: the guest has no AppArmor policy" },
  { "ignore-paused", 0, FLAG, AT (ignore_paused), NULL, "no effect: nothing can be started in a VM that stands still" },
  { "cap", 'c', LIST, AT (caps), "NAME", "refused: give --process" },
  { "additional-gids", 'g', LIST, AT (gids), "GID", "refused: give --process" },
  { "no-new-privs", 0, FLAG, AT (no_new_privs), NULL, "refused: give --process" },
  { "cgroup", 0, TEXT, AT (cgroup), "CGROUP", "refused: a process of the VM is in the container's cgroup" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

static int
add_env (rcvm_process *p, const struct exec *x, rcvm_error **err)
{
  for (size_t i = 0; i < x->env.n; i++)
    {
      char *pair;
      int code;

      if (parse_env (x->env.items[i], &pair) < 0)
        {
          complain ("cli", "out of memory");
          return -1;
        }
      code = pair ? rcvm_process_add_env (p, pair, err) : 0;
      free (pair);
      if (code < 0)
        return -1;
    }
  return 0;
}

/* -1 without an error has been reported. */
static int
configure (rcvm_process *p, const struct exec *x, const char *json, int tty, rcvm_error **err)
{
  int in = x->detach && !x->interactive && !x->pid_file ? -1 : STDIN_FILENO;
  unsigned rows, cols;

  if (rcvm_process_set_stdio (p, in, STDOUT_FILENO, STDERR_FILENO, err) < 0 || (json && rcvm_process_set_json (p, json, err) < 0)
      || (x->tty && rcvm_process_set_terminal (p, 1, err) < 0)
      || (tty && terminal_size (&rows, &cols) == 0 && rcvm_process_resize (p, rows, cols, err) < 0)
      || (x->user && rcvm_process_set_user (p, x->user, err) < 0)
      || (x->cwd && rcvm_process_set_cwd (p, x->cwd, err) < 0))
    return -1;
  return add_env (p, x, err);
}

static int
in_foreground (rcvm_process *p, int tty)
{
  const struct target target = target_of_process (p);
  rcvm_error *err = NULL;
  int signal_fd = foreground_open (), code = -1;

  if (signal_fd < 0)
    return cmd_exec.failure;
  if (tty)
    terminal_set_raw (STDIN_FILENO);
  if (rcvm_process_start (p, &err) == 0)
    code = foreground_wait (&target, signal_fd, &err);
  terminal_restore ();
  close (signal_fd);
  return code < 0 ? fail_with (err, 0) : code;
}

static int
has_terminal (const struct exec *x, const char *json)
{
  static const char *const path[] = { "terminal", NULL };
  char *terminal = json ? json_get (json, path) : NULL;
  int yes = x->tty || (terminal && strcmp (terminal, "true") == 0);

  free (terminal);
  return yes;
}

static int
in_background (rcvm_process *p, const struct exec *x, const char *json)
{
  rcvm_error *err = NULL;
  unsigned rows, cols;
  int console = -1, code;

  if (!x->pid_file && !x->console_socket)
    return rcvm_process_start (p, &err) < 0 ? fail_with (err, 0) : 0;
  if (x->console_socket)
    {
      console_size (json, &rows, &cols);
      console = console_open (x->console_socket, rows, cols);
      if (console < 0)
        return cmd_exec.failure;
    }
  code = shepherd_process (p, x->pid_file, console);
  if (console >= 0)
    close (console);
  return code;
}

static int
start (const struct cli *cli, const struct exec *x, const char *id, char **args, const char *json)
{
  int tty = has_terminal (x, json), code;
  rcvm_error *err = NULL;
  rcvm_process *p = NULL;
  rcvm_vm *vm;

  if (x->console_socket && !tty)
    return usage_error (&cmd_exec, "--console-socket is for a process with a terminal, and this one has none");
  if (x->detach && (x->pid_file || x->console_socket))
    shepherd_close_leaked ();
  vm = rcvm_vm_open (cli->root, id, &err);
  if (vm)
    p = rcvm_vm_exec (vm, args, &err);
  rcvm_vm_free (vm);
  if (!p || configure (p, x, json, tty && !x->console_socket, &err) < 0)
    code = err ? fail_with (err, 0) : cmd_exec.failure;
  else
    code = x->detach ? in_background (p, x, json) : in_foreground (p, tty);
  rcvm_process_free (p);
  return code;
}

/* What the library cannot be asked for by itself. */
static int
check_options (const struct exec *x)
{
  const char *name = x->caps.n ? "cap" : x->gids.n ? "additional-gids" : x->no_new_privs ? "no-new-privs" : NULL;

  if (name)
    return usage_error (&cmd_exec, "--%s alone is not supported: give the whole process by --process", name), -1;
  if (x->cgroup)
    return usage_error (&cmd_exec, "--cgroup is not supported: a process of the VM is in the container's cgroup"), -1;
  if (x->pid_file && !x->detach)
    return usage_error (&cmd_exec, "--pid-file goes with --detach"), -1;
  if (x->console_socket && !x->detach)
    return usage_error (&cmd_exec, "--console-socket goes with --detach"), -1;
  if (x->tty && x->interactive && !x->detach && !isatty (STDIN_FILENO))
    {
      complain ("cli", "the input device is not a TTY: leave out --tty or --interactive");
      return -1;
    }
  return no_preserved_fds (&cmd_exec, x->preserve_fds);
}

static int
exec (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct exec *x = values;
  char **args = argv + 1, *json = NULL;
  int code;

  if (argc < 1)
    return usage_error (&cmd_exec, "an ID is missing");
  if (argc > 1 && strcmp (args[0], "--") == 0)
    {
      args++;
      argc--;
    }
  if (argc < 2 && !x->process)
    return usage_error (&cmd_exec, "the command is missing");
  if (check_options (x) < 0)
    return cmd_exec.failure;
  if (x->process && !(json = read_file (x->process)))
    {
      complain ("cli", "cannot read '%s': %s", x->process, strerror (errno));
      return cmd_exec.failure;
    }
  code = start (cli, x, argv[0], argc < 2 ? NULL : args, json);
  free (json);
  return code;
}

const struct command cmd_exec = {
  .name = "exec",
  .usage = "[OPTIONS] ID COMMAND [ARG...]",
  .summary = "run a further process in a running container, and exit as it did",
  .details = "User, environment and working directory are those of the container's own process,\n"
             "unless options say otherwise.  Signals are passed on to the process; exit codes are\n"
             "as those of `run`.",
  .examples = "  runcvm exec web ps aux\n"
              "  runcvm exec -t web sh\n"
              "  runcvm exec -u www-data -w /srv -e DEBUG=1 web ./report\n"
              "  runcvm exec --process process.json -d --pid-file report.pid web",
  .options = { options },
  .values_size = sizeof (struct exec),
  .failure = 125,
  .run = exec,
};
