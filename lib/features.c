/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The OCI features document: what config.json may ask of this library, whatever the host. */
#include "config.h"

#define RCVMI_STAGE "spec"

#include <runcvm/spec.h>

#include <string.h>

#include <json-c/json.h>

#include "err.h"
#include "plan-parts.h"
#include "visibility.h"

/* json-c's objects while they are put together: the first failure sticks. */
struct builder
{
  bool failed;
};

static void
add (struct builder *b, struct json_object *object, const char *key, struct json_object *value)
{
  if (value && object && json_object_object_add (object, key, value) == 0)
    return;
  json_object_put (value);
  b->failed = true;
}

static void
append (struct builder *b, struct json_object *array, const char *text)
{
  struct json_object *value = json_object_new_string (text);

  if (value && array && json_object_array_add (array, value) == 0)
    return;
  json_object_put (value);
  b->failed = true;
}

static struct json_object *
names (struct builder *b, const struct rcvmi_name *table)
{
  struct json_object *array = json_object_new_array ();

  for (; table->name; table++)
    append (b, array, table->name);
  return array;
}

static struct json_object *
strings (struct builder *b, const char *const *list)
{
  struct json_object *array = json_object_new_array ();

  for (; *list; list++)
    append (b, array, *list);
  return array;
}

static struct json_object *
mount_options (struct builder *b)
{
  struct json_object *array = json_object_new_array ();

  for (const struct rcvmi_mount_option *o = rcvmi_mount_options; o->name; o++)
    if (o->special == RCVMI_MOUNT_PLAIN || o->special == RCVMI_MOUNT_COPY_UP)
      append (b, array, o->name);
  for (const struct rcvmi_name *p = rcvmi_propagation_names; p->name; p++)
    append (b, array, p->name);
  return array;
}

/* { "enabled": ENABLED } */
static struct json_object *
enabled (struct builder *b, bool is_enabled)
{
  struct json_object *o = json_object_new_object ();

  add (b, o, "enabled", json_object_new_boolean (is_enabled));
  return o;
}

static struct json_object *
cgroup (struct builder *b)
{
  struct json_object *o = json_object_new_object ();

  add (b, o, "v1", json_object_new_boolean (false));
  add (b, o, "v2", json_object_new_boolean (true));
  add (b, o, "systemd", json_object_new_boolean (false));
  add (b, o, "systemdUser", json_object_new_boolean (false));
  add (b, o, "rdma", json_object_new_boolean (false));
  return o;
}

static struct json_object *
seccomp (struct builder *b)
{
  struct json_object *o = enabled (b, true);

  add (b, o, "actions", names (b, rcvmi_seccomp_actions));
  add (b, o, "operators", names (b, rcvmi_seccomp_operators));
  add (b, o, "archs", names (b, rcvmi_seccomp_archs));
  add (b, o, "knownFlags", names (b, rcvmi_seccomp_flags));
  add (b, o, "supportedFlags", names (b, rcvmi_seccomp_flags));
  return o;
}

static struct json_object *
linux_features (struct builder *b)
{
  struct json_object *o = json_object_new_object ();
  struct json_object *rdt = enabled (b, false), *extensions = json_object_new_object ();

  add (b, o, "namespaces", names (b, rcvmi_namespace_names));
  add (b, o, "capabilities", names (b, rcvmi_capability_names));
  add (b, o, "cgroup", cgroup (b));
  add (b, o, "seccomp", seccomp (b));
  add (b, o, "apparmor", enabled (b, false));
  add (b, o, "selinux", enabled (b, false));
  add (b, o, "intelRdt", rdt);
  add (b, extensions, "idmap", enabled (b, false));
  add (b, o, "mountExtensions", extensions);
  add (b, o, "netDevices", enabled (b, false));
  return o;
}

RCVM_PUBLIC char *
rcvm_features_json (rcvm_error **err)
{
  /* No hook is run yet. */
  static const char *const hooks[] = { NULL };
  static const char *const unsafe[] = { "org.runcvm.", NULL };
  struct json_object *o = json_object_new_object (), *annotations = json_object_new_object ();
  struct builder b = { false };
  const char *text = NULL;
  char *copy = NULL;

  add (&b, o, "ociVersionMin", json_object_new_string ("1.0.0"));
  add (&b, o, "ociVersionMax", json_object_new_string ("1.3.0"));
  add (&b, o, "hooks", strings (&b, hooks));
  add (&b, o, "mountOptions", mount_options (&b));
  add (&b, o, "linux", linux_features (&b));
  add (&b, annotations, "org.runcvm.version", json_object_new_string (PACKAGE_VERSION));
  add (&b, annotations, "org.runcvm.hypervisors", json_object_new_string ("qemu,firecracker"));
  add (&b, o, "annotations", annotations);
  add (&b, o, "potentiallyUnsafeConfigAnnotations", strings (&b, unsafe));
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
