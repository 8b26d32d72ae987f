/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "net-nl.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"

enum
{
  /* The kernel fills at most 32 KiB for a dump. */
  BUFFER = 64 * 1024
};

void
rcvmi_nl_close (struct rcvmi_nl *nl)
{
  cleanup_close (&nl->fd);
  *nl = RCVMI_NL_INIT;
}

struct nl_msg *
rcvmi_nl_new (int type, int flags, const void *header, size_t size)
{
  struct nl_msg *msg = nlmsg_alloc_simple (type, NLM_F_REQUEST | flags);

  if (msg && nlmsg_append (msg, (void *) header, size, NLMSG_ALIGNTO) < 0)
    {
      nlmsg_free (msg);
      msg = NULL;
    }
  return msg;
}

static void
take_text (struct rcvmi_nl *nl, struct nlmsghdr *h)
{
  const struct nlmsgerr *e = NLMSG_DATA (h);
  size_t skip = sizeof *e;
  struct nlattr *a;

  if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
    return;
  if (!(h->nlmsg_flags & NLM_F_CAPPED))
    skip += e->msg.nlmsg_len - sizeof e->msg;
  if (NLMSG_ALIGN (skip) > (size_t) nlmsg_datalen (h))
    return;
  a = nla_find ((struct nlattr *) ((char *) NLMSG_DATA (h) + NLMSG_ALIGN (skip)),
                nlmsg_datalen (h) - (int) NLMSG_ALIGN (skip), NLMSGERR_ATTR_MSG);
  if (a && nla_len (a) > 0)
    snprintf (nl->text, sizeof nl->text, " (%.*s)", nla_len (a) - 1, (const char *) nla_data (a));
}

enum
{
  MORE = 1
};

/* One datagram.  Returns 0 when the answer to `seq` is complete, MORE, or -errno. */
static int
take (struct rcvmi_nl *nl, char *buffer, uint32_t seq, bool *interrupted, rcvmi_nl_fn fn, void *user)
{
  struct nlmsghdr *h = (struct nlmsghdr *) buffer;
  ssize_t n;
  int left;

  do
    n = recv (nl->fd, buffer, BUFFER, MSG_TRUNC);
  while (n < 0 && errno == EINTR);
  if (n < 0)
    return -errno;
  if (n > BUFFER)
    return -EMSGSIZE;
  for (left = (int) n; nlmsg_ok (h, left); h = nlmsg_next (h, &left))
    {
      if (h->nlmsg_seq != seq)
        continue;
      if (h->nlmsg_flags & NLM_F_DUMP_INTR)
        *interrupted = true;
      if (h->nlmsg_type == NLMSG_ERROR)
        {
          const struct nlmsgerr *e = NLMSG_DATA (h);

          if (nlmsg_datalen (h) < (int) sizeof *e)
            return -EBADMSG;
          take_text (nl, h);
          return e->error;
        }
      if (h->nlmsg_type == NLMSG_DONE)
        {
          int code = 0;

          if (nlmsg_datalen (h) >= (int) sizeof code)
            memcpy (&code, NLMSG_DATA (h), sizeof code);
          return code < 0 ? code : *interrupted ? -EAGAIN : 0;
        }
      if (fn)
        fn (user, h);
    }
  return MORE;
}

static int
send_message (struct rcvmi_nl *nl, struct nlmsghdr *h)
{
  struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
  ssize_t n;

  h->nlmsg_seq = ++nl->seq;
  do
    n = sendto (nl->fd, h, h->nlmsg_len, 0, (struct sockaddr *) &kernel, sizeof kernel);
  while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : 0;
}

int
rcvmi_nl_request (struct rcvmi_nl *nl, struct nl_msg *msg, rcvmi_nl_fn fn, void *user)
{
  autofree char *buffer = malloc (BUFFER);
  bool interrupted = false;
  struct nlmsghdr *h;
  int r = -ENOMEM;

  nl->text[0] = '\0';
  if (msg && buffer)
    {
      h = nlmsg_hdr (msg);
      if ((h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP) /* its bits mean something else elsewhere */
        h->nlmsg_flags |= NLM_F_ACK;
      r = send_message (nl, h);
      if (r == 0)
        do
          r = take (nl, buffer, h->nlmsg_seq, &interrupted, fn, user);
        while (r == MORE);
    }
  nlmsg_free (msg);
  return r;
}

int
rcvmi_nl_batch (struct rcvmi_nl *nl, const void *messages, size_t size)
{
  struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
  autofree char *buffer = malloc (BUFFER);
  int first = 0, room = (int) size * 2, flags = 0;
  ssize_t n;

  if (!buffer)
    return -ENOMEM;
  nl->text[0] = '\0';
  /* A batch is one datagram, whatever its size. */
  (void) setsockopt (nl->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  do
    n = sendto (nl->fd, messages, size, 0, (struct sockaddr *) &kernel, sizeof kernel);
  while (n < 0 && errno == EINTR);
  if (n < 0)
    return -errno;
  /* The kernel has done it all by now, and every answer is here. */
  for (;;)
    {
      struct nlmsghdr *h = (struct nlmsghdr *) buffer;
      int left;

      n = recv (nl->fd, buffer, BUFFER, flags);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return first || errno == EAGAIN ? first : -errno;
      for (left = (int) n; nlmsg_ok (h, left); h = nlmsg_next (h, &left))
        {
          const struct nlmsgerr *e = NLMSG_DATA (h);

          if (h->nlmsg_type != NLMSG_ERROR || nlmsg_datalen (h) < (int) sizeof *e || e->error == 0 || first)
            continue;
          first = e->error;
          take_text (nl, h);
        }
      flags = MSG_DONTWAIT;
    }
}
