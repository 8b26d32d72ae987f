/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "err.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "visibility.h"

struct rcvm_error
{
  int code;
  int errnum;
  int exit_code;
  const char *stage; /* points into the same allocation as message */
  const char *message;
};

/* Reporting must not fail: this stands in when there is no memory for an object. */
static struct rcvm_error no_memory
    = { RCVM_E_NOMEM, ENOMEM, 125, "api", "out of memory" };

int
rcvmi_error_restore (rcvm_error **err, int code, int errnum, int exit_code, const char *stage,
                     const char *message)
{
  size_t stage_size = strlen (stage) + 1, message_size = strlen (message) + 1;
  struct rcvm_error *e;
  char *text;

  if (!err || *err)
    return code;
  e = malloc (sizeof *e + stage_size + message_size);
  if (!e)
    {
      *err = &no_memory;
      return code;
    }
  text = (char *) (e + 1);
  e->code = code;
  e->errnum = errnum;
  e->exit_code = exit_code;
  e->stage = memcpy (text, stage, stage_size);
  e->message = memcpy (text + stage_size, message, message_size);
  *err = e;
  return code;
}

int
rcvmi_fail_at (rcvm_error **err, const char *stage, int code, int errnum, const char *fmt, ...)
{
  char buf[2048];
  const char *what;
  va_list ap;
  int n;

  if (!err)
    return code;
  va_start (ap, fmt);
  n = vsnprintf (buf, sizeof buf, fmt, ap);
  va_end (ap);
  if (n < 0)
    buf[n = 0] = 0;
  if ((size_t) n >= sizeof buf)
    n = sizeof buf - 1;
  if (errnum > 0)
    {
      what = strerrordesc_np (errnum);
      if (what)
        snprintf (buf + n, sizeof buf - (size_t) n, ": %s", what);
      else
        snprintf (buf + n, sizeof buf - (size_t) n, ": error %d", errnum);
    }
  return rcvmi_error_restore (err, code, errnum, 125, stage, buf);
}

int
rcvmi_code_from_errno (int errnum)
{
  switch (errnum)
    {
    case ENOENT:
    case ENOTDIR:
      return RCVM_E_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
      return RCVM_E_PERMISSION;
    case ENOSPC:
    case EDQUOT:
      return RCVM_E_NO_SPACE;
    case ENOMEM:
      return RCVM_E_NOMEM;
    default:
      return RCVM_E_SYSTEM;
    }
}

void
rcvmi_error_set_exit_code (rcvm_error *err, int exit_code)
{
  if (err && err != &no_memory)
    err->exit_code = exit_code;
}

int
rcvmi_error_pass (rcvm_error **to, rcvm_error *from)
{
  int code = rcvm_error_get_code (from);

  if (to && !*to)
    *to = from;
  else
    rcvm_error_free (from);
  return code;
}

RCVM_PUBLIC int
rcvm_error_get_code (const rcvm_error *err)
{
  return err ? err->code : RCVM_OK;
}

RCVM_PUBLIC int
rcvm_error_get_errno (const rcvm_error *err)
{
  return err ? err->errnum : 0;
}

RCVM_PUBLIC const char *
rcvm_error_get_stage (const rcvm_error *err)
{
  return err ? err->stage : "";
}

RCVM_PUBLIC const char *
rcvm_error_get_message (const rcvm_error *err)
{
  return err ? err->message : "";
}

RCVM_PUBLIC int
rcvm_error_get_exit_code (const rcvm_error *err)
{
  return err ? err->exit_code : 0;
}

RCVM_PUBLIC void
rcvm_error_free (rcvm_error *err)
{
  if (err != &no_memory)
    free (err);
}

RCVM_PUBLIC void
rcvm_free (void *p)
{
  free (p);
}

RCVM_PUBLIC const char *
rcvm_code_name (int code)
{
  static const char *const names[] = {
    "RCVM_OK",           "RCVM_E_INVALID",     "RCVM_E_NOMEM",     "RCVM_E_SYSTEM",
    "RCVM_E_NOT_FOUND",  "RCVM_E_EXISTS",      "RCVM_E_STATE",     "RCVM_E_PERMISSION",
    "RCVM_E_SPEC",       "RCVM_E_UNSUPPORTED", "RCVM_E_HOST",      "RCVM_E_NO_SPACE",
    "RCVM_E_VMM",        "RCVM_E_GUEST",       "RCVM_E_PROCESS",   "RCVM_E_MONITOR",
    "RCVM_E_TIMEOUT",    "RCVM_E_CANCELLED",   "RCVM_E_PROTOCOL",  "RCVM_E_IMAGE",
  };

  if (code > 0 || code <= -(int) (sizeof names / sizeof names[0]))
    return "RCVM_E_UNKNOWN";
  return names[-code];
}
