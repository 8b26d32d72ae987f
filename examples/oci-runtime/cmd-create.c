/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Its standard error will be the container's: what is no error does not go among what that writes. */
static void
keep_warnings_out (const struct cli *cli, const struct container *c)
{
  if (!cli->debug && !c->log_level && messages_fd () < 0 && !isatty (STDERR_FILENO))
    messages_set_level ("error");
}

static int
create (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct container *c = values;
  rcvm_error *err = NULL;
  rcvm_vm *vm;
  int code = 0;

  keep_warnings_out (cli, c);
  vm = container_new (cli, &cmd_create, c, argc, argv, 1, &code);
  if (!vm)
    return code;
  code = 0;
  if (container_set_console (vm, &cmd_create, c) < 0 || pod_set_hostname (vm, c) < 0 || pod_set_sysctls (vm, cli, c) < 0)
    code = 1;
  else if (rcvm_vm_create (vm, &err) < 0)
    code = fail_with (err, 1);
  else if (c->pid_file && write_pid_file (c->pid_file, rcvm_vm_get_pid (vm)) < 0)
    {
      complain ("cli", "cannot write the PID file '%s': %s", c->pid_file, strerror (errno));
      code = 1;
      if (rcvm_vm_delete (vm, 1, &err) < 0)
        fail_with (err, 1);
    }
  rcvm_vm_free (vm);
  return code;
}

const struct command cmd_create = {
  .name = "create",
  .usage = "[OPTIONS] [--bundle DIR] ID [-- COMMAND [ARG...]]",
  .summary = "boot a VM and prepare the container; `start` starts its process",
  .details = "The process will have the standard streams of this command, or, with --console-socket, a new\n"
             "terminal.  So warnings go to the log (--log), or to a terminal, unless --log-level asks for them.",
  .examples = "  runcvm create --bundle /containers/web --pid-file web.pid web\n"
              "  runcvm start web",
  .options = { container_options },
  .values_size = sizeof (struct container),
  .failure = 1,
  .run = create,
};
