/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct run
{
  struct container container;
  int interactive, detach, keep, timings, no_subreaper;
};

#define AT(field) offsetof (struct run, field)

static const struct option_spec options[] = {
  { "interactive", 'i', FLAG, AT (interactive), NULL,
    "pass stdin also with --detach; with --tty it must be a terminal" },
  { "detach", 'd', FLAG, AT (detach), NULL, "leave it running, without stdin" },
  { "keep", 0, FLAG, AT (keep), NULL, "do not delete it when it has stopped" },
  { "no-subreaper", 0, FLAG, AT (no_subreaper), NULL, "no effect: no process is left to adopt" },
  { "timings", 0, FLAG, AT (timings), NULL,
    "print how long each phase of the start took, to stderr" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

/* A table on stderr: phases and their milliseconds. */
static void
print_timings (rcvm_vm *vm)
{
  const char *newline = terminal_newline ();
  size_t n = rcvm_vm_phase_count (vm);
  int64_t total = 0;

  fprintf (stderr, "%-10s %10s%s", "phase", "ms", newline);
  for (size_t i = 0; i < n; i++)
    {
      total += rcvm_vm_phase_usec (vm, i);
      fprintf (stderr, "%-10s %10.1f%s", rcvm_vm_phase_name (vm, i),
               (double) rcvm_vm_phase_usec (vm, i) / 1000, newline);
    }
  fprintf (stderr, "%-10s %10.1f%s", "total", (double) total / 1000, newline);
}

/* From "created" to its end, or to "running" where it is detached.  *keep: it stays. */
static int
start_and_wait (rcvm_vm *vm, const struct run *r, int tty, int signal_fd, int *keep)
{
  const struct target target = target_of_vm (vm);
  const char *pid_file = r->container.pid_file;
  rcvm_error *err = NULL;
  int code;

  *keep = 0;
  if (pid_file && write_pid_file (pid_file, rcvm_vm_get_pid (vm)) < 0)
    {
      complain ("cli", "cannot write the PID file '%s': %s", pid_file, strerror (errno));
      return cmd_run.failure;
    }
  if (!r->detach && tty)
    terminal_set_raw (STDIN_FILENO);
  if (rcvm_vm_start (vm, &err) < 0)
    {
      terminal_restore ();
      return fail_with (err, 0);
    }
  *keep = r->detach || r->keep;
  if (r->timings)
    print_timings (vm);
  if (r->detach)
    return 0;
  code = foreground_wait (&target, signal_fd, &err);
  terminal_restore ();
  return code < 0 ? fail_with (err, 0) : code;
}

static int
boot_and_wait (const struct cli *cli, rcvm_vm *vm, const struct run *r, int signal_fd)
{
  int tty = container_has_terminal (&r->container), code, keep, signum = 0;
  rcvm_error *err = NULL;
  unsigned rows, cols;

  if (container_set_console (vm, &cmd_run, &r->container) < 0)
    return cmd_run.failure;
  if ((r->detach && !r->interactive && !r->container.console_socket
       && rcvm_vm_set_stdio (vm, -1, STDOUT_FILENO, STDERR_FILENO, &err) < 0)
      || (tty && !r->container.console_socket && terminal_size (&rows, &cols) == 0 && rcvm_vm_resize (vm, rows, cols, &err) < 0)
      || foreground_create (vm, cli->root, signal_fd, &signum, &err) < 0)
    {
      /* Who pressed Ctrl-C knows why it ended. */
      if (!signum)
        return fail_with (err, 0);
      rcvm_error_free (err);
      return 128 + signum;
    }
  code = start_and_wait (vm, r, tty, signal_fd, &keep);
  /* By force where it has not stopped.  What it has changed and could not be written back is not given up. */
  if (!keep && rcvm_vm_delete (vm, rcvm_vm_get_status (vm) != RCVM_STATUS_STOPPED, &err) < 0)
    {
      code = fail_with (err, 0);
      complain ("cli", "the VM '%s' stays, and `runcvm delete %s` tries again", rcvm_vm_get_id (vm), rcvm_vm_get_id (vm));
    }
  return code;
}

static int
run (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct run *r = values;
  int has_id = strcmp (argv[-1], "--") != 0 && argc > 0 && strcmp (argv[0], "--") != 0;
  int code, signal_fd;
  rcvm_vm *vm;

  if (r->container.tty && r->interactive && !r->detach && !isatty (STDIN_FILENO))
    {
      complain ("cli", "the input device is not a TTY: leave out --tty or --interactive");
      return cmd_run.failure;
    }
  if (r->container.console_socket && !r->detach)
    return usage_error (&cmd_run, "--console-socket goes with --detach");
  signal_fd = foreground_open ();
  if (signal_fd < 0)
    return cmd_run.failure;
  vm = container_new (cli, &cmd_run, &r->container, argc, argv, 0, &code);
  if (vm)
    {
      code = boot_and_wait (cli, vm, r, signal_fd);
      if (code == 0 && r->detach && !has_id)
        {
          puts (rcvm_vm_get_id (vm));
          code = finish_output (code);
        }
    }
  rcvm_vm_free (vm);
  close (signal_fd);
  return code;
}

const struct command cmd_run = {
  .name = "run",
  .usage = "[OPTIONS] [--bundle DIR] [ID] [-- COMMAND [ARG...]]",
  .summary = "run a container in a VM, and exit as it did",
  .details = "The process is that of the bundle's config.json, or COMMAND.  Signals are passed on\n"
             "to it; its standard streams are this command's.  Without an ID a random one is used\n"
             "(printed with --detach).\n"
             "\n"
             "Exit codes: the process's own, 128+N where signal N killed it, 127 and 126 where\n"
             "COMMAND was not found or could not be executed, 125 where runcvm or the VM failed.",
  .examples = "  runcvm run --bundle /containers/web web\n"
              "  runcvm run --rootfs /srv/alpine -- uname -a\n"
              "  runcvm run -t --rootfs /srv/debian -m 1G --cpus 2 shell -- bash -l\n"
              "  runcvm run -d --rootfs /srv/debian --pid-file web.pid web -- nginx\n"
              "  echo 6*7 | runcvm run --rootfs /srv/alpine -e LANG -- bc",
  .options = { container_options, options },
  .values_size = sizeof (struct run),
  .failure = 125,
  .run = run,
};
