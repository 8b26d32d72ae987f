/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors: an opaque object with a code, a stage, an errno and one sentence. */
#ifndef RUNCVM_ERROR_H
#define RUNCVM_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rcvm_error rcvm_error;

/* The values are part of the ABI: never renumbered, only added to. */
enum rcvm_code
{
  RCVM_OK = 0,
  RCVM_E_INVALID = -1,      /* an argument or option makes no sense */
  RCVM_E_NOMEM = -2,        /* out of memory */
  RCVM_E_SYSTEM = -3,       /* a system call failed; see the errno */
  RCVM_E_NOT_FOUND = -4,    /* no VM, bundle, file or program of that name */
  RCVM_E_EXISTS = -5,       /* that id is in use */
  RCVM_E_STATE = -6,        /* the VM or process is not in a state that allows the call */
  RCVM_E_PERMISSION = -7,   /* the caller may not do that */
  RCVM_E_SPEC = -8,         /* config.json is missing a field, or holds a wrong one */
  RCVM_E_UNSUPPORTED = -9,  /* the driver, the host or this version lacks the named feature */
  RCVM_E_HOST = -10,        /* the host lacks a VMM, a kernel, an initramfs or a device */
  RCVM_E_NO_SPACE = -11,    /* a disk or quota is full, or an image is too small */
  RCVM_E_VMM = -12,         /* the VMM failed or died */
  RCVM_E_GUEST = -13,       /* the guest's kernel or agent failed or died */
  RCVM_E_PROCESS = -14,     /* the container's process could not be started */
  RCVM_E_MONITOR = -15,     /* the VM's monitor died, or could not be started */
  RCVM_E_TIMEOUT = -16,     /* the time given is over */
  RCVM_E_CANCELLED = -17,   /* the caller cancelled */
  RCVM_E_PROTOCOL = -18,    /* a peer (guest, VMM, monitor) said what it must not say */
  RCVM_E_IMAGE = -19        /* a disk image is damaged or of a wrong kind */
};

/* One of enum rcvm_code; RCVM_OK for NULL.  Since 0.1. */
int rcvm_error_get_code (const rcvm_error *err);
/* The errno of the failed call, or 0.  Since 0.1. */
int rcvm_error_get_errno (const rcvm_error *err);
/* Where it failed: "spec", "plan", "cgroup", "hooks", "rootfs", "net", "volumes", "vmm", "agent", "process", "monitor",
   "state" or "api"; "" for NULL.  Since 0.1. */
const char *rcvm_error_get_stage (const rcvm_error *err);
/* One sentence for a person: what failed and what to do; "" for NULL.  Since 0.1. */
const char *rcvm_error_get_message (const rcvm_error *err);
/* The exit code that a command line tool should report: 126 and 127 for RCVM_E_PROCESS as a shell
   would, else 125.  Since 0.1. */
int rcvm_error_get_exit_code (const rcvm_error *err);
/* Since 0.1. */
void rcvm_error_free (rcvm_error *err);
/* "RCVM_E_SPEC" for RCVM_E_SPEC, and so on; "RCVM_E_UNKNOWN" for other values.  Since 0.1. */
const char *rcvm_code_name (int code);
/* Frees a `char *` that the library returned.  Since 0.1. */
void rcvm_free (void *p);

#ifdef __cplusplus
}
#endif
#endif
