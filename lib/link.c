/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "agent"
#include "link.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "err.h"

enum
{
  READ_CHUNK = 128 * 1024
};

int
rcvmi_link_init (struct rcvmi_link *link, int fd, const char *peer, size_t max_payload,
                 rcvm_error **err)
{
  int flags = fcntl (fd, F_GETFL);

  *link = (struct rcvmi_link){ .fd = fd, .peer = peer, .max_payload = max_payload };
  for (size_t i = 0; i < RCVMI_LINK_FDS; i++)
    link->fds[i] = -1;
  if (flags < 0 || fcntl (fd, F_SETFL, flags | O_NONBLOCK) < 0)
    {
      int code = rcvmi_fail_errno (err, errno, "cannot prepare the connection to %s", peer);

      rcvmi_link_clear (link);
      return code;
    }
  return 0;
}

static void
drop_fds (struct rcvmi_link *link)
{
  /* Only these: in a link that was cleared, or never set up, the others are 0. */
  for (size_t i = 0; i < link->n_fds; i++)
    {
      if (link->fds[i] >= 0)
        close (link->fds[i]);
      link->fds[i] = -1;
    }
  link->n_fds = 0;
}

void
rcvmi_link_clear (struct rcvmi_link *link)
{
  drop_fds (link);
  if (link->fd >= 0)
    close (link->fd);
  free (link->in);
  free (link->out);
  *link = (struct rcvmi_link){ .fd = -1 };
}

/* Room for `more` bytes behind `*end`; what has been used up in front is closed up first. */
static bool
make_room (unsigned char **buf, size_t *cap, size_t *start, size_t *end, size_t more)
{
  size_t used = *end - *start;

  if (*start > 0 && (used == 0 || more > *cap - *end))
    {
      memmove (*buf, *buf + *start, used);
      *start = 0;
      *end = used;
    }
  if (more > *cap - *end)
    {
      size_t want = *cap ? *cap : 4096;
      unsigned char *grown;

      while (want - *end < more)
        want *= 2;
      grown = realloc (*buf, want);
      if (!grown)
        return false;
      *buf = grown;
      *cap = want;
    }
  return true;
}

size_t
rcvmi_link_pending (const struct rcvmi_link *link)
{
  return link->out_end - link->out_start;
}

/* A peer that has closed its end may have left words to read, and its end is told by the end of the stream:
   an error here would hide both. */
static int
write_failed (struct rcvmi_link *link, int errnum, rcvm_error **err)
{
  if (errnum == EPIPE || errnum == ECONNRESET)
    {
      link->deaf = true;
      link->out_start = link->out_end = 0;
      return 0;
    }
  return rcvmi_fail (err, RCVM_E_PROTOCOL, errnum, "the connection to %s broke while sending",
                     link->peer);
}

int
rcvmi_link_flush (struct rcvmi_link *link, rcvm_error **err)
{
  while (link->out_start < link->out_end)
    {
      ssize_t n = send (link->fd, link->out + link->out_start, link->out_end - link->out_start,
                        MSG_NOSIGNAL);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
      if (n < 0)
        return write_failed (link, errno, err);
      link->out_start += (size_t) n;
    }
  /* A big request must not hold its memory for the life of the VM. */
  if (link->out_cap > 4 * AGENT_DATA_MAX)
    {
      free (link->out);
      link->out = NULL;
      link->out_cap = 0;
    }
  link->out_start = link->out_end = 0;
  return 0;
}

int
rcvmi_link_send (struct rcvmi_link *link, uint16_t type, uint32_t process, const void *data,
                 size_t len, rcvm_error **err)
{
  struct agent_header h = { .len = (uint32_t) len, .type = type, .process = process };
  unsigned char header[AGENT_HEADER];
  size_t done = 0;

  if (len > AGENT_REQUEST_MAX)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a request of %zu bytes to %s is over the limit of %d",
                       len, link->peer, AGENT_REQUEST_MAX);
  if (link->deaf)
    return 0;
  agent_header_pack (header, &h);
  if (rcvmi_link_pending (link) == 0)
    {
      struct iovec iov[2]
          = { { header, sizeof header }, { (void *) (uintptr_t) data, len } };
      struct msghdr msg = { .msg_iov = iov, .msg_iovlen = len ? 2 : 1 };
      ssize_t n;

      do
        n = sendmsg (link->fd, &msg, MSG_NOSIGNAL);
      while (n < 0 && errno == EINTR);
      if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return write_failed (link, errno, err);
      done = n < 0 ? 0 : (size_t) n;
    }
  if (done == sizeof header + len)
    return 0;
  if (!make_room (&link->out, &link->out_cap, &link->out_start, &link->out_end,
                  sizeof header + len - done))
    return rcvmi_fail_nomem (err);
  if (done < sizeof header)
    {
      memcpy (link->out + link->out_end, header + done, sizeof header - done);
      link->out_end += sizeof header - done;
      done = sizeof header;
    }
  if (done < sizeof header + len)
    {
      size_t sent = done - sizeof header;

      memcpy (link->out + link->out_end, (const unsigned char *) data + sent, len - sent);
      link->out_end += len - sent;
    }
  if (link->on_pending)
    link->on_pending (link->user);
  return 0;
}

int
rcvmi_link_send_record (struct rcvmi_link *link, uint16_t type, uint32_t process,
                        struct tlv_writer *record, rcvm_error **err)
{
  int code = record->failed
                 ? rcvmi_fail_nomem (err)
                 : rcvmi_link_send (link, type, process, record->data, record->len, err);

  tlv_writer_free (record);
  return code;
}

int
rcvmi_link_send_fds (struct rcvmi_link *link, uint16_t type, uint32_t process, const void *data,
                     size_t len, const int *fds, size_t n_fds, rcvm_error **err)
{
  struct agent_header h = { .len = (uint32_t) len, .type = type, .process = process };
  unsigned char header[AGENT_HEADER];
  union
  {
    struct cmsghdr align;
    char buf[CMSG_SPACE (sizeof (int) * RCVMI_LINK_FDS)];
  } control = { 0 };
  struct iovec iov = { header, sizeof header };
  struct msghdr msg = { .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.buf,
                        .msg_controllen = CMSG_SPACE (sizeof (int) * n_fds) };
  struct cmsghdr *c = CMSG_FIRSTHDR (&msg);
  ssize_t n;

  if (n_fds == 0 || n_fds > RCVMI_LINK_FDS || len > AGENT_REQUEST_MAX)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a request of %zu bytes and %zu fds is over the limit",
                       len, n_fds);
  agent_header_pack (header, &h);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN (sizeof (int) * n_fds);
  memcpy (CMSG_DATA (c), fds, sizeof (int) * n_fds);
  /* The fds go with the header's first byte; the socket is idle, so the header fits. */
  do
    n = sendmsg (link->fd, &msg, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n != sizeof header)
    return write_failed (link, n < 0 ? errno : EAGAIN, err);
  if (!make_room (&link->out, &link->out_cap, &link->out_start, &link->out_end, len))
    return rcvmi_fail_nomem (err);
  if (len)
    memcpy (link->out + link->out_end, data, len);
  link->out_end += len;
  return rcvmi_link_flush (link, err);
}

static void
take_fds (struct rcvmi_link *link, struct msghdr *msg)
{
  for (struct cmsghdr *c = CMSG_FIRSTHDR (msg); c; c = CMSG_NXTHDR (msg, c))
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
      {
        size_t n = (c->cmsg_len - CMSG_LEN (0)) / sizeof (int);
        const unsigned char *data = CMSG_DATA (c);

        for (size_t i = 0; i < n; i++)
          {
            int fd;

            memcpy (&fd, data + i * sizeof fd, sizeof fd);
            if (link->n_fds < RCVMI_LINK_FDS)
              link->fds[link->n_fds++] = fd;
            else
              close (fd);
          }
      }
}

int
rcvmi_link_fill (struct rcvmi_link *link, rcvm_error **err)
{
  union
  {
    struct cmsghdr align;
    char buf[CMSG_SPACE (sizeof (int) * RCVMI_LINK_FDS)];
  } control;
  struct iovec iov;
  struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
  ssize_t n;

  if (!make_room (&link->in, &link->in_cap, &link->in_start, &link->in_end, READ_CHUNK))
    return rcvmi_fail_nomem (err);
  iov.iov_base = link->in + link->in_end;
  iov.iov_len = link->in_cap - link->in_end;
  if (link->pass_fds)
    {
      msg.msg_control = control.buf;
      msg.msg_controllen = sizeof control.buf;
    }
  do
    n = recvmsg (link->fd, &msg, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
    return 0;
  if (n < 0 && errno != ECONNRESET)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, errno, "the connection to %s broke", link->peer);
  if (n <= 0)
    {
      link->eof = true;
      return 0;
    }
  if (link->pass_fds)
    take_fds (link, &msg);
  link->in_end += (size_t) n;
  return 0;
}

int
rcvmi_link_next (struct rcvmi_link *link, struct agent_header *header,
                 const unsigned char **payload, rcvm_error **err)
{
  size_t have = link->in_end - link->in_start;

  if (have < AGENT_HEADER)
    return 0;
  if (!agent_header_unpack (header, link->in + link->in_start) || header->len > link->max_payload)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "%s sent a malformed frame", link->peer);
  if (have - AGENT_HEADER < header->len)
    return 0;
  *payload = link->in + link->in_start + AGENT_HEADER;
  link->in_start += AGENT_HEADER + header->len;
  return 1;
}

int
rcvmi_link_wait (struct rcvmi_link *link, int timeout_ms, struct agent_header *header,
                 const unsigned char **payload, rcvm_error **err)
{
  for (;;)
    {
      struct pollfd p = { .fd = link->fd, .events = POLLIN };
      int r = rcvmi_link_next (link, header, payload, err);

      if (r != 0 || link->eof)
        return r;
      if (rcvmi_link_pending (link))
        p.events |= POLLOUT;
      r = poll (&p, 1, timeout_ms);
      if (r < 0 && errno == EINTR)
        continue;
      if (r < 0)
        return rcvmi_fail_errno (err, errno, "cannot wait for %s", link->peer);
      if (r == 0)
        return rcvmi_fail (err, RCVM_E_TIMEOUT, 0, "%s did not answer within %d ms", link->peer,
                           timeout_ms);
      if ((p.revents & POLLOUT) && (r = rcvmi_link_flush (link, err)) < 0)
        return r;
      if ((p.revents & ~POLLOUT) && (r = rcvmi_link_fill (link, err)) < 0)
        return r;
    }
}
