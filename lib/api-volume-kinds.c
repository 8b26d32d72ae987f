/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes that no server stands behind: disks and copies. */
#include "config.h"

#define RCVMI_STAGE "api"

#include "api-volume.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"
#include "visibility.h"

RCVM_PUBLIC int
rcvm_volume_options_set_fstype (rcvm_volume_options *options, const char *fstype, rcvm_error **err)
{
  char *copy = NULL;

  if (!options)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the options of the volume are NULL");
  if (fstype && (!*fstype || strlen (fstype) > 31 || strpbrk (fstype, ",= /")))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.60s' is no type of a file system", fstype);
  if (fstype && !(copy = strdup (fstype)))
    return rcvmi_fail_nomem (err);
  free (options->fstype);
  options->fstype = copy;
  return 0;
}

RCVM_PUBLIC int
rcvm_volume_options_set_notify (rcvm_volume_options *options, int notify, rcvm_error **err)
{
  if (!options)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the options of the volume are NULL");
  options->notify = notify != 0;
  return 0;
}

RCVM_PUBLIC int
rcvm_volume_options_set_write_back (rcvm_volume_options *options, const char *when, rcvm_error **err)
{
  char *copy = NULL;

  if (!options)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the options of the volume are NULL");
  if (when && (!*when || strlen (when) > 31 || strchr (when, ',')))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.60s' is no time to write a copy back", when);
  if (when && !(copy = strdup (when)))
    return rcvmi_fail_nomem (err);
  free (options->write_back);
  options->write_back = copy;
  return 0;
}

enum
{
  HAS_FSTYPE = 1,
  HAS_WRITE_BACK = 2,
  HAS_CACHED = 4
};

/* What was said and means nothing to this kind would be missed. */
static int
check_options (const rcvm_volume_options *o, const char *kind, int has, rcvm_error **err)
{
  const char *what = !o                                           ? NULL
                     : o->uid >= 0                                ? "squash"
                     : o->cached && !(has & HAS_CACHED)           ? "cached"
                     : o->notify                                  ? "notify"
                     : o->transport                               ? "transport"
                     : o->server                                  ? "server"
                     : o->fstype && !(has & HAS_FSTYPE)           ? "fstype"
                     : o->write_back && !(has & HAS_WRITE_BACK)   ? "write-back"
                                                                  : NULL;

  return what ? rcvmi_fail (err, RCVM_E_INVALID, 0, "the option '%s' means nothing to a volume of type '%s'", what, kind)
              : 0;
}

int
rcvmi_volume_check_block (const rcvm_volume_options *options, rcvm_error **err)
{
  return check_options (options, "block", HAS_FSTYPE, err);
}

/* What has a source, and the options that are named by `has`; `more` are those beside "ro". */
static int
attach (rcvm_vm *vm, const char *kind, unsigned has, const char *source, const char *target,
        const rcvm_volume_options *options, const char *more, rcvm_error **err)
{
  autofree char *absolute = NULL;
  char text[96];
  int code = check_options (options, kind, has, err);

  if (code < 0)
    return code;
  if (!source || !*source)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the source of the volume is missing");
  absolute = rcvmi_volume_absolute (source, err);
  if (!absolute)
    return RCVM_E_SYSTEM;
  snprintf (text, sizeof text, "type=%s,%s%s", kind, options && options->readonly ? "ro" : "rw", more);
  return rcvmi_volume_append (vm, absolute, target, text, err);
}

RCVM_PUBLIC int
rcvm_volume_attach_block (rcvm_vm *vm, const char *source, const char *target, const rcvm_volume_options *options,
                          rcvm_error **err)
{
  char more[48] = "";

  if (options && options->fstype)
    snprintf (more, sizeof more, ",fstype=%s", options->fstype);
  return attach (vm, "block", HAS_FSTYPE, source, target, options, more, err);
}

RCVM_PUBLIC int
rcvm_volume_attach_copy (rcvm_vm *vm, const char *source, const char *target, const rcvm_volume_options *options,
                         rcvm_error **err)
{
  char more[48] = "";

  if (options && options->write_back)
    snprintf (more, sizeof more, ",write-back=%s", options->write_back);
  return attach (vm, "copy", HAS_WRITE_BACK, source, target, options, more, err);
}

RCVM_PUBLIC int
rcvm_volume_attach_virtiofs (rcvm_vm *vm, const char *source, const char *target, const rcvm_volume_options *options,
                             rcvm_error **err)
{
  char more[48] = "";

  if (options && options->cached)
    snprintf (more, sizeof more, ",cached=%u", options->cached);
  return attach (vm, "virtiofs", HAS_CACHED, source, target, options, more, err);
}

RCVM_PUBLIC int
rcvm_volume_attach_9p (rcvm_vm *vm, const char *source, const char *target, const rcvm_volume_options *options,
                       rcvm_error **err)
{
  return attach (vm, "9p", 0, source, target, options, "", err);
}

RCVM_PUBLIC int
rcvm_volume_attach_scratch (rcvm_vm *vm, const char *source, const char *target, uint64_t size, rcvm_error **err)
{
  autofree char *absolute = NULL;
  char text[64];

  if ((!source || !*source) && size == 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a scratch disk needs a size");
  absolute = source && *source ? rcvmi_volume_absolute (source, err) : strdup ("");
  if (!absolute)
    return source && *source ? RCVM_E_SYSTEM : rcvmi_fail_nomem (err);
  snprintf (text, sizeof text, "type=scratch,size=%" PRIu64, size);
  return rcvmi_volume_append (vm, absolute, target, text, err);
}
