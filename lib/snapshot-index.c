/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The index of a snapshot: a SHA-256 of what follows, and JSON. */
#include "config.h"

#define RCVMI_STAGE "snapshot"
#include "snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include <runcvm/version.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "json.h"

#define FORMAT 3

enum
{
  INDEX_MAX = 64 * 1024
};

static struct json_object *
hex_json (const uint8_t *data, size_t len)
{
  char text[2 * 32 + 1] = "";

  for (size_t i = 0; i < len && i < 32; i++)
    snprintf (text + 2 * i, 3, "%02x", data[i]);
  return json_object_new_string (text);
}

static struct json_object *
to_json (const struct rcvmi_snapshot *s, struct rcvmi_json *b)
{
  struct json_object *o = json_object_new_object (), *streams = json_object_new_object (), *nics = json_object_new_array (),
                     *disks = json_object_new_array ();

  rcvmi_json_put_int (b, o, "format", FORMAT);
  rcvmi_json_put_str (b, o, "library", RCVM_VERSION_STRING);
  rcvmi_json_put_str (b, o, "id", s->id);
  rcvmi_json_put_str (b, o, "machine", s->machine);
  if (s->depth)
    {
      rcvmi_json_put_str (b, o, "parent", s->parent);
      rcvmi_json_put_str (b, o, "parentDigest", s->parent_digest);
      rcvmi_json_put_str (b, o, "changesDigest", s->changes_digest);
      rcvmi_json_put_int (b, o, "depth", s->depth);
    }
  rcvmi_json_put_str (b, o, "vmm", s->vmm);
  rcvmi_json_put_int (b, o, "vmmVersion", s->version);
  rcvmi_json_put_str (b, o, "cpu", s->cpu);
  rcvmi_json_put_str (b, o, "shape", s->shape);
  rcvmi_json_put_str (b, o, "base", s->base);
  if (s->hotplug)
    rcvmi_json_put (b, o, "hotplug", json_object_new_boolean (true));
  rcvmi_json_put_int (b, o, "memory", (int64_t) s->memory);
  rcvmi_json_put_int (b, o, "state", (int64_t) s->state);
  rcvmi_json_put_str (b, o, "stateDigest", s->state_digest);
  rcvmi_json_put_str (b, o, "optionsDigest", s->options_digest);
  rcvmi_json_put_int (b, o, "guestPid", s->guest_pid);
  rcvmi_json_put_int (b, streams, "inCredit", s->streams.in_credit);
  rcvmi_json_put_int (b, streams, "inEnded", s->streams.in_ended);
  rcvmi_json_put_int (b, streams, "outOwed", s->streams.owed[0]);
  rcvmi_json_put_int (b, streams, "outEnded", s->streams.ended[0]);
  rcvmi_json_put_int (b, streams, "outBroken", s->streams.broken[0]);
  rcvmi_json_put_int (b, streams, "errOwed", s->streams.owed[1]);
  rcvmi_json_put_int (b, streams, "errEnded", s->streams.ended[1]);
  rcvmi_json_put_int (b, streams, "errBroken", s->streams.broken[1]);
  rcvmi_json_put (b, o, "streams", streams);
  for (size_t i = 0; i < s->n_nics; i++)
    {
      struct json_object *nic = rcvmi_json_append_object (b, nics);

      rcvmi_json_put_int (b, nic, "number", s->nics[i].number);
      rcvmi_json_put (b, nic, "mac", hex_json (s->nics[i].mac, sizeof s->nics[i].mac));
    }
  rcvmi_json_put (b, o, "nics", nics);
  for (size_t i = 0; i < s->n_disks; i++)
    {
      struct json_object *disk = rcvmi_json_append_object (b, disks);

      rcvmi_json_put_str (b, disk, "serial", s->disks[i].serial);
      rcvmi_json_put_int (b, disk, "size", (int64_t) s->disks[i].size);
      rcvmi_json_put_int (b, disk, "stored", (int64_t) s->disks[i].stored);
      rcvmi_json_put_int (b, disk, "places", (int64_t) s->disks[i].n_places);
      rcvmi_json_put_str (b, disk, "placesDigest", s->disks[i].digest);
    }
  rcvmi_json_put (b, o, "disks", disks);
  if (s->has_key)
    rcvmi_json_put (b, o, "volumesKey", hex_json (s->key, sizeof s->key));
  return o;
}

int
rcvmi_snapshot_encode (struct rcvmi_snapshot *s, char **text, rcvm_error **err)
{
  struct rcvmi_json b = { false };
  struct json_object *o = to_json (s, &b);
  const char *json = o && !b.failed ? json_object_to_json_string_ext (o, JSON_C_TO_STRING_PRETTY) : NULL;
  int n = -1;

  if (json)
    {
      rcvmi_snapshot_digest (json, strlen (json), s->digest);
      n = asprintf (text, "%s\n%s", s->digest, json);
    }
  json_object_put (o);
  if (n >= 0)
    return 0;
  *text = NULL;
  return rcvmi_fail_nomem (err);
}

/* It is read. */

struct source
{
  struct json_object *o;
  bool bad;
};

static struct json_object *
get (struct source *s, const char *key, enum json_type type)
{
  struct json_object *v = NULL;

  if (!s->o || !json_object_object_get_ex (s->o, key, &v) || json_object_get_type (v) != type)
    {
      s->bad = true;
      return NULL;
    }
  return v;
}

static uint64_t
number (struct source *s, const char *key, uint64_t max)
{
  struct json_object *v = get (s, key, json_type_int);
  int64_t n = v ? json_object_get_int64 (v) : 0;

  if (n < 0 || (uint64_t) n > max)
    s->bad = true;
  return s->bad ? 0 : (uint64_t) n;
}

static void
path (struct source *s, const char *key, char *out, size_t size)
{
  struct json_object *v = get (s, key, json_type_string);
  const char *value = v ? json_object_get_string (v) : "";

  if (strlen (value) >= size || value[0] == '/')
    s->bad = true;
  else
    snprintf (out, size, "%s", value);
}

static void
text (struct source *s, const char *key, char *out, size_t size)
{
  struct json_object *v = get (s, key, json_type_string);
  const char *value = v ? json_object_get_string (v) : "";

  if (strlen (value) >= size || strchr (value, '/'))
    s->bad = true;
  else
    snprintf (out, size, "%s", value);
}

static void
bytes (struct source *s, const char *key, uint8_t *out, size_t len)
{
  char hex[65] = "";

  text (s, key, hex, sizeof hex);
  if (strlen (hex) != 2 * len || strspn (hex, "0123456789abcdef") != 2 * len)
    s->bad = true;
  for (size_t i = 0; !s->bad && i < len; i++)
    {
      char pair[3] = { hex[2 * i], hex[2 * i + 1], 0 };

      out[i] = (uint8_t) strtoul (pair, NULL, 16);
    }
}

static void
take_lists (struct rcvmi_snapshot *s, struct source *f)
{
  struct json_object *nics = get (f, "nics", json_type_array), *disks = get (f, "disks", json_type_array);

  s->n_nics = nics ? json_object_array_length (nics) : 0;
  s->n_disks = disks ? json_object_array_length (disks) : 0;
  if (s->n_nics > RCVMI_VMM_NICS || s->n_disks > RCVMI_VMM_DISKS)
    f->bad = true;
  for (size_t i = 0; !f->bad && i < s->n_nics; i++)
    {
      struct source n = { json_object_array_get_idx (nics, i), false };

      s->nics[i].number = (unsigned) number (&n, "number", UINT16_MAX);
      bytes (&n, "mac", s->nics[i].mac, sizeof s->nics[i].mac);
      f->bad |= n.bad;
    }
  for (size_t i = 0; !f->bad && i < s->n_disks; i++)
    {
      struct source d = { json_object_array_get_idx (disks, i), false };

      text (&d, "serial", s->disks[i].serial, sizeof s->disks[i].serial);
      s->disks[i].size = number (&d, "size", INT64_MAX);
      s->disks[i].stored = number (&d, "stored", INT64_MAX);
      s->disks[i].n_places = number (&d, "places", RCVMI_SNAPSHOT_PLACES);
      text (&d, "placesDigest", s->disks[i].digest, sizeof s->disks[i].digest);
      f->bad |= d.bad;
    }
}

static void
take_streams (struct rcvmi_streams_saved *t, struct source *f)
{
  struct source s = { get (f, "streams", json_type_object), false };

  t->in_credit = (uint32_t) number (&s, "inCredit", AGENT_WINDOW);
  t->in_ended = number (&s, "inEnded", 1);
  t->owed[0] = (uint32_t) number (&s, "outOwed", AGENT_WINDOW);
  t->ended[0] = number (&s, "outEnded", 1);
  t->broken[0] = number (&s, "outBroken", 1);
  t->owed[1] = (uint32_t) number (&s, "errOwed", AGENT_WINDOW);
  t->ended[1] = number (&s, "errEnded", 1);
  t->broken[1] = number (&s, "errBroken", 1);
  f->bad |= s.bad;
}

int
rcvmi_snapshot_parse (struct rcvmi_snapshot *s, const char *data, size_t len, const char **why)
{
  char hex[RCVMI_SHA256_HEX + 1], library[64] = "";
  struct source f = { 0 };

  memset (s, 0, sizeof *s);
  *why = "its index is damaged";
  if (len <= RCVMI_SHA256_HEX || data[RCVMI_SHA256_HEX] != '\n')
    return 1;
  rcvmi_snapshot_digest (data + RCVMI_SHA256_HEX + 1, len - RCVMI_SHA256_HEX - 1, hex);
  if (memcmp (hex, data, RCVMI_SHA256_HEX) != 0)
    return 1;
  f.o = json_tokener_parse (data + RCVMI_SHA256_HEX + 1);
  text (&f, "library", library, sizeof library);
  if (!f.bad && (number (&f, "format", UINT32_MAX) != FORMAT || strcmp (library, RCVM_VERSION_STRING) != 0))
    {
      *why = "another version of libruncvm has made it";
      json_object_put (f.o);
      return 1;
    }
  memcpy (s->digest, hex, sizeof s->digest);
  text (&f, "id", s->id, sizeof s->id);
  text (&f, "machine", s->machine, sizeof s->machine);
  if (f.o && json_object_object_get_ex (f.o, "depth", NULL))
    {
      s->depth = (unsigned) number (&f, "depth", RCVMI_SNAPSHOT_DEEP);
      path (&f, "parent", s->parent, sizeof s->parent);
      text (&f, "parentDigest", s->parent_digest, sizeof s->parent_digest);
      text (&f, "changesDigest", s->changes_digest, sizeof s->changes_digest);
      f.bad |= s->depth == 0 || !s->parent[0];
    }
  text (&f, "vmm", s->vmm, sizeof s->vmm);
  s->version = (unsigned) number (&f, "vmmVersion", UINT32_MAX);
  text (&f, "cpu", s->cpu, sizeof s->cpu);
  text (&f, "shape", s->shape, sizeof s->shape);
  text (&f, "base", s->base, sizeof s->base);
  s->hotplug = f.o && json_object_object_get_ex (f.o, "hotplug", NULL);
  s->memory = number (&f, "memory", INT64_MAX);
  s->state = number (&f, "state", RCVMI_SNAPSHOT_STATE_MAX);
  text (&f, "stateDigest", s->state_digest, sizeof s->state_digest);
  text (&f, "optionsDigest", s->options_digest, sizeof s->options_digest);
  s->guest_pid = (uint32_t) number (&f, "guestPid", UINT32_MAX);
  take_streams (&s->streams, &f);
  take_lists (s, &f);
  s->has_key = f.o && json_object_object_get_ex (f.o, "volumesKey", NULL);
  if (s->has_key)
    bytes (&f, "volumesKey", s->key, sizeof s->key);
  json_object_put (f.o);
  return f.bad;
}

int
rcvmi_snapshot_read_index (struct rcvmi_snapshot *s, int dir_fd, const char *dir, rcvm_error **err)
{
  autofree char *index = NULL;
  const char *why;
  size_t len;
  int code = rcvmi_snapshot_read_file (dir_fd, dir, "index", INDEX_MAX, &index, &len, err);

  if (code < 0)
    return code;
  if (rcvmi_snapshot_parse (s, index, len, &why) != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.200s' cannot be restored: %s", dir, why);
  return 0;
}
