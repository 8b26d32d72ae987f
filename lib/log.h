/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Log messages: to a sink that the owner of the work sets, never to stderr by itself. */
#ifndef RCVM_LIB_LOG_H
#define RCVM_LIB_LOG_H

#include <runcvm/vm.h>

struct rcvmi_log
{
  int level; /* enum rcvm_log_level: messages above it are not formatted */
  rcvm_log_fn fn;
  void *user;
};

/* `log` may be NULL. */
void rcvmi_log_at (const struct rcvmi_log *log, int level, const char *stage, const char *fmt, ...)
    __attribute__ ((format (printf, 4, 5)));

#ifdef RCVMI_STAGE
#define rcvmi_log(log, level, ...) rcvmi_log_at (log, level, RCVMI_STAGE, __VA_ARGS__)
#endif

#endif
