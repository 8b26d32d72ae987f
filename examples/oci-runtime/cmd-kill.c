/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <string.h>

struct kill_values
{
  int all;
};

static const struct option_spec options[] = {
  { "all", 'a', FLAG, offsetof (struct kill_values, all), NULL, "every process of the container" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

/* containerd and others know what is no failure by runc's words. */
static int
fail (rcvm_error *err)
{
  if (rcvm_error_get_code (err) != RCVM_E_STATE)
    return fail_with (err, 1);
  complain (rcvm_error_get_stage (err), "%s (container not running)", rcvm_error_get_message (err));
  rcvm_error_free (err);
  return 1;
}

static int
send_signal (const struct cli *cli, void *values, int argc, char **argv)
{
  struct kill_values *v = values;
  rcvm_error *err = NULL;
  int signum, code;
  rcvm_vm *vm;

  /* runc's users know --all from the end, too. */
  if (argc > 1 && (strcmp (argv[argc - 1], "--all") == 0 || strcmp (argv[argc - 1], "-a") == 0))
    {
      v->all = 1;
      argc--;
    }
  if (argc < 1)
    return usage_error (&cmd_kill, "an ID is missing");
  if (argc > 2)
    return usage_error (&cmd_kill, "'%s' is one argument too many", argv[2]);
  signum = argc > 1 ? parse_signal (argv[1]) : SIGTERM;
  if (signum < 0)
    return usage_error (&cmd_kill, "'%s' is no signal", argv[1]);
  vm = rcvm_vm_open (cli->root, argv[0], &err);
  code = vm && (v->all ? rcvm_vm_kill_all : rcvm_vm_kill) (vm, signum, &err) == 0 ? 0 : fail (err);
  rcvm_vm_free (vm);
  return code;
}

const struct command cmd_kill = {
  .name = "kill",
  .usage = "[--all] ID [SIGNAL]",
  .summary = "send a signal to a container's process",
  .details = "SIGNAL is a name or a number; TERM if none is given.",
  .examples = "  runcvm kill web\n"
              "  runcvm kill web SIGUSR1\n"
              "  runcvm kill --all web 9",
  .options = { options },
  .values_size = sizeof (struct kill_values),
  .failure = 1,
  .run = send_signal,
};
