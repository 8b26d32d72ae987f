/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "plan-limits.h"
#include "plan-parts.h"

enum
{
  /* The clock and the entropy are still to come. */
  RECORD_MAX = AGENT_REQUEST_MAX - 4096
};

int
rcvmi_plan_check_id (const char *id, rcvm_error **err)
{
  size_t n;

  if (!id)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a VM needs an id");
  n = strspn (id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.");
  if (n == 0 || n > 128 || id[n] || strcmp (id, ".") == 0 || strcmp (id, "..") == 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "the id '%.140s' must be 1 to 128 characters out of A-Z a-z 0-9 _ + - . "
                       "and neither '.' nor '..'",
                       id);
  return 0;
}

int
rcvmi_plan_warn (struct rcvmi_plan *plan, rcvm_error **err, const char *fmt, ...)
{
  char buf[512];
  va_list ap;

  va_start (ap, fmt);
  vsnprintf (buf, sizeof buf, fmt, ap);
  va_end (ap);
  return rcvmi_spec_warn (plan->spec, err, "%s", buf);
}

int
rcvmi_plan_check_record (const struct tlv_writer *w, const char *what, rcvm_error **err)
{
  if (w->failed)
    return rcvmi_fail_nomem (err);
  if (w->len > RECORD_MAX)
    return rcvmi_fail (err, RCVM_E_SPEC, 0, "%s take up more than %d MiB", what,
                       AGENT_REQUEST_MAX / RCVMI_MIB);
  return 0;
}

char **
rcvmi_plan_copy_list (struct rcvmi_arena *arena, char *const *list)
{
  size_t n = rcvmi_strv_length (list);
  char **copy = rcvmi_arena_alloc (arena, n + 1, sizeof *copy);

  for (size_t i = 0; copy && i < n; i++)
    if (!(copy[i] = rcvmi_arena_strdup (arena, list[i])))
      return NULL;
  return copy;
}

const char *
rcvmi_plan_find (char *const *list, const char *name)
{
  size_t len = strlen (name);

  for (; list && *list; list++)
    if (strncmp (*list, name, len) == 0 && (*list)[len] == '=')
      return *list + len + 1;
  return NULL;
}

struct entry
{
  const char *text;
  size_t order;
};

/* By the name before '='. */
static int
compare_entries (const void *a, const void *b)
{
  const struct entry *x = a, *y = b;
  size_t nx = strcspn (x->text, "="), ny = strcspn (y->text, "=");
  int c = memcmp (x->text, y->text, nx < ny ? nx : ny);

  if (c)
    return c;
  if (nx != ny)
    return nx < ny ? -1 : 1;
  return x->order < y->order ? -1 : x->order > y->order;
}

static bool
same_name (const char *a, const char *b)
{
  size_t n = strcspn (a, "=");

  return n == strcspn (b, "=") && memcmp (a, b, n) == 0;
}

char **
rcvmi_plan_merge (struct rcvmi_arena *arena, char *const *first, char *const *second)
{
  size_t n_first = rcvmi_strv_length (first), n = n_first + rcvmi_strv_length (second), kept = 0;
  autofree struct entry *entries = calloc (n + 1, sizeof *entries);
  char **merged = rcvmi_arena_alloc (arena, n + 1, sizeof *merged);

  if (!entries || !merged)
    return NULL;
  for (size_t i = 0; i < n; i++)
    entries[i] = (struct entry){ i < n_first ? first[i] : second[i - n_first], i };
  /* Sorted, because the lists are config.json's and may be of any length. */
  qsort (entries, n, sizeof *entries, compare_entries);
  for (size_t i = 0; i < n;)
    {
      size_t last = i;

      while (last + 1 < n && same_name (entries[i].text, entries[last + 1].text))
        last++;
      merged[entries[i].order] = rcvmi_arena_strdup (arena, entries[last].text);
      if (!merged[entries[i].order])
        return NULL;
      i = last + 1;
    }
  for (size_t i = 0; i < n; i++)
    if (merged[i])
      merged[kept++] = merged[i];
  merged[kept] = NULL;
  return merged;
}

static char *
copy_string (const char *s, rcvm_error **err)
{
  char *copy = strdup (s);

  if (!copy)
    rcvmi_fail_nomem (err);
  return copy;
}

static int
plan_rootfs (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  const struct rcvmi_spec *spec = plan->spec;
  const char *path;

  if (options->rootfs && options->rootfs[0] != '/')
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the root file system '%s' must be an absolute path",
                       options->rootfs);
  path = options->rootfs ? options->rootfs : spec->root->path;
  if (path[0] == '/')
    plan->rootfs = strdup (path);
  else if (!spec->bundle)
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "config.json: 'root.path' is '%.200s', which is relative to a bundle, and "
                       "there is none",
                       path);
  else if (asprintf (&plan->rootfs, "%s/%s", spec->bundle, path) < 0)
    plan->rootfs = NULL;
  return plan->rootfs ? 0 : rcvmi_fail_nomem (err);
}

static int
plan_annotations (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  struct rcvmi_spec *spec = plan->spec;
  char **pairs = rcvmi_arena_alloc (&spec->arena, spec->n_annotations + 1, sizeof *pairs);
  char **merged;

  for (char *const *a = options->annotations; a && *a; a++)
    if ((*a)[0] == '=' || !strchr (*a, '='))
      return rcvmi_fail (err, RCVM_E_INVALID, 0,
                         "the annotation '%.100s' is not of the form KEY=VALUE",
                         *a);
  for (size_t i = 0; pairs && i < spec->n_annotations; i++)
    {
      pairs[i] = rcvmi_arena_printf (&spec->arena, "%s=%s", spec->annotations[i].name,
                                     spec->annotations[i].value);
      if (!pairs[i])
        pairs = NULL;
    }
  merged = pairs ? rcvmi_plan_merge (&spec->arena, pairs, options->annotations) : NULL;
  plan->annotations = merged ? rcvmi_strv_copy (merged) : NULL;
  return plan->annotations ? 0 : rcvmi_fail_nomem (err);
}

/* Whatever the host has: what cannot be asked for is said before anything is done. */
static int
plan_limits (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  const struct rcvmi_spec_lx *lx = plan->spec->lx;
  const struct rcvmi_limits_vm vm = { .memory = plan->memory };
  const char *driver = options->cgroup_driver;
  struct rcvmi_limits limits;
  int rc;

  if (driver && strcmp (driver, "systemd") == 0)
    {
      rc = rcvmi_plan_scope (&plan->scope, lx ? lx->cgroups_path : NULL, plan->id, err);
      if (rc < 0)
        return rc;
    }
  else if (driver && strcmp (driver, "cgroupfs") != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the option 'cgroup_driver' is '%.40s', and only cgroupfs and systemd are known",
                       driver);
  rc = rcvmi_plan_limits (&limits, lx ? lx->resources : NULL, &vm, false, err);
  rcvmi_limits_clear (&limits);
  return rc;
}

static int
plan_process (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  struct rcvmi_plan_process changes = {
    .args = options->args,
    .env = options->env,
    .user = options->user,
    .cwd = options->cwd,
    .terminal = options->terminal,
    .rows = options->rows,
    .cols = options->cols,
  };
  int rc = rcvmi_plan_override (plan->spec, &changes, err);

  if (rc < 0)
    return rc;
  rc = rcvmi_plan_seccomp (plan->spec, err);
  if (rc < 0)
    return rc;
  plan->terminal = plan->spec->process->terminal;
  return rcvmi_plan_process (plan->spec, plan->spec, &plan->exec, err);
}

static int
plan_all (struct rcvmi_plan *plan, const struct rcvmi_options *options,
          const struct rcvmi_defaults *defaults, rcvm_error **err)
{
  int rc;

  if (!options->id)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the VM has no id");
  rc = rcvmi_plan_check_id (options->id, err);
  if (rc < 0)
    return rc;
  plan->id = copy_string (options->id, err);
  if (!plan->id)
    return RCVM_E_NOMEM;
  if (plan->spec->bundle && !(plan->bundle = copy_string (plan->spec->bundle, err)))
    return RCVM_E_NOMEM;
  if ((rc = plan_rootfs (plan, options, err)) < 0
      || (rc = plan_annotations (plan, options, err)) < 0
      || (rc = plan_process (plan, options, err)) < 0
      || (rc = rcvmi_plan_machine (plan, options, defaults, err)) < 0
      || (rc = plan_limits (plan, options, err)) < 0
      || (rc = rcvmi_plan_network (plan, options, err)) < 0 || (rc = rcvmi_plan_setup (plan, options, err)) < 0)
    return rc;
  plan->warnings = steal_ptr (plan->spec->warnings);
  return 0;
}

struct rcvmi_plan *
rcvmi_plan_new (struct rcvmi_spec *spec, const struct rcvmi_options *options,
                const struct rcvmi_defaults *defaults, rcvm_error **err)
{
  struct rcvmi_plan *plan = calloc (1, sizeof *plan);

  if (!plan)
    {
      rcvmi_spec_free (spec);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  plan->spec = spec;
  if (plan_all (plan, options, defaults, err) < 0)
    {
      rcvmi_plan_free (plan);
      return NULL;
    }
  return plan;
}

void
rcvmi_plan_free (struct rcvmi_plan *plan)
{
  if (!plan)
    return;
  free (plan->id);
  free (plan->bundle);
  free (plan->rootfs);
  rcvmi_strv_free (plan->annotations);
  free (plan->kernel);
  free (plan->initramfs);
  free (plan->kernel_args);
  rcvmi_tuning_clear (&plan->tuning);
  rcvmi_scope_clear (&plan->scope);
  for (size_t i = 0; i < plan->n_copies; i++)
    {
      free (plan->copies[i].source);
      free (plan->copies[i].destination);
    }
  free (plan->copies);
  rcvmi_plan_disks_clear (plan);
  rcvmi_plan_copy_volumes_clear (plan);
  rcvmi_plan_shares_clear (plan);
  rcvmi_plan_diods_clear (plan);
  for (size_t i = 0; i < plan->n_volumes; i++)
    {
      free (plan->volumes[i].source);
      free (plan->volumes[i].destination);
    }
  free (plan->volumes);
  rcvmi_strv_free (plan->digests);
  rcvmi_plan_network_clear (&plan->net);
  tlv_writer_free (&plan->setup);
  tlv_writer_free (&plan->exec);
  rcvmi_strv_free (plan->warnings);
  rcvmi_spec_free (plan->spec);
  free (plan);
}
