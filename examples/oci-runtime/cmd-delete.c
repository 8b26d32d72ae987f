/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

struct delete_values
{
  int force;
};

static const struct option_spec options[] = {
  { "force", 'f', FLAG, offsetof (struct delete_values, force), NULL,
    "also one that runs: its processes are killed; none of that ID is no error" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

static int
delete_vms (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct delete_values *v = values;
  int code = 0;

  if (argc < 1)
    return usage_error (&cmd_delete, "an ID is missing");
  for (int i = 0; i < argc; i++)
    {
      rcvm_error *err = NULL;
      rcvm_vm *vm = rcvm_vm_new (cli->root, argv[i], &err);

      if (!vm || rcvm_vm_delete (vm, v->force, &err) < 0)
        code = fail_with (err, 1);
      rcvm_vm_free (vm);
    }
  return code;
}

const struct command cmd_delete = {
  .name = "delete",
  .usage = "[--force] ID...",
  .summary = "remove a container that has stopped",
  .examples = "  runcvm delete web\n"
              "  runcvm delete --force $(runcvm list -q)",
  .options = { options },
  .values_size = sizeof (struct delete_values),
  .failure = 1,
  .run = delete_vms,
};
