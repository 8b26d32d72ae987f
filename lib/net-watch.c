/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * News of the namespace: the kernel's notifications of links, addresses and routes, and the name's end.
 *
 * A namespace lives as long as anything uses it, and the VM's TAP does: `ip netns del` takes the name
 * alone, and the VM goes on. (The far end of a veth is another matter: if that is deleted, this one goes
 * too, and is noticed as a link.)
 */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-parts.h"

#include <libgen.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

#define GROUP(g) (1U << ((g) -1))

static int
watch (struct rcvmi_net *net, int fd, rcvm_error **err)
{
  struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

  if (epoll_ctl (net->watch_fd, EPOLL_CTL_ADD, fd, &e) < 0)
    return rcvmi_fail_errno (err, errno, "cannot watch the network namespace");
  return 0;
}

static int
watch_links (struct rcvmi_net *net, rcvm_error **err)
{
  struct sockaddr_nl local
      = { .nl_family = AF_NETLINK,
          .nl_groups = GROUP (RTNLGRP_LINK) | GROUP (RTNLGRP_IPV4_IFADDR) | GROUP (RTNLGRP_IPV6_IFADDR)
                       | GROUP (RTNLGRP_IPV4_ROUTE) | GROUP (RTNLGRP_IPV6_ROUTE) };

  net->watch_nl = rcvmi_netns_socket (&net->ns, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE, err);
  if (net->watch_nl < 0)
    return net->watch_nl;
  if (bind (net->watch_nl, (struct sockaddr *) &local, sizeof local) < 0)
    return rcvmi_fail_errno (err, errno, "cannot watch the network namespace");
  return watch (net, net->watch_nl, err);
}

/* The directory, as the name itself is a mount's.  One that cannot be watched (/proc/PID/ns) is not. */
static int
watch_name (struct rcvmi_net *net, rcvm_error **err)
{
  autofree char *copy = net->ns_path ? strdup (net->ns_path) : NULL;

  if (!net->ns_path || !strncmp (net->ns_path, "/proc/", 6))
    return 0;
  if (!copy)
    return rcvmi_fail_nomem (err);
  net->watch_name = inotify_init1 (IN_CLOEXEC | IN_NONBLOCK);
  if (net->watch_name < 0)
    return rcvmi_fail_errno (err, errno, "cannot watch the network namespace");
  if (inotify_add_watch (net->watch_name, dirname (copy),
                         IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_UNMOUNT)
      < 0)
    return 0;
  return watch (net, net->watch_name, err);
}

int
rcvmi_net_watch_open (struct rcvmi_net *net, rcvm_error **err)
{
  int code;

  net->watch_fd = epoll_create1 (EPOLL_CLOEXEC);
  if (net->watch_fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot watch the network namespace");
  code = watch_links (net, err);
  return code < 0 ? code : watch_name (net, err);
}

void
rcvmi_net_watch_close (struct rcvmi_net *net)
{
  cleanup_close (&net->watch_nl);
  cleanup_close (&net->watch_name);
  cleanup_close (&net->watch_fd);
  net->watch_nl = net->watch_name = net->watch_fd = -1;
}

int
rcvmi_net_get_watch_fd (const struct rcvmi_net *net)
{
  return net->watch_fd;
}

/* Empties a socket or inotify; what was said does not matter, only that something was.  Also ENOBUFS says
   something. */
static bool
drain (int fd)
{
  char buffer[8192];
  bool any = false;
  ssize_t n;

  while ((n = read (fd, buffer, sizeof buffer)) != 0)
    {
      if (n < 0 && errno != EINTR && errno != ENOBUFS)
        break;
      any |= n > 0 || errno == ENOBUFS;
    }
  return any;
}

int
rcvmi_net_read_events (struct rcvmi_net *net, rcvm_error **err)
{
  struct stat st;
  int events = 0;

  (void) err;
  if (net->watch_nl >= 0 && drain (net->watch_nl))
    events |= RCVMI_NET_EVENT_CHANGED;
  if (net->watch_name >= 0 && drain (net->watch_name) && !net->deleted
      && (stat (net->ns_path, &st) < 0 || st.st_ino != net->ns.ino || st.st_dev != net->ns.dev))
    {
      net->deleted = true;
      events |= RCVMI_NET_EVENT_DELETED;
    }
  return events;
}
