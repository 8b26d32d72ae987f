/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `pause`, `resume` and `flush`. */
#include "cli.h"

static int
with_vm (const struct cli *cli, const struct command *command, int argc, char **argv,
         int (*action) (rcvm_vm *vm, rcvm_error **err))
{
  rcvm_error *err = NULL;
  rcvm_vm *vm;
  int code;

  if (check_one_id (command, argc, argv) < 0)
    return command->failure;
  vm = rcvm_vm_open (cli->root, argv[0], &err);
  code = vm && action (vm, &err) == 0 ? 0 : fail_with (err, 1);
  rcvm_vm_free (vm);
  return code;
}

static int
pause_vm (const struct cli *cli, void *values, int argc, char **argv)
{
  (void) values;
  return with_vm (cli, &cmd_pause, argc, argv, rcvm_vm_pause);
}

static int
resume_vm (const struct cli *cli, void *values, int argc, char **argv)
{
  (void) values;
  return with_vm (cli, &cmd_resume, argc, argv, rcvm_vm_resume);
}

static int
flush_vm (const struct cli *cli, void *values, int argc, char **argv)
{
  (void) values;
  return with_vm (cli, &cmd_flush, argc, argv, rcvm_vm_flush);
}

const struct command cmd_flush = {
  .name = "flush",
  .usage = "ID",
  .summary = "write back what a running container has changed in its root",
  .failure = 1,
  .run = flush_vm,
};

const struct command cmd_pause = {
  .name = "pause",
  .usage = "ID",
  .summary = "stop the virtual CPUs of a container's VM",
  .failure = 1,
  .run = pause_vm,
};

const struct command cmd_resume = {
  .name = "resume",
  .usage = "ID",
  .summary = "let the virtual CPUs of a paused container go on",
  .failure = 1,
  .run = resume_vm,
};
