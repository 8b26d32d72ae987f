/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

static int
metrics (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_error *err = NULL;
  char *text = NULL;
  rcvm_vm *vm;

  (void) values;
  if (check_one_id (&cmd_metrics, argc, argv) < 0)
    return cmd_metrics.failure;
  vm = rcvm_vm_open (cli->root, argv[0], &err);
  if (vm)
    text = rcvm_vm_metrics (vm, &err);
  rcvm_vm_free (vm);
  if (!text)
    return fail_with (err, 1);
  fputs (text, stdout);
  rcvm_free (text);
  return finish_output (0);
}

const struct command cmd_metrics = {
  .name = "metrics",
  .usage = "ID",
  .summary = "print what is measured of a VM, for Prometheus",
  .failure = 1,
  .run = metrics,
};
