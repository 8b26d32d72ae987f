/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The public enumerators keep their values, and the functions that name them know them all. */
#include <stdio.h>
#include <string.h>

#include <runcvm/runcvm.h>

#define PIN(name, value) _Static_assert ((name) == (value), #name " has moved")

PIN (RCVM_OK, 0);
PIN (RCVM_E_INVALID, -1);
PIN (RCVM_E_NOMEM, -2);
PIN (RCVM_E_SYSTEM, -3);
PIN (RCVM_E_NOT_FOUND, -4);
PIN (RCVM_E_EXISTS, -5);
PIN (RCVM_E_STATE, -6);
PIN (RCVM_E_PERMISSION, -7);
PIN (RCVM_E_SPEC, -8);
PIN (RCVM_E_UNSUPPORTED, -9);
PIN (RCVM_E_HOST, -10);
PIN (RCVM_E_NO_SPACE, -11);
PIN (RCVM_E_VMM, -12);
PIN (RCVM_E_GUEST, -13);
PIN (RCVM_E_PROCESS, -14);
PIN (RCVM_E_MONITOR, -15);
PIN (RCVM_E_TIMEOUT, -16);
PIN (RCVM_E_CANCELLED, -17);
PIN (RCVM_E_PROTOCOL, -18);
PIN (RCVM_E_IMAGE, -19);

PIN (RCVM_STATUS_NEW, 0);
PIN (RCVM_STATUS_CREATING, 1);
PIN (RCVM_STATUS_CREATED, 2);
PIN (RCVM_STATUS_RUNNING, 3);
PIN (RCVM_STATUS_PAUSED, 4);
PIN (RCVM_STATUS_STOPPED, 5);

PIN (RCVM_LOG_ERROR, 0);
PIN (RCVM_LOG_WARNING, 1);
PIN (RCVM_LOG_INFO, 2);
PIN (RCVM_LOG_DEBUG, 3);

PIN (RCVM_ROOTFS_MISSING_FAILS, 0);
PIN (RCVM_ROOTFS_MISSING_DIRECTORY, 1);
PIN (RCVM_ROOTFS_MISSING_FILE, 2);

PIN (RCVM_SNAPSHOT_LEAVE_RUNNING, 1);

PIN (RCVM_CHECK_OK, 0);
PIN (RCVM_CHECK_MISSING, 1);
PIN (RCVM_CHECK_FATAL, 2);

static int failures;

static void
expect (const char *what, int value, const char *got, const char *want)
{
  if (got && !strcmp (got, want))
    return;
  fprintf (stderr, "%s (%d): '%s', not '%s'\n", what, value, got ? got : "(null)", want);
  failures++;
}

#define CODE(name) expect ("rcvm_code_name", name, rcvm_code_name (name), #name)
#define STATUS(name, text) expect ("rcvm_status_name", name, rcvm_status_name (name), text)

int
main (void)
{
  CODE (RCVM_OK);
  CODE (RCVM_E_INVALID);
  CODE (RCVM_E_NOMEM);
  CODE (RCVM_E_SYSTEM);
  CODE (RCVM_E_NOT_FOUND);
  CODE (RCVM_E_EXISTS);
  CODE (RCVM_E_STATE);
  CODE (RCVM_E_PERMISSION);
  CODE (RCVM_E_SPEC);
  CODE (RCVM_E_UNSUPPORTED);
  CODE (RCVM_E_HOST);
  CODE (RCVM_E_NO_SPACE);
  CODE (RCVM_E_VMM);
  CODE (RCVM_E_GUEST);
  CODE (RCVM_E_PROCESS);
  CODE (RCVM_E_MONITOR);
  CODE (RCVM_E_TIMEOUT);
  CODE (RCVM_E_CANCELLED);
  CODE (RCVM_E_PROTOCOL);
  CODE (RCVM_E_IMAGE);
  expect ("rcvm_code_name", 1, rcvm_code_name (1), "RCVM_E_UNKNOWN");
  expect ("rcvm_code_name", -1000, rcvm_code_name (-1000), "RCVM_E_UNKNOWN");

  /* The words of OCI's runtime.md#state, where it has one. */
  STATUS (RCVM_STATUS_NEW, "new");
  STATUS (RCVM_STATUS_CREATING, "creating");
  STATUS (RCVM_STATUS_CREATED, "created");
  STATUS (RCVM_STATUS_RUNNING, "running");
  STATUS (RCVM_STATUS_PAUSED, "paused");
  STATUS (RCVM_STATUS_STOPPED, "stopped");

  expect ("rcvm_version", 0, rcvm_version (), RCVM_VERSION_STRING);
  return failures ? 1 : 0;
}
