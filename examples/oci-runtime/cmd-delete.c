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

/* One that is created goes without --force, as with runc: containerd asks for that when a creation that it has given up succeeds after
   all, and would not ask again. */
static int
delete_one (const struct cli *cli, const char *id, int force, rcvm_error **err)
{
  rcvm_vm *vm = force ? NULL : rcvm_vm_open (cli->root, id, NULL);
  int code;

  if (vm && rcvm_vm_get_status (vm) == RCVM_STATUS_CREATED)
    force = 1;
  rcvm_vm_free (vm);
  vm = rcvm_vm_new (cli->root, id, err);
  code = vm ? rcvm_vm_delete (vm, force, err) : -1;
  rcvm_vm_free (vm);
  return code;
}

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

      if (delete_one (cli, argv[i], v->force, &err) < 0)
        code = fail_with (err, 1);
    }
  return code;
}

const struct command cmd_delete = {
  .name = "delete",
  .usage = "[--force] ID...",
  .summary = "remove a container that has stopped, or has not been started",
  .examples = "  runcvm delete web\n"
              "  runcvm delete --force $(runcvm list -q)",
  .options = { options },
  .values_size = sizeof (struct delete_values),
  .failure = 1,
  .run = delete_vms,
};
