/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * poll-loop ROOTFS COMMAND...: three VMs in one process, driven from one epoll loop.
 *
 * Each VM runs the command with VM_NUMBER=1, 2 or 3 in its environment.  Prints "ID: exit code N" as each
 * of them stops; exits with 0 if all of them did so by themselves, whatever their codes, else with 125.
 */
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <runcvm/runcvm.h>

enum
{
  VMS = 3
};

static int
complain (rcvm_error **err)
{
  fprintf (stderr, "poll-loop: %s\n", rcvm_error_get_message (*err));
  rcvm_error_free (*err);
  *err = NULL;
  return -1;
}

static rcvm_vm *
create (int number, const char *rootfs, char **command)
{
  rcvm_error *err = NULL;
  char id[64], variable[32];
  rcvm_vm *vm;

  snprintf (id, sizeof id, "poll-loop-%ld-%d", (long) getpid (), number);
  snprintf (variable, sizeof variable, "VM_NUMBER=%d", number);
  vm = rcvm_vm_new (NULL, id, &err);
  if (vm && rcvm_vm_set_rootfs (vm, rootfs, &err) == 0 && rcvm_vm_set_args (vm, command, &err) == 0
      && rcvm_vm_add_env (vm, variable, &err) == 0
      && rcvm_vm_set_stdio (vm, -1, STDOUT_FILENO, STDERR_FILENO, &err) == 0
      && rcvm_vm_create (vm, &err) == 0)
    return vm;
  complain (&err);
  rcvm_vm_free (vm);
  return NULL;
}

/* The fd was readable.  1 if the VM has stopped, 0 if it goes on, -1 if it is broken. */
static int
on_event (rcvm_vm *vm)
{
  rcvm_error *err = NULL;
  int code, status = rcvm_vm_dispatch (vm, &err);

  if (status < 0)
    return complain (&err);
  if (status != RCVM_STATUS_STOPPED)
    return 0;
  if (rcvm_vm_wait (vm, 0, &code, &err) < 0)
    return complain (&err);
  printf ("%s: exit code %d\n", rcvm_vm_get_id (vm), code);
  fflush (stdout);
  return 1;
}

int
main (int argc, char **argv)
{
  struct epoll_event event = { .events = EPOLLIN };
  rcvm_vm *vms[VMS] = { NULL };
  rcvm_error *err = NULL;
  int i, loop, done, waiting = 0, failed = 0;

  if (argc < 3)
    return fputs ("usage: poll-loop ROOTFS COMMAND...\n", stderr), 125;
  loop = epoll_create1 (EPOLL_CLOEXEC);
  if (loop < 0)
    return perror ("poll-loop: epoll_create1"), 125;

  for (i = 0; i < VMS && !failed; i++)
    {
      vms[i] = create (i + 1, argv[1], argv + 2);
      event.data.ptr = vms[i];
      if (!vms[i] || epoll_ctl (loop, EPOLL_CTL_ADD, rcvm_vm_get_fd (vms[i]), &event) < 0)
        failed = 1;
    }
  for (i = 0; i < VMS && !failed; i++)
    {
      if (rcvm_vm_start (vms[i], &err) < 0)
        failed = complain (&err);
      else
        waiting++;
    }

  while (waiting > 0 && !failed)
    {
      if (epoll_wait (loop, &event, 1, -1) < 1)
        continue;
      done = on_event (event.data.ptr);
      if (done)
        {
          epoll_ctl (loop, EPOLL_CTL_DEL, rcvm_vm_get_fd (event.data.ptr), NULL);
          waiting--;
        }
      if (done < 0)
        failed = 1;
    }

  for (i = 0; i < VMS; i++)
    {
      if (vms[i] && rcvm_vm_delete (vms[i], 1, &err) < 0)
        failed = complain (&err);
      rcvm_vm_free (vms[i]);
    }
  close (loop);
  return failed ? 125 : 0;
}
