/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TAP devices for everybody: runcvm/net.h. */
#include "config.h"

#define RCVMI_STAGE "net"

#include <runcvm/net.h>

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"
#include "net-tap.h"
#include "visibility.h"

enum
{
  MIN_MTU = 68,
  MAX_MTU = 65521 /* 65535 without the Ethernet header */
};

struct rcvm_net_ns
{
  struct rcvmi_netns ns;
};

struct rcvm_net_tap_options
{
  struct rcvmi_net_tap_params params;
};

struct rcvm_net_tap
{
  struct rcvmi_net_tap tap;
  char mac[18];
};

static rcvm_net_ns *
open_ns (const char *path, int pid, int fd, rcvm_error **err)
{
  rcvm_net_ns *ns = malloc (sizeof *ns);

  if (!ns)
    rcvmi_fail_nomem (err);
  else if (rcvmi_netns_open (&ns->ns, path, pid, fd, err) == 0)
    return ns;
  free (ns);
  return NULL;
}

RCVM_PUBLIC rcvm_net_ns *
rcvm_net_ns_open (const char *path, rcvm_error **err)
{
  return open_ns (path, 0, -1, err);
}

RCVM_PUBLIC rcvm_net_ns *
rcvm_net_ns_open_pid (int pid, rcvm_error **err)
{
  if (pid > 0)
    return open_ns (NULL, pid, -1, err);
  rcvmi_fail (err, RCVM_E_INVALID, 0, "%d is not the PID of a process", pid);
  return NULL;
}

RCVM_PUBLIC rcvm_net_ns *
rcvm_net_ns_open_fd (int fd, rcvm_error **err)
{
  if (fd >= 0)
    return open_ns (NULL, 0, fd, err);
  rcvmi_fail (err, RCVM_E_INVALID, 0, "%d is not an fd", fd);
  return NULL;
}

RCVM_PUBLIC void
rcvm_net_ns_free (rcvm_net_ns *ns)
{
  if (!ns)
    return;
  rcvmi_netns_close (&ns->ns);
  free (ns);
}

RCVM_PUBLIC rcvm_net_tap_options *
rcvm_net_tap_options_new (rcvm_error **err)
{
  rcvm_net_tap_options *o = malloc (sizeof *o);

  if (o)
    {
      o->params = RCVMI_NET_TAP_PARAMS_INIT;
      o->params.vnet_hdr = true;
    }
  else
    rcvmi_fail_nomem (err);
  return o;
}

RCVM_PUBLIC void
rcvm_net_tap_options_free (rcvm_net_tap_options *o)
{
  free (o);
}

static int
fail_no_options (rcvm_error **err)
{
  return rcvmi_fail (err, RCVM_E_INVALID, 0, "no options were given to set something in");
}

RCVM_PUBLIC int
rcvm_net_tap_options_set_name (rcvm_net_tap_options *o, const char *name, rcvm_error **err)
{
  int code;

  if (!o)
    return fail_no_options (err);
  if (!name)
    {
      o->params.name[0] = '\0';
      return 0;
    }
  code = rcvmi_net_check_name (name, err);
  if (code == 0)
    memcpy (o->params.name, name, strlen (name) + 1);
  return code;
}

RCVM_PUBLIC int
rcvm_net_tap_options_set_mac (rcvm_net_tap_options *o, const char *mac, rcvm_error **err)
{
  uint8_t bytes[6] = { 0 };

  if (!o)
    return fail_no_options (err);
  if (mac && rcvmi_net_mac_parse (bytes, mac, err) < 0)
    return RCVM_E_INVALID;
  memcpy (o->params.mac, bytes, sizeof bytes);
  return 0;
}

RCVM_PUBLIC int
rcvm_net_tap_options_set_mtu (rcvm_net_tap_options *o, unsigned mtu, rcvm_error **err)
{
  if (!o)
    return fail_no_options (err);
  if (mtu && (mtu < MIN_MTU || mtu > MAX_MTU))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the MTU of a TAP must be %d to %d bytes, not %u", MIN_MTU,
                       MAX_MTU, mtu);
  o->params.mtu = mtu;
  return 0;
}

RCVM_PUBLIC int
rcvm_net_tap_options_set_owner (rcvm_net_tap_options *o, long uid, long gid, rcvm_error **err)
{
  if (!o)
    return fail_no_options (err);
  if (uid < -1 || uid >= (long) UINT32_MAX || gid < -1 || gid >= (long) UINT32_MAX)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%ld:%ld cannot be the owner of a TAP", uid, gid);
  o->params.uid = (uid_t) uid;
  o->params.gid = (gid_t) gid;
  return 0;
}

RCVM_PUBLIC int
rcvm_net_tap_options_set_queues (rcvm_net_tap_options *o, unsigned queues, rcvm_error **err)
{
  if (!o)
    return fail_no_options (err);
  if (queues < 1 || queues > RCVMI_NET_MAX_QUEUES)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a TAP can have 1 to %d queues, not %u",
                       RCVMI_NET_MAX_QUEUES, queues);
  o->params.queues = queues;
  return 0;
}

RCVM_PUBLIC int
rcvm_net_tap_options_set_vnet_hdr (rcvm_net_tap_options *o, int on, rcvm_error **err)
{
  if (!o)
    return fail_no_options (err);
  o->params.vnet_hdr = on != 0;
  return 0;
}

RCVM_PUBLIC int
rcvm_net_tap_options_set_persistent (rcvm_net_tap_options *o, int on, rcvm_error **err)
{
  if (!o)
    return fail_no_options (err);
  o->params.persistent = on != 0;
  return 0;
}

RCVM_PUBLIC int
rcvm_net_tap_options_set_up (rcvm_net_tap_options *o, int on, rcvm_error **err)
{
  if (!o)
    return fail_no_options (err);
  o->params.down = on == 0;
  return 0;
}

/* The namespace to use: the given one, or the calling thread's, opened for the time of the call. */
static int
use_ns (const rcvm_net_ns *ns, struct rcvmi_netns *own, const struct rcvmi_netns **used, rcvm_error **err)
{
  *own = RCVMI_NETNS_INIT;
  if (!ns)
    {
      *used = own;
      return rcvmi_netns_open (own, NULL, 0, -1, err);
    }
  *used = &ns->ns;
  return 0;
}

RCVM_PUBLIC rcvm_net_tap *
rcvm_net_tap_in_netns (const rcvm_net_ns *ns, const rcvm_net_tap_options *options, rcvm_error **err)
{
  struct rcvmi_net_tap_params params = RCVMI_NET_TAP_PARAMS_INIT;
  struct rcvmi_nl nl = RCVMI_NL_INIT;
  const struct rcvmi_netns *used;
  struct rcvmi_netns own;
  rcvm_net_tap *tap = calloc (1, sizeof *tap);
  int code;

  if (!tap)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  params.vnet_hdr = true;
  if (options)
    params = options->params;
  code = use_ns (ns, &own, &used, err);
  if (code == 0)
    code = rcvmi_net_tap_make (used, &nl, &params, &tap->tap, err);
  rcvmi_nl_close (&nl);
  rcvmi_netns_close (&own);
  if (code < 0)
    {
      free (tap);
      return NULL;
    }
  rcvmi_net_mac_text (tap->tap.mac, tap->mac);
  return tap;
}

RCVM_PUBLIC void
rcvm_net_tap_free (rcvm_net_tap *tap)
{
  if (!tap)
    return;
  rcvmi_net_tap_close (&tap->tap);
  free (tap);
}

RCVM_PUBLIC const char *
rcvm_net_tap_get_name (const rcvm_net_tap *tap)
{
  return tap ? tap->tap.name : NULL;
}

RCVM_PUBLIC int
rcvm_net_tap_get_index (const rcvm_net_tap *tap)
{
  return tap ? tap->tap.index : -1;
}

RCVM_PUBLIC const char *
rcvm_net_tap_get_mac (const rcvm_net_tap *tap)
{
  return tap ? tap->mac : NULL;
}

RCVM_PUBLIC int
rcvm_net_tap_get_fd (const rcvm_net_tap *tap, unsigned queue)
{
  return tap && queue < tap->tap.n_fds ? tap->tap.fds[queue] : -1;
}

RCVM_PUBLIC int
rcvm_net_tap_take_fd (rcvm_net_tap *tap, unsigned queue)
{
  return tap && queue < tap->tap.n_fds ? steal_fd (&tap->tap.fds[queue]) : -1;
}

RCVM_PUBLIC int
rcvm_net_tap_delete (const rcvm_net_ns *ns, const char *name, rcvm_error **err)
{
  struct rcvmi_nl nl = RCVMI_NL_INIT;
  struct rcvmi_net_link link;
  const struct rcvmi_netns *used;
  struct rcvmi_netns own;
  int code, r;

  if (!name)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "no name was given of a TAP to delete");
  code = rcvmi_net_check_name (name, err);
  if (code == 0)
    code = use_ns (ns, &own, &used, err);
  if (code < 0)
    return code;
  code = rcvmi_net_open_nl (used, &nl, err);
  if (code == 0)
    {
      r = rcvmi_net_link_get (&nl, 0, name, &link);
      if (r == 0 && strcmp (link.kind, "tun") != 0)
        code = rcvmi_fail (err, RCVM_E_INVALID, 0, "the interface '%s' is not a TAP, and is left alone",
                           name);
      else if (r == 0)
        r = rcvmi_net_link_delete (&nl, link.index);
      if (r == -ENODEV)
        code = rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "the network namespace has no TAP '%s'", name);
      else if (r == -EPERM)
        code = rcvmi_fail (err, RCVM_E_PERMISSION, EPERM,
                           "deleting a TAP needs CAP_NET_ADMIN in its network namespace");
      else if (r < 0)
        code = rcvmi_fail_errno (err, -r, "cannot delete the TAP '%s'%s", name, nl.text);
    }
  rcvmi_nl_close (&nl);
  rcvmi_netns_close (&own);
  return code;
}
