/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

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
  code = vm && rcvm_vm_start (vm, &err) == 0 ? 0 : fail_with (err, 1);
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
