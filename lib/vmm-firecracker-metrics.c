/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Firecracker's metrics: a line of JSON in a FIFO, once a minute and when it is asked to, with what has been counted since the line
 * before.  What is of use is added up here.
 *
 * The VMM may be its guest's by then: a line that is too long, or is no such thing, is passed over.
 */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm-firecracker-metrics.h"

#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  DEPTH_MAX = 8
};

static const struct
{
  const char *group, *field; /* Firecracker's names */
  const char *name, *help;
} rows[RCVMI_FC_METRICS] = {
  { "block", "read_bytes", "runcvm_vmm_disk_read_bytes_total", "Bytes that the guest has read from its disks." },
  { "block", "write_bytes", "runcvm_vmm_disk_written_bytes_total", "Bytes that the guest has written to its disks." },
  { "block", "read_count", "runcvm_vmm_disk_reads_total", "Reads of the guest from its disks." },
  { "block", "write_count", "runcvm_vmm_disk_writes_total", "Writes of the guest to its disks." },
  { "block", "flush_count", "runcvm_vmm_disk_flushes_total", "Flushes of the guest's disks." },
  { "block", "execute_fails", "runcvm_vmm_disk_failures_total", "Requests to the guest's disks that failed." },
  { "block", "rate_limiter_throttled_events", "runcvm_vmm_disk_throttled_total", "How often a limit held up the guest's disks." },
  { "net", "rx_bytes_count", "runcvm_vmm_net_received_bytes_total", "Bytes that the guest has received." },
  { "net", "tx_bytes_count", "runcvm_vmm_net_sent_bytes_total", "Bytes that the guest has sent." },
  { "net", "rx_packets_count", "runcvm_vmm_net_received_packets_total", "Packets that the guest has received." },
  { "net", "tx_packets_count", "runcvm_vmm_net_sent_packets_total", "Packets that the guest has sent." },
  { "net", "rx_rate_limiter_throttled", "runcvm_vmm_net_receive_throttled_total", "How often a limit held up what the guest receives." },
  { "net", "tx_rate_limiter_throttled", "runcvm_vmm_net_send_throttled_total", "How often a limit held up what the guest sends." },
  { "vsock", "rx_bytes_count", "runcvm_vmm_vsock_received_bytes_total", "Bytes of the agent's channel and of volumes to the guest." },
  { "vsock", "tx_bytes_count", "runcvm_vmm_vsock_sent_bytes_total", "Bytes of the agent's channel and of volumes from the guest." },
  { "vcpu", "exit_mmio_read", "runcvm_vmm_mmio_reads_total", "Reads of the guest from devices' registers." },
  { "vcpu", "exit_mmio_write", "runcvm_vmm_mmio_writes_total", "Writes of the guest to devices' registers." },
  { "vcpu", "failures", "runcvm_vmm_cpu_failures_total", "Failures to run a virtual CPU." },
  { "logger", "missed_log_count", "runcvm_vmm_lost_log_lines_total", "Lines of the VMM's log that nobody has read in time." },
};

/* One line, without its end. */
static bool
take_line (struct rcvmi_fc_metrics *m, const char *line, size_t len)
{
  struct json_tokener *t = json_tokener_new_ex (DEPTH_MAX);
  struct json_object *o = t ? json_tokener_parse_ex (t, line, (int) len) : NULL, *group, *value;
  bool good = json_object_is_type (o, json_type_object);

  for (size_t i = 0; good && i < RCVMI_FC_METRICS; i++)
    if (json_object_object_get_ex (o, rows[i].group, &group) && json_object_is_type (group, json_type_object)
        && json_object_object_get_ex (group, rows[i].field, &value) && json_object_is_type (value, json_type_int)
        && json_object_get_int64 (value) > 0)
      m->totals[i] += (uint64_t) json_object_get_int64 (value);
  json_object_put (o);
  if (t)
    json_tokener_free (t);
  return good;
}

void
rcvmi_fc_metrics_take (struct rcvmi_fc_metrics *m, const char *data, size_t n)
{
  while (n > 0)
    {
      const char *end = memchr (data, '\n', n);
      size_t piece = end ? (size_t) (end - data) : n;

      if (m->len + piece > RCVMI_FC_METRICS_LINE)
        m->too_long = true;
      else if (piece > 0)
        {
          char *grown = realloc (m->line, m->len + piece);

          if (grown)
            {
              m->line = grown;
              memcpy (m->line + m->len, data, piece);
              m->len += piece;
            }
          else
            m->too_long = true;
        }
      if (end)
        {
          if (m->too_long || !take_line (m, m->line ? m->line : "", m->len))
            m->lost++;
          m->len = 0;
          m->too_long = false;
          free (steal_ptr (m->line));
          piece++;
        }
      data += piece;
      n -= piece;
    }
}

void
rcvmi_fc_metrics_read (struct rcvmi_fc_metrics *m)
{
  char piece[4096];
  ssize_t n;
  size_t all = 0;

  /* No more at once than a pipe holds: a VMM that never stops writing holds nobody up. */
  while (m->fd >= 0 && all < RCVMI_FC_METRICS_LINE && (n = read (m->fd, piece, sizeof piece)) > 0)
    {
      rcvmi_fc_metrics_take (m, piece, (size_t) n);
      all += (size_t) n;
    }
}

static void
on_metrics (void *user, uint32_t events)
{
  struct rcvmi_fc_metrics *m = user;

  rcvmi_fc_metrics_read (m);
  /* All ends are closed: so it stays. */
  if (events & (EPOLLHUP | EPOLLERR))
    rcvmi_ev_remove (steal_ptr (m->source));
}

int
rcvmi_fc_metrics_open (struct rcvmi_fc_metrics *m, struct rcvmi_ev *ev, int dir_fd, uid_t owner, rcvm_error **err)
{
  if (mkfifoat (dir_fd, RCVMI_FC_METRICS_FIFO, 0600) < 0
      || fchownat (dir_fd, RCVMI_FC_METRICS_FIFO, owner, owner, AT_SYMLINK_NOFOLLOW) < 0
      || (m->fd = openat (dir_fd, RCVMI_FC_METRICS_FIFO, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make the pipe for Firecracker's metrics");
  m->source = rcvmi_ev_add (ev, m->fd, EPOLLIN, on_metrics, m, err);
  return m->source ? 0 : RCVM_E_SYSTEM;
}

char *
rcvmi_fc_metrics_text (const struct rcvmi_fc_metrics *m, const char *id, rcvm_error **err)
{
  char *text = NULL;
  size_t size;
  FILE *f = open_memstream (&text, &size);

  for (size_t i = 0; f && i < RCVMI_FC_METRICS; i++)
    fprintf (f, "# HELP %s %s\n# TYPE %s counter\n%s{id=\"%s\"} %" PRIu64 "\n", rows[i].name, rows[i].help, rows[i].name,
             rows[i].name, id, m->totals[i]);
  if (f)
    fprintf (f,
             "# HELP runcvm_vmm_lost_metrics_total Reports of the VMM that could not be understood.\n"
             "# TYPE runcvm_vmm_lost_metrics_total counter\nruncvm_vmm_lost_metrics_total{id=\"%s\"} %" PRIu64 "\n",
             id, m->lost);
  if (f && fclose (f) == 0)
    return text;
  free (text);
  rcvmi_fail_nomem (err);
  return NULL;
}

void
rcvmi_fc_metrics_close (struct rcvmi_fc_metrics *m)
{
  rcvmi_ev_remove (m->source);
  cleanup_close (&m->fd);
  free (m->line);
  *m = RCVMI_FC_METRICS_INIT;
}
