/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The network's host half for the tests, without a VM:
 *
 *   netctl hold [OPTIONS]     prepares, prints the JSON, and takes commands: json, rescan, remove N, undo,
 * socket, quit. Each answers with a line; news of the namespace come as "event ...". netctl undo
 * RECORD-FILE   what the next call on an id does after its monitor died netctl rounds N [OPTIONS] prepares
 * and undoes N times; prints the number of fds before and after netctl taps N [NETNS]     the same with the
 * public TAP functions
 *
 * --vm NETNS stands for the VM: each NIC's TAP is joined to a TAP "eth<N>" in that namespace, by copying
 * frames, headers and all, as a VMM does.  That kernel is the guest's.
 */
#include "config.h"

#define RCVMI_STAGE "test"

#include <dirent.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <runcvm/net.h>

#include "cleanup.h"
#include "err.h"
#include "net.h"

struct pair
{
  int outside, inside;
  rcvm_net_tap *tap;
};

static struct pair pairs[RCVMI_NET_MAX_NICS];
static const char *record_file, *vm;
static char frame[70000];

static void __attribute__ ((noreturn)) die (rcvm_error *e)
{
  printf ("error %s %s\n", rcvm_code_name (rcvm_error_get_code (e)), rcvm_error_get_message (e));
  exit (1);
}

static int
save (void *user, const char *record, rcvm_error **err)
{
  autofree char *temporary = NULL;
  FILE *f;

  (void) user;
  if (!record_file)
    return 0;
  if (asprintf (&temporary, "%s.new", record_file) < 0)
    return rcvmi_fail_nomem (err);
  f = fopen (temporary, "we");
  if (!f || fputs (record, f) < 0 || fclose (f) || rename (temporary, record_file) < 0)
    return rcvmi_fail_errno (err, errno, "cannot write '%s'", temporary);
  return 0;
}

static unsigned
count_fds (void)
{
  DIR *d = opendir ("/proc/self/fd");
  unsigned n = 0;

  while (readdir (d))
    n++;
  closedir (d);
  return n;
}

/* The guest's end of a NIC: same name and MAC address, no addresses yet. */
static void
join_vm (struct rcvmi_net_nic *nic)
{
  rcvm_net_tap_options *o;
  rcvm_net_ns *ns;
  rcvm_error *e = NULL;
  struct pair *p = &pairs[nic->number];
  char name[16], mac[18];
  unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  const uint8_t *m = nic->guest.mac;

  if (!vm || nic->tap_fd < 0 || p->tap)
    return;
  snprintf (name, sizeof name, "eth%u", nic->number);
  snprintf (mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
  ns = rcvm_net_ns_open (vm, &e);
  o = rcvm_net_tap_options_new (&e);
  if (!ns || !o || rcvm_net_tap_options_set_name (o, name, &e) < 0
      || rcvm_net_tap_options_set_mac (o, mac, &e) < 0
      || rcvm_net_tap_options_set_mtu (o, nic->guest.mtu, &e) < 0)
    die (e);
  p->tap = rcvm_net_tap_in_netns (ns, o, &e);
  if (!p->tap)
    die (e);
  p->outside = nic->tap_fd;
  p->inside = rcvm_net_tap_get_fd (p->tap, 0);
  /* A VMM whose guest can do it says so: large packets then pass in one piece. */
  if (!getenv ("NO_OFFLOAD")
      && (ioctl (p->outside, TUNSETOFFLOAD, offload) < 0 || ioctl (p->inside, TUNSETOFFLOAD, offload) < 0))
    perror ("TUNSETOFFLOAD");
  rcvm_net_tap_options_free (o);
  rcvm_net_ns_free (ns);
}

static void
part_vm (unsigned number)
{
  rcvm_net_tap_free (pairs[number].tap);
  pairs[number] = (struct pair){ .outside = -1, .inside = -1 };
}

static void
copy (int from, int to)
{
  ssize_t n;

  while ((n = read (from, frame, sizeof frame)) > 0)
    if (write (to, frame, (size_t) n) < 0 && errno != EAGAIN && errno != EIO)
      perror ("write");
}

static void
print_json (struct rcvmi_net *net)
{
  rcvm_error *e = NULL;
  char *json = rcvmi_net_to_json (net, &e);

  if (!json)
    die (e);
  puts (json);
  free (json);
}

static void
command (struct rcvmi_net *net, const char *line)
{
  rcvm_error *e = NULL;
  int r = 0;

  if (!strncmp (line, "json", 4))
    {
      print_json (net);
      return;
    }
  if (!strncmp (line, "rescan", 6))
    {
      r = rcvmi_net_rescan (net, &e);
      for (size_t i = 0; i < rcvmi_net_count (net); i++)
        if (rcvmi_net_get (net, i)->state == RCVMI_NET_NIC_ADDED)
          join_vm (rcvmi_net_get (net, i));
        else if (rcvmi_net_get (net, i)->state == RCVMI_NET_NIC_REMOVED)
          part_vm (rcvmi_net_get (net, i)->number);
    }
  else if (!strncmp (line, "remove ", 7))
    {
      struct rcvmi_net_nic *nic = rcvmi_net_get (net, (size_t) atoi (line + 7));

      part_vm (nic->number);
      r = rcvmi_net_remove (net, nic, &e);
    }
  else if (!strncmp (line, "undo", 4))
    {
      for (unsigned i = 0; i < RCVMI_NET_MAX_NICS; i++)
        part_vm (i);
      r = rcvmi_net_undo (net, &e);
    }
  else if (!strncmp (line, "socket", 6))
    {
      int fd = rcvmi_net_socket (net, AF_INET, SOCK_STREAM, 0, &e);
      struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons (80) };

      a.sin_addr.s_addr = htonl (0x7f00000b);
      r = fd < 0 ? fd : connect (fd, (struct sockaddr *) &a, sizeof a);
      if (fd >= 0)
        close (fd);
      if (r < 0 && !e)
        rcvmi_fail_errno (&e, errno, "connect");
    }
  else
    exit (0);
  if (r < 0)
    printf ("error %s %s\n", rcvm_code_name (rcvm_error_get_code (e)), rcvm_error_get_message (e));
  else
    printf ("ok %d\n", r);
  rcvm_error_free (e);
}

static void
hold (struct rcvmi_net *net)
{
  struct pollfd p[2 + 2 * RCVMI_NET_MAX_NICS];
  char line[256];

  for (unsigned i = 0; i < RCVMI_NET_MAX_NICS; i++)
    pairs[i].outside = pairs[i].inside = -1;
  for (size_t i = 0; i < rcvmi_net_count (net); i++)
    join_vm (rcvmi_net_get (net, i));
  print_json (net);
  for (;;)
    {
      fflush (stdout);
      p[0] = (struct pollfd){ .fd = 0, .events = POLLIN };
      p[1] = (struct pollfd){ .fd = rcvmi_net_get_watch_fd (net), .events = POLLIN };
      for (unsigned i = 0; i < RCVMI_NET_MAX_NICS; i++)
        {
          p[2 + 2 * i] = (struct pollfd){ .fd = pairs[i].outside, .events = POLLIN };
          p[3 + 2 * i] = (struct pollfd){ .fd = pairs[i].inside, .events = POLLIN };
        }
      if (poll (p, sizeof p / sizeof *p, -1) < 0)
        continue;
      for (unsigned i = 0; i < RCVMI_NET_MAX_NICS; i++)
        {
          if (p[2 + 2 * i].revents & POLLIN)
            copy (pairs[i].outside, pairs[i].inside);
          if (p[3 + 2 * i].revents & POLLIN)
            copy (pairs[i].inside, pairs[i].outside);
        }
      if (p[1].revents)
        {
          int events = rcvmi_net_read_events (net, NULL);

          if (events)
            printf ("event%s%s\n", events & RCVMI_NET_EVENT_CHANGED ? " changed" : "",
                    events & RCVMI_NET_EVENT_DELETED ? " deleted" : "");
        }
      if (p[0].revents)
        {
          if (!fgets (line, sizeof line, stdin))
            return;
          command (net, line);
        }
    }
}

static void
undo_file (const char *path)
{
  FILE *f = fopen (path, "re");
  char text[65536];
  size_t n = f ? fread (text, 1, sizeof text - 1, f) : 0;
  rcvm_error *e = NULL;

  text[n] = '\0';
  if (f)
    fclose (f);
  if (rcvmi_net_undo_record (text, &e) < 0)
    die (e);
  puts ("ok");
}

static void
taps (int n, const char *path)
{
  rcvm_error *e = NULL;
  unsigned before = count_fds ();

  for (int i = 0; i < n; i++)
    {
      rcvm_net_ns *ns = rcvm_net_ns_open (path, &e);
      rcvm_net_tap *tap = ns ? rcvm_net_tap_in_netns (ns, NULL, &e) : NULL;

      if (!tap)
        die (e);
      rcvm_net_tap_free (tap);
      rcvm_net_ns_free (ns);
    }
  printf ("fds %u %u\n", before, count_fds ());
}

int
main (int argc, char **argv)
{
  struct rcvmi_net_config c = RCVMI_NET_CONFIG_INIT;
  struct rcvmi_net_port ports[16];
  struct rcvmi_net_if fixed = { .mtu = 0 };
  struct rcvmi_net_addr address = { .valid = UINT32_MAX, .preferred = UINT32_MAX };
  const char *interfaces[17] = { NULL };
  size_t n_interfaces = 0;
  rcvm_error *e = NULL;
  struct rcvmi_net *net;
  int rounds = 0, i = 2;

  setvbuf (stdout, NULL, _IOLBF, 0);
  if (argc > 2 && !strcmp (argv[1], "undo"))
    {
      undo_file (argv[2]);
      return 0;
    }
  if (argc > 2 && !strcmp (argv[1], "taps"))
    {
      taps (atoi (argv[2]), argv[3]);
      return 0;
    }
  if (argc > 2 && !strcmp (argv[1], "rounds"))
    rounds = atoi (argv[i++]);
  c.mode = RCVMI_NET_NETNS;
  for (; i < argc; i++)
    {
      const char *o = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";

      if (!strcmp (o, "--bridge"))
        c.join = RCVMI_NET_JOIN_BRIDGE;
      else if (!strcmp (o, "--dhcp"))
        c.dhcp = true;
      else if (!strcmp (o, "--persistent"))
        c.persistent = true;
      else if (!strcmp (o, "--forward"))
        c.enable_forwarding = true;
      else if (!strcmp (o, "--host"))
        c.mode = RCVMI_NET_HOST;
      else if (!strcmp (o, "--none"))
        c.mode = RCVMI_NET_NONE;
      else
        {
          i++;
          if (!strcmp (o, "--netns"))
            c.netns_path = v;
          else if (!strcmp (o, "--pid"))
            c.netns_pid = atoi (v);
          else if (!strcmp (o, "--fd"))
            c.netns_fd = open (v, O_RDONLY | O_CLOEXEC);
          else if (!strcmp (o, "--tap"))
            c.tap_name = v;
          else if (!strcmp (o, "--range"))
            c.range = v;
          else if (!strcmp (o, "--record"))
            record_file = v;
          else if (!strcmp (o, "--vm"))
            vm = v;
          else if (!strcmp (o, "--interface"))
            {
              interfaces[n_interfaces++] = v;
              c.interfaces = interfaces;
            }
          else if (!strcmp (o, "--static"))
            {
              snprintf (fixed.name, sizeof fixed.name, "%s", v);
              if (rcvmi_net_ip_parse (&address.ip, &address.prefix, argv[++i], &e) < 0)
                die (e);
              fixed.addrs = &address;
              fixed.n_addrs = 1;
              c.statics = &fixed;
              c.n_statics = 1;
            }
          else if (!strcmp (o, "--port"))
            {
              unsigned host, guest;

              sscanf (v + 4, "%u:%u", &host, &guest);
              ports[c.n_ports++]
                  = (struct rcvmi_net_port){ .protocol = v[0] == 'u' ? IPPROTO_UDP : IPPROTO_TCP,
                                             .host_port = (uint16_t) host,
                                             .guest_port = (uint16_t) guest };
              c.ports = ports;
            }
          else
            {
              fprintf (stderr, "netctl: %s?\n", o);
              return 2;
            }
        }
    }
  if (rounds)
    {
      unsigned before = count_fds ();

      while (rounds-- > 0)
        {
          net = rcvmi_net_prepare (&c, save, NULL, &e);
          if (!net || rcvmi_net_undo (net, &e) < 0)
            die (e);
          rcvmi_net_free (net);
        }
      printf ("fds %u %u\n", before, count_fds ());
      return 0;
    }
  net = rcvmi_net_prepare (&c, save, NULL, &e);
  if (!net)
    die (e);
  hold (net);
  rcvmi_net_free (net);
  return 0;
}
