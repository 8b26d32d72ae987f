/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stage "net": the host's half of the network is made here (net.h), the guest's half is told what to do by the agent
 * protocol.  Interfaces may come and go later, when the namespace's owner moves them, and are looked for again
 * before the process starts: newer Dockers fill the namespace between create and start.
 */
#include "config.h"

#define RCVMI_STAGE "net"
#include "run-parts.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "net-guest.h"

enum
{
  ANSWER_TIMEOUT_MS = 60000, /* beyond what DHCP may take */
  OPERATIONS_MAX = 256
};

/* Something that the guest has been asked for. */
struct rcvmi_run_net_op
{
  struct rcvmi_run_net_op *next;
  struct rcvmi_run *run;
  uint32_t number;
  uint16_t type;    /* AGENT_NET_* */
  unsigned nic;     /* of NET_ADD and NET_DEL */
  bool added;       /* NET_ADD: the NIC is new */
  bool take_back;   /* NET_DEL: the host's half goes, too */
  rcvmi_run_net_fn done; /* NULL: nobody waits */
  void *user;
  struct rcvmi_ev_source *timer;
};

/* Which namespace. */

static bool
is_namespace_of (const char *process, const struct stat *ns)
{
  struct stat st;

  return stat (process, &st) == 0 && st.st_dev == ns->st_dev && st.st_ino == ns->st_ino;
}

/* Whether the namespace is the host's: its own interfaces are no container's, and taking them over would cut the host off. */
static bool
is_hosts (const struct rcvmi_plan_net *p)
{
  char path[64];
  struct stat st;

  snprintf (path, sizeof path, "/proc/%d/ns/net", (int) p->pid);
  if (stat (p->path ? p->path : path, &st) < 0)
    return false;
  return is_namespace_of ("/proc/1/ns/net", &st) || is_namespace_of ("/proc/self/ns/net", &st);
}

static int
save_record (void *user, const char *record, rcvm_error **err)
{
  struct rcvmi_run *run = user;
  char *copy = strdup (record);

  if (!copy)
    return rcvmi_fail_nomem (err);
  free (run->state.network);
  run->state.network = copy;
  return rcvmi_run_save (run, err);
}

struct asked
{
  struct rcvmi_net_if *statics;
  size_t n_statics;
  struct rcvmi_net_port *ports;
};

static void
free_asked (struct asked *a)
{
  for (size_t i = 0; i < a->n_statics; i++)
    rcvmi_net_if_clear (&a->statics[i]);
  free (a->statics);
  free (a->ports);
}

static int
parse_asked (struct asked *a, struct rcvmi_net_config *c, const struct rcvmi_plan_net *p, rcvm_error **err)
{
  size_t n_nics = rcvmi_strv_length (p->nics), n_ports = rcvmi_strv_length (p->ports);
  int code = 0;

  a->statics = calloc (n_nics + 1, sizeof *a->statics);
  a->ports = calloc (n_ports + 1, sizeof *a->ports);
  if (!a->statics || !a->ports)
    return rcvmi_fail_nomem (err);
  for (size_t i = 0; code == 0 && i < n_nics; i++)
    {
      code = rcvmi_net_guest_parse_nic (&a->statics[i], p->nics[i], err);
      a->n_statics += code == 0;
    }
  for (size_t i = 0; code == 0 && i < n_ports; i++)
    code = rcvmi_net_guest_parse_port (&a->ports[i], p->ports[i], err);
  c->statics = a->statics;
  c->n_statics = a->n_statics;
  c->ports = a->ports;
  c->n_ports = n_ports;
  return code;
}

/* Whoever joins an empty namespace expects a loopback interface that works. */
static void
bring_up_loopback (const struct rcvmi_log *log)
{
  struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
  autoclose int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  if (fd < 0 || ioctl (fd, SIOCSIFFLAGS, &r) < 0)
    rcvmi_log_at (log, RCVM_LOG_WARNING, "net", "cannot bring the loopback interface of the container's namespace up: %s",
                  strerror (errno));
}

/* A namespace of the container's own, which is the monitor's, too: whoever fills it finds it by the container's PID. */
static bool
make_own_namespace (struct rcvmi_run *run)
{
  if (unshare (CLONE_NEWNET) == 0)
    {
      bring_up_loopback (run->log);
      return true;
    }
  rcvmi_log_at (run->log, RCVM_LOG_INFO, "net",
                "the VM has a loopback interface only: a network namespace takes CAP_SYS_ADMIN (%s)", strerror (errno));
  return false;
}

static int
put_guest (struct rcvmi_run *run, rcvm_error **err)
{
  struct tlv_writer *w = &run->plan->setup;
  const struct rcvmi_net_dns *dns = rcvmi_net_get_dns (run->net);

  for (size_t i = 0; i < rcvmi_net_count (run->net); i++)
    {
      const struct rcvmi_net_nic *n = rcvmi_net_get (run->net, i);
      size_t mark = tlv_begin (w, S_NETWORK);
      int code = rcvmi_net_guest_put (w, &n->guest, n->dhcp ? run->plan->net.dhcp : 0, err);

      if (code < 0)
        return code;
      rcvmi_run_tell_device (run, n->number, w);
      tlv_end (w, mark);
    }
  if (run->plan->net.resolv && run->plan->net.dhcp)
    tlv_put_str (w, S_RESOLV, "");
  else if (run->plan->net.resolv && dns->servers && dns->servers[0])
    {
      autofree char *text = rcvmi_net_guest_resolv (dns, err);

      if (!text)
        return RCVM_E_NOMEM;
      tlv_put_str (w, S_RESOLV, text);
    }
  return w->failed ? rcvmi_fail_nomem (err) : 0;
}

/* The namespace of a path or a process. */
static int
open_namespace (const struct rcvmi_plan_net *p, rcvm_error **err)
{
  char path[64];
  int fd;

  snprintf (path, sizeof path, "/proc/%d/ns/net", (int) p->pid);
  fd = open (p->path ? p->path : path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    rcvmi_fail_errno (err, errno, "cannot open the network namespace '%s'", p->path ? p->path : path);
  return fd;
}

enum rcvmi_run_step
rcvmi_run_begin_netns (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_plan_net *p = &run->plan->net;
  autoclose int fd = -1;

  if (p->mode == RCVMI_PLAN_NET_NETNS && is_hosts (p))
    {
      rcvmi_log_at (run->log, RCVM_LOG_INFO, "net",
                    "'%s' is the host's own network namespace: the VM gets a link to it, as in the mode 'host'",
                    p->path ? p->path : "the namespace");
      p->mode = RCVMI_PLAN_NET_HOST;
    }
  if (p->mode != RCVMI_PLAN_NET_OWN && p->mode != RCVMI_PLAN_NET_NETNS)
    return RCVMI_STEP_DONE;
  run->host_netns_fd = open ("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (run->host_netns_fd < 0)
    {
      rcvmi_fail_errno (err, errno, "cannot open the network namespace of the host");
      return RCVMI_STEP_FAILED;
    }
  if (p->mode == RCVMI_PLAN_NET_OWN)
    {
      if (!make_own_namespace (run))
        p->mode = RCVMI_PLAN_NET_NONE;
      return RCVMI_STEP_DONE;
    }
  fd = open_namespace (p, err);
  if (fd < 0)
    return RCVMI_STEP_FAILED;
  /* The container's PID is to be where its network is: others look there (`--network container:ID`). */
  if (setns (fd, CLONE_NEWNET) < 0)
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "net", "the monitor stays outside of the network namespace: %s", strerror (errno));
  return RCVMI_STEP_DONE;
}

void
rcvmi_run_undo_netns (struct rcvmi_run *run)
{
  if (run->host_netns_fd >= 0)
    close (steal_fd (&run->host_netns_fd));
}

static int
prepare (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_plan_net *p = &run->plan->net;
  struct rcvmi_net_config c = RCVMI_NET_CONFIG_INIT;
  struct asked asked = { 0 };
  int code;

  if (p->mode == RCVMI_PLAN_NET_NONE)
    return 0;
  c.mode = p->mode == RCVMI_PLAN_NET_HOST ? RCVMI_NET_HOST : RCVMI_NET_NETNS;
  c.join = p->bridge ? RCVMI_NET_JOIN_BRIDGE : RCVMI_NET_JOIN_TC;
  c.netns_path = p->path;
  c.netns_pid = p->pid;
  c.dhcp = p->dhcp > 0;
  c.tap_name = p->tap_name;
  c.persistent = run->vmm.ops->opens_taps;
  c.enable_forwarding = p->asked;
  code = parse_asked (&asked, &c, p, err);
  if (code == 0)
    {
      run->net = rcvmi_net_prepare (&c, save_record, run, err);
      code = run->net ? 0 : RCVM_E_SYSTEM;
    }
  free_asked (&asked);
  if (code == 0)
    code = put_guest (run, err);
  if (code < 0)
    return code;
  for (char *const *w = rcvmi_net_get_warnings (run->net); w && *w; w++)
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "net", "%s", *w);
  return 0;
}

enum rcvmi_run_step
rcvmi_run_begin_net (struct rcvmi_run *run, rcvm_error **err)
{
  int code = prepare (run, err);

  if (code == 0)
    code = rcvmi_run_listen_volumes (run, err);
  if (code == 0)
    code = rcvmi_run_make_link (run, err);
  return code < 0 ? RCVMI_STEP_FAILED : RCVMI_STEP_DONE;
}

int
rcvmi_run_net_config (struct rcvmi_run *run, struct rcvmi_vmm_config *config, rcvm_error **err)
{
  enum rcvmi_hotplug asked = run->plan->hotplug;

  config->nic_hotplug = run->net && run->plan->net.mode != RCVMI_PLAN_NET_HOST && asked != RCVMI_HOTPLUG_OFF
                        && (asked == RCVMI_HOTPLUG_ON || rcvmi_vmm_can_attach_nics (&run->vmm))
                        && (!run->vmm.ops->hotplug_is_slow || rcvmi_plan_expects_nics (run->plan));
  /* Disks can come wherever there is PCI anyway. */
  config->hotplug = config->nic_hotplug || asked == RCVMI_HOTPLUG_ON
                    || (asked == RCVMI_HOTPLUG_AUTO && run->net && !run->vmm.ops->hotplug_is_slow);
  for (size_t i = 0; run->net && i < rcvmi_net_count (run->net); i++)
    {
      const struct rcvmi_net_nic *n = rcvmi_net_get (run->net, i);
      struct rcvmi_vmm_nic *v = &config->nics[config->n_nics];

      if (config->n_nics == RCVMI_VMM_NICS)
        return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "the VMM driver '%s' takes at most %d network interfaces",
                           run->vmm.ops->name, RCVMI_VMM_NICS);
      v->number = n->number;
      v->tap_fd = n->tap_fd;
      v->tap_name = n->tap_name;
      memcpy (v->mac, n->guest.mac, sizeof v->mac);
      config->n_nics++;
    }
  return 0;
}

/* What the guest is asked for. */

static int
check_not_paused (const struct rcvmi_run *run, rcvm_error **err)
{
  if (run->state.status != RCVM_STATUS_PAUSED)
    return 0;
  return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is paused: resume it first", run->options.id);
}

static void
drop_op (struct rcvmi_run_net_op *op)
{
  struct rcvmi_run_net_op **at = &op->run->net_ops;

  while (*at != op)
    at = &(*at)->next;
  *at = op->next;
  rcvmi_ev_remove (op->timer);
  free (op);
}

static struct rcvmi_net_nic *
find_nic (struct rcvmi_run *run, unsigned number)
{
  for (size_t i = 0; run->net && i < rcvmi_net_count (run->net); i++)
    if (rcvmi_net_get (run->net, i)->number == number)
      return rcvmi_net_get (run->net, i);
  return NULL;
}

static bool
is_busy (const struct rcvmi_run *run)
{
  for (const struct rcvmi_run_net_op *op = run->net_ops; op; op = op->next)
    if (op->type != AGENT_NET_QUERY)
      return true;
  return false;
}

/* What was waited for has come about, or not. */
static void
finish_op (struct rcvmi_run_net_op *op, const unsigned char *record, size_t len, rcvm_error *e)
{
  struct rcvmi_run *run = op->run;
  struct rcvmi_net_nic *nic = op->type == AGENT_NET_QUERY ? NULL : find_nic (run, op->nic);
  rcvmi_run_net_fn done = op->done;
  void *user = op->user;
  bool starts = run->start_waits_for_net;
  autofree char *json = NULL;

  if (op->type == AGENT_NET_DEL)
    rcvmi_vmm_remove_nic (&run->vmm, op->nic, e ? NULL : &e);
  if (op->type == AGENT_NET_DEL && op->take_back && nic)
    rcvmi_net_remove (run->net, nic, e ? NULL : &e);
  if (op->type == AGENT_NET_ADD && e && op->added)
    {
      rcvmi_vmm_remove_nic (&run->vmm, op->nic, NULL);
      if (nic)
        rcvmi_net_remove (run->net, nic, NULL);
    }
  if (!e && op->type == AGENT_NET_QUERY)
    json = rcvmi_net_guest_json (record, len, &e);
  drop_op (op);
  if (done)
    done (user, json, e);
  else if (e && !starts)
    {
      rcvmi_log_at (run->log, RCVM_LOG_WARNING, "net", "%s", rcvm_error_get_message (e));
      rcvm_error_free (e);
    }
  else if (e)
    {
      run->start_waits_for_net = false;
      rcvmi_run_fail (run, e);
      return;
    }
  if (run->start_waits_for_net && !is_busy (run))
    {
      run->start_waits_for_net = false;
      rcvmi_run_start_process (run);
    }
}

void
rcvmi_run_net_answer (void *user, uint32_t number, const unsigned char *record, size_t len, rcvm_error *err)
{
  struct rcvmi_run *run = user;
  struct rcvmi_run_net_op *op = run->net_ops;

  while (op && op->number != number)
    op = op->next;
  if (op)
    finish_op (op, record, len, err);
  else
    rcvm_error_free (err);
}

static void
on_no_answer (void *user, uint32_t events)
{
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_fail (&e, RCVM_E_GUEST, 0, "the guest's agent said nothing about its network for %d seconds",
              ANSWER_TIMEOUT_MS / 1000);
  finish_op (user, NULL, 0, e);
}

/* Frees the record. */
static int
ask (struct rcvmi_run *run, const struct rcvmi_run_net_op *what, struct tlv_writer *w, rcvm_error **err)
{
  struct rcvmi_run_net_op *op = NULL;
  unsigned dhcp = run->plan->net.dhcp * 1000, n = 0;
  int code = 0;

  for (const struct rcvmi_run_net_op *o = run->net_ops; o; o = o->next)
    n++;
  if (!run->agent || run->process_ended || run->ending)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is not running", run->options.id);
  else if (check_not_paused (run, err) < 0)
    code = RCVM_E_STATE;
  else if (n >= OPERATIONS_MAX)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "too many requests about the network of VM '%s' are under way", run->options.id);
  else if (!(op = calloc (1, sizeof *op)))
    code = rcvmi_fail_nomem (err);
  if (code < 0)
    {
      tlv_writer_free (w);
      return code;
    }
  *op = *what;
  op->run = run;
  op->number = ++run->net_number;
  op->next = run->net_ops;
  run->net_ops = op;
  op->timer = rcvmi_ev_add_timer (run->ev, ANSWER_TIMEOUT_MS + dhcp, on_no_answer, op, err);
  if (!op->timer)
    {
      tlv_writer_free (w);
      code = RCVM_E_SYSTEM;
    }
  else
    code = rcvmi_agent_net (run->agent, op->type, op->number, w, err);
  if (code < 0)
    drop_op (op);
  return code;
}

/* A device's own MAC, which nobody but the guest's agent ever sees. */
static void
make_device_mac (uint8_t mac[6], unsigned number)
{
  const uint8_t made[6] = { 0x02, 'r', 'v', 'm', (uint8_t) (number >> 8), (uint8_t) number };

  memcpy (mac, made, sizeof made);
}

static int
ask_to_add (struct rcvmi_run *run, struct rcvmi_net_nic *nic, bool added, rcvm_error **err)
{
  struct rcvmi_run_net_op op = { .type = AGENT_NET_ADD, .nic = nic->number, .added = added };
  struct rcvmi_vmm_nic v = { .number = nic->number, .tap_fd = nic->tap_fd, .tap_name = nic->tap_name };
  struct tlv_writer w = TLV_WRITER_INIT;
  int code = 0;

  memcpy (v.mac, nic->guest.mac, sizeof v.mac);
  /* Its MAC may have been there before. */
  if (added && run->vmm.ops->nics_stay)
    make_device_mac (v.mac, nic->number);
  if (added)
    code = rcvmi_vmm_add_nic (&run->vmm, &v, err);
  if (code == 0)
    {
      code = rcvmi_net_guest_put (&w, &nic->guest, nic->dhcp ? run->plan->net.dhcp : 0, err);
      if (added && run->vmm.ops->nics_stay)
        tlv_put (&w, N_DEVICE, v.mac, sizeof v.mac);
      if (code == 0)
        code = ask (run, &op, &w, err);
      else
        tlv_writer_free (&w);
      if (code < 0 && added)
        rcvmi_vmm_remove_nic (&run->vmm, nic->number, NULL);
    }
  if (code < 0 && added)
    rcvmi_net_remove (run->net, nic, NULL);
  return code;
}

static int
ask_to_remove (struct rcvmi_run *run, const struct rcvmi_net_nic *nic, bool take_back, rcvmi_run_net_fn done, void *user,
               rcvm_error **err)
{
  struct rcvmi_run_net_op op
      = { .type = AGENT_NET_DEL, .nic = nic->number, .take_back = take_back, .done = done, .user = user };
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put (&w, N_MAC, nic->guest.mac, sizeof nic->guest.mac);
  return ask (run, &op, &w, err);
}

/* Looks again, and has the guest follow. */
static int
rescan (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_net_nic *changed[RCVMI_NET_MAX_NICS];
  size_t n = 0;
  int code = rcvmi_net_rescan (run->net, err), r;

  if (code <= 0)
    return code;
  /* A NIC that fails is taken out of the list at once. */
  for (size_t i = 0; i < rcvmi_net_count (run->net) && n < RCVMI_NET_MAX_NICS; i++)
    if (rcvmi_net_get (run->net, i)->state != RCVMI_NET_NIC_SAME)
      changed[n++] = rcvmi_net_get (run->net, i);
  code = 0;
  for (size_t i = 0; i < n; i++)
    {
      rcvm_error *e = NULL;

      if (changed[i]->state == RCVMI_NET_NIC_REMOVED)
        r = ask_to_remove (run, changed[i], false, NULL, NULL, &e);
      else
        r = ask_to_add (run, changed[i], changed[i]->state == RCVMI_NET_NIC_ADDED, &e);
      if (r < 0 && code == 0)
        code = rcvmi_error_pass (err, e);
      else
        rcvm_error_free (e);
    }
  return code;
}

void
rcvmi_run_net_hold (struct rcvmi_run *run)
{
  for (struct rcvmi_run_net_op *op = run->net_ops; op; op = op->next)
    rcvmi_ev_remove (steal_ptr (op->timer));
  /* What happens in the namespace is looked at later. */
  if (run->net_source)
    rcvmi_ev_set_events (run->net_source, 0);
}

int
rcvmi_run_net_go_on (struct rcvmi_run *run, rcvm_error **err)
{
  if (run->net_source)
    rcvmi_ev_set_events (run->net_source, EPOLLIN);
  for (struct rcvmi_run_net_op *op = run->net_ops; op; op = op->next)
    {
      op->timer = rcvmi_ev_add_timer (run->ev, ANSWER_TIMEOUT_MS + run->plan->net.dhcp * 1000, on_no_answer, op, err);
      if (!op->timer)
        return RCVM_E_SYSTEM;
    }
  return 0;
}

static void
on_net_news (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  rcvm_error *e = NULL;
  int news = rcvmi_net_read_events (run->net, &e), code = news;

  (void) events;
  if (news > 0 && (news & RCVMI_NET_EVENT_DELETED))
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "net",
                  "the network namespace of VM '%s' was deleted; the VM keeps it until it ends", run->options.id);
  if (news > 0 && (news & RCVMI_NET_EVENT_CHANGED) && !run->process_ended && !run->ending)
    code = rescan (run, &e);
  if (code < 0)
    {
      rcvmi_log_at (run->log, RCVM_LOG_WARNING, "net", "%s", rcvm_error_get_message (e));
      rcvm_error_free (e);
    }
}

int
rcvmi_run_net_watch (struct rcvmi_run *run, rcvm_error **err)
{
  int fd = run->net ? rcvmi_net_get_watch_fd (run->net) : -1;

  if (fd < 0 || run->net_source)
    return 0;
  run->net_source = rcvmi_ev_add (run->ev, fd, EPOLLIN, on_net_news, run, err);
  return run->net_source ? 0 : RCVM_E_SYSTEM;
}

int
rcvmi_run_net_sync (struct rcvmi_run *run, rcvm_error **err)
{
  int code = run->net ? rescan (run, err) : 0;

  return code < 0 ? code : is_busy (run);
}

/* What others ask for. */

int
rcvmi_run_net_show (struct rcvmi_run *run, rcvmi_run_net_fn done, void *user, rcvm_error **err)
{
  struct rcvmi_run_net_op op = { .type = AGENT_NET_QUERY, .done = done, .user = user };
  struct tlv_writer w = TLV_WRITER_INIT;

  return ask (run, &op, &w, err);
}

char *
rcvmi_run_net_host_json (struct rcvmi_run *run, rcvm_error **err)
{
  char *json = run->net ? rcvmi_net_to_json (run->net, err) : strdup ("{\"mode\":\"none\",\"nics\":[]}");

  if (!json && !run->net)
    rcvmi_fail_nomem (err);
  return json;
}

static struct rcvmi_net_nic *
find_by_name (struct rcvmi_run *run, const char *name)
{
  for (size_t i = 0; run->net && i < rcvmi_net_count (run->net); i++)
    {
      struct rcvmi_net_nic *n = rcvmi_net_get (run->net, i);

      if (n->state != RCVMI_NET_NIC_REMOVED && strcmp (n->guest.name, name) == 0)
        return n;
    }
  return NULL;
}

int
rcvmi_run_net_attach (struct rcvmi_run *run, const char *name, rcvmi_run_net_fn done, void *user, rcvm_error **err)
{
  struct rcvmi_net_nic *nic;
  int code = check_not_paused (run, err);

  if (code < 0)
    return code;
  if (!run->net || run->plan->net.mode == RCVMI_PLAN_NET_HOST)
    return rcvmi_fail (err, RCVM_E_STATE, 0,
                       "VM '%s' has no network namespace whose interfaces it takes over, so none can be attached",
                       run->options.id);
  code = rcvmi_net_exclude (run->net, name, false, err);
  if (code == 0)
    code = rescan (run, err);
  if (code < 0)
    return code;
  nic = find_by_name (run, name);
  if (!nic)
    return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0,
                       "the VM's network namespace has no interface '%s' that is up and has an address", name);
  for (struct rcvmi_run_net_op *op = run->net_ops; op; op = op->next)
    if (op->type == AGENT_NET_ADD && op->nic == nic->number && !op->done)
      {
        op->done = done;
        op->user = user;
        return 0;
      }
  done (user, NULL, NULL);
  return 0;
}

int
rcvmi_run_net_detach (struct rcvmi_run *run, const char *name, rcvmi_run_net_fn done, void *user, rcvm_error **err)
{
  struct rcvmi_net_nic *nic = find_by_name (run, name);

  if (check_not_paused (run, err) < 0)
    return RCVM_E_STATE;
  if (!nic)
    return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "VM '%s' has no network interface '%s'", run->options.id, name);
  if (run->plan->net.mode == RCVMI_PLAN_NET_HOST)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "the link of the network mode 'host' cannot be detached");
  if (rcvmi_net_exclude (run->net, name, true, err) < 0)
    return RCVM_E_NOMEM;
  return ask_to_remove (run, nic, true, done, user, err);
}

void
rcvmi_run_net_forget (struct rcvmi_run *run, void *user)
{
  for (struct rcvmi_run_net_op *op = run->net_ops; op; op = op->next)
    if (op->done && op->user == user)
      op->done = NULL;
}

/* The end. */

/* The guest goes, and with it what it was asked for. */
void
rcvmi_run_undo_net_ops (struct rcvmi_run *run)
{
  while (run->net_ops)
    {
      rcvmi_run_net_fn done = run->net_ops->done;
      void *user = run->net_ops->user;
      rcvm_error *e = NULL;

      drop_op (run->net_ops);
      if (!done)
        continue;
      rcvmi_fail (&e, RCVM_E_STATE, 0, "VM '%s' has stopped", run->options.id);
      done (user, NULL, e);
    }
}

void
rcvmi_run_undo_net (struct rcvmi_run *run)
{
  rcvm_error *e = NULL;

  rcvmi_ev_remove (steal_ptr (run->net_source));
  rcvmi_run_undo_net_ops (run);
  if (!run->net)
    return;
  if (rcvmi_net_undo (run->net, &e) < 0)
    {
      rcvmi_log_at (run->log, RCVM_LOG_WARNING, "net", "%s", rcvm_error_get_message (e));
      rcvm_error_free (e);
    }
  rcvmi_net_free (steal_ptr (run->net));
  free (steal_ptr (run->state.network));
}
