/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The OCI features document: what config.json may ask of this library, whatever the host. */
#include "config.h"

#define RCVMI_STAGE "spec"

#include <runcvm/spec.h>

#include <string.h>

#include <json-c/json.h>

#include "err.h"
#include "json.h"
#include "plan-parts.h"
#include "visibility.h"

static struct json_object *
names (struct rcvmi_json *b, const struct rcvmi_name *table)
{
  struct json_object *array = json_object_new_array ();

  for (; table->name; table++)
    rcvmi_json_append (b, array, json_object_new_string (table->name));
  return array;
}

static struct json_object *
strings (struct rcvmi_json *b, const char *const *list)
{
  struct json_object *array = json_object_new_array ();

  for (; *list; list++)
    rcvmi_json_append (b, array, json_object_new_string (*list));
  return array;
}

static struct json_object *
mount_options (struct rcvmi_json *b)
{
  struct json_object *array = json_object_new_array ();

  for (const struct rcvmi_mount_option *o = rcvmi_mount_options; o->name; o++)
    if (o->special == RCVMI_MOUNT_PLAIN || o->special == RCVMI_MOUNT_COPY_UP)
      rcvmi_json_append (b, array, json_object_new_string (o->name));
  for (const struct rcvmi_name *p = rcvmi_propagation_names; p->name; p++)
    rcvmi_json_append (b, array, json_object_new_string (p->name));
  return array;
}

/* { "enabled": ENABLED } */
static struct json_object *
enabled (struct rcvmi_json *b, bool is_enabled)
{
  struct json_object *o = json_object_new_object ();

  rcvmi_json_put (b, o, "enabled", json_object_new_boolean (is_enabled));
  return o;
}

static struct json_object *
cgroup (struct rcvmi_json *b)
{
  struct json_object *o = json_object_new_object ();

  rcvmi_json_put (b, o, "v1", json_object_new_boolean (true));
  rcvmi_json_put (b, o, "v2", json_object_new_boolean (true));
  rcvmi_json_put (b, o, "systemd", json_object_new_boolean (true));
  rcvmi_json_put (b, o, "systemdUser", json_object_new_boolean (false));
  rcvmi_json_put (b, o, "rdma", json_object_new_boolean (false));
  return o;
}

static struct json_object *
seccomp (struct rcvmi_json *b)
{
  struct json_object *o = enabled (b, true);

  rcvmi_json_put (b, o, "actions", names (b, rcvmi_seccomp_actions));
  rcvmi_json_put (b, o, "operators", names (b, rcvmi_seccomp_operators));
  rcvmi_json_put (b, o, "archs", names (b, rcvmi_seccomp_archs));
  rcvmi_json_put (b, o, "knownFlags", names (b, rcvmi_seccomp_flags));
  rcvmi_json_put (b, o, "supportedFlags", names (b, rcvmi_seccomp_flags));
  return o;
}

static struct json_object *
linux_features (struct rcvmi_json *b)
{
  struct json_object *o = json_object_new_object ();
  struct json_object *rdt = enabled (b, false), *extensions = json_object_new_object ();

  rcvmi_json_put (b, o, "namespaces", names (b, rcvmi_namespace_names));
  rcvmi_json_put (b, o, "capabilities", names (b, rcvmi_capability_names));
  rcvmi_json_put (b, o, "cgroup", cgroup (b));
  rcvmi_json_put (b, o, "seccomp", seccomp (b));
  rcvmi_json_put (b, o, "apparmor", enabled (b, false));
  rcvmi_json_put (b, o, "selinux", enabled (b, false));
  rcvmi_json_put (b, o, "intelRdt", rdt);
  rcvmi_json_put (b, extensions, "idmap", enabled (b, false));
  rcvmi_json_put (b, o, "mountExtensions", extensions);
  rcvmi_json_put (b, o, "netDevices", enabled (b, false));
  return o;
}

RCVM_PUBLIC char *
rcvm_features_json (rcvm_error **err)
{
  static const char *const hooks[]
      = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop", NULL };
  static const char *const unsafe[] = { "org.runcvm.", NULL };
  struct json_object *o = json_object_new_object (), *annotations = json_object_new_object ();
  struct rcvmi_json b = { false };
  const char *text = NULL;
  char *copy = NULL;

  rcvmi_json_put (&b, o, "ociVersionMin", json_object_new_string ("1.0.0"));
  rcvmi_json_put (&b, o, "ociVersionMax", json_object_new_string ("1.3.0"));
  rcvmi_json_put (&b, o, "hooks", strings (&b, hooks));
  rcvmi_json_put (&b, o, "mountOptions", mount_options (&b));
  rcvmi_json_put (&b, o, "linux", linux_features (&b));
  rcvmi_json_put (&b, annotations, "org.runcvm.version", json_object_new_string (PACKAGE_VERSION));
  rcvmi_json_put (&b, annotations, "org.runcvm.hypervisors", json_object_new_string ("qemu,firecracker"));
  rcvmi_json_put (&b, o, "annotations", annotations);
  rcvmi_json_put (&b, o, "potentiallyUnsafeConfigAnnotations", strings (&b, unsafe));
  if (!b.failed)
    text = json_object_to_json_string_ext (o, JSON_C_TO_STRING_PRETTY
                                                | JSON_C_TO_STRING_NOSLASHESCAPE);
  if (text)
    copy = strdup (text);
  if (!copy)
    rcvmi_fail_nomem (err);
  json_object_put (o);
  return copy;
}
