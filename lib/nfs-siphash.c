/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "nfs-siphash.h"

struct state
{
  uint64_t a, b, c, d;
};

static uint64_t
rotate (uint64_t v, unsigned bits)
{
  return v << bits | v >> (64 - bits);
}

static uint64_t
load_le (const uint8_t *p, size_t n)
{
  uint64_t v = 0;

  for (size_t i = 0; i < n; i++)
    v |= (uint64_t) p[i] << (8 * i);
  return v;
}

static void
rounds (struct state *s, unsigned n)
{
  while (n-- > 0)
    {
      s->a += s->b;
      s->c += s->d;
      s->b = rotate (s->b, 13) ^ s->a;
      s->d = rotate (s->d, 16) ^ s->c;
      s->a = rotate (s->a, 32);
      s->c += s->b;
      s->a += s->d;
      s->b = rotate (s->b, 17) ^ s->c;
      s->d = rotate (s->d, 21) ^ s->a;
      s->c = rotate (s->c, 32);
    }
}

static void
absorb (struct state *s, uint64_t word)
{
  s->d ^= word;
  rounds (s, 2);
  s->a ^= word;
}

uint64_t
rcvmi_nfs_siphash (const uint8_t key[RCVMI_NFS_KEY], const void *data, size_t len)
{
  uint64_t k0 = load_le (key, 8), k1 = load_le (key + 8, 8);
  struct state s = { k0 ^ UINT64_C (0x736f6d6570736575), k1 ^ UINT64_C (0x646f72616e646f6d),
                     k0 ^ UINT64_C (0x6c7967656e657261), k1 ^ UINT64_C (0x7465646279746573) };
  const uint8_t *p = data;
  size_t left = len;

  for (; left >= 8; p += 8, left -= 8)
    absorb (&s, load_le (p, 8));
  absorb (&s, load_le (p, left) | (uint64_t) (len & 0xff) << 56);
  s.c ^= 0xff;
  rounds (&s, 4);
  return s.a ^ s.b ^ s.c ^ s.d;
}
