/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent-wire.h"

static void
fill (struct failure *f, const char *stage, int errnum, const char *fmt, va_list ap)
{
  int n = vsnprintf (f->message, sizeof f->message, fmt, ap);

  f->stage = stage;
  f->errnum = errnum;
  if (errnum && n >= 0 && (size_t) n < sizeof f->message)
    snprintf (f->message + n, sizeof f->message - (size_t) n, ": %s", strerror (errnum));
}

int
fail (struct failure *f, const char *stage, int errnum, const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  fill (f, stage, errnum, fmt, ap);
  va_end (ap);
  f->exit_code = EXIT_SETUP;
  return -1;
}

int
fail_exec (struct failure *f, const char *stage, int errnum, const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  fill (f, stage, errnum, fmt, ap);
  va_end (ap);
  f->exit_code = errnum == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE;
  return -1;
}

void
failure_put (struct tlv_writer *w, const struct failure *f)
{
  tlv_put_str (w, A_STAGE, f->stage);
  tlv_put_u32 (w, A_ERRNO, (uint32_t) f->errnum);
  tlv_put_str (w, A_MESSAGE, f->message);
  tlv_put_u32 (w, A_EXIT_CODE, f->exit_code);
}
