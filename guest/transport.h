/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The byte stream to the host: virtio-serial, or vsock by "rcvm.agent=vsock:PORT" on the command
   line. */
#ifndef RCVM_GUEST_TRANSPORT_H
#define RCVM_GUEST_TRANSPORT_H

/* Waits for the device; returns a non-blocking fd or ends the machine. */
int transport_open (void);

#endif
