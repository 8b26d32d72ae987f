/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <stdlib.h>

static int
state (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_error *err = NULL;
  char *json = NULL, *text;
  rcvm_vm *vm;

  (void) values;
  if (check_one_id (&cmd_state, argc, argv) < 0)
    return cmd_state.failure;
  vm = rcvm_vm_open (cli->root, argv[0], &err);
  if (vm)
    json = rcvm_vm_state (vm, &err);
  rcvm_vm_free (vm);
  if (!json)
    return fail_with (err, 1);
  text = state_as_runc (json, 1);
  rcvm_free (json);
  if (text)
    puts (text);
  free (text);
  return finish_output (0);
}

const struct command cmd_state = {
  .name = "state",
  .usage = "ID",
  .summary = "print the state of a container as JSON",
  .details = "The OCI state and runc's additions, with an object \"org.runcvm\": VMM, kernel, phases of the start,\n"
             "exit code or error.",
  .failure = 1,
  .run = state,
};
