/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control connection; nfs-control.h has its language. */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include "nfs-control.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "nfs-server.h"
#include "nfs-settings.h"
#include "tlv.h"

enum
{
  PACKET_MAX = 16384
};

struct request
{
  uint32_t type, id;
  const char *name;
  struct nfs_export_settings export;
  bool has_export;
};

static void
put_procedure (struct tlv_writer *w, const char *name, const struct nfs_figures *f)
{
  static const double percents[] = { 50, 90, 99, 99.9, 100 };
  size_t mark = tlv_begin (w, NFS_FIGURES_PROCEDURE);

  tlv_put_str (w, NFS_PROCEDURE_NAME, name);
  tlv_put_u64 (w, NFS_PROCEDURE_CALLS, f->calls);
  tlv_put_u64 (w, NFS_PROCEDURE_ERRORS, f->errors);
  for (unsigned i = 0; i < sizeof percents / sizeof percents[0]; i++)
    tlv_put_u64 (w, (uint16_t) (NFS_PROCEDURE_P50 + i), rcvmi_nfs_stats_percentile (f, percents[i]));
  tlv_end (w, mark);
}

static void
put_figures (struct tlv_writer *w, const struct nfs_daemon *d)
{
  size_t mark = tlv_begin (w, NFS_CONTROL_FIGURES);

  tlv_put_u64 (w, NFS_FIGURES_READ, d->stats.bytes_read);
  tlv_put_u64 (w, NFS_FIGURES_WRITTEN, d->stats.bytes_written);
  tlv_put_u64 (w, NFS_FIGURES_REPEATED, d->stats.repeated);
  tlv_put_u64 (w, NFS_FIGURES_GARBAGE, d->stats.garbage);
  tlv_put_u32 (w, NFS_FIGURES_CONNECTIONS, d->n_conns);
  tlv_put_u32 (w, NFS_FIGURES_OBJECTS, d->core->objects.count);
  for (unsigned i = 0; i < RCVMI_NFS_COUNTED; i++)
    if (d->stats.of[i].calls)
      put_procedure (w, rcvmi_nfs_rpc_name (i), &d->stats.of[i]);
  tlv_end (w, mark);
}

static void
send_packet (struct nfs_daemon *d, struct tlv_writer *w)
{
  /* Who does not read loses the answer: the volumes do not wait for that. */
  if (!w->failed)
    send (d->control_fd, w->data, w->len, MSG_NOSIGNAL | MSG_DONTWAIT);
  tlv_writer_free (w);
}

static bool
parse (const uint8_t *data, size_t len, struct request *q)
{
  struct tlv_reader r;
  struct tlv_field f;

  *q = (struct request){ 0 };
  tlv_reader_init (&r, data, len);
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case NFS_CONTROL_TYPE:
        q->type = tlv_get_u32 (&r, &f);
        break;
      case NFS_CONTROL_ID:
        q->id = tlv_get_u32 (&r, &f);
        break;
      case NFS_CONTROL_NAME:
        q->name = tlv_get_str (&r, &f);
        break;
      case NFS_CONTROL_EXPORT:
        q->has_export = rcvmi_nfs_settings_parse_export (&f, &q->export);
        if (!q->has_export)
          return false;
        break;
      }
  return !r.bad;
}

static int
carry_out (struct nfs_daemon *d, const struct request *q, int *fd, rcvm_error **err)
{
  switch (q->type)
    {
    case NFS_CONTROL_STATS:
    case NFS_CONTROL_STOP:
      return 0;
    case NFS_CONTROL_ADD:
      if (!q->has_export)
        return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "a volume to add is not described");
      return rcvmi_nfs_export_add (d->core, *fd, q->export.path, q->export.name, &q->export.options, err);
    case NFS_CONTROL_CONNECT:
      if (*fd < 0)
        return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "a connection to the volume server has no socket");
      return rcvmi_nfs_conn_add (d, steal_fd (fd), err);
    case NFS_CONTROL_REMOVE:
      if (!q->name)
        return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "a volume to remove is not named");
      return rcvmi_nfs_export_remove (d->core, q->name, err);
    default:
      return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the volume server knows no request %u",
                         (unsigned) q->type);
    }
}

static void
answer (struct nfs_daemon *d, const uint8_t *data, size_t len, int *fd)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *err = NULL;
  struct request q;
  int rc;

  if (parse (data, len, &q))
    rc = carry_out (d, &q, fd, &err);
  else
    rc = rcvmi_fail (&err, RCVM_E_PROTOCOL, 0, "a request to the volume server does not decode");
  tlv_put_u32 (&w, NFS_CONTROL_TYPE, NFS_CONTROL_REPLY);
  tlv_put_u32 (&w, NFS_CONTROL_ID, q.id);
  tlv_put_u32 (&w, NFS_CONTROL_CODE, (uint32_t) rc);
  if (err)
    {
      tlv_put_u32 (&w, NFS_CONTROL_ERRNO, (uint32_t) rcvm_error_get_errno (err));
      tlv_put_str (&w, NFS_CONTROL_MESSAGE, rcvm_error_get_message (err));
    }
  if (rc == 0 && q.type == NFS_CONTROL_STATS)
    put_figures (&w, d);
  send_packet (d, &w);
  rcvm_error_free (err);
  if (rc == 0 && q.type == NFS_CONTROL_STOP)
    rcvmi_nfs_daemon_stop (d);
}

/* The fd that came along, or -1; others are closed. */
static int
take_fd (struct msghdr *msg)
{
  int kept = -1;

  for (struct cmsghdr *c = CMSG_FIRSTHDR (msg); c; c = CMSG_NXTHDR (msg, c))
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
      for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN (0)) / sizeof (int); i++)
        {
          int fd;

          memcpy (&fd, CMSG_DATA (c) + i * sizeof fd, sizeof fd);
          if (kept < 0)
            kept = fd;
          else
            close (fd);
        }
  return kept;
}

static void
on_control (void *user, uint32_t events)
{
  struct nfs_daemon *d = user;
  autofree uint8_t *packet = malloc (PACKET_MAX);
  union
  {
    struct cmsghdr align;
    char space[CMSG_SPACE (4 * sizeof (int))];
  } control;
  struct iovec iov = { packet, PACKET_MAX };
  struct msghdr msg
      = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
  autoclose int fd = -1;
  ssize_t n;

  (void) events;
  if (!packet)
    return;
  n = recvmsg (d->control_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0)
    {
      /* Whose volumes these are is gone. */
      rcvmi_ev_remove (d->control_source);
      rcvmi_nfs_daemon_stop (d);
      return;
    }
  fd = take_fd (&msg);
  answer (d, packet, (size_t) n, &fd);
}

int
rcvmi_nfs_control_start (struct nfs_daemon *d, int fd, bool isolated, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  d->control_fd = fd;
  d->control_source = rcvmi_ev_add (d->ev, fd, EPOLLIN, on_control, d, err);
  if (!d->control_source)
    return RCVM_E_SYSTEM;
  tlv_put_u32 (&w, NFS_CONTROL_TYPE, NFS_CONTROL_READY);
  tlv_put_u32 (&w, NFS_CONTROL_ISOLATED, isolated);
  send_packet (d, &w);
  return 0;
}
