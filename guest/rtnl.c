/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rtnl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"

enum
{
  ANSWER = 32 * 1024 /* more than the kernel puts into one datagram */
};

int
rtnl_open (uint32_t groups)
{
  struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
  int fd = socket (AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (groups ? SOCK_NONBLOCK : 0), NETLINK_ROUTE);

  if (fd >= 0 && bind (fd, (struct sockaddr *) &address, sizeof address) < 0)
    {
      int saved = errno;

      close (fd);
      errno = saved;
      return -1;
    }
  return fd;
}

/* Requests */

static void *
reserve (struct rtnl_request *q, size_t len)
{
  size_t at = NLMSG_ALIGN (q->header.nlmsg_len), end = at + len;

  if (q->full || end > sizeof q->bytes)
    {
      q->full = true;
      return NULL;
    }
  q->header.nlmsg_len = (uint32_t) end;
  return q->bytes + at;
}

void
rtnl_begin (struct rtnl_request *q, uint16_t type, uint16_t flags, const void *body, size_t len)
{
  void *p;

  memset (q, 0, sizeof *q);
  q->header.nlmsg_len = NLMSG_HDRLEN;
  q->header.nlmsg_type = type;
  q->header.nlmsg_flags = flags | NLM_F_REQUEST;
  p = reserve (q, len);
  if (p)
    memcpy (p, body, len);
}

void
rtnl_put (struct rtnl_request *q, uint16_t type, const void *data, size_t len)
{
  struct rtattr *a = reserve (q, RTA_LENGTH (len));

  if (!a)
    return;
  a->rta_type = type;
  a->rta_len = (unsigned short) RTA_LENGTH (len);
  if (len)
    memcpy (RTA_DATA (a), data, len);
}

void
rtnl_put_u32 (struct rtnl_request *q, uint16_t type, uint32_t value)
{
  rtnl_put (q, type, &value, sizeof value);
}

size_t
rtnl_nest (struct rtnl_request *q, uint16_t type)
{
  size_t mark = NLMSG_ALIGN (q->header.nlmsg_len);

  rtnl_put (q, type, NULL, 0);
  return mark;
}

void
rtnl_end_nest (struct rtnl_request *q, size_t mark)
{
  if (!q->full)
    ((struct rtattr *) (void *) (q->bytes + mark))->rta_len = (unsigned short) (q->header.nlmsg_len - mark);
}

/* Answers */

/* 1: go on; 0: that was all; -1 and errno. */
static int
take_answer (const unsigned char *bytes, size_t left, uint32_t sequence,
             void (*each) (void *data, const struct nlmsghdr *h), void *data)
{
  for (const struct nlmsghdr *h = (const void *) bytes; NLMSG_OK (h, left); h = NLMSG_NEXT (h, left))
    {
      const struct nlmsgerr *e = NLMSG_DATA (h);

      if (h->nlmsg_seq != sequence)
        continue;
      if (h->nlmsg_type == NLMSG_DONE)
        return 0;
      if (h->nlmsg_type == NLMSG_ERROR)
        {
          if (h->nlmsg_len < NLMSG_LENGTH (sizeof *e))
            errno = EPROTO;
          else if (e->error == 0)
            return 0;
          else
            errno = -e->error;
          return -1;
        }
      if (each)
        each (data, h);
    }
  return 1;
}

static int
converse (int fd, struct rtnl_request *q, void (*each) (void *data, const struct nlmsghdr *h), void *data)
{
  static uint32_t sequence;
  struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
  autofree unsigned char *answer = malloc (ANSWER);
  int more = 1;

  if (!answer || q->full)
    {
      errno = answer ? EMSGSIZE : ENOMEM;
      return -1;
    }
  q->header.nlmsg_seq = ++sequence;
  if (sendto (fd, q->bytes, q->header.nlmsg_len, 0, (struct sockaddr *) &kernel, sizeof kernel) < 0)
    return -1;
  while (more > 0)
    {
      ssize_t n = recv (fd, answer, ANSWER, 0);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return -1;
      more = take_answer (answer, (size_t) n, sequence, each, data);
    }
  return more;
}

int
rtnl_talk (int fd, struct rtnl_request *q)
{
  q->header.nlmsg_flags |= NLM_F_ACK;
  return converse (fd, q, NULL, NULL);
}

int
rtnl_dump (int fd, struct rtnl_request *q, void (*each) (void *data, const struct nlmsghdr *h), void *data)
{
  q->header.nlmsg_flags |= NLM_F_DUMP;
  return converse (fd, q, each, data);
}

bool
rtnl_attributes (const struct nlmsghdr *h, size_t size, const struct rtattr **table, unsigned max)
{
  const struct rtattr *a;
  size_t left;

  memset (table, 0, (max + 1) * sizeof *table);
  if (h->nlmsg_len < NLMSG_LENGTH (size))
    return false;
  a = (const void *) ((const unsigned char *) NLMSG_DATA (h) + NLMSG_ALIGN (size));
  left = h->nlmsg_len > NLMSG_SPACE (size) ? h->nlmsg_len - NLMSG_SPACE (size) : 0;
  for (; RTA_OK (a, left); a = RTA_NEXT (a, left))
    if ((a->rta_type & NLA_TYPE_MASK) <= max)
      table[a->rta_type & NLA_TYPE_MASK] = a;
  return true;
}

uint32_t
rtnl_u32 (const struct rtattr *a)
{
  uint32_t value = 0;

  if (a && RTA_PAYLOAD (a) >= sizeof value)
    memcpy (&value, RTA_DATA (a), sizeof value);
  return value;
}

void
rtnl_text (const struct rtattr *a, char *out, size_t size)
{
  size_t n = a ? RTA_PAYLOAD (a) : 0;

  if (n > size - 1)
    n = size - 1;
  if (n)
    memcpy (out, RTA_DATA (a), n);
  out[n] = 0;
}

struct net_ip
rtnl_ip (const struct rtattr *a)
{
  struct net_ip ip = { 0 };

  if (a && (RTA_PAYLOAD (a) == 4 || RTA_PAYLOAD (a) == 16))
    {
      ip.len = (uint8_t) RTA_PAYLOAD (a);
      memcpy (ip.bytes, RTA_DATA (a), ip.len);
    }
  return ip;
}
