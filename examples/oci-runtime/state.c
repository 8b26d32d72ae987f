/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state as runc prints it, with its further members, and the library's own after them. */
#include "cli.h"

#include <json-c/json.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void
add_text (struct json_object *to, const char *name, const char *value)
{
  json_object_object_add (to, name, json_object_new_string (value ? value : ""));
}

static void
add_date (struct json_object *to, const char *name, struct json_object *seconds)
{
  time_t t = seconds ? (time_t) json_object_get_int64 (seconds) : 0;
  char text[64] = "";
  struct tm tm;

  if (t > 0 && gmtime_r (&t, &tm))
    strftime (text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
  add_text (to, name, text);
}

/* Moves a member: what is taken keeps the order of the rest. */
static struct json_object *
take (struct json_object *from, const char *name)
{
  struct json_object *value = NULL;

  if (json_object_object_get_ex (from, name, &value))
    {
      json_object_get (value);
      json_object_object_del (from, name);
    }
  return value;
}

char *
state_as_runc (const char *state, int pretty)
{
  struct json_object *from = json_tokener_parse (state), *own = NULL, *member = NULL, *to;
  const struct passwd *owner = getpwuid (geteuid ());
  char *text = NULL;

  if (!json_object_is_type (from, json_type_object) || !(to = json_object_new_object ()))
    {
      json_object_put (from);
      return strdup (state);
    }
  json_object_object_get_ex (from, "org.runcvm", &own);
  json_object_object_add (to, "ociVersion", take (from, "ociVersion"));
  json_object_object_add (to, "id", take (from, "id"));
  member = take (from, "pid");
  json_object_object_add (to, "pid", member ? member : json_object_new_int (0));
  json_object_object_add (to, "status", take (from, "status"));
  json_object_object_add (to, "bundle", take (from, "bundle"));
  member = NULL;
  json_object_object_get_ex (own, "rootfs", &member);
  add_text (to, "rootfs", member ? json_object_get_string (member) : "");
  member = NULL;
  json_object_object_get_ex (own, "created", &member);
  add_date (to, "created", member);
  json_object_object_foreach (from, name, value) json_object_object_add (to, name, json_object_get (value));
  add_text (to, "owner", owner ? owner->pw_name : "");
  text = strdup (json_object_to_json_string_ext (
      to, (pretty ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED : JSON_C_TO_STRING_PLAIN) | JSON_C_TO_STRING_NOSLASHESCAPE));
  json_object_put (to);
  json_object_put (from);
  return text;
}
