/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making error objects.  See docs/errors.md.
 *
 * A file says its stage once, before the first include:
 *
 *   #define RCVMI_STAGE "rootfs"
 *
 * and fails in one line:
 *
 *   return rcvmi_fail (err, RCVM_E_SYSTEM, errno, "cannot open '%s'", path);
 *
 * The message is one sentence without a full stop; the description of a non-zero errnum is appended to it.
 * The lowest failure sets the error; callers pass it on as it is.
 */
#ifndef RCVM_LIB_ERR_H
#define RCVM_LIB_ERR_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>

#include <runcvm/error.h>

/* Returns code. */
int rcvmi_fail_at (rcvm_error **err, const char *stage, int code, int errnum, const char *fmt, ...)
    __attribute__ ((format (printf, 5, 6)));

#ifdef RCVMI_STAGE
#define rcvmi_fail(err, code, errnum, ...)                                                        \
  rcvmi_fail_at (err, RCVMI_STAGE, code, errnum, __VA_ARGS__)
#define rcvmi_fail_nomem(err) rcvmi_fail_at (err, RCVMI_STAGE, RCVM_E_NOMEM, 0, "out of memory")
/* A failed system call: the code follows from the errno (ENOENT, EACCES, ENOSPC, ENOMEM ...). */
#define rcvmi_fail_errno(err, errnum, ...)                                                        \
  rcvmi_fail_at (err, RCVMI_STAGE, rcvmi_code_from_errno (errnum), errnum, __VA_ARGS__)
#endif

/* RCVM_E_NOT_FOUND, _PERMISSION, _NO_SPACE, _NOMEM or _SYSTEM. */
int rcvmi_code_from_errno (int errnum);

/* For errors that come from another process: takes the fields as they are.  Returns code. */
int rcvmi_error_restore (rcvm_error **err, int code, int errnum, int exit_code, const char *stage,
                         const char *message);
/* What rcvm_error_get_exit_code says, where it is not 125. */
void rcvmi_error_set_exit_code (rcvm_error *err, int exit_code);
/* Moves an error to where the caller wants it; frees it where the caller does not.  Returns its code. */
int rcvmi_error_pass (rcvm_error **to, rcvm_error *from);

#endif
