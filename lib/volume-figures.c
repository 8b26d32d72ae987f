/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "volume-figures.h"

#include <string.h>

#include <json-c/json.h>

#include "err.h"
#include "nfs-control.h"

static void
add (struct json_object *o, const char *name, struct json_object *value, bool *ok)
{
  if (!value || json_object_object_add (o, name, value) < 0)
    {
      json_object_put (value);
      *ok = false;
    }
}

static void
append (struct json_object *list, struct json_object *value, bool *ok)
{
  if (!value || json_object_array_add (list, value) < 0)
    {
      json_object_put (value);
      *ok = false;
    }
}

static struct json_object *
volume (const struct rcvmi_plan_volume *v, bool *ok)
{
  struct json_object *o = json_object_new_object ();

  if (!o)
    return NULL;
  add (o, "source", json_object_new_string (v->source), ok);
  add (o, "destination", json_object_new_string (v->destination), ok);
  add (o, "readOnly", json_object_new_boolean (v->read_only), ok);
  add (o, "identity", json_object_new_string (v->squash ? "squash" : "preserve"), ok);
  if (v->squash)
    {
      add (o, "uid", json_object_new_int64 (v->uid), ok);
      add (o, "gid", json_object_new_int64 (v->gid), ok);
    }
  add (o, "consistency", json_object_new_string (v->cached ? "cached" : "strict"), ok);
  if (v->cached)
    add (o, "cachedSeconds", json_object_new_int64 (v->cached), ok);
  return o;
}

static struct json_object *
procedure (struct tlv_reader r, bool *ok)
{
  static const char *const names[] = { "p50", "p90", "p99", "p999", "max" };
  struct json_object *o = json_object_new_object (), *latency = json_object_new_object ();
  struct tlv_field f;

  if (!o || !latency)
    *ok = false;
  while (*ok && tlv_next (&r, &f))
    if (f.tag == NFS_PROCEDURE_NAME)
      add (o, "name", json_object_new_string (tlv_get_str (&r, &f)), ok);
    else if (f.tag == NFS_PROCEDURE_CALLS)
      add (o, "calls", json_object_new_uint64 (tlv_get_u64 (&r, &f)), ok);
    else if (f.tag == NFS_PROCEDURE_ERRORS)
      add (o, "errors", json_object_new_uint64 (tlv_get_u64 (&r, &f)), ok);
    else if (f.tag >= NFS_PROCEDURE_P50 && f.tag <= NFS_PROCEDURE_MAX)
      add (latency, names[f.tag - NFS_PROCEDURE_P50], json_object_new_uint64 (tlv_get_u64 (&r, &f)), ok);
  *ok = *ok && !r.bad;
  if (o && latency)
    add (o, "latencyMicroseconds", latency, ok);
  else
    json_object_put (latency);
  return o;
}

static struct json_object *
server (const struct tlv_field *figures, unsigned restarts, bool *ok)
{
  static const char *const names[] = { [NFS_FIGURES_READ] = "bytesRead",
                                       [NFS_FIGURES_WRITTEN] = "bytesWritten",
                                       [NFS_FIGURES_REPEATED] = "repeated",
                                       [NFS_FIGURES_GARBAGE] = "garbage",
                                       [NFS_FIGURES_CONNECTIONS] = "connections",
                                       [NFS_FIGURES_OBJECTS] = "openFiles" };
  struct json_object *o = json_object_new_object (), *list = json_object_new_array ();
  struct tlv_reader r = tlv_get_record (figures);
  struct tlv_field f;

  if (!o || !list)
    *ok = false;
  while (*ok && tlv_next (&r, &f))
    if (f.tag >= NFS_FIGURES_READ && f.tag <= NFS_FIGURES_GARBAGE)
      add (o, names[f.tag], json_object_new_uint64 (tlv_get_u64 (&r, &f)), ok);
    else if (f.tag == NFS_FIGURES_CONNECTIONS || f.tag == NFS_FIGURES_OBJECTS)
      add (o, names[f.tag], json_object_new_int64 (tlv_get_u32 (&r, &f)), ok);
    else if (f.tag == NFS_FIGURES_PROCEDURE)
      append (list, procedure (tlv_get_record (&f), ok), ok);
  *ok = *ok && !r.bad;
  if (o && list)
    {
      add (o, "restarts", json_object_new_int64 (restarts), ok);
      add (o, "operations", list, ok);
    }
  else
    json_object_put (list);
  return o;
}

char *
rcvmi_volume_figures_json (const struct rcvmi_plan *plan, const struct tlv_field *figures, unsigned restarts,
                           rcvm_error **err)
{
  struct json_object *o = json_object_new_object (), *list = json_object_new_array ();
  const char *text = NULL;
  char *json = NULL;
  bool ok = o && list;

  for (size_t i = 0; ok && i < plan->n_volumes; i++)
    append (list, volume (&plan->volumes[i], &ok), &ok);
  if (o && list)
    {
      add (o, "volumes", list, &ok);
      add (o, "server", server (figures, restarts, &ok), &ok);
    }
  else
    json_object_put (list);
  if (ok)
    text = json_object_to_json_string_ext (o, JSON_C_TO_STRING_NOSLASHESCAPE);
  if (text)
    json = strdup (text);
  json_object_put (o);
  if (!json)
    rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the volume server's figures cannot be understood, or memory is short");
  return json;
}
