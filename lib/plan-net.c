/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The network: whose it is, and how the guest gets it.
 *
 *   option 'network' > annotation > RUNCVM_NETWORK_MODE > config.json's network namespace
 */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

enum
{
  DHCP_MAX_S = 600
};

static int
set_path (struct rcvmi_plan_net *net, const char *path, rcvm_error **err)
{
  net->mode = RCVMI_PLAN_NET_NETNS;
  free (net->path);
  net->path = strdup (path);
  return net->path ? 0 : rcvmi_fail_nomem (err);
}

/* What config.json says: a path is taken over, an empty namespace stays one (until somebody fills it), and without a
   namespace it is the host's network, which a VM reaches by a link of its own. */
static int
from_namespaces (struct rcvmi_plan *plan, rcvm_error **err)
{
  const struct rcvmi_spec_lx *lx = plan->spec->lx;

  plan->net.mode = RCVMI_PLAN_NET_HOST;
  for (size_t i = 0; lx && i < lx->n_namespaces; i++)
    {
      const struct rcvmi_spec_namespace *ns = &lx->namespaces[i];
      const struct rcvmi_name *name = rcvmi_plan_name (rcvmi_namespace_names, ns->type);

      if (!name || name->value != CLONE_NEWNET)
        continue;
      plan->net.mode = RCVMI_PLAN_NET_OWN;
      if (ns->path && ns->path[0])
        return set_path (&plan->net, ns->path, err);
    }
  return 0;
}

static int
from_word (struct rcvmi_plan *plan, const char *word, const char *from, rcvm_error **err)
{
  struct rcvmi_plan_net *net = &plan->net;

  net->asked = true;
  if (strcmp (word, "none") == 0)
    net->mode = RCVMI_PLAN_NET_NONE;
  else if (strcmp (word, "host") == 0)
    net->mode = RCVMI_PLAN_NET_HOST;
  else if (strcmp (word, "netns") == 0 || strcmp (word, "tc") == 0 || strcmp (word, "bridge") == 0)
    {
      net->bridge = word[0] == 'b';
      if (net->mode != RCVMI_PLAN_NET_NETNS)
        net->mode = RCVMI_PLAN_NET_OWN;
    }
  else if (word[0] == '/')
    return set_path (net, word, err);
  else if (strncmp (word, "netns:/", 7) == 0)
    return set_path (net, word + 6, err);
  else if (strncmp (word, "pid:", 4) == 0)
    {
      char *end;
      long pid = strtol (word + 4, &end, 10);

      if (word[4] < '1' || word[4] > '9' || *end || pid > INT_MAX)
        return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s names the network '%.40s', and '%.20s' is no process", from, word,
                           word + 4);
      net->mode = RCVMI_PLAN_NET_NETNS;
      net->pid = (pid_t) pid;
    }
  else
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s names the network '%.60s', and only none, host, netns, tc, bridge, pid:NUMBER and the absolute path "
                       "of a network namespace are known",
                       from, word);
  return 0;
}

static bool
covers (const char *mount, const char *path)
{
  size_t n = strlen (mount);

  while (n > 1 && mount[n - 1] == '/')
    n--;
  return strncmp (mount, path, n) == 0 && (!path[n] || path[n] == '/');
}

int
rcvmi_plan_network (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  struct rcvmi_plan_net *net = &plan->net;
  const char *word, *from;
  char buf[RCVMI_PLAN_FROM];
  int rc = from_namespaces (plan, err);

  word = rcvmi_plan_network_word (plan, options, buf, sizeof buf);
  from = buf;
  if (rc == 0 && word)
    rc = from_word (plan, word, from, err);
  if (rc < 0)
    return rc;
  if (options->network_join && strcmp (options->network_join, "tc") != 0
      && strcmp (options->network_join, "bridge") != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the option 'network_join' is '%.40s', and only tc and bridge are known",
                       options->network_join);
  if (options->network_join)
    net->bridge = options->network_join[0] == 'b';
  if (options->dhcp > DHCP_MAX_S)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the option 'dhcp' gives a server %u seconds, and at most %d are sensible",
                       options->dhcp, DHCP_MAX_S);
  net->dhcp = options->dhcp;
  if (net->dhcp && net->mode == RCVMI_PLAN_NET_OWN)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "DHCP needs the network namespace in which a server answers: give its path with the option 'network'");
  if ((options->nics || net->dhcp || options->tap_name) && net->mode != RCVMI_PLAN_NET_NETNS)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s goes with a network namespace that is taken over: give its path with the option 'network'",
                       options->nics ? "the option 'nic'" : net->dhcp ? "DHCP" : "the option 'tap_name'");
  if (options->ports && net->mode != RCVMI_PLAN_NET_HOST)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "ports are published in the network mode 'host' alone");
  if ((options->nics && !(net->nics = rcvmi_strv_copy (options->nics)))
      || (options->ports && !(net->ports = rcvmi_strv_copy (options->ports)))
      || (options->tap_name && !(net->tap_name = strdup (options->tap_name))))
    return rcvmi_fail_nomem (err);
  net->resolv = net->mode != RCVMI_PLAN_NET_NONE;
  for (size_t i = 0; i < plan->spec->n_mounts; i++)
    if (plan->spec->mounts[i].destination && covers (plan->spec->mounts[i].destination, "/etc/resolv.conf"))
      net->resolv = false;
  return 0;
}

void
rcvmi_plan_network_clear (struct rcvmi_plan_net *net)
{
  free (net->path);
  free (net->tap_name);
  rcvmi_strv_free (net->nics);
  rcvmi_strv_free (net->ports);
  *net = (struct rcvmi_plan_net){ .mode = RCVMI_PLAN_NET_NONE };
}
