/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network of one VM: prepare, undo. */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-parts.h"

#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  NAME_TRIES = 1000
};

/* NICs. */

struct rcvmi_net_nic *
rcvmi_net_nic_new (struct rcvmi_net *net, rcvm_error **err)
{
  struct rcvmi_net_nic **nics, *nic;

  if (net->n == RCVMI_NET_MAX_NICS)
    {
      rcvmi_fail (err, RCVM_E_INVALID, 0, "a VM can have %d network interfaces, and there are more",
                  RCVMI_NET_MAX_NICS);
      return NULL;
    }
  nics = reallocarray (net->nics, net->n + 1, sizeof *nics);
  if (nics)
    net->nics = nics;
  nic = nics ? calloc (1, sizeof *nic) : NULL;
  if (nic)
    nic->priv = calloc (1, sizeof *nic->priv);
  if (!nic || !nic->priv)
    {
      free (nic);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  nic->number = net->next_number++;
  nic->tap_fd = -1;
  nic->vnet_hdr = net->vnet_hdr;
  nic->dhcp = net->dhcp;
  net->nics[net->n++] = nic;
  return nic;
}

void
rcvmi_net_nic_free (struct rcvmi_net_nic *nic)
{
  cleanup_close (&nic->tap_fd);
  rcvmi_net_if_clear (&nic->outside);
  rcvmi_net_if_clear (&nic->guest);
  rcvmi_net_done_clear (&nic->priv->done);
  free (nic->priv);
  free (nic);
}

void
rcvmi_net_nic_forget (struct rcvmi_net *net, struct rcvmi_net_nic *nic)
{
  for (size_t i = 0; i < net->n; i++)
    if (net->nics[i] == nic)
      {
        memmove (&net->nics[i], &net->nics[i + 1], (net->n - i - 1) * sizeof (struct rcvmi_net_nic *));
        net->n--;
        rcvmi_net_nic_free (nic);
        return;
      }
}

int
rcvmi_net_save_record (struct rcvmi_net *net, rcvm_error **err)
{
  autofree char *record = NULL;

  if (!net->save)
    return 0;
  record = rcvmi_net_record_to_json (net, err);
  return record ? net->save (net->save_user, record, err) : RCVM_E_NOMEM;
}

int
rcvmi_net_nic_make_tap (struct rcvmi_net *net, struct rcvmi_net_nic *nic, rcvm_error **err)
{
  struct rcvmi_net_tap_params p = RCVMI_NET_TAP_PARAMS_INIT;
  struct rcvmi_net_tap tap;
  int code;

  snprintf (p.name, sizeof p.name, "%s", nic->tap_name);
  p.mtu = nic->outside.mtu;
  p.uid = net->uid;
  p.gid = net->gid;
  p.vnet_hdr = net->vnet_hdr;
  p.persistent = net->persistent;
  p.alias = net->alias;
  p.silent = true;
  p.down = net->mode == RCVMI_NET_HOST; /* until it has its address */
  code = rcvmi_net_tap_make (&net->ns, &net->nl, &p, &tap, err);
  if (code < 0)
    return code;
  nic->tap_index = tap.index;
  nic->tap_fd = tap.n_fds ? steal_fd (&tap.fds[0]) : -1;
  return 0;
}

/* Names. */

static bool
name_taken (const struct rcvmi_net *net, const struct rcvmi_net_list *list, const char *name)
{
  for (size_t i = 0; i < list->n; i++)
    if (!strcmp (list->found[i].data.name, name))
      return true;
  for (size_t i = 0; i < net->n; i++)
    if (!strcmp (net->nics[i]->tap_name, name) || !strcmp (net->nics[i]->priv->done.bridge, name))
      return true;
  return false;
}

static int
choose_name (const struct rcvmi_net *net, const struct rcvmi_net_list *list, const char *format,
             unsigned number, char *name, rcvm_error **err)
{
  for (unsigned i = number; i < number + NAME_TRIES; i++)
    {
      char candidate[32];

      snprintf (candidate, sizeof candidate, "%s%u", format, i);
      if (strlen (candidate) < RCVMI_NET_NAME_SIZE && !name_taken (net, list, candidate))
        {
          memcpy (name, candidate, strlen (candidate) + 1);
          return 0;
        }
    }
  return rcvmi_fail (err, RCVM_E_EXISTS, 0,
                     "the network namespace has no free name %s0, %s1 ... for an interface", format,
                     format);
}

/* Everything about one NIC that can be decided before anything is changed. */
struct rcvmi_net_nic *
rcvmi_net_nic_plan (struct rcvmi_net *net, const struct rcvmi_net_list *list,
                    const struct rcvmi_net_found *f, rcvm_error **err)
{
  struct rcvmi_net_nic *nic = rcvmi_net_nic_new (net, err);
  struct rcvmi_net_done *done = nic ? &nic->priv->done : NULL;
  struct rcvmi_net_ingress ingress;
  char tap[RCVMI_NET_NAME_SIZE] = "";
  int r;

  if (!nic)
    return NULL;
  if (rcvmi_net_if_copy (&nic->outside, &f->data, err) < 0
      || rcvmi_net_derive_guest (net, &nic->outside, &nic->guest, err) < 0)
    goto fail;
  if (net->tap_name[0] && nic->number == 0)
    {
      memcpy (tap, net->tap_name, sizeof tap);
      if (name_taken (net, list, tap))
        {
          rcvmi_fail (
              err, RCVM_E_EXISTS, 0,
              "the network namespace already has an interface '%s'; choose another name, or remove it",
              tap);
          goto fail;
        }
    }
  else if (choose_name (net, list, "rcvm", nic->number, tap, err) < 0)
    goto fail;
  memcpy (nic->tap_name, tap, sizeof tap);
  memcpy (done->tap, tap, sizeof done->tap);
  done->index = f->data.index;
  memcpy (done->name, f->data.name, sizeof done->name);
  if (net->join == RCVMI_NET_JOIN_BRIDGE)
    {
      char bridge[RCVMI_NET_NAME_SIZE];

      memcpy (done->old_mac, f->data.mac, sizeof done->old_mac);
      if (choose_name (net, list, "rcvmbr", nic->number, bridge, err) < 0
          || rcvmi_net_mac_random (done->new_mac, err) < 0
          || rcvmi_net_bridge_save (&net->nl, done, err) < 0)
        goto fail;
      memcpy (done->bridge, bridge, sizeof bridge);
      if (nic->number > 0 || rcvmi_net_bridge_guest (&nic->guest, err) == 0)
        return nic;
      goto fail;
    }
  r = rcvmi_net_ingress_bury (&net->nl, done->index, net->cookie, &ingress);
  if (r < 0)
    rcvmi_fail_errno (err, -r, "cannot read the ingress of '%s'%s", done->name, net->nl.text);
  else if (ingress.shared_block)
    rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                "the ingress of '%s' shares a block of filters with other interfaces; join it by a bridge",
                done->name);
  else if (ingress.others > 0
           && rcvmi_net_warn (
                  &net->warnings,
                  "the ingress of '%s' has filters of somebody else's: they come first, and what they "
                  "take does not reach the VM",
                  done->name)
                  < 0)
    rcvmi_fail_nomem (err);
  else
    {
      /* The qdisc of a dead VM's is ours to remove. */
      done->qdisc = !ingress.qdisc || (ingress.buried && ingress.others == 0);
      return nic;
    }
fail:
  rcvmi_net_nic_forget (net, nic);
  return NULL;
}

static int
fail_redirect (struct rcvmi_net *net, const char *name, int r, rcvm_error **err)
{
  if (r == -ENOENT || r == -EOPNOTSUPP)
    return rcvmi_fail (
        err, RCVM_E_HOST, -r,
        "cannot redirect what comes in at '%s'%s; the kernel needs sch_ingress, cls_u32 and act_mirred, or "
        "join by a bridge",
        name, net->nl.text);
  if (r == -EBUSY)
    return rcvmi_fail (
        err, RCVM_E_UNSUPPORTED, -r,
        "the ingress of '%s' has a filter of somebody else's with the last priority; join by a bridge",
        name);
  return rcvmi_fail_errno (err, -r, "cannot redirect what comes in at '%s'%s", name, net->nl.text);
}

static int
join_by_tc (struct rcvmi_net *net, const struct rcvmi_net_nic *nic, rcvm_error **err)
{
  const struct rcvmi_net_done *done = &nic->priv->done;
  int r = done->qdisc ? rcvmi_net_ingress_make_qdisc (&net->nl, done->index) : 0;

  /* From the VM first, so that its first answer has a way back. */
  if (r < 0 && r != -EEXIST)
    return fail_redirect (net, done->name, r, err);
  r = rcvmi_net_ingress_make_qdisc (&net->nl, nic->tap_index);
  if (r == 0)
    r = rcvmi_net_ingress_redirect (&net->nl, nic->tap_index, done->index, net->cookie);
  if (r < 0)
    return fail_redirect (net, nic->tap_name, r, err);
  r = rcvmi_net_ingress_redirect (&net->nl, done->index, nic->tap_index, net->cookie);
  return r < 0 ? fail_redirect (net, done->name, r, err) : 0;
}

int
rcvmi_net_nic_make (struct rcvmi_net *net, struct rcvmi_net_nic *nic, rcvm_error **err)
{
  int code = rcvmi_net_nic_make_tap (net, nic, err);

  if (code < 0)
    return code;
  if (net->join == RCVMI_NET_JOIN_BRIDGE)
    return rcvmi_net_bridge_join (&net->nl, &nic->priv->done, nic, net->alias, err);
  return join_by_tc (net, nic, err);
}

/* 0 or -errno.  The filter on the interface goes first: nothing is sent to a TAP that is not there. */
int
rcvmi_net_nic_undo (struct rcvmi_net *net, struct rcvmi_net_nic *nic)
{
  int r = rcvmi_net_undo_done (&net->nl, &nic->priv->done, net->cookie);

  cleanup_close (&nic->tap_fd);
  nic->tap_fd = -1;
  return r;
}

static int
prepare_netns (struct rcvmi_net *net, rcvm_error **err)
{
  struct rcvmi_net_list list;
  int code = rcvmi_net_read (&net->nl, &list, err);

  if (code < 0)
    return code;
  net->warnings = steal_ptr (list.warnings);
  code = rcvmi_net_check_interfaces (net, &list, err);
  for (size_t i = 0; code == 0 && i < list.n; i++)
    {
      const struct rcvmi_net_found *f = &list.found[i];

      if (!rcvmi_net_wanted (net, f))
        continue;
      if (rcvmi_net_lacks_address (net, f))
        code = rcvmi_fail (
            err, RCVM_E_INVALID, 0,
            "the interface '%s' of the network namespace has no address; give it one, let the guest use "
            "DHCP, or leave the interface out",
            f->data.name);
      else if (!(f->flags & IFF_UP)
               && rcvmi_net_warn (&net->warnings,
                                  "the interface '%s' is down; the VM has no link until it is up",
                                  f->data.name)
                      < 0)
        code = rcvmi_fail_nomem (err);
      else if (!rcvmi_net_nic_plan (net, &list, f, err))
        code = RCVM_E_SYSTEM;
    }
  rcvmi_net_list_clear (&list);
  if (code == 0)
    code = rcvmi_net_check_guests (net, err);
  if (code == 0)
    code = rcvmi_net_dns_of_netns (&net->dns, net->ns_path, err);
  if (code == 0)
    code = rcvmi_net_save_record (net, err);
  for (size_t i = 0; code == 0 && i < net->n; i++)
    code = rcvmi_net_nic_make (net, net->nics[i], err);
  return code;
}

/* Taking the configuration. */

static int
copy_strings (struct rcvmi_net *net, const struct rcvmi_net_config *c, rcvm_error **err)
{
  int code = 0;

  for (const char *const *s = c->interfaces; s && *s; s++)
    if (rcvmi_net_warn (&net->interfaces, "%s", *s) < 0)
      return rcvmi_fail_nomem (err);
  if (c->tap_name && *c->tap_name)
    {
      code = rcvmi_net_check_name (c->tap_name, err);
      if (code == 0)
        memcpy (net->tap_name, c->tap_name, strlen (c->tap_name) + 1);
    }
  if (code < 0)
    return code;
  /* The path is for finding the namespace again; where there was none, /proc is looked through. */
  if (c->netns_fd < 0 && c->netns_pid > 0)
    code = asprintf (&net->ns_path, "/proc/%d/ns/net", (int) c->netns_pid);
  else if (c->netns_fd < 0 && c->netns_path)
    code = (net->ns_path = strdup (c->netns_path)) ? 0 : -1;
  if (code < 0)
    {
      net->ns_path = NULL;
      return rcvmi_fail_nomem (err);
    }
  return 0;
}

static int
take_config (struct rcvmi_net *net, const struct rcvmi_net_config *c, rcvm_error **err)
{
  int code;

  net->mode = c->mode;
  net->join = c->join;
  net->dhcp = c->dhcp;
  net->persistent = c->persistent;
  net->vnet_hdr = c->vnet_hdr;
  net->uid = c->owner_uid;
  net->gid = c->owner_gid;
  net->enable_forwarding = c->enable_forwarding;
  code = copy_strings (net, c, err);
  if (code < 0)
    return code;
  net->statics = calloc (c->n_statics + 1, sizeof *net->statics);
  net->ports = calloc (c->n_ports + 1, sizeof *net->ports);
  if (!net->statics || !net->ports)
    return rcvmi_fail_nomem (err);
  for (; code == 0 && net->n_statics < c->n_statics; net->n_statics++)
    code = rcvmi_net_if_copy (&net->statics[net->n_statics], &c->statics[net->n_statics], err);
  if (code < 0)
    return code;
  if (c->n_ports)
    memcpy (net->ports, c->ports, c->n_ports * sizeof *net->ports);
  net->n_ports = c->n_ports;
  return rcvmi_net_ip_parse (&net->range, &net->range_prefix, c->range ? c->range : "169.254.0.0/16", err);
}

struct rcvmi_net *
rcvmi_net_prepare (const struct rcvmi_net_config *config, rcvmi_net_save_fn save, void *user,
                   rcvm_error **err)
{
  struct rcvmi_net *net = calloc (1, sizeof *net);
  int code;

  if (!net)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  net->ns = RCVMI_NETNS_INIT;
  net->nl = net->nft = RCVMI_NL_INIT;
  net->watch_fd = net->watch_nl = net->watch_name = -1;
  net->save = save;
  net->save_user = user;
  code = take_config (net, config, err);
  if (code == 0 && getrandom (net->cookie, sizeof net->cookie, 0) != sizeof net->cookie)
    code = rcvmi_fail_errno (err, errno, "cannot get random numbers");
  rcvmi_net_alias (net->cookie, net->alias, sizeof net->alias);
  if (code == 0 && net->mode != RCVMI_NET_NONE)
    {
      code = rcvmi_netns_open (&net->ns, config->netns_path, config->netns_pid, config->netns_fd, err);
      if (code == 0)
        code = rcvmi_net_open_nl (&net->ns, &net->nl, err);
      /* Before the first look, so that nothing happens in between unseen. */
      if (code == 0 && net->mode == RCVMI_NET_NETNS)
        code = rcvmi_net_watch_open (net, err);
      if (code == 0)
        code = net->mode == RCVMI_NET_NETNS ? prepare_netns (net, err)
                                            : rcvmi_net_private_prepare (net, err);
    }
  if (code == 0)
    return net;
  rcvmi_net_undo (net, NULL);
  rcvmi_net_free (net);
  return NULL;
}

void
rcvmi_net_free (struct rcvmi_net *net)
{
  if (!net)
    return;
  while (net->n > 0)
    rcvmi_net_nic_free (net->nics[--net->n]);
  free (net->nics);
  rcvmi_net_watch_close (net);
  for (size_t i = 0; i < net->n_statics; i++)
    rcvmi_net_if_clear (&net->statics[i]);
  free (net->statics);
  free (net->ports);
  free (net->ns_path);
  rcvmi_net_strv_free (net->interfaces);
  rcvmi_net_strv_free (net->excluded);
  rcvmi_net_strv_free (net->warnings);
  rcvmi_net_dns_clear (&net->dns);
  rcvmi_nl_close (&net->nft);
  rcvmi_nl_close (&net->nl);
  rcvmi_netns_close (&net->ns);
  free (net);
}

int
rcvmi_net_undo (struct rcvmi_net *net, rcvm_error **err)
{
  int first = 0, r;

  if (net->nl.fd < 0)
    return 0;
  /* Ports first: nobody is sent to a VM that is going. */
  if (net->table[0])
    first = rcvmi_net_nft_delete (&net->ns, &net->nft, net->table);
  for (size_t i = net->n; i-- > 0;)
    {
      r = rcvmi_net_nic_undo (net, net->nics[i]);
      if (first == 0)
        first = r;
    }
  while (net->n > 0)
    rcvmi_net_nic_free (net->nics[--net->n]);
  net->table[0] = '\0';
  if (first < 0)
    return rcvmi_fail_errno (err, -first, "cannot take back all that was done to the network%s",
                             net->nl.text);
  return 0;
}

int
rcvmi_net_remove (struct rcvmi_net *net, struct rcvmi_net_nic *nic, rcvm_error **err)
{
  int r = rcvmi_net_nic_undo (net, nic);

  rcvmi_net_nic_forget (net, nic);
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot take back all that was done for a network interface%s",
                             net->nl.text);
  return rcvmi_net_save_record (net, err);
}

/* Asking. */

size_t
rcvmi_net_count (const struct rcvmi_net *net)
{
  return net->n;
}

struct rcvmi_net_nic *
rcvmi_net_get (struct rcvmi_net *net, size_t index)
{
  return index < net->n ? net->nics[index] : NULL;
}

const struct rcvmi_net_dns *
rcvmi_net_get_dns (const struct rcvmi_net *net)
{
  return &net->dns;
}

char *const *
rcvmi_net_get_warnings (const struct rcvmi_net *net)
{
  return net->warnings;
}

int
rcvmi_net_get_ns_fd (const struct rcvmi_net *net)
{
  return net->ns.own ? -1 : net->ns.fd;
}

int
rcvmi_net_socket (const struct rcvmi_net *net, int domain, int type, int protocol, rcvm_error **err)
{
  if (net->ns.fd < 0)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "a VM without network has no namespace for a socket");
  return rcvmi_netns_socket (&net->ns, domain, type, protocol, err);
}
