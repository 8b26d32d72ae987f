/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * XDR (RFC 4506): big-endian words, opaque bytes padded to four.
 *
 * The reader trusts nothing: the first item that does not fit makes it bad, after which it yields zeroes,
 * so that a decoder runs through and asks once.  A writer that is full stays so and writes nothing more.
 */
#ifndef RCVM_LIB_NFS_XDR_H
#define RCVM_LIB_NFS_XDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct xdr_in
{
  const uint8_t *pos;
  const uint8_t *end;
  bool bad;
};

struct xdr_out
{
  uint8_t *pos;
  uint8_t *end;
  bool full;
};

static inline uint32_t
be32_load (const uint8_t *p)
{
  return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static inline void
be32_store (uint8_t *p, uint32_t v)
{
  p[0] = (uint8_t) (v >> 24);
  p[1] = (uint8_t) (v >> 16);
  p[2] = (uint8_t) (v >> 8);
  p[3] = (uint8_t) v;
}

/* NULL when there are not as many bytes. */
static inline const uint8_t *
xdr_take (struct xdr_in *in, size_t len)
{
  const uint8_t *p = in->pos;

  if (in->bad || (size_t) (in->end - p) < len)
    {
      in->bad = true;
      return NULL;
    }
  in->pos += len;
  return p;
}

static inline uint32_t
xdr_get_u32 (struct xdr_in *in)
{
  const uint8_t *p = xdr_take (in, 4);

  return p ? be32_load (p) : 0;
}

static inline uint64_t
xdr_get_u64 (struct xdr_in *in)
{
  uint64_t high = xdr_get_u32 (in);

  return high << 32 | xdr_get_u32 (in);
}

/* Anything but 0 and 1 is no bool. */
static inline bool
xdr_get_bool (struct xdr_in *in)
{
  uint32_t v = xdr_get_u32 (in);

  if (v > 1)
    in->bad = true;
  return v == 1;
}

static inline size_t
xdr_padded (size_t len)
{
  return (len + 3) & ~(size_t) 3;
}

/* Points into the record; NULL when bad.  Padding is skipped whatever it holds. */
static inline const uint8_t *
xdr_get_opaque (struct xdr_in *in, uint32_t max, uint32_t *len)
{
  const uint8_t *p;

  *len = xdr_get_u32 (in);
  if (*len > max)
    in->bad = true;
  p = xdr_take (in, xdr_padded (*len));
  if (!p)
    *len = 0;
  return p;
}

/* NULL when full. */
static inline uint8_t *
xdr_room (struct xdr_out *out, size_t len)
{
  uint8_t *p = out->pos;

  if (out->full || (size_t) (out->end - p) < len)
    {
      out->full = true;
      return NULL;
    }
  out->pos += len;
  return p;
}

static inline void
xdr_put_u32 (struct xdr_out *out, uint32_t v)
{
  uint8_t *p = xdr_room (out, 4);

  if (p)
    be32_store (p, v);
}

static inline void
xdr_put_u64 (struct xdr_out *out, uint64_t v)
{
  xdr_put_u32 (out, (uint32_t) (v >> 32));
  xdr_put_u32 (out, (uint32_t) v);
}

/* Bytes without a length; the padding is zero. */
static inline void
xdr_put_fixed (struct xdr_out *out, const void *data, size_t len)
{
  size_t padded = xdr_padded (len);
  uint8_t *p = xdr_room (out, padded);

  if (p && len)
    memcpy (p, data, len);
  if (p)
    memset (p + len, 0, padded - len);
}

static inline void
xdr_put_opaque (struct xdr_out *out, const void *data, size_t len)
{
  xdr_put_u32 (out, (uint32_t) len);
  xdr_put_fixed (out, data, len);
}

#endif
