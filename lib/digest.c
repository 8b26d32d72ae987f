/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "digest.h"

#include <nettle/sha2.h>
#include <nettle/version.h>

_Static_assert (sizeof (struct sha256_ctx) <= sizeof (struct rcvmi_sha256), "the state fits");

static struct sha256_ctx *
context (struct rcvmi_sha256 *s)
{
  return (struct sha256_ctx *) s->state;
}

void
rcvmi_sha256_init (struct rcvmi_sha256 *s)
{
  sha256_init (context (s));
}

void
rcvmi_sha256_update (struct rcvmi_sha256 *s, const void *data, size_t len)
{
  sha256_update (context (s), len, data);
}

void
rcvmi_sha256_final (struct rcvmi_sha256 *s, uint8_t digest[RCVMI_SHA256_BYTES])
{
#if NETTLE_VERSION_MAJOR >= 4
  sha256_digest (context (s), digest);
#else
  sha256_digest (context (s), RCVMI_SHA256_BYTES, digest);
#endif
}

void
rcvmi_sha256 (const void *data, size_t len, uint8_t digest[RCVMI_SHA256_BYTES])
{
  struct rcvmi_sha256 s;

  rcvmi_sha256_init (&s);
  rcvmi_sha256_update (&s, data, len);
  rcvmi_sha256_final (&s, digest);
}

void
rcvmi_sha256_hex (const uint8_t digest[RCVMI_SHA256_BYTES], char hex[RCVMI_SHA256_HEX + 1])
{
  static const char digits[] = "0123456789abcdef";

  for (int i = 0; i < RCVMI_SHA256_BYTES; i++)
    {
      hex[2 * i] = digits[digest[i] >> 4];
      hex[2 * i + 1] = digits[digest[i] & 15];
    }
  hex[RCVMI_SHA256_HEX] = 0;
}
