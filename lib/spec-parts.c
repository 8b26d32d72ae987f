/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hooks that another process runs: as text, and back. */
#include "config.h"

#define RCVMI_STAGE "spec"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "json.h"
#include "spec-json.h"

static struct json_object *
strings (struct rcvmi_json *b, char *const *list)
{
  struct json_object *array = json_object_new_array ();

  for (; *list; list++)
    rcvmi_json_append (b, array, json_object_new_string (*list));
  return array;
}

char *
rcvmi_spec_hooks_to_json (const struct rcvmi_spec_hooks *hooks, rcvm_error **err)
{
  struct json_object *o = json_object_new_object (), *list = json_object_new_array ();
  struct rcvmi_json b = { false };
  const char *text = NULL;
  char *copy = NULL;

  for (size_t i = 0; i < hooks->n_poststop; i++)
    {
      const struct rcvmi_spec_hook *h = &hooks->poststop[i];
      struct json_object *hook = rcvmi_json_append_object (&b, list);

      rcvmi_json_put_str (&b, hook, "path", h->path);
      if (h->args)
        rcvmi_json_put (&b, hook, "args", strings (&b, h->args));
      if (h->env)
        rcvmi_json_put (&b, hook, "env", strings (&b, h->env));
      if (h->timeout.set)
        rcvmi_json_put_int (&b, hook, "timeout", h->timeout.value);
    }
  rcvmi_json_put (&b, o, "poststop", list);
  if (!b.failed)
    text = json_object_to_json_string_ext (o, JSON_C_TO_STRING_PLAIN);
  if (text)
    copy = strdup (text);
  json_object_put (o);
  if (!copy)
    rcvmi_fail_nomem (err);
  return copy;
}

struct rcvmi_spec *
rcvmi_spec_parse_hooks (const char *json, rcvm_error **err)
{
  struct rcvmi_spec *spec = calloc (1, sizeof *spec);

  if (spec)
    spec->hooks = rcvmi_arena_alloc (&spec->arena, 1, sizeof *spec->hooks);
  if (!spec || !spec->hooks)
    rcvmi_fail_nomem (err);
  else if (rcvmi_json_read (spec, "the state's hooks", json, strlen (json), &rcvmi_spec_hooks_schema, spec->hooks, err) == 0)
    return spec;
  rcvmi_spec_free (spec);
  return NULL;
}

struct rcvmi_spec *
rcvmi_spec_parse_resources (const char *json, rcvm_error **err)
{
  struct rcvmi_spec *spec = calloc (1, sizeof *spec);

  if (spec)
    spec->lx = rcvmi_arena_alloc (&spec->arena, 1, sizeof *spec->lx);
  if (spec && spec->lx)
    spec->lx->resources = rcvmi_arena_alloc (&spec->arena, 1, sizeof *spec->lx->resources);
  if (!spec || !spec->lx || !spec->lx->resources)
    rcvmi_fail_nomem (err);
  else if (rcvmi_json_read (spec, "the new limits", json, strlen (json), &rcvmi_spec_resources_schema, spec->lx->resources, err)
           == 0)
    return spec;
  rcvmi_spec_free (spec);
  return NULL;
}
