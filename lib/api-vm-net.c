/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network of a VM that is there. */
#include "config.h"

#define RCVMI_STAGE "api"

#include <stdlib.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "control.h"
#include "err.h"
#include "handle.h"
#include "visibility.h"

RCVM_PUBLIC char *
rcvm_vm_net_json (rcvm_vm *vm, rcvm_error **err)
{
  return rcvmi_handle_ask_json (vm, CONTROL_NET_SHOW, err);
}

static int
request (rcvm_vm *vm, uint16_t type, const char *name, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (!name)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the name of the network interface is NULL");
  tlv_put_str (&w, A_MESSAGE, name);
  return rcvmi_handle_ask (vm, type, &w, err);
}

RCVM_PUBLIC int
rcvm_vm_attach_nic (rcvm_vm *vm, const char *name, rcvm_error **err)
{
  return request (vm, CONTROL_NET_ATTACH, name, err);
}

RCVM_PUBLIC int
rcvm_vm_detach_nic (rcvm_vm *vm, const char *name, rcvm_error **err)
{
  return request (vm, CONTROL_NET_DETACH, name, err);
}
