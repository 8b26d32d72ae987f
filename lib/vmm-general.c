/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Machines without what is one VM's own: such a one is saved, and others go on from it (docs/templates.md). */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm.h"

#include <stdio.h>
#include <string.h>

#include "err.h"

/* Locally administered, and nobody's on a network: it is gone before the interface is up. */
void
rcvmi_vmm_general_mac (unsigned number, uint8_t mac[6])
{
  const uint8_t general[6] = { 0x02, 't', 'm', 'p', 'l', (uint8_t) number };

  memcpy (mac, general, sizeof general);
}

void
rcvmi_vmm_generalise (struct rcvmi_vmm_config *config)
{
  config->id = "template";
  config->dir_fd = -1;
  config->kernel = "kernel";
  config->initramfs = "initramfs";
  config->host_kernel = NULL;
  /* A saved machine does not have it. */
  config->tuning.track_memory = false;
  config->from = config->into = (struct rcvmi_vmm_saved){ 0 };
  for (size_t i = 0; i < config->n_disks; i++)
    {
      struct rcvmi_vmm_disk *d = &config->disks[i];

      snprintf (config->seen[i], sizeof config->seen[i], "/vm/%s", d->serial);
      d->path = config->seen[i];
      d->device = false;
      d->own = true;
    }
  for (size_t i = 0; i < config->n_nics; i++)
    {
      struct rcvmi_vmm_nic *n = &config->nics[i];

      n->tap_fd = -1;
      n->tap_name = "tap";
      rcvmi_vmm_general_mac (n->number, n->mac);
    }
}

int
rcvmi_vmm_check_save (const struct rcvmi_vmm *vmm, rcvm_error **err)
{
  if (!vmm->ops->save_running)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "the VMM driver '%s' cannot save or restore a container that runs (snapshots): firecracker can",
                       vmm->ops->name);
  if (!vmm->confined)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the VMM driver '%s' saves and restores a container that runs only where it is confined: that takes root, and no --confine off",
                       vmm->ops->name);
  if (vmm->jailer)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the VMM driver '%s' cannot save or restore a container that runs under Firecracker's jailer: use --confine own",
                       vmm->ops->name);
  return 0;
}

int
rcvmi_vmm_check_restore (const struct rcvmi_vmm *vmm, const struct rcvmi_tuning *tuning, rcvm_error **err)
{
  if (!vmm->ops->shape || !vmm->ops->save)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "the VMM driver '%s' cannot start a VM from a template: firecracker can",
                       vmm->ops->name);
  if (!vmm->confined)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the VMM driver '%s' starts a VM from a template only where it is confined: that takes root, and no --confine off",
                       vmm->ops->name);
  if (vmm->jailer)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the VMM driver '%s' cannot start a VM from a template under Firecracker's jailer: use --confine own",
                       vmm->ops->name);
  if (tuning->huge_pages)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the VMM driver '%s' cannot start a VM from a template with huge pages, since the template's memory is a file",
                       vmm->ops->name);
  return 0;
}
