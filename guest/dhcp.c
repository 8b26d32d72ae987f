/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dhcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "log.h"
#include "loop.h"
#include "machine.h"
#include "netspace.h"

#ifndef SOL_PACKET
#define SOL_PACKET 263
#endif

static const uint8_t nowhere[4] = { 0, 0, 0, 0 }, everywhere[4] = { 255, 255, 255, 255 };

enum
{
  FIRST_WAIT_MS = 1000,
  LONGEST_WAIT_MS = 64000,
  RENEW_WAIT_MS = 60000, /* the least between two attempts at renewal, as the RFC has it */
  SECOND = 1000
};

struct dhcp
{
  const struct dhcp_user *user;
  void *data;
  int index;
  char interface[16];
  uint8_t mac[6];
  char hostname[64];
  unsigned patience;

  enum
  {
    SELECTING,
    REQUESTING,
    BOUND,
    RENEWING,
    REBINDING
  } state;
  bool ever_bound;
  uint32_t xid, renewals;
  uint64_t began_ms, granted_ms; /* a transaction, the lease (when it was asked for) */
  uint64_t sent_ms;
  unsigned wait_ms, attempts;
  struct dhcp_answer offer, lease;
  struct sockaddr_ll server_link; /* where its answer came from */

  struct watch packets, timer;
  int udp; /* holds the port, and sends renewals */
};

static uint64_t
now_ms (void)
{
  return machine_usec (CLOCK_BOOTTIME) / 1000;
}

/* Sockets */

/* UDP to the client's port, no fragments: what else arrives does not wake us. */
static int
set_filter (int fd)
{
  struct sock_filter code[] = {
    BPF_STMT (BPF_LD | BPF_B | BPF_ABS, 9),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, 17, 0, 6),
    BPF_STMT (BPF_LD | BPF_H | BPF_ABS, 6),
    BPF_JUMP (BPF_JMP | BPF_JSET | BPF_K, 0x3fff, 4, 0),
    BPF_STMT (BPF_LDX | BPF_B | BPF_MSH, 0),
    BPF_STMT (BPF_LD | BPF_H | BPF_IND, 2),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, DHCP_CLIENT_PORT, 0, 1),
    BPF_STMT (BPF_RET | BPF_K, 0xffff),
    BPF_STMT (BPF_RET | BPF_K, 0),
  };
  struct sock_fprog program = { sizeof code / sizeof code[0], code };

  return setsockopt (fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static int
open_packets (struct dhcp *d)
{
  struct sockaddr_ll link
      = { .sll_family = AF_PACKET, .sll_protocol = htons (ETH_P_IP), .sll_ifindex = d->index };
  int fd, on = 1;

  if (d->packets.fd >= 0)
    return 0;
  /* Protocol 0: nothing comes before the filter is there. */
  fd = netspace_socket (AF_PACKET, SOCK_DGRAM, 0);
  if (fd < 0)
    return -1;
  if (set_filter (fd) < 0 || setsockopt (fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) < 0
      || bind (fd, (struct sockaddr *) &link, sizeof link) < 0 || loop_add (&d->packets, fd, EPOLLIN) < 0)
    {
      int saved = errno;

      close (fd);
      errno = saved;
      return -1;
    }
  return 0;
}

/* The kernel answers what comes to a port that is nobody's with an ICMP error; and with this socket a renewal takes
   its way like any packet.  The answers are read from the packet socket, in every state alike. */
static void
open_udp (struct dhcp *d)
{
  struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons (DHCP_CLIENT_PORT) };
  struct sock_filter nothing = BPF_STMT (BPF_RET | BPF_K, 0);
  struct sock_fprog program = { 1, &nothing };
  int on = 1;

  if (d->udp >= 0)
    return;
  d->udp = netspace_socket (AF_INET, SOCK_DGRAM, 0);
  if (d->udp < 0)
    return;
  setsockopt (d->udp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt (d->udp, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
  if (setsockopt (d->udp, SOL_SOCKET, SO_BINDTODEVICE, d->interface, (socklen_t) strlen (d->interface)) < 0
      || setsockopt (d->udp, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0
      || bind (d->udp, (struct sockaddr *) &own, sizeof own) < 0)
    {
      log_write (LOG_DEBUG, "%s: the DHCP client's port is taken: %s", d->interface, strerror (errno));
      close (d->udp);
      d->udp = -1;
    }
}

/* Output */

static struct dhcp_query
query (const struct dhcp *d, enum dhcp_type type)
{
  struct dhcp_query q = { .type = type,
                          .xid = d->xid,
                          .seconds = (unsigned) ((now_ms () - d->began_ms) / SECOND),
                          .mac = d->mac,
                          .hostname = *d->hostname ? d->hostname : NULL };

  return q;
}

static void
send_packet (struct dhcp *d, const struct dhcp_query *q, const uint8_t from[4], const uint8_t to[4],
             const struct sockaddr_ll *link)
{
  struct sockaddr_ll all = { .sll_family = AF_PACKET,
                             .sll_protocol = htons (ETH_P_IP),
                             .sll_ifindex = d->index,
                             .sll_halen = 6,
                             .sll_addr = { 255, 255, 255, 255, 255, 255 } };
  uint8_t packet[DHCP_PACKET_MAX];
  size_t n = dhcp_packet_build (packet, sizeof packet, q, from, to);

  if (n == 0
      || sendto (d->packets.fd, packet, n, MSG_DONTWAIT, (const struct sockaddr *) (link ? link : &all),
                 sizeof all)
             < 0)
    log_write (LOG_DEBUG, "%s: cannot send a DHCP message: %s", d->interface, strerror (errno));
}

static void
send_discover (struct dhcp *d)
{
  struct dhcp_query q = query (d, DHCP_DISCOVER);

  send_packet (d, &q, nowhere, everywhere, NULL);
}

static void
send_request (struct dhcp *d)
{
  struct dhcp_query q = query (d, DHCP_REQUEST);

  d->sent_ms = now_ms ();
  if (d->state == REQUESTING)
    {
      q.requested = d->offer.address;
      q.server = d->offer.server;
      send_packet (d, &q, nowhere, everywhere, NULL);
      return;
    }
  q.own = d->lease.address;
  if (d->state == RENEWING && d->udp >= 0)
    {
      struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons (DHCP_SERVER_PORT) };
      uint8_t message[DHCP_PACKET_MAX - 28];
      size_t n = dhcp_message_build (message, sizeof message, &q);

      memcpy (&to.sin_addr, d->lease.server, 4);
      if (sendto (d->udp, message, n, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *) &to, sizeof to) >= 0)
        return;
      log_write (LOG_DEBUG, "%s: cannot reach the DHCP server: %s", d->interface, strerror (errno));
    }
  send_packet (d, &q, d->lease.address, d->state == RENEWING ? d->lease.server : everywhere,
               d->state == RENEWING ? &d->server_link : NULL);
}

/* Time */

static void
wake_in (struct dhcp *d, uint64_t ms)
{
  struct itimerspec t = { .it_value = { .tv_sec = (time_t) (ms / 1000), .tv_nsec = (long) (ms % 1000) * 1000000 } };

  if (ms == 0)
    t.it_value.tv_nsec = 1;
  timerfd_settime (d->timer.fd, 0, &t, NULL);
}

/* Backoff with a second's spread, so that machines that start together do not ask together. */
static void
wait_for_answer (struct dhcp *d)
{
  uint64_t limit = d->began_ms + (uint64_t) d->patience * SECOND, now = now_ms (), wait;
  uint32_t spread = 0;

  getrandom (&spread, sizeof spread, 0);
  wait = d->wait_ms + spread % (d->wait_ms / 4 + 1);
  if (!d->ever_bound && now + wait > limit)
    wait = limit > now ? limit - now : 0;
  wake_in (d, wait);
  d->wait_ms = d->wait_ms * 2 > LONGEST_WAIT_MS ? LONGEST_WAIT_MS : d->wait_ms * 2;
}

static void
new_transaction (struct dhcp *d)
{
  getrandom (&d->xid, sizeof d->xid, 0);
  d->began_ms = now_ms ();
  d->attempts = 0;
}

static void
select_server (struct dhcp *d, bool first)
{
  if (first)
    {
      new_transaction (d);
      d->wait_ms = FIRST_WAIT_MS;
    }
  d->state = SELECTING;
  send_discover (d);
  wait_for_answer (d);
}

/* Seconds of the lease from its grant, as milliseconds from now. */
static uint64_t
until (const struct dhcp *d, uint32_t seconds)
{
  uint64_t at = d->granted_ms + (uint64_t) seconds * SECOND, now = now_ms ();

  return at > now ? at - now : 0;
}

/* Half of what is left before the next step, but no more often than once a minute. */
static void
wait_for_renewal (struct dhcp *d, uint32_t next_step)
{
  uint64_t left = until (d, next_step), half = left / 2;

  wake_in (d, half < RENEW_WAIT_MS ? left : half);
}

static void
lose (struct dhcp *d)
{
  log_write (LOG_WARNING, "%s: the DHCP lease is lost", d->interface);
  if (d->udp >= 0)
    close (d->udp);
  d->udp = -1;
  d->user->lost (d->data);
  select_server (d, true);
}

/* It may free `d`. */
static void
give_up (struct dhcp *d)
{
  struct failure f = { 0 };

  fail (&f, "net", ETIMEDOUT, "DHCP without an answer on %s in %u s", d->interface, d->patience);
  d->user->failed (d->data, &f);
}

static void
on_time (struct watch *w, uint32_t events)
{
  struct dhcp *d = owner_of (w, struct dhcp, timer);
  uint64_t count;

  (void) events;
  if (read (w->fd, &count, sizeof count) < 0)
    return;
  switch (d->state)
    {
    case SELECTING:
    case REQUESTING:
      if (!d->ever_bound && now_ms () - d->began_ms >= (uint64_t) d->patience * SECOND)
        {
          give_up (d);
          return;
        }
      if (d->state == REQUESTING && ++d->attempts < 4)
        {
          send_request (d);
          wait_for_answer (d);
        }
      else
        select_server (d, false);
      break;
    case BOUND:
      if (open_packets (d) < 0)
        log_write (LOG_WARNING, "%s: cannot renew the DHCP lease: %s", d->interface, strerror (errno));
      new_transaction (d);
      d->state = RENEWING;
      /* fall through */
    case RENEWING:
      if (until (d, d->lease.rebind) > 0)
        {
          send_request (d);
          wait_for_renewal (d, d->lease.rebind);
          break;
        }
      d->state = REBINDING;
      /* fall through */
    case REBINDING:
      if (until (d, d->lease.lease) == 0)
        {
          lose (d);
          break;
        }
      send_request (d);
      wait_for_renewal (d, d->lease.lease);
      break;
    }
}

/* Input */

static void
take_ack (struct dhcp *d, const struct dhcp_answer *a, const struct sockaddr_ll *from)
{
  if (d->state == RENEWING || d->state == REBINDING)
    d->renewals++;
  else
    d->renewals = 0;
  d->state = BOUND;
  d->ever_bound = true;
  d->lease = *a;
  /* The lease counts from when it was asked for. */
  d->granted_ms = d->sent_ms;
  d->server_link = *from;
  loop_close (&d->packets);
  open_udp (d);
  if (a->lease == UINT32_MAX)
    wake_in (d, (uint64_t) UINT32_MAX * SECOND);
  else
    wake_in (d, until (d, a->renew));
  log_write (LOG_DEBUG, "%s: DHCP lease of %u s", d->interface, a->lease);
  d->user->bound (d->data, &d->lease);
}

static void
take (struct dhcp *d, const struct dhcp_answer *a, const struct sockaddr_ll *from)
{
  if (a->xid != d->xid)
    return;
  if (d->state == SELECTING)
    {
      if (a->type != DHCP_OFFER || !a->has_server)
        return;
      d->offer = *a;
      d->state = REQUESTING;
      d->attempts = 0;
      d->wait_ms = FIRST_WAIT_MS;
      send_request (d);
      wait_for_answer (d);
      return;
    }
  if (d->state == BOUND || (d->state == REQUESTING && a->has_server && memcmp (a->server, d->offer.server, 4) != 0))
    return;
  if (a->type == DHCP_ACK)
    {
      struct dhcp_answer full = *a;

      /* A server need not say who it is again. */
      if (!full.has_server)
        memcpy (full.server, d->state == REQUESTING ? d->offer.server : d->lease.server, 4);
      take_ack (d, &full, from);
    }
  else if (a->type == DHCP_NAK && d->state == REQUESTING)
    {
      uint64_t began = d->began_ms;

      log_write (LOG_DEBUG, "%s: the DHCP server takes its offer back", d->interface);
      new_transaction (d);
      d->began_ms = began;
      d->state = SELECTING;
      wait_for_answer (d); /* not at once: it might go on like that */
    }
  else if (a->type == DHCP_NAK)
    lose (d);
}

static void
packet_ready (struct watch *w, uint32_t events)
{
  struct dhcp *d = owner_of (w, struct dhcp, packets);
  uint8_t packet[DHCP_PACKET_MAX + 100];
  struct iovec iov = { packet, sizeof packet };
  union
  {
    struct cmsghdr align;
    char bytes[CMSG_SPACE (sizeof (struct tpacket_auxdata))];
  } control;
  struct sockaddr_ll from;
  struct msghdr m = { .msg_name = &from,
                      .msg_namelen = sizeof from,
                      .msg_iov = &iov,
                      .msg_iovlen = 1,
                      .msg_control = control.bytes,
                      .msg_controllen = sizeof control.bytes };
  struct dhcp_answer a;
  bool sums = true;
  ssize_t n;

  (void) events;
  n = recvmsg (w->fd, &m, MSG_DONTWAIT);
  if (n < 0 || (m.msg_flags & MSG_TRUNC) || m.msg_namelen < offsetof (struct sockaddr_ll, sll_addr)
      || from.sll_pkttype == PACKET_OUTGOING)
    return;
  for (struct cmsghdr *c = CMSG_FIRSTHDR (&m); c; c = CMSG_NXTHDR (&m, c))
    if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA
        && c->cmsg_len >= CMSG_LEN (sizeof (struct tpacket_auxdata)))
      {
        struct tpacket_auxdata aux;

        memcpy (&aux, CMSG_DATA (c), sizeof aux);
        sums = !(aux.tp_status & TP_STATUS_CSUMNOTREADY);
      }
  if (dhcp_packet_parse (&a, packet, (size_t) n, sums, d->mac))
    take (d, &a, &from);
}

struct dhcp *
dhcp_new (int index, const char *interface, const uint8_t mac[6], const char *hostname,
          unsigned patience, const struct dhcp_user *user, void *data, struct failure *f)
{
  struct dhcp *d = calloc (1, sizeof *d);
  int timer;

  if (!d)
    {
      fail (f, "net", ENOMEM, "cannot start DHCP on %s", interface);
      return NULL;
    }
  d->user = user;
  d->data = data;
  d->index = index;
  d->patience = patience;
  snprintf (d->interface, sizeof d->interface, "%s", interface);
  snprintf (d->hostname, sizeof d->hostname, "%s", hostname ? hostname : "");
  memcpy (d->mac, mac, sizeof d->mac);
  d->packets = d->timer = WATCH_INIT;
  d->packets.ready = packet_ready;
  d->timer.ready = on_time;
  d->udp = -1;
  timer = timerfd_create (CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  if (timer < 0 || loop_add (&d->timer, timer, EPOLLIN) < 0 || open_packets (d) < 0)
    {
      fail (f, "net", errno, "cannot start DHCP on %s", interface);
      if (timer >= 0 && d->timer.fd < 0)
        close (timer);
      dhcp_free (d, false);
      return NULL;
    }
  select_server (d, true);
  return d;
}

void
dhcp_free (struct dhcp *d, bool release)
{
  if (!d)
    return;
  if (release && d->ever_bound && (d->state == BOUND || d->state == RENEWING || d->state == REBINDING)
      && open_packets (d) == 0)
    {
      struct dhcp_query q;

      new_transaction (d);
      q = query (d, DHCP_RELEASE);
      q.own = d->lease.address;
      q.server = d->lease.server;
      send_packet (d, &q, d->lease.address, d->lease.server, &d->server_link);
    }
  loop_close (&d->packets);
  loop_close (&d->timer);
  if (d->udp >= 0)
    close (d->udp);
  loop_free_later (d);
}

uint32_t
dhcp_age (const struct dhcp *d)
{
  return (uint32_t) ((now_ms () - d->granted_ms) / SECOND);
}

uint32_t
dhcp_renewals (const struct dhcp *d)
{
  return d->renewals;
}
