/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Live volumes of a VM. */
#include "config.h"

#define RCVMI_STAGE "api"

#include "api-volume.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "control.h"
#include "err.h"
#include "handle.h"
#include "visibility.h"

enum
{
  CACHED_MAX = 86400
};

RCVM_PUBLIC rcvm_volume_options *
rcvm_volume_options_new (rcvm_error **err)
{
  rcvm_volume_options *o = malloc (sizeof *o);

  if (o)
    *o = (rcvm_volume_options){ .uid = -1, .gid = -1 };
  else
    rcvmi_fail_nomem (err);
  return o;
}

RCVM_PUBLIC void
rcvm_volume_options_free (rcvm_volume_options *options)
{
  if (options)
    {
      free (options->fstype);
      free (options->write_back);
      free (options->transport);
      free (options->server);
    }
  free (options);
}

static int
check (const rcvm_volume_options *o, rcvm_error **err)
{
  return o ? 0 : rcvmi_fail (err, RCVM_E_INVALID, 0, "the options of the volume are NULL");
}

RCVM_PUBLIC int
rcvm_volume_options_set_readonly (rcvm_volume_options *options, int readonly, rcvm_error **err)
{
  int code = check (options, err);

  if (code == 0)
    options->readonly = readonly != 0;
  return code;
}

RCVM_PUBLIC int
rcvm_volume_options_set_squash (rcvm_volume_options *options, long uid, long gid, rcvm_error **err)
{
  int code = check (options, err);

  if (code < 0)
    return code;
  if (uid < -1 || gid < -1 || uid >= UINT_MAX || gid >= UINT_MAX || (uid == -1) != (gid == -1))
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "a volume cannot be squashed to %ld:%ld: it takes a uid and a gid, or -1 for both", uid, gid);
  options->uid = uid;
  options->gid = gid;
  return 0;
}

RCVM_PUBLIC int
rcvm_volume_options_set_cached (rcvm_volume_options *options, unsigned seconds, rcvm_error **err)
{
  int code = check (options, err);

  if (code < 0)
    return code;
  if (seconds > CACHED_MAX)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a volume cannot be cached for %u seconds, but for %d at most", seconds,
                       CACHED_MAX);
  options->cached = seconds;
  return 0;
}

RCVM_PUBLIC int
rcvm_volume_options_set_transport (rcvm_volume_options *options, const char *transport, rcvm_error **err)
{
  char *copy = NULL;
  int code = check (options, err);

  if (code < 0)
    return code;
  if (transport && (!*transport || strlen (transport) > 31 || strchr (transport, ',')))
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "'%.60s' is no way to a volume: there are link, tunnel, tcp and tcp:FIRST-LAST (two ports)", transport);
  if (transport && !(copy = strdup (transport)))
    return rcvmi_fail_nomem (err);
  free (options->transport);
  options->transport = copy;
  return 0;
}

RCVM_PUBLIC int
rcvm_volume_options_set_server (rcvm_volume_options *options, const char *server, rcvm_error **err)
{
  char *copy = NULL;
  int code = check (options, err);

  if (code < 0)
    return code;
  if (server && strcmp (server, "own") != 0 && strcmp (server, "unfsd") != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.60s' is no server of volumes: there are own and unfsd", server);
  if (server && !(copy = strdup (server)))
    return rcvmi_fail_nomem (err);
  free (options->server);
  options->server = copy;
  return 0;
}

char *
rcvmi_volume_absolute (const char *path, rcvm_error **err)
{
  autofree char *here = NULL;
  char *absolute;

  if (path[0] == '/')
    absolute = strdup (path);
  else if (!(here = getcwd (NULL, 0)))
    {
      rcvmi_fail_errno (err, errno, "cannot tell the working directory, for the volume '%.200s'", path);
      return NULL;
    }
  else if (asprintf (&absolute, "%s/%s", here, path) < 0)
    absolute = NULL;
  if (!absolute)
    rcvmi_fail_nomem (err);
  return absolute;
}

/* Takes the lock. */
int
rcvmi_volume_append (rcvm_vm *vm, const char *source, const char *target, const char *text, rcvm_error **err)
{
  char ***list;
  size_t n;
  int code = 0;

  if (!vm)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the VM's handle is NULL");
  if (!target || target[0] != '/' || !target[strspn (target, "/")])
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "'%.200s' is no absolute path below '/' at which a volume can be mounted in the VM",
                       target ? target : "");
  rcvmi_handle_lock (vm);
  list = &vm->options.volumes;
  n = rcvmi_strv_length (*list);
  if (vm->status != RCVM_STATUS_NEW)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' has been created: volumes are attached before that", vm->id);
  else if (rcvmi_strv_append (list, source) == 0 && rcvmi_strv_append (list, target) == 0
      && rcvmi_strv_append (list, text) == 0)
    ;
  else
    {
      /* All three or none. */
      for (size_t i = rcvmi_strv_length (*list); i-- > n;)
        free (steal_ptr ((*list)[i]));
      code = rcvmi_fail_nomem (err);
    }
  rcvmi_handle_unlock (vm);
  return code;
}

RCVM_PUBLIC int
rcvm_volume_attach_nfs (rcvm_vm *vm, const char *source, const char *target, const rcvm_volume_options *options,
                        rcvm_error **err)
{
  char text[144], squash[48] = "", cached[32] = "", transport[48] = "", server[24] = "";
  autofree char *absolute = NULL;

  if (!source || !*source)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the source of the volume is missing");
  absolute = rcvmi_volume_absolute (source, err);
  if (!absolute)
    return RCVM_E_SYSTEM;
  if (options && options->uid >= 0)
    snprintf (squash, sizeof squash, ",squash=%ld:%ld", options->uid, options->gid);
  if (options && options->cached)
    snprintf (cached, sizeof cached, ",cached=%u", options->cached);
  if (options && options->transport)
    snprintf (transport, sizeof transport, ",transport=%s", options->transport);
  if (options && options->server)
    snprintf (server, sizeof server, ",server=%s", options->server);
  snprintf (text, sizeof text, "%s%s%s%s%s%s", options && options->readonly ? "ro" : "rw", squash, cached,
            options && options->notify ? ",notify" : "", transport, server);
  return rcvmi_volume_append (vm, absolute, target, text, err);
}

RCVM_PUBLIC int
rcvm_volume_attach_tmpfs (rcvm_vm *vm, const char *target, uint64_t size, unsigned mode, rcvm_error **err)
{
  char text[96], limit[48] = "";

  if (mode > 07777)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "0%o is no mode for a directory", mode);
  if (size)
    snprintf (limit, sizeof limit, ",size=%" PRIu64, size);
  snprintf (text, sizeof text, "mode=%04o%s", mode ? mode : 01777, limit);
  return rcvmi_volume_append (vm, "", target, text, err);
}

RCVM_PUBLIC char *
rcvm_vm_volumes_json (rcvm_vm *vm, rcvm_error **err)
{
  return rcvmi_handle_ask_json (vm, CONTROL_VOLUMES, err);
}
