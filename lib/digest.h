/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHA-256.  digest.c is the only file that knows whose implementation it is. */
#ifndef RCVM_LIB_DIGEST_H
#define RCVM_LIB_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum
{
  RCVMI_SHA256_BYTES = 32,
  RCVMI_SHA256_HEX = 64
};

struct rcvmi_sha256
{
  uint64_t state[24]; /* the implementation's own */
};

void rcvmi_sha256_init (struct rcvmi_sha256 *s);
void rcvmi_sha256_update (struct rcvmi_sha256 *s, const void *data, size_t len);
/* Ends it; `s` is to be initialised before it is used again. */
void rcvmi_sha256_final (struct rcvmi_sha256 *s, uint8_t digest[RCVMI_SHA256_BYTES]);
void rcvmi_sha256 (const void *data, size_t len, uint8_t digest[RCVMI_SHA256_BYTES]);
/* 64 lower-case digits and a NUL. */
void rcvmi_sha256_hex (const uint8_t digest[RCVMI_SHA256_BYTES], char hex[RCVMI_SHA256_HEX + 1]);

#endif
