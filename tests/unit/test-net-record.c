/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "support.h"

#include <string.h>

#include "agent-wire.h"
#include "net-record.h"

static struct net_ip
ip4 (uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
  return (struct net_ip){ 4, { a, b, c, d } };
}

static bool
parse (struct net_interface *n, const struct tlv_writer *w)
{
  struct tlv_reader r;

  tlv_reader_init (&r, w->data, w->len);
  return net_interface_parse (n, r);
}

TEST (test_round_trip)
{
  struct net_interface n = { .name = "eth0", .mac = { 2, 0, 0, 1, 2, 3 }, .has_mac = true, .mtu = 1400, .dhcp = 9,
                             .device = { 2, 1, 1, 1, 1, 1 }, .has_device = true,
                             .flags = 0x1003, .has_lease = true },
                       back;
  struct net_address a = { .local = ip4 (10, 0, 0, 2), .peer = ip4 (10, 0, 0, 1), .broadcast = ip4 (10, 0, 0, 255),
                           .prefix = 24, .scope = 253, .flags = 2, .valid = 60, .preferred = 50 },
                     v6 = { .local = { 16, { 0xfd, 1 } }, .prefix = 64, .valid = NET_FOREVER, .preferred = NET_FOREVER };
  struct net_route r = { .destination = ip4 (0, 0, 0, 0), .gateway = { 16, { 0xfe, 0x80 } }, .source = ip4 (10, 0, 0, 2),
                         .scope = 0, .type = 1, .protocol = 4, .has_metric = true, .metric = 7, .table = 300,
                         .flags = 4, .mtu = 1300 };
  struct net_neighbour e = { .ip = ip4 (10, 0, 0, 9), .mac = { 2, 9 }, .state = 0x80, .flags = 1 };
  struct tlv_writer w = TLV_WRITER_INIT, again = TLV_WRITER_INIT;

  n.lease = (struct net_lease){ .server = ip4 (10, 0, 0, 1), .seconds = 120, .age = 3, .renewals = 2, .n_dns = 1,
                                .dns = { ip4 (1, 1, 1, 1) }, .domain = "lan", .hostname = "me" };
  assert_true (net_interface_add_address (&n, &a));
  assert_true (net_interface_add_address (&n, &v6));
  assert_true (net_interface_add_route (&n, &r));
  assert_true (net_interface_add_neighbour (&n, &e));
  net_interface_put (&w, &n, 0);
  assert_false (w.failed);
  assert_true (parse (&back, &w));
  assert_string_equal (back.name, "eth0");
  assert_memory_equal (back.mac, n.mac, 6);
  assert_true (back.has_device);
  assert_memory_equal (back.device, n.device, 6);
  assert_int_equal (back.mtu, 1400);
  assert_int_equal (back.dhcp, 9);
  assert_int_equal (back.flags, 0x1003);
  assert_int_equal (back.n_addresses, 2);
  assert_int_equal (back.n_routes, 1);
  assert_int_equal (back.n_neighbours, 1);
  assert_true (back.has_lease);
  assert_int_equal (back.addresses[0].prefix, 24);
  assert_int_equal (back.addresses[1].local.len, 16);
  assert_int_equal (back.routes[0].table, 300);
  assert_int_equal (back.neighbours[0].state, 0x80);
  assert_string_equal (back.lease.domain, "lan");
  /* All the rest, too: what was read says the same again.  (Structures as such have padding.) */
  net_interface_put (&again, &back, 0);
  assert_int_equal (again.len, w.len);
  assert_memory_equal (again.data, w.data, w.len);
  tlv_writer_free (&again);
  assert_false (back.cut);
  net_interface_free (&back);
  net_interface_free (&n);
  tlv_writer_free (&w);
}

TEST (test_limit)
{
  struct net_interface n = { .name = "eth0" }, back;
  struct net_route r = { .destination = ip4 (10, 0, 0, 0), .prefix = 24, .type = 1 };
  struct tlv_writer w = TLV_WRITER_INIT;

  for (int i = 0; i < NET_ENTRIES; i++)
    assert_true (net_interface_add_route (&n, &r));
  assert_false (net_interface_add_route (&n, &r));
  net_interface_put (&w, &n, 4096);
  assert_true (w.len <= 4096);
  assert_true (parse (&back, &w));
  assert_true (back.cut);
  assert_in_range (back.n_routes, 10, 100);
  net_interface_free (&back);
  net_interface_free (&n);
  tlv_writer_free (&w);
}

/* One field in a record in a record. */
static void
refused (uint16_t outer, uint16_t inner, const void *data, size_t len)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct net_interface n;
  size_t mark = tlv_begin (&w, outer);

  tlv_put (&w, inner, data, len);
  tlv_end (&w, mark);
  assert_false (parse (&n, &w));
  net_interface_free (&n);
  tlv_writer_free (&w);
}

TEST (test_malformed)
{
  static const unsigned char zeros[32];
  static const char *const names[] = { "", ".", "..", "a/b", "a b", "sixteen-characte", "a\n", "a%d", "a:1" };

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    {
      struct tlv_writer w = TLV_WRITER_INIT;
      struct net_interface n;

      assert_false (net_name_is_valid (names[i]));
      tlv_put_str (&w, N_NAME, names[i]);
      assert_false (parse (&n, &w));
      net_interface_free (&n);
      tlv_writer_free (&w);
    }
  assert_true (net_name_is_valid ("fifteen-charact"));
  /* Nothing in it, lengths that are none, a prefix that is longer than the address. */
  refused (N_ADDRESS, NA_SCOPE, "\1\0\0\0", 4);
  refused (N_ADDRESS, NA_ADDRESS, zeros, 5);
  refused (N_ADDRESS, NA_ADDRESS, zeros, 0);
  refused (N_ADDRESS, NA_PREFIX, "\x81\0\0\0", 4);
  refused (N_ROUTE, NR_METRIC, "\1\0\0\0", 4);
  refused (N_ROUTE, NR_DESTINATION, zeros, 15);
  refused (N_ROUTE, NR_TYPE, "\0\1\0\0", 4);
  refused (N_NEIGHBOUR, NN_MAC, zeros, 6);
  refused (N_NEIGHBOUR, NN_ADDRESS, zeros, 4);
  refused (N_LEASE, NL_DOMAIN, "a\nb", 4);
  refused (N_LEASE, NL_SERVER, zeros, 3);
  refused (N_LEASE, NL_SECONDS, zeros, 3);
}

TEST (test_mixed_families)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct net_interface n;
  size_t mark = tlv_begin (&w, N_ADDRESS);

  tlv_put (&w, NA_ADDRESS, "\12\0\0\1", 4);
  tlv_put (&w, NA_PEER, "0123456789abcdef", 16);
  tlv_end (&w, mark);
  assert_false (parse (&n, &w));
  net_interface_free (&n);
  tlv_writer_free (&w);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_round_trip),
    cmocka_unit_test (test_limit),
    cmocka_unit_test (test_malformed),
    cmocka_unit_test (test_mixed_families),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
