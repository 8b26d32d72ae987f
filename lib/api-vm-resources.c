/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the host gives a VM that is there: pausing, limits, and what it uses of them. */
#include "config.h"

#define RCVMI_STAGE "api"

#include <stdlib.h>
#include <string.h>

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

static int
request (rcvm_vm *vm, uint16_t type, struct tlv_writer *w, rcvm_error **err)
{
  int code = begin (vm, err);

  if (code < 0)
    {
      if (w)
        tlv_writer_free (w);
      return code;
    }
  /* The monitor bounds how long a VMM or a guest may take. */
  code = rcvmi_handle_request (vm, type, w, NULL, -1, err);
  rcvmi_handle_unlock (vm);
  return code;
}

static char *
request_json (rcvm_vm *vm, uint16_t type, rcvm_error **err)
{
  char *json = NULL;

  if (begin (vm, err) < 0)
    return NULL;
  free (steal_ptr (vm->json));
  if (rcvmi_handle_request (vm, type, NULL, NULL, -1, err) == 0)
    {
      json = steal_ptr (vm->json);
      if (!json)
        rcvmi_fail_nomem (err);
    }
  rcvmi_handle_unlock (vm);
  return json;
}

RCVM_PUBLIC int
rcvm_vm_pause (rcvm_vm *vm, rcvm_error **err)
{
  return request (vm, CONTROL_PAUSE, NULL, err);
}

RCVM_PUBLIC int
rcvm_vm_resume (rcvm_vm *vm, rcvm_error **err)
{
  return request (vm, CONTROL_RESUME, NULL, err);
}

RCVM_PUBLIC int
rcvm_vm_update (rcvm_vm *vm, const char *resources_json, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (!resources_json)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the text of the new limits is NULL");
  tlv_put_str (&w, A_MESSAGE, resources_json);
  return request (vm, CONTROL_UPDATE, &w, err);
}

RCVM_PUBLIC char *
rcvm_vm_stats (rcvm_vm *vm, rcvm_error **err)
{
  return request_json (vm, CONTROL_STATS, err);
}

RCVM_PUBLIC char *
rcvm_vm_processes (rcvm_vm *vm, rcvm_error **err)
{
  return request_json (vm, CONTROL_PROCESSES, err);
}

RCVM_PUBLIC uint64_t
rcvm_vm_get_oom_kills (rcvm_vm *vm)
{
  uint64_t n;

  if (!vm)
    return 0;
  rcvmi_handle_lock (vm);
  n = vm->state.oom_kills;
  rcvmi_handle_unlock (vm);
  return n;
}
