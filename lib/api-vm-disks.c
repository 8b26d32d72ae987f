/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks of a VM that is there. */
#include "config.h"

#define RCVMI_STAGE "api"

#include "api-volume.h"

#include <string.h>

#include "cleanup.h"
#include "control.h"
#include "err.h"
#include "handle.h"
#include "visibility.h"

static int
check_target (const char *target, rcvm_error **err)
{
  if (target && target[0] == '/' && target[strspn (target, "/")])
    return 0;
  return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.200s' is no absolute path below '/' at which a disk can be in the VM", target ? target : "");
}

RCVM_PUBLIC int
rcvm_vm_attach_disk (rcvm_vm *vm, const char *source, const char *target, const rcvm_volume_options *options, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  autofree char *absolute = NULL;
  int code = rcvmi_volume_check_block (options, err);

  if (code == 0)
    code = check_target (target, err);
  if (code < 0)
    return code;
  if (!source || !*source)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the source of the disk is missing");
  absolute = rcvmi_volume_absolute (source, err);
  if (!absolute)
    return RCVM_E_SYSTEM;
  tlv_put_str (&w, CD_SOURCE, absolute);
  tlv_put_str (&w, CD_TARGET, target);
  if (options && options->fstype)
    tlv_put_str (&w, CD_FSTYPE, options->fstype);
  tlv_put_u32 (&w, CD_READONLY, options && options->readonly);
  return rcvmi_handle_ask (vm, CONTROL_DISK_ATTACH, &w, err);
}

RCVM_PUBLIC int
rcvm_vm_detach_disk (rcvm_vm *vm, const char *target, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  int code = check_target (target, err);

  if (code < 0)
    return code;
  tlv_put_str (&w, CD_TARGET, target);
  return rcvmi_handle_ask (vm, CONTROL_DISK_DETACH, &w, err);
}
