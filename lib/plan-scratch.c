/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * RUNCVM_DISKS: "SRC,DST,FS[,SIZE];...", as RunCVM has it.  SRC is where the disk's file lies, as a path in the container;
 * only where a bind mount or volume is there it has a place on the host that outlives the VM.  Mounts at /disks and below are
 * for such files, and the VM does not see them.
 */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

#include <stdio.h>
#include <string.h>

#include "err.h"

static bool
is_bind (const struct rcvmi_spec_mount *m)
{
  if (m->type && strcmp (m->type, "bind") == 0)
    return true;
  for (char **o = m->options; o && *o; o++)
    if (strcmp (*o, "bind") == 0 || strcmp (*o, "rbind") == 0)
      return true;
  return false;
}

/* What of `path` is below `top`: NULL if it is not. */
static const char *
below (const char *path, const char *top)
{
  size_t n = strlen (top);

  while (n > 0 && top[n - 1] == '/')
    n--;
  if (strncmp (path, top, n) != 0 || path[n] != '/')
    return NULL;
  path += n;
  path += strspn (path, "/");
  return *path ? path : NULL;
}

bool
rcvmi_plan_is_for_disks (const struct rcvmi_plan *plan, const char *destination)
{
  char from[RCVMI_PLAN_FROM];

  return rcvmi_plan_word (plan, "RUNCVM_DISKS", from, sizeof from)
         && (strcmp (destination, "/disks") == 0 || below (destination, "/disks"));
}

/* The mount that shows `path`: the last of those with the longest destination. */
static const struct rcvmi_spec_mount *
find_store (const struct rcvmi_plan *plan, const char *path, const char **rest)
{
  const struct rcvmi_spec_mount *best = NULL;
  size_t longest = 0;

  for (size_t i = 0; i < plan->spec->n_mounts; i++)
    {
      const struct rcvmi_spec_mount *m = &plan->spec->mounts[i];
      const char *r = m->destination ? below (path, m->destination) : NULL;

      if (!r || strlen (m->destination) < longest)
        continue;
      longest = strlen (m->destination);
      *rest = r;
      best = is_bind (m) && m->source && m->source[0] == '/' ? m : NULL;
    }
  return best;
}

static bool
is_clean (const char *path)
{
  return path[0] == '/' && path[strspn (path, "/")] && !strstr (path, "/../") && !strstr (path, "/./")
         && (strlen (path) < 3 || strcmp (path + strlen (path) - 3, "/..") != 0);
}

static int
add (struct rcvmi_plan *plan, const char *from, char *text, rcvm_error **err)
{
  struct rcvmi_plan_disk disk = { .kind = RCVMI_PLAN_DISK_SCRATCH };
  const struct rcvmi_spec_mount *store;
  char *field[5] = { NULL };
  const char *rest;
  size_t n = 0;

  for (char *f; n < 5 && (f = strsep (&text, ","));)
    field[n++] = f;
  if (n < 3 || n > 4 || !is_clean (field[0]) || !is_clean (field[1]))
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s has a disk '%.100s' that is not of the form SRC,DST,FS[,SIZE] with absolute paths", from,
                       field[0] ? field[0] : "");
  if (field[3])
    {
      disk.size = rcvmi_plan_parse_size (field[3]);
      if (disk.size == 0)
        return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s gives the disk '%.100s' the size '%.40s', which is none like 512M or 5G",
                           from, field[0], field[3]);
    }
  if (strcmp (field[2], "ext4") != 0)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "%s wants the disk '%.100s' to be of type '%.40s': only ext4 can be made here", from, field[0],
                       field[2]);
  disk.target = field[1];
  store = find_store (plan, field[0], &rest);
  if (store)
    {
      disk.store = store->source;
      disk.source = (char *) rest;
    }
  else
    {
      int rc = rcvmi_plan_warn (plan, err,
                                "the disk '%.100s' of %s lies in no volume: it is gone with the VM; mount one at /disks",
                                field[0], from);

      if (rc < 0)
        return rc;
    }
  return rcvmi_plan_add_scratch (plan, &disk, err);
}

int
rcvmi_plan_scratch_disks (struct rcvmi_plan *plan, rcvm_error **err)
{
  char from[RCVMI_PLAN_FROM], *text, *disk;
  const char *word = rcvmi_plan_word (plan, "RUNCVM_DISKS", from, sizeof from);
  int rc = 0;

  if (!word)
    return 0;
  text = rcvmi_arena_strdup (&plan->spec->arena, word);
  if (!text)
    return rcvmi_fail_nomem (err);
  while (rc == 0 && (disk = strsep (&text, ";")))
    if (*disk)
      rc = add (plan, from, disk, err);
  return rc;
}
