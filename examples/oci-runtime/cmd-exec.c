/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct exec
{
  const char *user, *cwd, *process, *pid_file;
  struct list env;
  int tty, interactive, detach;
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
  { NULL, 0, FLAG, 0, NULL, NULL },
};

static int
configure (rcvm_process *p, const struct exec *x, const char *json, int tty, rcvm_error **err)
{
  int in = x->detach && !x->interactive && !x->pid_file ? -1 : STDIN_FILENO;
  unsigned rows, cols;

  if (rcvm_process_set_stdio (p, in, STDOUT_FILENO, STDERR_FILENO, err) < 0
      || (json && rcvm_process_set_json (p, json, err) < 0)
      || (x->tty && rcvm_process_set_terminal (p, 1, err) < 0)
      || (tty && terminal_size (&rows, &cols) == 0 && rcvm_process_resize (p, rows, cols, err) < 0)
      || (x->user && rcvm_process_set_user (p, x->user, err) < 0)
      || (x->cwd && rcvm_process_set_cwd (p, x->cwd, err) < 0))
    return -1;
  for (size_t i = 0; i < x->env.n; i++)
    {
      char *pair;
      int code;

      if (parse_env (x->env.items[i], &pair) < 0)
        return -1;
      code = pair ? rcvm_process_add_env (p, pair, err) : 0;
      free (pair);
      if (code < 0)
        return -1;
    }
  return 0;
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

/*
 * With a PID file the process needs a PID on the host: Docker signals it, and takes its exit code
 * from it.  That is a child of this command, which stays until the process ends.
 */

/* Waits for the word to begin, starts the process, says how that went, and stays. */
static int
shepherd (rcvm_process *p, int sync_fd)
{
  const struct target target = target_of_process (p);
  rcvm_error *err = NULL;
  int signal_fd = foreground_open (), null, code;
  unsigned char byte;

  setsid ();
  if (signal_fd < 0 || read (sync_fd, &byte, 1) != 1)
    return cmd_exec.failure;
  byte = 0;
  if (rcvm_process_start (p, &err) < 0)
    byte = (unsigned char) fail_with (err, 0);
  /* Whoever reads the streams waits for their end. */
  null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; fd++)
    if (null < 0 || dup2 (null, fd) < 0)
      close (fd);
  if (null > 2)
    close (null);
  if (write (sync_fd, &byte, 1) != 1 || byte)
    return byte;
  close (sync_fd);
  code = foreground_wait (&target, signal_fd, &err);
  return code < 0 ? fail_with (err, 0) : code;
}

static int
begin_shepherd (pid_t pid, int sync_fd, const char *pid_file)
{
  unsigned char byte = 0;

  if (write_pid_file (pid_file, pid) < 0)
    {
      complain ("cli", "cannot write the PID file '%s': %s", pid_file, strerror (errno));
      return cmd_exec.failure;
    }
  if (write (sync_fd, &byte, 1) == 1 && read (sync_fd, &byte, 1) == 1)
    {
      if (byte)
        unlink (pid_file);
      return byte;
    }
  unlink (pid_file);
  complain ("cli", "the process that was to stand for the exec died");
  return cmd_exec.failure;
}

static int
with_shepherd (rcvm_process *p, const char *pid_file)
{
  int pair[2], code;
  pid_t pid;

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 || (pid = fork ()) < 0)
    {
      complain ("cli", "cannot start a process for the PID file: %s", strerror (errno));
      return cmd_exec.failure;
    }
  if (pid == 0)
    {
      close (pair[0]);
      code = shepherd (p, pair[1]);
      rcvm_process_free (p);
      messages_close ();
      _exit (code);
    }
  close (pair[1]);
  signal (SIGPIPE, SIG_IGN);
  code = begin_shepherd (pid, pair[0], pid_file);
  close (pair[0]);
  if (code)
    waitpid (pid, NULL, 0);
  return code;
}

/* Nothing that the caller had left open stays open in a process that lives on. */
static void
close_leaked (void)
{
  int log = messages_fd ();

  if (log > 3)
    close_range (3, (unsigned) log - 1, 0);
  close_range (log >= 3 ? (unsigned) log + 1 : 3, ~0U, 0);
}

static int
start (const struct cli *cli, const struct exec *x, const char *id, char **args, const char *json)
{
  static const char *const path[] = { "terminal", NULL };
  char *terminal = json ? json_get (json, path) : NULL;
  int tty = x->tty || (terminal && strcmp (terminal, "true") == 0), code;
  rcvm_error *err = NULL;
  rcvm_process *p = NULL;
  rcvm_vm *vm;

  free (terminal);
  if (x->detach && x->pid_file)
    close_leaked ();
  vm = rcvm_vm_open (cli->root, id, &err);
  if (vm)
    p = rcvm_vm_exec (vm, args, &err);
  rcvm_vm_free (vm);
  if (!p || configure (p, x, json, tty, &err) < 0)
    code = fail_with (err, 0);
  else if (!x->detach)
    code = in_foreground (p, tty);
  else if (x->pid_file)
    code = with_shepherd (p, x->pid_file);
  else
    code = rcvm_process_start (p, &err) < 0 ? fail_with (err, 0) : 0;
  rcvm_process_free (p);
  return code;
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
  if (x->pid_file && !x->detach)
    return usage_error (&cmd_exec, "--pid-file goes with --detach");
  if (x->tty && x->interactive && !x->detach && !isatty (STDIN_FILENO))
    {
      complain ("cli", "the input device is not a TTY: leave out --tty or --interactive");
      return cmd_exec.failure;
    }
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
