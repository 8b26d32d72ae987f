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

/* Locks the handle, with a connection to a monitor that lives. */
static int
begin (rcvm_vm *vm, rcvm_error **err)
{
  int code;

  if (!vm)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the VM's handle is NULL");
  rcvmi_handle_lock (vm);
  if (vm->status == RCVM_STATUS_NEW)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' has not been created by this handle; rcvm_vm_open finds others", vm->id);
  else
    code = rcvmi_handle_refresh (vm, err);
  if (code == 0 && vm->settled)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' has stopped", vm->id);
  if (code < 0)
    rcvmi_handle_unlock (vm);
  return code;
}

RCVM_PUBLIC char *
rcvm_vm_net_json (rcvm_vm *vm, rcvm_error **err)
{
  char *json = NULL;

  if (begin (vm, err) < 0)
    return NULL;
  free (steal_ptr (vm->json));
  /* The monitor bounds how long a guest may take to answer. */
  if (rcvmi_handle_request (vm, CONTROL_NET_SHOW, NULL, NULL, -1, err) == 0)
    {
      json = steal_ptr (vm->json);
      if (!json)
        rcvmi_fail_nomem (err);
    }
  rcvmi_handle_unlock (vm);
  return json;
}

static int
request (rcvm_vm *vm, uint16_t type, const char *name, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  int code;

  if (!name)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the name of the network interface is NULL");
  code = begin (vm, err);
  if (code < 0)
    return code;
  tlv_put_str (&w, A_MESSAGE, name);
  code = rcvmi_handle_request (vm, type, &w, NULL, -1, err);
  rcvmi_handle_unlock (vm);
  return code;
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
