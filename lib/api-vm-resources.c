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

RCVM_PUBLIC int
rcvm_vm_pause (rcvm_vm *vm, rcvm_error **err)
{
  return rcvmi_handle_ask (vm, CONTROL_PAUSE, NULL, err);
}

RCVM_PUBLIC int
rcvm_vm_resume (rcvm_vm *vm, rcvm_error **err)
{
  return rcvmi_handle_ask (vm, CONTROL_RESUME, NULL, err);
}

RCVM_PUBLIC int
rcvm_vm_flush (rcvm_vm *vm, rcvm_error **err)
{
  return rcvmi_handle_ask (vm, CONTROL_FLUSH, NULL, err);
}

RCVM_PUBLIC int
rcvm_vm_update (rcvm_vm *vm, const char *resources_json, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (!resources_json)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the text of the new limits is NULL");
  tlv_put_str (&w, A_MESSAGE, resources_json);
  return rcvmi_handle_ask (vm, CONTROL_UPDATE, &w, err);
}

RCVM_PUBLIC char *
rcvm_vm_stats (rcvm_vm *vm, rcvm_error **err)
{
  return rcvmi_handle_ask_json (vm, CONTROL_STATS, err);
}

RCVM_PUBLIC char *
rcvm_vm_processes (rcvm_vm *vm, rcvm_error **err)
{
  return rcvmi_handle_ask_json (vm, CONTROL_PROCESSES, err);
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
