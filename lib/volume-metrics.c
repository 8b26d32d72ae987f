/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The volume server's figures as metrics.  It has one set of figures for all volumes of its VM. */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "volume-metrics.h"

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include <json-c/json.h>

#include "err.h"

static const struct
{
  const char *key, *name, *type, *help;
} of_server[] = {
  { "bytesRead", "runcvm_volume_read_bytes_total", "counter", "Bytes read from volumes, since their server was started." },
  { "bytesWritten", "runcvm_volume_written_bytes_total", "counter", "Bytes written to volumes, since their server was started." },
  { "repeated", "runcvm_volume_repeated_calls_total", "counter", "Calls of the guest that were answered once more." },
  { "garbage", "runcvm_volume_garbage_calls_total", "counter", "Calls of the guest that made no sense." },
  { "restarts", "runcvm_volume_server_restarts_total", "counter", "How often the volume server had to be started again." },
  { "connections", "runcvm_volume_connections", "gauge", "Connections of the guest to the volume server." },
  { "openFiles", "runcvm_volume_open_files", "gauge", "Files and directories that the volume server keeps open." },
};

static const struct
{
  const char *key, *name, *help;
} of_operation[] = {
  { "calls", "runcvm_volume_operations_total", "Operations on volumes, since their server was started." },
  { "errors", "runcvm_volume_operation_errors_total", "Those of them that were answered with an error." },
};

static const struct
{
  const char *key, *quantile;
} quantiles[] = { { "p50", "0.5" }, { "p90", "0.9" }, { "p99", "0.99" }, { "p999", "0.999" }, { "max", "1" } };

static void
put_head (FILE *f, const char *name, const char *type, const char *help)
{
  fprintf (f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
put_label (FILE *f, const char *name, const char *value)
{
  fprintf (f, ",%s=\"", name);
  for (; *value; value++)
    if (*value == '\n')
      fputs ("\\n", f);
    else
      {
        if (*value == '"' || *value == '\\')
          fputc ('\\', f);
        fputc (*value, f);
      }
  fputc ('"', f);
}

static const char *
text_of (struct json_object *o, const char *key)
{
  struct json_object *value;
  const char *text = json_object_object_get_ex (o, key, &value) ? json_object_get_string (value) : NULL;

  return text ? text : "";
}

static uint64_t
number_of (struct json_object *o, const char *key)
{
  struct json_object *value;

  return json_object_object_get_ex (o, key, &value) ? json_object_get_uint64 (value) : 0;
}

static void
put_volumes (FILE *f, const char *id, struct json_object *list)
{
  put_head (f, "runcvm_volume_info", "gauge", "The live volumes of the VM.");
  for (size_t i = 0; i < json_object_array_length (list); i++)
    {
      struct json_object *v = json_object_array_get_idx (list, i);

      fprintf (f, "runcvm_volume_info{id=\"%s\"", id);
      put_label (f, "source", text_of (v, "source"));
      put_label (f, "destination", text_of (v, "destination"));
      put_label (f, "identity", text_of (v, "identity"));
      put_label (f, "consistency", text_of (v, "consistency"));
      put_label (f, "readonly", text_of (v, "readOnly"));
      fputs ("} 1\n", f);
    }
}

static void
put_operations (FILE *f, const char *id, struct json_object *list)
{
  struct json_object *latency;
  size_t n = json_object_array_length (list);

  for (size_t i = 0; i < sizeof of_operation / sizeof of_operation[0]; i++)
    {
      put_head (f, of_operation[i].name, "counter", of_operation[i].help);
      for (size_t j = 0; j < n; j++)
        {
          struct json_object *o = json_object_array_get_idx (list, j);

          fprintf (f, "%s{id=\"%s\"", of_operation[i].name, id);
          put_label (f, "operation", text_of (o, "name"));
          fprintf (f, "} %" PRIu64 "\n", number_of (o, of_operation[i].key));
        }
    }
  put_head (f, "runcvm_volume_operation_seconds", "gauge", "How long an operation took, from its arrival to the answer; quantile 1 is the longest.");
  for (size_t j = 0; j < n; j++)
    {
      struct json_object *o = json_object_array_get_idx (list, j);

      for (size_t i = 0; json_object_object_get_ex (o, "latencyMicroseconds", &latency) && i < sizeof quantiles / sizeof quantiles[0]; i++)
        {
          uint64_t usec = number_of (latency, quantiles[i].key);

          fprintf (f, "runcvm_volume_operation_seconds{id=\"%s\"", id);
          put_label (f, "operation", text_of (o, "name"));
          fprintf (f, ",quantile=\"%s\"} %" PRIu64 ".%06" PRIu64 "\n", quantiles[i].quantile, usec / 1000000, usec % 1000000);
        }
    }
}

int
rcvmi_volume_metrics (FILE *f, const char *id, const char *json, rcvm_error **err)
{
  struct json_object *o = json_tokener_parse (json), *list, *server, *operations;

  if (!o || !json_object_object_get_ex (o, "volumes", &list) || !json_object_is_type (list, json_type_array))
    {
      json_object_put (o);
      return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the figures of the volumes cannot be understood");
    }
  if (json_object_array_length (list))
    put_volumes (f, id, list);
  if (json_object_object_get_ex (o, "server", &server))
    {
      for (size_t i = 0; i < sizeof of_server / sizeof of_server[0]; i++)
        {
          put_head (f, of_server[i].name, of_server[i].type, of_server[i].help);
          fprintf (f, "%s{id=\"%s\"} %" PRIu64 "\n", of_server[i].name, id, number_of (server, of_server[i].key));
        }
      if (json_object_object_get_ex (server, "operations", &operations) && json_object_is_type (operations, json_type_array))
        put_operations (f, id, operations);
    }
  json_object_put (o);
  return 0;
}
