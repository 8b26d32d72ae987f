/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* boot-hello ROOTFS COMMAND...: runs a command in a directory's tree, in a VM; exits as it did. */
#include <stdio.h>
#include <unistd.h>

#include <runcvm/runcvm.h>

static int
run (rcvm_vm *vm, const char *rootfs, char **command, rcvm_error **err)
{
  int code;

  if (rcvm_vm_set_rootfs (vm, rootfs, err) < 0 || rcvm_vm_set_args (vm, command, err) < 0
      || rcvm_vm_set_stdio (vm, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, err) < 0
      || rcvm_vm_start (vm, err) < 0 || rcvm_vm_wait (vm, -1, &code, err) < 0)
    return -1;
  return code;
}

int
main (int argc, char **argv)
{
  rcvm_error *err = NULL;
  char id[64];
  rcvm_vm *vm;
  int code = -1;

  if (argc < 3)
    return fputs ("usage: boot-hello ROOTFS COMMAND...\n", stderr), 125;
  snprintf (id, sizeof id, "boot-hello-%ld", (long) getpid ());
  vm = rcvm_vm_new (NULL, id, &err);
  if (vm)
    {
      code = run (vm, argv[1], argv + 2, &err);
      /* With force, what runs is killed, and what is not there is no error. */
      if (rcvm_vm_delete (vm, 1, err ? NULL : &err) < 0)
        code = -1;
      rcvm_vm_free (vm);
    }
  if (code < 0)
    {
      fprintf (stderr, "boot-hello: %s\n", rcvm_error_get_message (err));
      code = rcvm_error_get_exit_code (err);
    }
  rcvm_error_free (err);
  return code;
}
