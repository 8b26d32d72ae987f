/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "support.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "agent-wire.h"
#include "net-guest.h"
#include "net-record.h"

TEST (test_nic)
{
  struct rcvmi_net_if i;
  rcvm_error *err = NULL;

  check_ok (rcvmi_net_guest_parse_nic (&i, "eth0,address=192.0.2.7/24,gateway=192.0.2.1,route=10.0.0.0/8,address=fd00::7/64,"
                                           "route=172.16.0.0/12@192.0.2.9,mac=02:00:00:aa:bb:0c,mtu=1400",
                                       &err),
            err);
  assert_string_equal (i.name, "eth0");
  assert_int_equal (i.mtu, 1400);
  assert_memory_equal (i.mac, "\2\0\0\xaa\xbb\x0c", 6);
  assert_int_equal (i.n_addrs, 2);
  assert_int_equal (i.addrs[0].prefix, 24);
  assert_int_equal (i.addrs[1].ip.family, AF_INET6);
  assert_int_equal (i.n_routes, 3);
  /* What needs no gateway is first. */
  assert_int_equal (i.routes[0].gateway.family, AF_UNSPEC);
  assert_int_equal (i.routes[0].prefix, 8);
  assert_int_equal (i.routes[1].destination.family, AF_UNSPEC);
  assert_int_equal (i.routes[2].prefix, 12);
  rcvmi_net_if_clear (&i);
}

TEST (test_bad_nics)
{
  static const char *const bad[]
      = { "",           ",",           "a/b",          "eth0,x",        "eth0,x=y",     "eth0,address=1.2.3",  "eth0,address=1.2.3.4/33",
          "eth0,mtu=0", "eth0,mtu=1x", "eth0,mtu=99999", "eth0,mac=1:2:3", "eth0,mac=03:00:00:00:00:01", "eth0,gateway=", "eth0,route=1.2.3.0/24@x",
          "eth0,mac=02:00:00:00:00:1" };

  for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
    {
      struct rcvmi_net_if i;
      rcvm_error *err = NULL;

      assert_int_equal (rcvmi_net_guest_parse_nic (&i, bad[k], &err), RCVM_E_INVALID);
      check_error (&err, RCVM_E_INVALID, "net", NULL);
    }
}

TEST (test_ports)
{
  static const char *const bad[] = { "", "80", "0:80", "80:0", "80:65536", "80:80/sctp", "x:80:80", "80:80x", "1.2.3.4:80:" };
  struct rcvmi_net_port p;
  rcvm_error *err = NULL;

  check_ok (rcvmi_net_guest_parse_port (&p, "8080:80", &err), err);
  assert_int_equal (p.host_port, 8080);
  assert_int_equal (p.guest_port, 80);
  assert_int_equal (p.protocol, IPPROTO_TCP);
  assert_int_equal (p.host_ip.family, AF_UNSPEC);
  check_ok (rcvmi_net_guest_parse_port (&p, "192.0.2.1:53:5353/udp", &err), err);
  assert_int_equal (p.protocol, IPPROTO_UDP);
  assert_int_equal (p.host_ip.family, AF_INET);
  assert_int_equal (p.host_port, 53);
  for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
    {
      assert_int_equal (rcvmi_net_guest_parse_port (&p, bad[k], &err), RCVM_E_INVALID);
      check_error (&err, RCVM_E_INVALID, "net", NULL);
    }
}

TEST (test_resolv)
{
  char *servers[] = { (char *) "192.0.2.1", (char *) "fd00::1", NULL }, *search[] = { (char *) "a.test", (char *) "b.test", NULL };
  struct rcvmi_net_dns dns = { .servers = servers, .search = search };
  rcvm_error *err = NULL;
  char *text = rcvmi_net_guest_resolv (&dns, &err);

  assert_string_equal (text, "search a.test b.test\nnameserver 192.0.2.1\nnameserver fd00::1\n");
  free (text);
}

/* What the guest says becomes JSON if it is sound, and an error if not. */
TEST (test_answer)
{
  struct rcvmi_net_if i;
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *err = NULL;
  size_t mark;
  char *json;

  check_ok (rcvmi_net_guest_parse_nic (&i, "eth0,address=192.0.2.7/24,gateway=192.0.2.1,mac=02:00:00:aa:bb:0c", &err), err);
  mark = tlv_begin (&w, S_NETWORK);
  check_ok (rcvmi_net_guest_put (&w, &i, 0, &err), err);
  tlv_end (&w, mark);
  rcvmi_net_if_clear (&i);
  json = rcvmi_net_guest_json (w.data, w.len, &err);
  assert_non_null (json);
  assert_non_null (strstr (json, "\"name\":\"eth0\""));
  assert_non_null (strstr (json, "\"mac\":\"02:00:00:aa:bb:0c\""));
  assert_non_null (strstr (json, "\"address\":\"192.0.2.7/24\""));
  assert_non_null (strstr (json, "\"destination\":\"default\",\"gateway\":\"192.0.2.1\""));
  free (json);
  /* Cut anywhere, it is none. */
  for (size_t len = 1; len < w.len; len++)
    {
      assert_null (rcvmi_net_guest_json (w.data, len, &err));
      check_error (&err, RCVM_E_PROTOCOL, "net", NULL);
    }
  tlv_writer_free (&w);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_nic),   cmocka_unit_test (test_bad_nics), cmocka_unit_test (test_ports),
    cmocka_unit_test (test_resolv), cmocka_unit_test (test_answer),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
