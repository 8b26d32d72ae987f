/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network's host half, as far as one process can see it: texts, records, and TAPs in a namespace of its
   own. */
#include "config.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <runcvm/net.h>

#include "cleanup.h"
#include "net-parts.h"
static bool apart;     /* in a network namespace of this test's own */
static char there[64]; /* another one's path */
static pid_t holder;

TEST (test_names)
{
  static const char *const bad[]
      = { "", ".", "..", "a b", "a/b", "a:b", "tap%d", "a\n", "sixteen-bytes-xx" };
  rcvm_error *e = NULL;

  assert_int_equal (rcvmi_net_check_name ("b9fc_1234567890", NULL), 0);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal (rcvmi_net_check_name (bad[i], NULL), RCVM_E_INVALID);
  rcvmi_net_check_name ("sixteen-bytes-xx", &e);
  check_error (&e, RCVM_E_INVALID, "net", "too long: it has 16 bytes, and 15 is the most");
}

TEST (test_macs)
{
  static const char *const bad[] = { "",
                                     "02:00:5e:10:00",
                                     "02:00:5e:10:00:1",
                                     "02:00:5e:10:00:0g",
                                     "01:00:5e:10:00:01",
                                     "00:00:00:00:00:00",
                                     "02:00:5e:10:00:01 ",
                                     "02-00-5e-10-00-01" };
  uint8_t mac[6];
  char text[18];

  assert_int_equal (rcvmi_net_mac_parse (mac, "02:00:5E:10:00:ff", NULL), 0);
  assert_string_equal (rcvmi_net_mac_text (mac, text), "02:00:5e:10:00:ff");
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal (rcvmi_net_mac_parse (mac, bad[i], NULL), RCVM_E_INVALID);
  assert_int_equal (rcvmi_net_mac_random (mac, NULL), 0);
  assert_int_equal (mac[0] & 3, 2);
}

TEST (test_ips)
{
  static const char *const bad[]
      = { "",           "/",          "1.2.3",       "1.2.3.4/",     "1.2.3.4/33",
          "1.2.3.4/ 8", "1.2.3.4/-1", "fe80::1/129", "fe80::1%eth0", "1.2.3.4/8x" };
  struct rcvmi_net_ip ip;
  char text[64];
  uint8_t prefix;

  assert_int_equal (rcvmi_net_ip_parse (&ip, &prefix, "192.168.1.7/24", NULL), 0);
  assert_int_equal (prefix, 24);
  assert_string_equal (rcvmi_net_ip_text (&ip, text), "192.168.1.7");
  assert_int_equal (rcvmi_net_ip_parse (&ip, &prefix, "fd00::1", NULL), 0);
  assert_int_equal (prefix, 128);
  assert_string_equal (rcvmi_net_ip_text (&ip, text), "fd00::1");
  assert_int_equal (rcvmi_net_ip_parse (&ip, NULL, "192.168.1.7/24", NULL), RCVM_E_INVALID);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal (rcvmi_net_ip_parse (&ip, &prefix, bad[i], NULL), RCVM_E_INVALID);
}

TEST (test_dns)
{
  static const char text[]
      = "; comment\nnameserver 10.0.0.1\nnameserver  fe80::1%eth0 \nnameserver 10.0.0.1%eth0\n"
        "nameserver a.example\ndomain old.example\nsearch a.example\tb.example\noptions ndots:2 rotate\n"
        "nameserver\nsortlist 1.2.3.4\nnameserver 10.0.0.2";
  struct rcvmi_net_dns dns;

  assert_int_equal (rcvmi_net_dns_parse (&dns, text, sizeof text - 1, NULL), 0);
  assert_string_equal (dns.servers[0], "10.0.0.1");
  assert_string_equal (dns.servers[1], "fe80::1%eth0");
  assert_string_equal (dns.servers[2], "10.0.0.2");
  assert_null (dns.servers[3]);
  assert_string_equal (dns.search[0], "a.example");
  assert_string_equal (dns.search[1], "b.example");
  assert_null (dns.search[2]);
  assert_string_equal (dns.options[1], "rotate");
  rcvmi_net_dns_clear (&dns);
  assert_int_equal (rcvmi_net_dns_read (&dns, "/nonexistent/resolv.conf", NULL), 0);
  assert_null (dns.servers);
  assert_int_equal (rcvmi_net_dns_of_netns (&dns, "/run/netns/../x", NULL), 0);
  assert_null (dns.servers);
}

TEST (test_records)
{
  static const char *const bad[]
      = { "",
          "{}",
          "[]",
          "{\"version\":1}",
          "{\"version\":2,\"cookie\":\"00000000000000000000000000000000\",\"nics\":[]}",
          "{\"version\":1,\"cookie\":\"0\",\"nics\":[]}",
          "{\"version\":1,\"cookie\":\"00000000000000000000000000000000\",\"nics\":[1]}",
          "{\"version\":1,\"cookie\":\"00000000000000000000000000000000\",\"nics\":[{\"name\":\"a/"
          "b\",\"tap\":\"t\"}]}" };
  static const char gone[]
      = "{\"version\":1,\"dev\":4,\"ino\":1,\"cookie\":\"00000000000000000000000000000000\","
        "\"path\":\"/run/netns/nonesuch\",\"nics\":[{\"index\":2,\"name\":\"eth0\",\"tap\":\"rcvm0\"}]}";
  rcvm_error *e = NULL;

  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    {
      assert_int_equal (rcvmi_net_undo_record (bad[i], &e), RCVM_E_INVALID);
      check_error (&e, RCVM_E_INVALID, "net", "damaged");
    }
  assert_int_equal (rcvmi_net_undo_record (gone, &e), 0);
  assert_null (e);
}

TEST (test_none)
{
  struct rcvmi_net_config c = RCVMI_NET_CONFIG_INIT;
  struct rcvmi_net *net = rcvmi_net_prepare (&c, NULL, NULL, NULL);
  rcvm_error *e = NULL;
  char *json;

  assert_non_null (net);
  assert_int_equal (rcvmi_net_count (net), 0);
  assert_null (rcvmi_net_get (net, 0));
  assert_int_equal (rcvmi_net_get_watch_fd (net), -1);
  assert_int_equal (rcvmi_net_get_ns_fd (net), -1);
  assert_int_equal (rcvmi_net_rescan (net, NULL), 0);
  assert_int_equal (rcvmi_net_read_events (net, NULL), 0);
  assert_int_equal (rcvmi_net_socket (net, AF_INET, SOCK_STREAM, 0, &e), RCVM_E_STATE);
  rcvm_error_free (e);
  json = rcvmi_net_to_json (net, NULL);
  assert_string_equal (json, "{\"mode\":\"none\",\"nics\":[]}");
  free (json);
  assert_int_equal (rcvmi_net_undo (net, NULL), 0);
  rcvmi_net_free (net);
  rcvmi_net_free (NULL);
}

TEST (test_namespaces)
{
  rcvm_error *e = NULL;
  rcvm_net_ns *ns;

  assert_null (rcvm_net_ns_open ("/nonexistent", &e));
  check_error (&e, RCVM_E_NOT_FOUND, "net", "'/nonexistent'");
  assert_null (rcvm_net_ns_open ("/dev/null", &e));
  check_error (&e, RCVM_E_INVALID, "net", "'/dev/null' is not a namespace");
  assert_null (rcvm_net_ns_open ("/proc/self/ns/ipc", &e));
  check_error (&e, RCVM_E_INVALID, "net", "not of the network");
  assert_null (rcvm_net_ns_open_fd (-1, &e));
  check_error (&e, RCVM_E_INVALID, "net", "-1 is not an fd");
  assert_null (rcvm_net_ns_open_fd (0x7fff, &e));
  check_error (&e, RCVM_E_SYSTEM, "net", "fd 32767");
  assert_null (rcvm_net_ns_open_pid (0, &e));
  check_error (&e, RCVM_E_INVALID, "net", "PID");
  ns = rcvm_net_ns_open_pid (getpid (), &e);
  assert_non_null (ns);
  rcvm_net_ns_free (ns);
  rcvm_net_ns_free (NULL);
}

static void
one_tap (const rcvm_net_ns *ns)
{
  rcvm_net_tap_options *o = rcvm_net_tap_options_new (NULL);
  rcvm_error *e = NULL;
  rcvm_net_tap *tap, *second;
  int fd;

  assert_int_equal (rcvm_net_tap_options_set_name (o, "b9fc_1234567890", NULL), 0);
  assert_int_equal (rcvm_net_tap_options_set_mac (o, "02:00:5e:10:00:01", NULL), 0);
  assert_int_equal (rcvm_net_tap_options_set_mtu (o, 1400, NULL), 0);
  assert_int_equal (rcvm_net_tap_options_set_queues (o, 2, NULL), 0);
  assert_int_equal (rcvm_net_tap_options_set_owner (o, 1, 2, NULL), 0);
  tap = rcvm_net_tap_in_netns (ns, o, &e);
  if (!tap)
    fail_msg ("%s", rcvm_error_get_message (e));
  assert_string_equal (rcvm_net_tap_get_name (tap), "b9fc_1234567890");
  assert_string_equal (rcvm_net_tap_get_mac (tap), "02:00:5e:10:00:01");
  assert_true (rcvm_net_tap_get_index (tap) > 1);
  assert_true (rcvm_net_tap_get_fd (tap, 0) >= 0 && rcvm_net_tap_get_fd (tap, 1) >= 0);
  assert_int_equal (rcvm_net_tap_get_fd (tap, 2), -1);
  assert_int_equal (fcntl (rcvm_net_tap_get_fd (tap, 1), F_GETFD), FD_CLOEXEC);
  second = rcvm_net_tap_in_netns (ns, o, &e);
  assert_null (second);
  check_error (&e, RCVM_E_EXISTS, "net", "already has an interface 'b9fc_1234567890'");
  /* The name is free again when the last fd is gone, not before. */
  fd = rcvm_net_tap_take_fd (tap, 0);
  assert_int_equal (rcvm_net_tap_take_fd (tap, 0), -1);
  rcvm_net_tap_free (tap);
  assert_null (rcvm_net_tap_in_netns (ns, o, NULL));
  close (fd);
  assert_int_equal (rcvm_net_tap_options_set_persistent (o, 1, NULL), 0);
  tap = rcvm_net_tap_in_netns (ns, o, NULL);
  assert_int_equal (rcvm_net_tap_get_fd (tap, 0), -1);
  rcvm_net_tap_free (tap);
  assert_int_equal (rcvm_net_tap_delete (ns, "b9fc_1234567890", NULL), 0);
  assert_int_equal (rcvm_net_tap_delete (ns, "b9fc_1234567890", &e), RCVM_E_NOT_FOUND);
  check_error (&e, RCVM_E_NOT_FOUND, "net", "no TAP 'b9fc_1234567890'");
  assert_int_equal (rcvm_net_tap_delete (ns, "lo", &e), RCVM_E_INVALID);
  check_error (&e, RCVM_E_INVALID, "net", "'lo' is not a TAP");
  rcvm_net_tap_options_free (o);
}

TEST (test_tap_here)
{
  int before = count_fds ();

  if (!apart)
    skip ();
  one_tap (NULL);
  assert_int_equal (count_fds (), before);
}

TEST (test_tap_there)
{
  int before = count_fds ();
  char was[64], is[64];
  ssize_t n, m;
  rcvm_net_ns *ns;

  if (!apart)
    skip ();
  n = readlink ("/proc/thread-self/ns/net", was, sizeof was);
  ns = rcvm_net_ns_open (there, NULL);
  assert_non_null (ns);
  one_tap (ns);
  rcvm_net_ns_free (ns);
  m = readlink ("/proc/thread-self/ns/net", is, sizeof is);
  assert_int_equal (n, m);
  assert_memory_equal (was, is, (size_t) n);
  assert_int_equal (count_fds (), before);
  /* No child is left, and none of ours was taken for it. */
  assert_int_equal (waitpid (-1, NULL, WNOHANG | __WALL), 0);
}

TEST (test_no_room)
{
  rcvm_net_ns *ns;
  rcvm_error *e = NULL;
  struct rlimit old, few;
  int fds[256], n = 0, before = count_fds ();

  if (!apart)
    skip ();
  ns = rcvm_net_ns_open (there, NULL);
  assert_int_equal (getrlimit (RLIMIT_NOFILE, &old), 0);
  few = old;
  few.rlim_cur = 64;
  assert_int_equal (setrlimit (RLIMIT_NOFILE, &few), 0);
  while (n < 256 && (fds[n] = open ("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
    n++;
  /* With room for the way, but not for what comes of it. */
  for (int spare = 0; spare <= 3; spare++)
    {
      assert_null (rcvm_net_tap_in_netns (ns, NULL, &e));
      rcvm_error_free (e);
      e = NULL;
      close (fds[--n]);
    }
  while (n > 0)
    close (fds[--n]);
  setrlimit (RLIMIT_NOFILE, &old);
  rcvm_net_ns_free (ns);
  assert_int_equal (count_fds (), before);
}

/* One that nobody else is in: its loopback is all that there is, and it is down. */
TEST (test_new_namespace)
{
  struct rcvmi_netns a = RCVMI_NETNS_INIT, b = RCVMI_NETNS_INIT;
  struct rcvmi_nl nl = RCVMI_NL_INIT;
  struct rcvmi_net_link link;
  rcvm_error *e = NULL;
  int before = count_fds ();

  if (!apart)
    skip ();
  if (rcvmi_netns_new (&a, &e) < 0)
    fail_msg ("%s", rcvm_error_get_message (e));
  assert_int_equal (rcvmi_netns_new (&b, NULL), 0);
  assert_int_not_equal (a.ino, b.ino);
  assert_false (a.own || b.own);
  assert_int_equal (rcvmi_net_open_nl (&a, &nl, NULL), 0);
  assert_int_equal (rcvmi_net_link_get (&nl, 1, NULL, &link), 0);
  assert_string_equal (link.name, "lo");
  assert_int_equal (link.flags & IFF_UP, 0);
  assert_int_equal (link.received, 0);
  assert_int_equal (rcvmi_net_link_get (&nl, 2, NULL, &link), -ENODEV);
  rcvmi_nl_close (&nl);
  rcvmi_netns_close (&a);
  rcvmi_netns_close (&b);
  assert_int_equal (count_fds (), before);
}

TEST (test_take_over)
{
  struct rcvmi_net_config c = RCVMI_NET_CONFIG_INIT;
  struct rcvmi_net *net;
  rcvm_error *e = NULL;
  int before = count_fds ();
  char *json;

  if (!apart)
    skip ();
  c.mode = RCVMI_NET_NETNS;
  c.netns_path = there;
  net = rcvmi_net_prepare (&c, NULL, NULL, &e);
  if (!net)
    fail_msg ("%s", rcvm_error_get_message (e));
  /* Nothing but loopback there. */
  assert_int_equal (rcvmi_net_count (net), 0);
  assert_true (rcvmi_net_get_ns_fd (net) >= 0 && rcvmi_net_get_watch_fd (net) >= 0);
  json = rcvmi_net_to_json (net, NULL);
  assert_non_null (strstr (json, "\"join\":\"tc\""));
  free (json);
  rcvmi_net_undo (net, NULL);
  rcvmi_net_free (net);
  assert_int_equal (count_fds (), before);
}

static int
set_up (void **state)
{
  (void) state;
  int ready[2];
  char byte;

  if (geteuid () != 0 || access ("/dev/net/tun", R_OK | W_OK) < 0 || unshare (CLONE_NEWNET) < 0)
    return 0;
  if (pipe2 (ready, O_CLOEXEC) < 0)
    return -1;
  holder = fork ();
  if (holder == 0)
    {
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      if (unshare (CLONE_NEWNET) == 0)
        (void) !write (ready[1], "", 1);
      pause ();
      _exit (0);
    }
  close (ready[1]);
  apart = read (ready[0], &byte, 1) == 1;
  close (ready[0]);
  snprintf (there, sizeof there, "/proc/%d/ns/net", (int) holder);
  return 0;
}

static int
tear_down (void **state)
{
  (void) state;
  if (holder > 0)
    {
      kill (holder, SIGKILL);
      waitpid (holder, NULL, 0);
    }
  return 0;
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_names),      cmocka_unit_test (test_macs),
    cmocka_unit_test (test_ips),        cmocka_unit_test (test_dns),
    cmocka_unit_test (test_records),    cmocka_unit_test (test_none),
    cmocka_unit_test (test_namespaces), cmocka_unit_test (test_tap_here),
    cmocka_unit_test (test_tap_there),  cmocka_unit_test (test_no_room),
    cmocka_unit_test (test_new_namespace), cmocka_unit_test (test_take_over),
  };

  return cmocka_run_group_tests (tests, set_up, tear_down);
}
