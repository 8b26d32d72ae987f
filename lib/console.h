/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A terminal of the user's that is to be the container's: what the relay of its bytes (stream.h) does not see. */
#ifndef RCVM_LIB_CONSOLE_H
#define RCVM_LIB_CONSOLE_H

#include <stdbool.h>

#include <runcvm/error.h>

/* Makes it raw, since the guest's terminal does what a terminal does, and this process's controlling terminal: SIGWINCH then
   says that its size has changed, and SIGHUP that nobody has it open any more.  Returns a duplicate of `fd`, or an error. */
int rcvmi_console_take (int fd, rcvm_error **err);
/* False where it has none. */
bool rcvmi_console_size (int fd, unsigned *rows, unsigned *cols);

#endif
