/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "spec"

#include "spec-check.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/major.h>

#include "err.h"

enum
{
  NEWEST_MINOR = 3
};

static int
missing (rcvm_error **err, const char *what)
{
  return rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json: '%s' is missing", what);
}

static int
must_be_absolute (rcvm_error **err, const char *what, const char *path)
{
  if (path[0] == '/')
    return 0;
  return rcvmi_fail (err, RCVM_E_SPEC, 0,
                     "config.json: '%s' is '%.200s' and must be an absolute path",
                     what, path);
}

/* "1.0.2-dev", "1.3.0+dev". */
static bool
parse_version (const char *v, unsigned long numbers[3])
{
  for (int i = 0; i < 3; i++)
    {
      char *end;

      if (!isdigit ((unsigned char) *v) || strspn (v, "0123456789") > 5)
        return false;
      numbers[i] = strtoul (v, &end, 10);
      if (i < 2 && *end++ != '.')
        return false;
      v = end;
    }
  if (*v && *v != '-' && *v != '+')
    return false;
  for (; *v; v++)
    if (!isalnum ((unsigned char) *v) && !strchr (".+-", *v))
      return false;
  return true;
}

static int
check_version (struct rcvmi_spec *spec, rcvm_error **err)
{
  const char *v = spec->oci_version;
  unsigned long numbers[3];

  if (!parse_version (v, numbers))
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "config.json: 'ociVersion' is '%.40s' and must be a version like 1.0.2", v);
  if (numbers[0] != 1)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "config.json: 'ociVersion' is %.40s, and versions 1.0 to 1.%d are known", v,
                       NEWEST_MINOR);
  if (numbers[1] > NEWEST_MINOR)
    return rcvmi_spec_warn (spec, err,
                            "config.json is of version %.40s; what is newer than 1.%d is not known",
                            v,
                            NEWEST_MINOR);
  return 0;
}

static int
check_env (const char *name, char *const *env, rcvm_error **err)
{
  for (size_t i = 0; env && env[i]; i++)
    if (env[i][0] == '=' || !strchr (env[i], '='))
      /* The value may be a secret: it is not shown. */
      return rcvmi_fail (err, RCVM_E_SPEC, 0, "'%s.env[%zu]' is not of the form NAME=VALUE", name,
                         i);
  return 0;
}

int
rcvmi_spec_check_process (const struct rcvmi_spec_process *p,
                          const struct rcvmi_spec_given *given, const char *name, rcvm_error **err)
{
  if (!given->args)
    {
      if (!p->args)
        return rcvmi_fail (err, RCVM_E_SPEC, 0, "'%s.args' is empty: it must name a program", name);
      if (!p->args[0][0])
        return rcvmi_fail (err, RCVM_E_SPEC, 0, "'%s.args[0]' is empty: it must name a program",
                           name);
    }
  if (!given->cwd)
    {
      if (!p->cwd)
        return rcvmi_fail (err, RCVM_E_SPEC, 0, "'%s.cwd' is missing", name);
      if (p->cwd[0] != '/')
        return rcvmi_fail (err, RCVM_E_SPEC, 0, "'%s.cwd' is '%.200s' and must be an absolute path",
                           name, p->cwd);
    }
  return check_env (name, p->env, err);
}

static int
check_hooks (const char *kind, const struct rcvmi_spec_hook *hooks, size_t n, rcvm_error **err)
{
  char name[64];
  int rc;

  for (size_t i = 0; i < n; i++)
    {
      snprintf (name, sizeof name, "hooks.%s[%zu]", kind, i);
      rc = check_env (name, hooks[i].env, err);
      if (rc < 0)
        return rc;
      snprintf (name, sizeof name, "hooks.%s[%zu].path", kind, i);
      rc = must_be_absolute (err, name, hooks[i].path);
      if (rc < 0)
        return rc;
    }
  return 0;
}

static int
check_all_hooks (const struct rcvmi_spec_hooks *h, rcvm_error **err)
{
  int rc = check_hooks ("prestart", h->prestart, h->n_prestart, err);

  if (rc == 0)
    rc = check_hooks ("createRuntime", h->create_runtime, h->n_create_runtime, err);
  if (rc == 0)
    rc = check_hooks ("createContainer", h->create_container, h->n_create_container, err);
  if (rc == 0)
    rc = check_hooks ("startContainer", h->start_container, h->n_start_container, err);
  if (rc == 0)
    rc = check_hooks ("poststart", h->poststart, h->n_poststart, err);
  if (rc == 0)
    rc = check_hooks ("poststop", h->poststop, h->n_poststop, err);
  return rc;
}

/* A name that sethostname(2) takes. */
static int
check_host_name (const char *what, const char *name, rcvm_error **err)
{
  if (name && strlen (name) > HOST_NAME_MAX)
    return rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json: '%s' is longer than %d bytes", what,
                       HOST_NAME_MAX);
  return 0;
}

/* One that joins the namespaces of a pod's sandbox, as containerd's CRI plugin and CRI-O say it. */
static bool
is_in_pod (const struct rcvmi_spec *spec)
{
  static const char *const names[] = { "io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType" };

  for (size_t i = 0; i < spec->n_annotations; i++)
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
      if (strcmp (spec->annotations[i].name, names[n]) == 0 && strcmp (spec->annotations[i].value, "container") == 0)
        return true;
  return false;
}

/* The network is the one thing that a VM and a namespace of the host can be joined by.  Containers of a pod are all told to join the
   others, too, and few need it. */
static int
check_foreign_namespace (struct rcvmi_spec *spec, const char *name, const char *type, rcvm_error **err)
{
  static const char *const of_pods[] = { "pid", "ipc", "uts" };

  if (strcmp (type, "network") == 0)
    return 0;
  for (size_t i = 0; i < sizeof of_pods / sizeof of_pods[0]; i++)
    if (strcmp (type, of_pods[i]) == 0 && is_in_pod (spec))
      return rcvmi_spec_warn (spec, err, "'%s' has no effect: a VM cannot join the %s namespace of its pod, and has one of its own",
                              name, type);
  return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                     "config.json: '%s' cannot be honoured: a VM cannot join the %s namespace of other processes", name, type);
}

static int
check_namespaces (struct rcvmi_spec *spec, rcvm_error **err)
{
  const struct rcvmi_spec_lx *lx = spec->lx;
  static const char *const types[] = { "pid", "network", "mount", "ipc", "uts", "user", "cgroup",
                                       "time" };
  bool seen[sizeof types / sizeof types[0]] = { 0 };

  for (size_t i = 0; i < lx->n_namespaces; i++)
    {
      const struct rcvmi_spec_namespace *ns = &lx->namespaces[i];
      char name[64];
      size_t t = 0;
      int rc;

      while (t < sizeof types / sizeof types[0] && strcmp (types[t], ns->type) != 0)
        t++;
      if (t == sizeof types / sizeof types[0])
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "config.json: 'linux.namespaces[%zu].type' is '%.40s', which is no "
                           "namespace",
                           i, ns->type);
      if (seen[t])
        return rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json: 'linux.namespaces' has '%s' twice",
                           ns->type);
      seen[t] = true;
      if (!ns->path || !ns->path[0])
        continue;
      snprintf (name, sizeof name, "linux.namespaces[%zu].path", i);
      rc = must_be_absolute (err, name, ns->path);
      if (rc < 0)
        return rc;
      rc = check_foreign_namespace (spec, name, ns->type, err);
      if (rc < 0)
        return rc;
    }
  return 0;
}

/* Docker's --privileged lists each device of the host.  Those that a VM cannot have are not missed. */
bool
rcvmi_spec_has_all_devices (const struct rcvmi_spec_lx *lx)
{
  for (size_t i = 0; lx->resources && i < lx->resources->n_devices; i++)
    {
      const struct rcvmi_spec_device_rule *r = &lx->resources->devices[i];

      if (r->allow && (!r->type || !*r->type || strcmp (r->type, "a") == 0) && !r->major.set && !r->minor.set)
        return true;
    }
  return false;
}

static int
check_devices (const struct rcvmi_spec_lx *lx, rcvm_error **err)
{
  for (size_t i = 0; i < lx->n_devices; i++)
    {
      const struct rcvmi_spec_device *d = &lx->devices[i];
      char name[64];
      int rc;

      snprintf (name, sizeof name, "linux.devices[%zu].path", i);
      rc = must_be_absolute (err, name, d->path);
      if (rc < 0)
        return rc;
      if (strlen (d->type) != 1 || !strchr ("cbup", d->type[0]))
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "config.json: 'linux.devices[%zu].type' is '%.20s' and must be c, b, u "
                           "or p", i,
                           d->type);
      if (d->type[0] != 'p' && (!d->major.set || !d->minor.set))
        return rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json: 'linux.devices[%zu].%s' is missing",
                           i,
                           d->major.set ? "minor" : "major");
      /* Loop devices are the guest's own. */
      if (d->type[0] == 'b' && d->major.value != LOOP_MAJOR && !rcvmi_spec_has_all_devices (lx))
        return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                           "config.json: 'linux.devices[%zu]' (%.200s) is a disk of the host, "
                           "which a VM cannot reach by its device number",
                           i, d->path);
    }
  return 0;
}

/* What has no place in the agent's records. */
static int
check_unavailable (const struct rcvmi_spec_lx *lx, rcvm_error **err)
{
  for (size_t i = 0; i < lx->n_time_offsets; i++)
    if (lx->time_offsets[i].secs.value || lx->time_offsets[i].nanosecs.value)
      return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                         "config.json: 'linux.timeOffsets.%.40s' cannot be honoured: the guest's "
                         "clocks have no offsets",
                         lx->time_offsets[i].clock);
  if (lx->personality && strcmp (lx->personality->domain, "LINUX") != 0)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "config.json: 'linux.personality.domain' is '%.40s', and only LINUX is "
                       "supported",
                       lx->personality->domain);
  if (lx->personality && lx->personality->flags)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "config.json: 'linux.personality.flags' has '%.40s', and no flags are "
                       "supported",
                       lx->personality->flags[0]);
  if (lx->n_net_devices)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "config.json: 'linux.netDevices.%.40s' cannot be honoured: interfaces of "
                       "the host cannot be moved into a VM",
                       lx->net_devices[0].host_name);
  return 0;
}

static int
check_paths (const char *what, char *const *paths, rcvm_error **err)
{
  for (size_t i = 0; paths && paths[i]; i++)
    {
      char name[64];
      int rc;

      snprintf (name, sizeof name, "linux.%s[%zu]", what, i);
      rc = must_be_absolute (err, name, paths[i]);
      if (rc < 0)
        return rc;
    }
  return 0;
}

static int
check_linux (struct rcvmi_spec *spec, rcvm_error **err)
{
  const struct rcvmi_spec_lx *lx = spec->lx;
  int rc = check_namespaces (spec, err);

  if (rc == 0)
    rc = check_paths ("maskedPaths", lx->masked_paths, err);
  if (rc == 0)
    rc = check_paths ("readonlyPaths", lx->readonly_paths, err);
  if (rc == 0)
    rc = check_devices (lx, err);
  if (rc == 0)
    rc = check_unavailable (lx, err);
  return rc;
}

int
rcvmi_spec_check (struct rcvmi_spec *spec, const struct rcvmi_spec_given *given, rcvm_error **err)
{
  int rc = check_version (spec, err);

  if (rc < 0)
    return rc;
  if (!given->root)
    {
      if (!spec->root)
        return missing (err, "root");
      if (!spec->root->path[0])
        return rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json: 'root.path' is empty");
    }
  rc = rcvmi_spec_check_process (spec->process, given, "process", err);
  for (size_t i = 0; rc == 0 && i < spec->n_mounts; i++)
    if (!spec->mounts[i].destination[0])
      rc = rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json: 'mounts[%zu].destination' is empty", i);
  for (size_t i = 0; rc == 0 && i < spec->n_annotations; i++)
    if (strchr (spec->annotations[i].name, '='))
      rc = rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "config.json: the annotation '%.100s' has a '=' in its name",
                       spec->annotations[i].name);
  if (rc == 0)
    rc = check_host_name ("hostname", spec->hostname, err);
  if (rc == 0)
    rc = check_host_name ("domainname", spec->domainname, err);
  if (rc == 0 && spec->hooks)
    rc = check_all_hooks (spec->hooks, err);
  if (rc == 0 && spec->lx)
    rc = check_linux (spec, err);
  return rc;
}
