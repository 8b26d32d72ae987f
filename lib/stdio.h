/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The standard streams that a caller hands over, read and written without ever blocking the monitor.
 *
 * O_NONBLOCK belongs to the open file, which the caller and its other children share: it must not be set
 * there.  So a pipe or terminal is opened anew through /proc, a socket is asked per call (MSG_DONTWAIT), a regular file
 * does not block, and for what is left (a terminal of another mount namespace) no more is written at once than
 * poll has promised.
 */
#ifndef RCVM_LIB_STDIO_H
#define RCVM_LIB_STDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <runcvm/error.h>

enum rcvmi_stdio_kind
{
  RCVMI_STDIO_NONE,   /* /dev/null */
  RCVMI_STDIO_FILE,   /* never blocks */
  RCVMI_STDIO_SOCKET, /* MSG_DONTWAIT */
  RCVMI_STDIO_OWN,    /* opened anew, non-blocking */
  RCVMI_STDIO_CAREFUL /* poll first, small pieces */
};

struct rcvmi_stdio
{
  int fd;
  enum rcvmi_stdio_kind kind;
};

#define RCVMI_STDIO_INIT ((struct rcvmi_stdio){ .fd = -1, .kind = RCVMI_STDIO_NONE })

/* Takes the fd over (-1: /dev/null). */
void rcvmi_stdio_open (struct rcvmi_stdio *s, int fd, bool for_writing);
void rcvmi_stdio_close (struct rcvmi_stdio *s);
/* As read and write on a non-blocking fd. */
ssize_t rcvmi_stdio_read (struct rcvmi_stdio *s, void *buf, size_t size);
ssize_t rcvmi_stdio_write (struct rcvmi_stdio *s, const void *buf, size_t size);

#endif
