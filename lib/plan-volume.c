/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Volumes: exports of the volume server that the guest mounts out of the container's sight, as nested stages for the
 * binds that put them into their places.
 */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "agent-wire.h"
#include "err.h"

enum
{
  /* As many as the server takes. */
  VOLUMES_MAX = 256,
  CACHED_MAX = 86400
};

static bool
parse_number (const char *text, char end, uint32_t *value, const char **rest)
{
  unsigned long v;
  char *stop;

  if (*text < '0' || *text > '9')
    return false;
  errno = 0;
  v = strtoul (text, &stop, 10);
  *value = (uint32_t) v;
  *rest = stop + (*stop != 0);
  return errno == 0 && v < UINT32_MAX && *stop == end;
}

bool
rcvmi_plan_parse_transport (const char *text, struct rcvmi_volume_flags *f)
{
  uint32_t first, last;
  const char *rest;

  f->first_port = f->last_port = 0;
  f->transport = strncmp (text, "tcp", 3) == 0       ? RCVMI_TRANSPORT_TCP
                 : strcmp (text, "tunnel") == 0 ? RCVMI_TRANSPORT_TUNNEL
                 : strcmp (text, "link") == 0   ? RCVMI_TRANSPORT_LINK
                                                : RCVMI_TRANSPORT_AUTO;
  if (f->transport == RCVMI_TRANSPORT_TCP && text[3] == ':')
    {
      if (!parse_number (text + 4, '-', &first, &rest) || !parse_number (rest, 0, &last, &rest) || first == 0
          || first > last || last > UINT16_MAX)
        return false;
      f->first_port = (uint16_t) first;
      f->last_port = (uint16_t) last;
      return true;
    }
  return f->transport == RCVMI_TRANSPORT_TCP ? !text[3] : f->transport != RCVMI_TRANSPORT_AUTO;
}

/* One server, one port. */
int
rcvmi_plan_take_ports (struct rcvmi_plan *plan, const struct rcvmi_volume_flags *flags, rcvm_error **err)
{
  if (!flags->first_port)
    return 0;
  if (plan->first_port && (plan->first_port != flags->first_port || plan->last_port != flags->last_port))
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "the volumes of a VM share one port, which cannot be in both %u-%u and %u-%u: name the same "
                       "range",
                       plan->first_port, plan->last_port, flags->first_port, flags->last_port);
  plan->first_port = flags->first_port;
  plan->last_port = flags->last_port;
  return 0;
}

bool
rcvmi_plan_parse_server (const char *text, bool *unfsd)
{
  *unfsd = strcmp (text, "unfsd") == 0;
  return *unfsd || strcmp (text, "own") == 0;
}

static bool
parse_option (const char *o, struct rcvmi_volume_flags *f)
{
  const char *rest = o;

  if (strcmp (o, "ro") == 0)
    return f->read_only = true;
  if (strcmp (o, "rw") == 0 || strcmp (o, "preserve") == 0 || strcmp (o, "strict") == 0 || !*o)
    return true;
  if (strcmp (o, "notify") == 0)
    return f->notify = true;
  if (strncmp (o, "squash=", 7) == 0)
    return f->squash = parse_number (o + 7, ':', &f->uid, &rest) && parse_number (rest, 0, &f->gid, &rest);
  if (strncmp (o, "transport=", 10) == 0)
    return rcvmi_plan_parse_transport (o + 10, f);
  if (strncmp (o, "server=", 7) == 0)
    return rcvmi_plan_parse_server (o + 7, &f->unfsd);
  if (strncmp (o, "cached=", 7) == 0)
    return parse_number (o + 7, 0, &f->cached, &rest) && f->cached <= CACHED_MAX;
  return false;
}

int
rcvmi_plan_parse_cached (const char *text, uint32_t *seconds, rcvm_error **err)
{
  const char *rest;

  if (parse_number (text, 0, seconds, &rest) && *seconds <= CACHED_MAX)
    return 0;
  return rcvmi_fail (err, RCVM_E_INVALID, 0, "a volume cannot be cached for '%.40s' seconds, but for %d at most", text,
                     CACHED_MAX);
}

int
rcvmi_plan_parse_volume (const char *options, struct rcvmi_volume_flags *flags, rcvm_error **err)
{
  char copy[256], *save, *o;

  *flags = (struct rcvmi_volume_flags){ 0 };
  if (snprintf (copy, sizeof copy, "%s", options) >= (int) sizeof copy)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the options of a volume are longer than %zu bytes", sizeof copy - 1);
  for (o = strtok_r (copy, ",", &save); o; o = strtok_r (NULL, ",", &save))
    if (!parse_option (o, flags))
      return rcvmi_fail (err, RCVM_E_INVALID, 0,
                         "a volume has no option '%.60s': there are ro, rw, squash=UID:GID, preserve, cached=SECONDS, "
                         "strict, notify, transport=link, tunnel, tcp or tcp:FIRST-LAST, and server=own or unfsd",
                         o);
  if (flags->notify && flags->read_only)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "a read-only volume cannot be touched to notify those who watch it: leave out 'ro' or 'notify'");
  return 0;
}

int
rcvmi_plan_add_volume (struct rcvmi_plan *plan, const char *source, const char *destination,
                       const struct rcvmi_volume_flags *flags, char stage[48], rcvm_error **err)
{
  struct rcvmi_plan_volume *all, *v;
  struct tlv_writer *w = &plan->setup;
  char name[32], data[128];
  size_t mark;
  bool tcp = flags->transport == RCVMI_TRANSPORT_TCP;
  int code = rcvmi_plan_take_ports (plan, flags, err);

  if (code < 0)
    return code;
  plan->unfsd = plan->unfsd || flags->unfsd;
  plan->tcp = plan->tcp || tcp;
  plan->link = plan->link || flags->transport == RCVMI_TRANSPORT_LINK;
  plan->tunnel = plan->tunnel || flags->transport == RCVMI_TRANSPORT_TUNNEL;
  if (plan->unfsd && (plan->tcp || plan->link))
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "a VM whose volumes unfsd serves reaches them through the tunnel, and not by %s: leave out "
                       "'transport=%s' or 'server=unfsd'",
                       plan->tcp ? "TCP" : "a link", plan->tcp ? "tcp" : "link");
  if (plan->link && plan->tunnel)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "the volumes of a VM go through the tunnel or over the link, and not some of them so: leave out "
                       "'transport=tunnel' or 'transport=link'");
  if (plan->n_volumes == VOLUMES_MAX)
    return rcvmi_fail (err, RCVM_E_SPEC, 0, "a VM can have %d volumes and live bind mounts at most", VOLUMES_MAX);
  all = reallocarray (plan->volumes, plan->n_volumes + 1, sizeof *all);
  if (!all)
    return rcvmi_fail_nomem (err);
  plan->volumes = all;
  v = &all[plan->n_volumes];
  snprintf (stage, 48, RCVMI_PLAN_VOLUME_STAGE, plan->n_volumes);
  snprintf (name, sizeof name, "%s:/%zu", tcp ? "tcp" : "volume", plan->n_volumes);
  *v = (struct rcvmi_plan_volume){ .source = strdup (source),
                                   .destination = strdup (destination),
                                   .read_only = flags->read_only,
                                   .squash = flags->squash,
                                   .notify = flags->notify,
                                   .tcp = tcp,
                                   .uid = flags->uid,
                                   .gid = flags->gid,
                                   .cached = flags->cached };
  plan->n_volumes++; /* rcvmi_plan_free sees to a half-filled one */
  if (!v->source || !v->destination)
    return rcvmi_fail_nomem (err);
  /* Without a cache of names, what the host makes, moves or removes is met even within one tick of the clock that
     directories are stamped with.  Each read, look and lookup asks anyway: asking at open and close, too, tells nothing
     more (nocto). */
  if (flags->cached)
    snprintf (data, sizeof data, "rsize=1048576,wsize=1048576,actimeo=%u", (unsigned) flags->cached);
  else
    snprintf (data, sizeof data, "rsize=1048576,wsize=1048576,actimeo=0,lookupcache=none,nocto");
  mark = tlv_begin (w, S_MOUNT);
  tlv_put_str (w, M_DESTINATION, stage);
  tlv_put_str (w, M_TYPE, "nfs");
  tlv_put_str (w, M_SOURCE, name);
  if (flags->read_only)
    tlv_put_u64 (w, M_FLAGS, MS_RDONLY);
  tlv_put_str (w, M_DATA, data);
  tlv_end (w, mark);
  return 0;
}
