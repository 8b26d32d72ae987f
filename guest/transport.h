/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The byte streams to the host: virtio-serial, or vsock by "rcvm.agent=vsock:PORT" on the command
   line. */
#ifndef RCVM_GUEST_TRANSPORT_H
#define RCVM_GUEST_TRANSPORT_H

#include <stdbool.h>

enum transport_stream
{
  TRANSPORT_AGENT = 0,
  TRANSPORT_VOLUMES = 1 /* by vsock: that many ports further */
};

/* Whether this machine is booted to be a template: "rcvm.template" on the command line. */
bool transport_is_of_template (void);
/* Waits for the device; returns a non-blocking fd or ends the machine. */
int transport_open (enum transport_stream stream);

#endif
