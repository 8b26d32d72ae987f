/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The small records of the guest's agent: hostile, until they are parsed. */
#ifndef RCVM_LIB_AGENT_RECORD_H
#define RCVM_LIB_AGENT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <runcvm/error.h>

/* What is absent is 0 or empty.  Texts are of printable UTF-8. */
struct rcvmi_agent_record
{
  uint32_t version, pid, errnum, exit_code, signum, level, count;
  uint64_t boot_usec, clock_nsec;
  bool has_exit_code, has_signal;
  char stage[32];
  char kernel[128];
  char message[1024];
};

/* RCVM_E_PROTOCOL for one that is malformed. */
int rcvmi_agent_parse (struct rcvmi_agent_record *x, const unsigned char *data, size_t len, rcvm_error **err);

#endif
