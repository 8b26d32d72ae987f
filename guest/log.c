/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "power.h"

static int max_level = LOG_INFO;
static void (*log_sink) (int level, const char *message);

void
log_set_level (int level)
{
  max_level = level;
}

void
log_set_sink (void (*sink) (int level, const char *message))
{
  log_sink = sink;
}

void
log_write (int level, const char *fmt, ...)
{
  char text[600];
  va_list ap;

  if (level > max_level || !log_sink)
    return;
  va_start (ap, fmt);
  vsnprintf (text, sizeof text, fmt, ap);
  va_end (ap);
  log_sink (level, text);
}

void
fatal (const char *fmt, ...)
{
  char line[700] = "rcvm-init: fatal: ";
  size_t n = strlen (line);
  va_list ap;
  int fd;

  va_start (ap, fmt);
  vsnprintf (line + n, sizeof line - n - 1, fmt, ap);
  va_end (ap);
  strcat (line, "\n");
  fd = open ("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (write (fd < 0 ? 2 : fd, line, strlen (line)) < 0)
    { /* nowhere else to say it */
    }
  power_off ();
}
