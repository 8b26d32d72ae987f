/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "volume-figures.h"

#include <string.h>

#include <json-c/json.h>

#include "err.h"
#include "json.h"
#include "nfs-control.h"

static void
put_uint (struct rcvmi_json *b, struct json_object *o, const char *key, uint64_t value)
{
  rcvmi_json_put (b, o, key, json_object_new_uint64 (value));
}

static void
put_volume (struct rcvmi_json *b, struct json_object *o, const struct rcvmi_plan_volume *v, bool linked)
{
  rcvmi_json_put_str (b, o, "source", v->source);
  rcvmi_json_put_str (b, o, "destination", v->destination);
  rcvmi_json_put (b, o, "readOnly", json_object_new_boolean (v->read_only));
  rcvmi_json_put_str (b, o, "identity", v->squash ? "squash" : "preserve");
  if (v->squash)
    {
      rcvmi_json_put_int (b, o, "uid", v->uid);
      rcvmi_json_put_int (b, o, "gid", v->gid);
    }
  rcvmi_json_put_str (b, o, "transport", v->tcp ? "tcp" : linked ? "link" : "tunnel");
  rcvmi_json_put_str (b, o, "consistency", v->cached ? "cached" : "strict");
  if (v->cached)
    rcvmi_json_put_int (b, o, "cachedSeconds", v->cached);
}

/* False: the record is damaged. */
static bool
put_procedure (struct rcvmi_json *b, struct json_object *o, struct tlv_reader r)
{
  static const char *const names[] = { "p50", "p90", "p99", "p999", "max" };
  struct json_object *latency = json_object_new_object ();
  struct tlv_field f;

  while (latency && tlv_next (&r, &f))
    if (f.tag == NFS_PROCEDURE_NAME)
      rcvmi_json_put_str (b, o, "name", tlv_get_str (&r, &f));
    else if (f.tag == NFS_PROCEDURE_CALLS)
      put_uint (b, o, "calls", tlv_get_u64 (&r, &f));
    else if (f.tag == NFS_PROCEDURE_ERRORS)
      put_uint (b, o, "errors", tlv_get_u64 (&r, &f));
    else if (f.tag >= NFS_PROCEDURE_P50 && f.tag <= NFS_PROCEDURE_MAX)
      put_uint (b, latency, names[f.tag - NFS_PROCEDURE_P50], tlv_get_u64 (&r, &f));
  rcvmi_json_put (b, o, "latencyMicroseconds", latency);
  return !r.bad;
}

static bool
put_server (struct rcvmi_json *b, struct json_object *o, const struct tlv_field *figures)
{
  static const char *const names[] = { [NFS_FIGURES_READ] = "bytesRead",
                                       [NFS_FIGURES_WRITTEN] = "bytesWritten",
                                       [NFS_FIGURES_REPEATED] = "repeated",
                                       [NFS_FIGURES_GARBAGE] = "garbage",
                                       [NFS_FIGURES_CONNECTIONS] = "connections",
                                       [NFS_FIGURES_OBJECTS] = "openFiles" };
  struct json_object *list = json_object_new_array (), *one;
  struct tlv_reader r = tlv_get_record (figures);
  struct tlv_field f;
  bool ok = true;

  while (list && ok && tlv_next (&r, &f))
    if (f.tag >= NFS_FIGURES_READ && f.tag <= NFS_FIGURES_GARBAGE)
      put_uint (b, o, names[f.tag], tlv_get_u64 (&r, &f));
    else if (f.tag == NFS_FIGURES_CONNECTIONS || f.tag == NFS_FIGURES_OBJECTS)
      rcvmi_json_put_int (b, o, names[f.tag], tlv_get_u32 (&r, &f));
    else if (f.tag == NFS_FIGURES_PROCEDURE && (one = rcvmi_json_append_object (b, list)))
      ok = put_procedure (b, one, tlv_get_record (&f));
  rcvmi_json_put (b, o, "operations", list);
  return ok && !r.bad;
}

char *
rcvmi_volume_figures_json (const struct rcvmi_plan *plan, bool linked, const struct tlv_field *figures, unsigned restarts,
                           uint64_t refused, rcvm_error **err)
{
  struct rcvmi_json b = { 0 };
  struct json_object *o = json_object_new_object (), *list = json_object_new_array (),
                     *server = figures ? json_object_new_object () : NULL, *one;
  char *json = NULL;
  bool ok = true;

  for (size_t i = 0; list && i < plan->n_volumes; i++)
    if ((one = rcvmi_json_append_object (&b, list)))
      put_volume (&b, one, &plan->volumes[i], linked);
  if (server)
    {
      rcvmi_json_put_int (&b, server, "restarts", restarts);
      put_uint (&b, server, "refusedConnections", refused);
      ok = put_server (&b, server, figures);
    }
  rcvmi_json_put (&b, o, "volumes", list);
  if (figures)
    rcvmi_json_put (&b, o, "server", server);
  if (!ok)
    rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the volume server's figures cannot be understood");
  else if (b.failed || !(json = strdup (json_object_to_json_string_ext (o, JSON_C_TO_STRING_NOSLASHESCAPE))))
    rcvmi_fail_nomem (err);
  json_object_put (o);
  return json;
}

char *
rcvmi_volume_disks_json (const struct rcvmi_volume_disk *disks, size_t n, rcvm_error **err)
{
  struct json_object *list = json_object_new_array (), *o;
  struct rcvmi_json b = { 0 };
  char *json = NULL;

  for (const struct rcvmi_volume_disk *d = disks; list && d < disks + n; d++)
    if ((o = rcvmi_json_append_object (&b, list)))
      {
        rcvmi_json_put_str (&b, o, "source", d->source);
        rcvmi_json_put_str (&b, o, "destination", d->target);
        if (d->fstype)
          rcvmi_json_put_str (&b, o, "fstype", d->fstype);
        rcvmi_json_put (&b, o, "readOnly", json_object_new_boolean (d->read_only));
        rcvmi_json_put (&b, o, "attached", json_object_new_boolean (d->attached));
      }
  if (!list || b.failed || !(json = strdup (json_object_to_json_string_ext (list, JSON_C_TO_STRING_NOSLASHESCAPE))))
    rcvmi_fail_nomem (err);
  json_object_put (list);
  return json;
}
