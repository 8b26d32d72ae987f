/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ev.h"
#include "vmm-firecracker-metrics.h"

static void
take (struct rcvmi_fc_metrics *m, const char *text)
{
  rcvmi_fc_metrics_take (m, text, strlen (text));
}

static void
has (const struct rcvmi_fc_metrics *m, const char *line)
{
  char *text = rcvmi_fc_metrics_text (m, "vm1", NULL);

  assert_non_null (text);
  if (!strstr (text, line))
    fail_msg ("no '%s' in: %s", line, text);
  free (text);
}

/* Lines add up, however they are cut. */
TEST (test_sums)
{
  struct rcvmi_fc_metrics m = RCVMI_FC_METRICS_INIT;

  take (&m, "{\"block\":{\"read_bytes\":4096,\"write_agg\":{\"min_us\":1}},\"net\":{\"tx_");
  take (&m, "bytes_count\":7}}\n{\"block\":{\"read_bytes\":1}}\n");
  has (&m, "runcvm_vmm_disk_read_bytes_total{id=\"vm1\"} 4097\n");
  has (&m, "runcvm_vmm_net_sent_bytes_total{id=\"vm1\"} 7\n");
  has (&m, "runcvm_vmm_lost_metrics_total{id=\"vm1\"} 0\n");
  rcvmi_fc_metrics_close (&m);
}

/* What is no such line does no harm, and is told. */
TEST (test_garbage)
{
  static const char *const lines[] = { "", "[]", "{", "{\"block\":3}x", "nonsense", "{{{{", "\xff" };
  struct rcvmi_fc_metrics m = RCVMI_FC_METRICS_INIT;
  char *large = malloc (RCVMI_FC_METRICS_LINE + 1);

  assert_non_null (large);
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
    {
      take (&m, lines[i]);
      take (&m, "\n");
      if (m.lost != i + 1 && m.lost != i)
        fail_msg ("'%s'", lines[i]);
    }
  m.lost = 0;
  take (&m, "{\"block\":{\"read_bytes\":-5},\"net\":[1],\"vsock\":{\"rx_bytes_count\":\"9\"}}\n");
  assert_int_equal (m.lost, 0);
  has (&m, "runcvm_vmm_disk_read_bytes_total{id=\"vm1\"} 0\n");
  has (&m, "runcvm_vmm_vsock_received_bytes_total{id=\"vm1\"} 0\n");
  /* Too long, and then one that is not. */
  memset (large, 'x', RCVMI_FC_METRICS_LINE + 1);
  rcvmi_fc_metrics_take (&m, large, RCVMI_FC_METRICS_LINE + 1);
  rcvmi_fc_metrics_take (&m, large, RCVMI_FC_METRICS_LINE + 1);
  assert_true (m.len <= RCVMI_FC_METRICS_LINE);
  take (&m, "\n{\"block\":{\"flush_count\":3}}\n");
  assert_int_equal (m.lost, 1);
  has (&m, "runcvm_vmm_disk_flushes_total{id=\"vm1\"} 3\n");
  free (large);
  rcvmi_fc_metrics_close (&m);
}

/* By the pipe. */
TEST (test_fifo)
{
  struct rcvmi_fc_metrics m = RCVMI_FC_METRICS_INIT;
  char dir[] = "/tmp/rcvm-metrics.XXXXXX";
  struct rcvmi_ev *ev = rcvmi_ev_new (NULL);
  int dir_fd, fd;

  assert_non_null (ev);
  assert_non_null (mkdtemp (dir));
  dir_fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal (rcvmi_fc_metrics_open (&m, ev, dir_fd, (uid_t) -1, NULL), 0);
  fd = openat (dir_fd, RCVMI_FC_METRICS_FIFO, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  assert_true (fd >= 0);
  assert_int_equal (write (fd, "{\"vcpu\":{\"failures\":2}}\n", 24), 24);
  rcvmi_fc_metrics_read (&m);
  has (&m, "runcvm_vmm_cpu_failures_total{id=\"vm1\"} 2\n");
  /* There is one already. */
  assert_int_equal (rcvmi_fc_metrics_open (&m, ev, dir_fd, (uid_t) -1, NULL), RCVM_E_SYSTEM);
  rcvmi_fc_metrics_close (&m);
  rcvmi_ev_free (ev);
  close (fd);
  unlinkat (dir_fd, RCVMI_FC_METRICS_FIFO, 0);
  close (dir_fd);
  rmdir (dir);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_sums),
    cmocka_unit_test (test_garbage),
    cmocka_unit_test (test_fifo),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
