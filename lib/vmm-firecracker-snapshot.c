/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots, as requests of Firecracker's API (its docs/snapshotting): a machine is written into two files, or goes on from there
   with other disks and TAPs. */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm-firecracker.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"
#include "json.h"

/* An object that could not be filled is not sent: rcvmi_fc_add takes NULL for that. */
static struct json_object *
whole (struct rcvmi_json *b, struct json_object *o)
{
  if (!b->failed)
    return o;
  json_object_put (o);
  return NULL;
}

static void
set_state (struct rcvmi_fc_requests *r, const char *state, const char *what)
{
  struct json_object *o = json_object_new_object ();
  struct rcvmi_json b = { !o };

  rcvmi_json_put_str (&b, o, "state", state);
  rcvmi_fc_add (r, "PATCH", "/vm", whole (&b, o), what);
}

static void
load (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_config *c)
{
  struct json_object *o = json_object_new_object (), *memory = json_object_new_object (), *nics = json_object_new_array ();
  struct rcvmi_json b = { !o || !memory || !nics };

  rcvmi_json_put_str (&b, o, "snapshot_path", c->from.state);
  rcvmi_json_put_str (&b, memory, "backend_type", "File");
  rcvmi_json_put_str (&b, memory, "backend_path", c->from.memory);
  for (size_t i = 0; i < c->n_nics; i++)
    {
      struct json_object *nic = rcvmi_json_append_object (&b, nics);
      char id[32];

      snprintf (id, sizeof id, "nic%u", c->nics[i].number);
      rcvmi_json_put_str (&b, nic, "iface_id", id);
      rcvmi_json_put_str (&b, nic, "host_dev_name", c->nics[i].tap_name);
    }
  rcvmi_json_put (&b, o, "mem_backend", memory);
  if (c->tuning.track_memory)
    rcvmi_json_put (&b, o, "track_dirty_pages", json_object_new_boolean (true));
  if (c->n_nics)
    rcvmi_json_put (&b, o, "network_overrides", nics);
  else
    json_object_put (nics);
  rcvmi_fc_add (r, "PUT", "/snapshot/load", whole (&b, o), c->from.what ? c->from.what : "the template");
}

/* The same file once more: that is what tells the guest's driver that its disk has another size now. */
static void
exchange (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_disk *d)
{
  struct json_object *o = json_object_new_object ();
  struct rcvmi_json b = { !o };
  char path[64], what[64];

  snprintf (path, sizeof path, "/drives/%s", d->serial);
  snprintf (what, sizeof what, "the drive '%s'", d->serial);
  rcvmi_json_put_str (&b, o, "drive_id", d->serial);
  rcvmi_json_put_str (&b, o, "path_on_host", d->path);
  rcvmi_fc_add (r, "PATCH", path, whole (&b, o), what);
}

static int
finish (struct rcvmi_fc_requests *r, rcvm_error **err)
{
  if (!r->failed)
    return 0;
  rcvmi_fc_requests_clear (r);
  return rcvmi_fail_nomem (err);
}

int
rcvmi_fc_restore (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_config *c, unsigned version, rcvm_error **err)
{
  *r = (struct rcvmi_fc_requests){ .wait = true };
  if (c->n_nics && version < RCVMI_FC_OTHER_TAPS_SINCE)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "Firecracker %u.%u cannot give a VM with network interfaces that starts from a template other TAPs: 1.12 is the first that can",
                       version / RCVMI_VMM_MINOR, version % RCVMI_VMM_MINOR);
  if (c->tuning.track_memory && version < RCVMI_FC_TRACKING_SINCE)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "Firecracker %u.%u cannot be relied on to track the memory of a VM: 1.13 is the first that can",
                       version / RCVMI_VMM_MINOR, version % RCVMI_VMM_MINOR);
  load (r, c);
  for (size_t i = 0; i < c->n_disks; i++)
    exchange (r, &c->disks[i]);
  set_state (r, "Resumed", "to let the VM go on");
  return finish (r, err);
}

int
rcvmi_fc_save (struct rcvmi_fc_requests *r, const char *memory, const char *state, bool noted, rcvm_error **err)
{
  struct json_object *o = json_object_new_object ();
  struct rcvmi_json b = { !o };

  set_state (r, "Paused", "to pause the VM");
  rcvmi_json_put_str (&b, o, "snapshot_type", noted ? "Diff" : "Full");
  rcvmi_json_put_str (&b, o, "snapshot_path", state);
  rcvmi_json_put_str (&b, o, "mem_file_path", memory);
  rcvmi_fc_add (r, "PUT", "/snapshot/create", whole (&b, o), "a snapshot");
  return finish (r, err);
}

int
rcvmi_fc_resume (struct rcvmi_fc_requests *r, rcvm_error **err)
{
  set_state (r, "Resumed", "to let the VM go on");
  return finish (r, err);
}

/* What Firecracker would be told decides: two machines that are told the same are the same. */
int
rcvmi_fc_shape (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, struct rcvmi_sha256 *sha, rcvm_error **err)
{
  struct rcvmi_vmm_config general = *config;
  struct rcvmi_fc_requests r;
  int code;

  rcvmi_vmm_generalise (&general);
  code = rcvmi_fc_configure (&r, &general, vmm->version, err);
  if (code < 0)
    return code;
  if (config->n_nics && vmm->version < RCVMI_FC_OTHER_TAPS_SINCE)
    {
      rcvmi_fc_requests_clear (&r);
      return rcvmi_fc_restore (&r, config, vmm->version, err);
    }
  for (size_t i = 0; i < r.n; i++)
    {
      rcvmi_sha256_update (sha, r.list[i].path, strlen (r.list[i].path) + 1);
      rcvmi_sha256_update (sha, r.list[i].body, strlen (r.list[i].body) + 1);
    }
  rcvmi_fc_requests_clear (&r);
  return 0;
}
