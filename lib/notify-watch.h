/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Says what others do in a directory of the host, and below it. */
#ifndef RCVM_LIB_NOTIFY_WATCH_H
#define RCVM_LIB_NOTIFY_WATCH_H

#include <runcvm/error.h>

/* The first byte of a packet; text follows, without a NUL. */
enum
{
  NOTIFY_READY = 'R',
  NOTIFY_CHANGED = 'C', /* a path, relative to the root; "": the root */
  NOTIFY_TROUBLE = 'T'  /* what is not seen, a part of a sentence */
};

/* In a process of its own: `root` is an O_PATH fd, `out` a SOCK_SEQPACKET socket.  Returns on errors only. */
int rcvmi_notify_watch (int root, int out, rcvm_error **err);

#endif
