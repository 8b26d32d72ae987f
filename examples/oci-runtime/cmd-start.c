/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

enum
{
  END_TIMEOUT_MS = 30000,
  REAP_TIMEOUT_MS = 1000
};

/* The VM of a process that could not be started stops.  containerd has to hear of the error after that, and after it has reaped
   the container's process: what it takes for created it does not delete.  No event tells of the latter. */
static void
wait_for_end (int pidfd)
{
  struct pollfd p = { .fd = pidfd, .events = POLLIN };

  while (poll (&p, 1, END_TIMEOUT_MS) < 0 && errno == EINTR)
    ;
  for (int i = 0; i < REAP_TIMEOUT_MS && pidfd_send_signal (pidfd, 0, NULL, 0) == 0; i++)
    nanosleep (&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* Whether that was the end of the VM, and not a request that was refused. */
static bool
is_end (const rcvm_error *err)
{
  switch (rcvm_error_get_code (err))
    {
    case RCVM_E_STATE:
    case RCVM_E_PERMISSION:
    case RCVM_E_TIMEOUT:
    case RCVM_E_NOMEM:
      return false;
    default:
      return true;
    }
}

static int
start (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_error *err = NULL;
  rcvm_vm *vm;
  int code, pidfd;

  (void) values;
  if (check_one_id (&cmd_start, argc, argv) < 0)
    return cmd_start.failure;
  vm = rcvm_vm_open (cli->root, argv[0], &err);
  pidfd = vm && rcvm_vm_get_pid (vm) > 0 ? pidfd_open (rcvm_vm_get_pid (vm), 0) : -1;
  code = vm ? rcvm_vm_start (vm, &err) : -1;
  if (code < 0)
    {
      if (pidfd >= 0 && is_end (err))
        wait_for_end (pidfd);
      code = fail_with (err, 1);
    }
  if (pidfd >= 0)
    close (pidfd);
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
