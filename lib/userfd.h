/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The standard streams that a caller hands over, read and written without ever blocking the monitor.
 *
 * O_NONBLOCK belongs to the open file, which the caller and its other children share: it must not be set
 * there.  So a pipe or terminal is opened anew through /proc, a socket is asked per call (MSG_DONTWAIT), a regular file
 * does not block, and for what is left (a terminal of another mount namespace) no more is written at once than
 * poll has promised.
 */
#ifndef RCVM_LIB_USERFD_H
#define RCVM_LIB_USERFD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <runcvm/error.h>

enum rcvmi_userfd_kind
{
  RCVMI_USERFD_NONE,   /* /dev/null */
  RCVMI_USERFD_FILE,   /* never blocks */
  RCVMI_USERFD_SOCKET, /* MSG_DONTWAIT */
  RCVMI_USERFD_OWN,    /* opened anew, non-blocking */
  RCVMI_USERFD_CAREFUL /* poll first, small pieces */
};

struct rcvmi_userfd
{
  int fd;
  enum rcvmi_userfd_kind kind;
};

#define RCVMI_USERFD_INIT ((struct rcvmi_userfd){ .fd = -1, .kind = RCVMI_USERFD_NONE })

/* Takes the fd over (-1: /dev/null). */
void rcvmi_userfd_open (struct rcvmi_userfd *s, int fd, bool for_writing);
void rcvmi_userfd_close (struct rcvmi_userfd *s);
/* As read and write on a non-blocking fd. */
ssize_t rcvmi_userfd_read (struct rcvmi_userfd *s, void *buf, size_t size);
ssize_t rcvmi_userfd_write (struct rcvmi_userfd *s, const void *buf, size_t size);

#endif
