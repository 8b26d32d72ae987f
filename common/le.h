/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Little-endian numbers of up to eight bytes. */
#ifndef RCVM_COMMON_LE_H
#define RCVM_COMMON_LE_H

#include <stdint.h>

static inline void
le_put (unsigned char *p, uint64_t value, unsigned bytes)
{
  for (unsigned i = 0; i < bytes; i++)
    p[i] = (unsigned char) (value >> (8 * i));
}

static inline uint64_t
le_get (const unsigned char *p, unsigned bytes)
{
  uint64_t value = 0;

  for (unsigned i = 0; i < bytes; i++)
    value |= (uint64_t) p[i] << (8 * i);
  return value;
}

#endif
