/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The container's cgroup where systemd makes all of them: `linux.cgroupsPath` is SLICE:PREFIX:NAME then, as runc and its engines
 * have it, and becomes the unit PREFIX-NAME.scope in the slice SLICE (systemd.slice(5), systemd.scope(5)).
 */
#include "config.h"

#define RCVMI_STAGE "plan"
#include "plan-scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"

enum
{
  UNIT_NAME_MAX = 255
};

#define SLICE ".slice"
/* What systemd takes in the name of a unit. */
#define NAME_CHARACTERS "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:-_.\\@"

static bool
ends_with (const char *s, const char *end)
{
  size_t len = strlen (s), n = strlen (end);

  return len > n && strcmp (s + len - n, end) == 0;
}

static bool
is_name (const char *s)
{
  size_t len = strlen (s);

  return len > 0 && len <= UNIT_NAME_MAX && strspn (s, NAME_CHARACTERS) == len;
}

/* "a-b.slice" -> "/a.slice/a-b.slice"; the root's is "-.slice".  NULL: it is no name of a slice, or there is no memory. */
static char *
expand (const char *slice)
{
  size_t len = strlen (slice) - strlen (SLICE), size;
  char *path = NULL;
  FILE *f = open_memstream (&path, &size);

  for (size_t i = 1; f && i <= len; i++)
    if (i == len || slice[i] == '-')
      fprintf (f, "/%.*s" SLICE, (int) i, slice);
  if (!f || fclose (f) != 0)
    return NULL;
  return path;
}

static bool
is_slice (const char *s)
{
  return is_name (s) && ends_with (s, SLICE) && s[0] != '-' && !strstr (s, "--") && !strstr (s, "-" SLICE);
}

void
rcvmi_scope_clear (struct rcvmi_scope *s)
{
  free (s->unit);
  free (s->slice);
  free (s->path);
  *s = (struct rcvmi_scope){ 0 };
}

int
rcvmi_plan_scope (struct rcvmi_scope *s, const char *cgroups_path, const char *id, rcvm_error **err)
{
  autofree char *text = strdup (cgroups_path && *cgroups_path ? cgroups_path : "");
  const char *slice = "system.slice", *prefix = "runcvm", *name = id, *base;
  autofree char *parents = NULL;
  char *colon;

  *s = (struct rcvmi_scope){ 0 };
  if (!text)
    return rcvmi_fail_nomem (err);
  if (*text)
    {
      char *second = (colon = strchr (text, ':')) ? strchr (colon + 1, ':') : NULL;

      if (!second || strchr (second + 1, ':'))
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "config.json: 'linux.cgroupsPath' is '%.200s', and with the cgroup driver systemd it is SLICE:PREFIX:NAME",
                           cgroups_path);
      *colon = *second = 0;
      slice = *text ? text : slice;
      prefix = colon + 1;
      name = second + 1;
    }
  /* The root's slice has no name in the path. */
  base = strcmp (slice, "-" SLICE) == 0 ? "" : slice;
  if (*base && !is_slice (base))
    return rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json: 'linux.cgroupsPath' has '%.200s', which is no name of a slice of systemd's", slice);
  if (ends_with (name, SLICE))
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "config.json: 'linux.cgroupsPath' wants the slice '%.200s' for the container, whose processes need a scope: name one",
                       name);
  if (asprintf (&s->unit, "%s-%s.scope", prefix, name) < 0)
    s->unit = NULL;
  s->slice = strdup (slice);
  parents = *base ? expand (base) : strdup ("");
  if (!s->unit || !s->slice || !parents || asprintf (&s->path, "%s/%s", parents, s->unit) < 0)
    {
      s->path = NULL;
      rcvmi_scope_clear (s);
      return rcvmi_fail_nomem (err);
    }
  if (*name && is_name (s->unit))
    return 0;
  rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json: 'linux.cgroupsPath' makes the unit '%.200s', which is no name for systemd", s->unit);
  rcvmi_scope_clear (s);
  return RCVM_E_SPEC;
}
