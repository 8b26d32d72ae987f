/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "agent-wire.h"
#include "log.h"

static int log_fd = -1;

int
handoff_pair (int fds[2])
{
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
    return -1;
  return fcntl (fds[0], F_SETFL, O_RDWR | O_NONBLOCK);
}

int
handoff_send (int fd, enum handoff type, const void *data, size_t len, const int *fds, size_t n_fds)
{
  unsigned char tag = (unsigned char) type;
  struct iovec iov[2] = { { &tag, 1 }, { (void *) data, len } };
  union
  {
    struct cmsghdr align;
    char bytes[CMSG_SPACE (HANDOFF_FDS * sizeof (int))];
  } control;
  struct msghdr msg = { .msg_iov = iov, .msg_iovlen = len ? 2 : 1 };
  struct cmsghdr *c;
  ssize_t n;

  if (n_fds)
    {
      memset (&control, 0, sizeof control);
      msg.msg_control = control.bytes;
      msg.msg_controllen = CMSG_SPACE (n_fds * sizeof (int));
      c = CMSG_FIRSTHDR (&msg);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN (n_fds * sizeof (int));
      memcpy (CMSG_DATA (c), fds, n_fds * sizeof (int));
    }
  do
    n = sendmsg (fd, &msg, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n < 0 ? -1 : 0;
}

int
handoff_recv (int fd, void *data, size_t *len, int fds[HANDOFF_FDS])
{
  unsigned char tag = 0;
  struct iovec iov[2] = { { &tag, 1 }, { data, *len } };
  union
  {
    struct cmsghdr align;
    char bytes[CMSG_SPACE (HANDOFF_FDS * sizeof (int))];
  } control;
  struct msghdr msg = { .msg_iov = iov,
                        .msg_iovlen = 2,
                        .msg_control = control.bytes,
                        .msg_controllen = sizeof control.bytes };
  ssize_t n;

  for (int i = 0; i < HANDOFF_FDS; i++)
    fds[i] = -1;
  do
    n = recvmsg (fd, &msg, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == ECONNRESET)
    return 0;
  if (n <= 0)
    return (int) n;
  for (struct cmsghdr *c = CMSG_FIRSTHDR (&msg); c; c = CMSG_NXTHDR (&msg, c))
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
      memcpy (fds, CMSG_DATA (c), c->cmsg_len - CMSG_LEN (0));
  *len = (size_t) n - 1;
  return tag;
}

void
handoff_send_failure (int fd, const struct failure *f)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  failure_put (&w, f);
  if (!w.failed)
    handoff_send (fd, HANDOFF_FAILED, w.data, w.len, NULL, 0);
  tlv_writer_free (&w);
}

static void
log_through (int level, const char *message)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, A_LEVEL, (uint32_t) level);
  tlv_put_str (&w, A_MESSAGE, message);
  if (!w.failed)
    handoff_send (log_fd, HANDOFF_LOG, w.data, w.len, NULL, 0);
  tlv_writer_free (&w);
}

void
handoff_begin_child (int fd)
{
  sigset_t none;

  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  log_fd = fd;
  log_set_sink (log_through);
}
