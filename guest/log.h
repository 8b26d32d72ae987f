/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages for the host.  Where they go differs between the agent and its children. */
#ifndef RCVM_GUEST_LOG_H
#define RCVM_GUEST_LOG_H

/* The values of enum rcvm_log_level. */
enum
{
  LOG_ERROR = 0,
  LOG_WARNING = 1,
  LOG_INFO = 2,
  LOG_DEBUG = 3
};

void log_set_level (int level);
void log_set_sink (void (*sink) (int level, const char *message));
void log_write (int level, const char *fmt, ...) __attribute__ ((format (printf, 2, 3)));

/* One line on the serial console, then the machine goes down: there is no one left to tell. */
_Noreturn void fatal (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));

#endif
