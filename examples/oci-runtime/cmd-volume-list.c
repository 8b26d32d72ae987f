/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

static int
volume_list (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_error *err = NULL;
  rcvm_vm *vm;
  char *json;

  (void) values;
  if (check_one_id (&cmd_volume_list, argc, argv) < 0)
    return 1;
  vm = rcvm_vm_open (cli->root, argv[0], &err);
  json = vm ? rcvm_vm_volumes_json (vm, &err) : NULL;
  rcvm_vm_free (vm);
  if (!json)
    return fail_with (err, 1);
  puts (json);
  rcvm_free (json);
  return finish_output (0);
}

const struct command cmd_volume_list = {
  .name = "volume list",
  .usage = "ID",
  .summary = "print the live volumes and disks of a VM, and what was done with them",
  .details = "JSON: for each volume its source, destination and options; for the server operations, errors, bytes\n"
             "and latencies in microseconds, since it was started.  Disks of the host are in \"disks\".",
  .failure = 1,
  .run = volume_list,
};
