/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <string.h>

static int
show (rcvm_vm *vm, rcvm_error **err)
{
  char *json = rcvm_vm_net_json (vm, err);

  if (!json)
    return -1;
  fputs (json, stdout);
  rcvm_free (json);
  return finish_output (0);
}

static int
net (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_error *err = NULL;
  int code = -1, shows, attaches;
  rcvm_vm *vm;

  (void) values;
  if (argc < 1)
    return usage_error (&cmd_net, "what to do is missing: show, attach or detach");
  shows = strcmp (argv[0], "show") == 0;
  attaches = strcmp (argv[0], "attach") == 0;
  if (!shows && !attaches && strcmp (argv[0], "detach") != 0)
    return usage_error (&cmd_net, "'%s' is not known, only show, attach and detach", argv[0]);
  if (argc < 2)
    return usage_error (&cmd_net, "an ID is missing");
  if (argc < (shows ? 2 : 3))
    return usage_error (&cmd_net, "the name of a network interface is missing");
  if (argc > (shows ? 2 : 3))
    return usage_error (&cmd_net, "'%s' is too much", argv[shows ? 2 : 3]);
  vm = rcvm_vm_open (cli->root, argv[1], &err);
  if (vm)
    code = shows      ? show (vm, &err)
           : attaches ? rcvm_vm_attach_nic (vm, argv[2], &err)
                      : rcvm_vm_detach_nic (vm, argv[2], &err);
  rcvm_vm_free (vm);
  return err ? fail_with (err, 1) : code;
}

const struct command cmd_net = {
  .name = "net",
  .usage = "show ID | attach ID INTERFACE | detach ID INTERFACE",
  .summary = "print the network of a VM, as the host made it and as the guest has it, or change it",
  .details = "An interface of the VM's network namespace is attached by itself, once it is up and has an address;\n"
             "`attach` returns when that is done.  What was detached stays away until it is attached again.",
  .failure = 1,
  .run = net,
};
