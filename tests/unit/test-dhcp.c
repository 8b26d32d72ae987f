/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's DHCP messages. */
#include "config.h"

#include "support.h"

#include <string.h>

#include "dhcp-packet.h"

static const uint8_t mac[6] = { 2, 0, 0, 1, 2, 3 }, own[4] = { 10, 0, 0, 7 }, server[4] = { 10, 0, 0, 1 }, all[4] = { 255, 255, 255, 255 },
                     none[4];

enum
{
  HEADERS = 28,
  OPTIONS = HEADERS + 240
};

/* An answer of a server: a query, turned round. */
struct packet
{
  uint8_t bytes[2000];
  size_t len, end; /* of the options */
};

static void
set16 (uint8_t *p, unsigned v)
{
  p[0] = (uint8_t) (v >> 8);
  p[1] = (uint8_t) v;
}

static unsigned
sum (const uint8_t *p, size_t len, unsigned long s)
{
  for (size_t i = 0; i < len; i++)
    s += (unsigned long) p[i] << (i & 1 ? 0 : 8);
  while (s >> 16)
    s = (s & 0xffff) + (s >> 16);
  return (unsigned) (~s & 0xffff);
}

static void
seal (struct packet *p)
{
  uint8_t *udp = p->bytes + 20;
  unsigned long s = 17 + (p->len - 20);

  set16 (p->bytes + 2, (unsigned) p->len);
  set16 (p->bytes + 10, 0);
  set16 (p->bytes + 10, sum (p->bytes, 20, 0));
  set16 (udp + 4, (unsigned) (p->len - 20));
  set16 (udp + 6, 0);
  for (int i = 12; i < 20; i++)
    s += (unsigned long) p->bytes[i] << (i & 1 ? 0 : 8);
  set16 (udp + 6, sum (udp, p->len - 20, s));
}

static void
option (struct packet *p, uint8_t code, const void *data, size_t len)
{
  p->bytes[p->end++] = code;
  p->bytes[p->end++] = (uint8_t) len;
  memcpy (p->bytes + p->end, data, len);
  p->end += len;
  p->bytes[p->end] = 255;
  if (p->end + 1 > p->len)
    p->len = p->end + 1;
  seal (p);
}

static struct packet
answer (uint8_t type)
{
  struct packet p = { .end = OPTIONS, .len = 400 };

  p.bytes[0] = 0x45;
  p.bytes[8] = 64;
  p.bytes[9] = 17;
  memcpy (p.bytes + 12, server, 4);
  memcpy (p.bytes + 16, own, 4);
  set16 (p.bytes + 20, 67);
  set16 (p.bytes + 22, 68);
  p.bytes[28] = 2;
  p.bytes[29] = 1;
  p.bytes[30] = 6;
  memcpy (p.bytes + 32, "\x12\x34\x56\x78", 4);
  memcpy (p.bytes + 44, own, 4);
  memcpy (p.bytes + 56, mac, 6);
  memcpy (p.bytes + HEADERS + 236, "\x63\x82\x53\x63", 4);
  option (&p, 53, &type, 1);
  option (&p, 54, server, 4);
  return p;
}

static bool
parse (struct dhcp_answer *a, const struct packet *p)
{
  return dhcp_packet_parse (a, p->bytes, p->len, true, mac);
}

TEST (test_query)
{
  struct dhcp_query q = { .type = DHCP_REQUEST, .xid = 0x12345678, .seconds = 70000, .mac = mac, .requested = own,
                          .server = server, .hostname = "me" };
  uint8_t out[DHCP_PACKET_MAX];
  size_t n = dhcp_packet_build (out, sizeof out, &q, none, all);

  assert_true (n >= 328 && n <= 600);
  assert_int_equal (sum (out, 20, 0), 0);
  assert_int_equal (out[2] << 8 | out[3], n);
  assert_memory_equal (out + 20, "\0\x44\0\x43", 4);
  assert_memory_equal (out + 28, "\1\1\6\0\x12\x34\x56\x78\xff\xff", 10);
  assert_memory_equal (out + 56, mac, 6);
  assert_memory_equal (out + HEADERS + 236, "\x63\x82\x53\x63\x35\1\3", 7);
  assert_non_null (memmem (out, n, "\x32\4\x0a\0\0\7", 6));
  assert_non_null (memmem (out, n, "\x36\4\x0a\0\0\1", 6));
  assert_non_null (memmem (out, n, "\x0c\2me", 4));
  assert_int_equal (dhcp_packet_build (out, 300, &q, none, all), 0);
  assert_int_equal (dhcp_message_build (out, 299, &q), 0);
}

TEST (test_answer)
{
  struct packet p = answer (DHCP_ACK);
  struct dhcp_answer a;

  option (&p, 1, "\xff\xff\xff\xc0", 4);
  option (&p, 3, "\x0a\0\0\1\x0a\0\0\2", 8);
  option (&p, 6, "\1\1\1\1\x08\x08\x08\x08", 8);
  option (&p, 15, "lan.test", 8);
  option (&p, 12, "me", 2);
  option (&p, 26, "\5\x78", 2);
  option (&p, 51, "\0\0\0\x78", 4);
  option (&p, 58, "\0\0\0\6", 4);
  option (&p, 28, "\x0a\0\0\x3f", 4);
  /* 10.64/10 via 10.0.0.9, everything else via 10.0.0.1, one on the link. */
  option (&p, 121, "\x0a\x0a\x7f\x0a\0\0\x09\0\x0a\0\0\1\x20\x0a\0\0\5\0\0\0\0", 21);
  option (&p, 119, "\3one\4test\0\3two\xc0\4", 16);
  assert_true (parse (&a, &p));
  assert_int_equal (a.type, DHCP_ACK);
  assert_int_equal (a.xid, 0x12345678);
  assert_memory_equal (a.address, own, 4);
  assert_memory_equal (a.server, server, 4);
  assert_int_equal (a.prefix, 26);
  assert_int_equal (a.n_routers, 2);
  assert_int_equal (a.n_dns, 2);
  assert_string_equal (a.domain, "lan.test");
  assert_string_equal (a.hostname, "me");
  assert_string_equal (a.search, "one.test two.test");
  assert_int_equal (a.mtu, 1400);
  assert_int_equal (a.lease, 120);
  assert_int_equal (a.renew, 6);
  assert_int_equal (a.rebind, 105);
  assert_int_equal (a.n_routes, 3);
  assert_true (a.has_routes);
  assert_int_equal (a.routes[0].prefix, 10);
  assert_memory_equal (a.routes[0].destination, "\x0a\x40\0\0", 4); /* cut to its prefix */
  assert_int_equal (a.routes[1].prefix, 0);
  assert_memory_equal (a.routes[1].gateway, server, 4);
  assert_memory_equal (a.routes[2].gateway, none, 4);
}

/* An option in pieces, and in the fields of the fixed part. */
TEST (test_long_options)
{
  struct packet p = answer (DHCP_OFFER);
  struct dhcp_answer a;

  option (&p, 6, "\1\1\1\1\2\2", 6);
  option (&p, 6, "\2\2", 2);
  option (&p, 52, "\3", 1);
  memcpy (p.bytes + HEADERS + 108, "\x0f\3abc\xff", 6);
  memcpy (p.bytes + HEADERS + 44, "\x33\4\0\0\0\x50\xff", 7);
  seal (&p);
  assert_true (parse (&a, &p));
  assert_int_equal (a.n_dns, 2);
  assert_memory_equal (a.dns[1], "\2\2\2\2", 4);
  assert_string_equal (a.domain, "abc");
  assert_int_equal (a.lease, 80);
}

TEST (test_times)
{
  static const struct
  {
    uint32_t lease, renew, rebind, wanted_lease, wanted_renew, wanted_rebind;
  } cases[] = {
    { 120, 0, 0, 120, 60, 105 },     { 120, 200, 300, 120, 60, 105 }, { 120, 110, 50, 120, 49, 50 },
    { 0, 0, 0, 3600, 1800, 3150 },   { 1, 0, 0, 4, 2, 3 },            { UINT32_MAX, 5, 6, UINT32_MAX, UINT32_MAX, UINT32_MAX },
  };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      struct packet p = answer (DHCP_ACK);
      const uint32_t values[3] = { __builtin_bswap32 (cases[i].lease), __builtin_bswap32 (cases[i].renew),
                                   __builtin_bswap32 (cases[i].rebind) };
      struct dhcp_answer a;

      option (&p, 51, &values[0], 4);
      option (&p, 58, &values[1], 4);
      option (&p, 59, &values[2], 4);
      assert_true (parse (&a, &p));
      assert_int_equal (a.lease, cases[i].wanted_lease);
      assert_int_equal (a.renew, cases[i].wanted_renew);
      assert_int_equal (a.rebind, cases[i].wanted_rebind);
    }
}

/* What does not count, without harm to the rest. */
TEST (test_unsound_options)
{
  struct packet p = answer (DHCP_ACK);
  struct dhcp_answer a;

  option (&p, 1, "\xff\0\xff\0", 4); /* no mask */
  option (&p, 15, "a b\nnameserver 6.6.6.6", 22);
  option (&p, 12, "-rf", 3);
  option (&p, 6, "\1\1\1", 3);
  option (&p, 26, "\0\x20", 2);
  option (&p, 121, "\x21\0\0\0\0\0\0\0\0\0", 10);
  option (&p, 119, "\xc0\0", 2); /* points at itself */
  assert_true (parse (&a, &p));
  assert_int_equal (a.prefix, 8);
  assert_string_equal (a.domain, "");
  assert_string_equal (a.hostname, "");
  assert_string_equal (a.search, "");
  assert_int_equal (a.n_dns, 0);
  assert_int_equal (a.mtu, 0);
  assert_false (a.has_routes);
}

TEST (test_refused)
{
  static const struct
  {
    size_t at;
    uint8_t value;
  } changes[] = {
    { 0, 0x65 }, { 0, 0x44 }, { 6, 0x20 }, { 9, 6 },   { 21, 66 },           { 23, 69 },
    { 28, 1 },   { 29, 6 },   { 30, 8 },   { 56, 3 },  { HEADERS + 236, 0 }, { OPTIONS + 2, 1 },
    { 44, 127 }, { 44, 224 }, { 44, 0 },
  };
  struct packet good = answer (DHCP_ACK), p;
  struct dhcp_answer a;

  assert_true (parse (&a, &good));
  for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
    {
      p = good;
      p.bytes[changes[i].at] = changes[i].value;
      seal (&p);
      assert_false (parse (&a, &p));
    }
  /* Wrong sums; the second does not count where it was never made. */
  p = good;
  p.bytes[10] ^= 1;
  assert_false (parse (&a, &p));
  p = good;
  p.bytes[26] ^= 1;
  assert_false (parse (&a, &p));
  assert_true (dhcp_packet_parse (&a, p.bytes, p.len, false, mac));
  /* Cut anywhere. */
  for (size_t len = 0; len < good.len; len++)
    assert_false (dhcp_packet_parse (&a, good.bytes, len, true, mac));
}

TEST (test_nak)
{
  struct packet p = answer (DHCP_NAK);
  struct dhcp_answer a;

  memset (p.bytes + 44, 0, 4);
  seal (&p);
  assert_true (parse (&a, &p));
  assert_int_equal (a.type, DHCP_NAK);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_query),  cmocka_unit_test (test_answer),           cmocka_unit_test (test_long_options),
    cmocka_unit_test (test_times),  cmocka_unit_test (test_unsound_options), cmocka_unit_test (test_refused),
    cmocka_unit_test (test_nak),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
