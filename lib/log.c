/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void
rcvmi_log_at (const struct rcvmi_log *log, int level, const char *stage, const char *fmt, ...)
{
  int saved = errno;
  char buf[2048];
  va_list ap;

  if (!log || !log->fn || level > log->level)
    return;
  va_start (ap, fmt);
  vsnprintf (buf, sizeof buf, fmt, ap);
  va_end (ap);
  log->fn (log->user, level, stage, buf);
  errno = saved;
}
