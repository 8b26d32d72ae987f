/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

enum
{
  END_TIMEOUT_MS = 30000
};

/* The VM of a process that could not be started stops.  containerd has to hear of the error after that: what it takes for
   created it does not delete. */
static void
wait_for_end (const rcvm_error *err, rcvm_vm *vm)
{
  if (vm && rcvm_error_get_code (err) == RCVM_E_PROCESS)
    rcvm_vm_wait (vm, END_TIMEOUT_MS, NULL, NULL);
}

static int
start (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_error *err = NULL;
  rcvm_vm *vm;
  int code;

  (void) values;
  if (check_one_id (&cmd_start, argc, argv) < 0)
    return cmd_start.failure;
  vm = rcvm_vm_open (cli->root, argv[0], &err);
  code = vm ? rcvm_vm_start (vm, &err) : -1;
  if (code < 0)
    {
      wait_for_end (err, vm);
      code = fail_with (err, 1);
    }
  rcvm_vm_free (vm);
  return code;
}

const struct command cmd_start = {
  .name = "start",
  .usage = "ID",
  .summary = "start the process of a container that was created",
  .failure = 1,
  .run = start,
};
