/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tlv.h"

#include <stdlib.h>
#include <string.h>

#include "le.h"

enum
{
  FIELD_HEADER = 6
};

void
tlv_writer_free (struct tlv_writer *w)
{
  free (w->data);
  *w = TLV_WRITER_INIT;
}

static unsigned char *
reserve (struct tlv_writer *w, size_t more)
{
  if (w->failed)
    return NULL;
  if (more > w->cap - w->len)
    {
      size_t cap = w->cap ? w->cap : 256;
      unsigned char *data;

      while (cap - w->len < more)
        {
          if (cap > SIZE_MAX / 2)
            {
              w->failed = true;
              return NULL;
            }
          cap *= 2;
        }
      data = realloc (w->data, cap);
      if (!data)
        {
          w->failed = true;
          return NULL;
        }
      w->data = data;
      w->cap = cap;
    }
  w->len += more;
  return w->data + w->len - more;
}

void
tlv_put (struct tlv_writer *w, uint16_t tag, const void *data, size_t len)
{
  unsigned char *p;

  if (len > UINT32_MAX)
    {
      w->failed = true;
      return;
    }
  p = reserve (w, FIELD_HEADER + len);
  if (!p)
    return;
  le_put (p, tag, 2);
  le_put (p + 2, len, 4);
  if (len)
    memcpy (p + FIELD_HEADER, data, len);
}

void
tlv_put_u32 (struct tlv_writer *w, uint16_t tag, uint32_t value)
{
  unsigned char bytes[4];

  le_put (bytes, value, sizeof bytes);
  tlv_put (w, tag, bytes, sizeof bytes);
}

void
tlv_put_u64 (struct tlv_writer *w, uint16_t tag, uint64_t value)
{
  unsigned char bytes[8];

  le_put (bytes, value, sizeof bytes);
  tlv_put (w, tag, bytes, sizeof bytes);
}

void
tlv_put_str (struct tlv_writer *w, uint16_t tag, const char *s)
{
  if (s)
    tlv_put (w, tag, s, strlen (s) + 1);
}

size_t
tlv_begin (struct tlv_writer *w, uint16_t tag)
{
  tlv_put (w, tag, NULL, 0);
  return w->len;
}

void
tlv_end (struct tlv_writer *w, size_t mark)
{
  if (w->failed)
    return;
  if (w->len - mark > UINT32_MAX)
    {
      w->failed = true;
      return;
    }
  le_put (w->data + mark - 4, w->len - mark, 4);
}

void
tlv_reader_init (struct tlv_reader *r, const void *data, size_t len)
{
  r->pos = data;
  r->end = len ? r->pos + len : r->pos; /* there may be nothing at all */
  r->bad = false;
}

bool
tlv_next (struct tlv_reader *r, struct tlv_field *f)
{
  if (r->bad || r->pos == r->end)
    return false;
  if ((size_t) (r->end - r->pos) < FIELD_HEADER)
    {
      r->bad = true;
      return false;
    }
  f->tag = (uint16_t) le_get (r->pos, 2);
  f->len = (uint32_t) le_get (r->pos + 2, 4);
  r->pos += FIELD_HEADER;
  if (f->len > (size_t) (r->end - r->pos))
    {
      r->bad = true;
      return false;
    }
  f->data = r->pos;
  r->pos += f->len;
  return true;
}

uint32_t
tlv_get_u32 (struct tlv_reader *r, const struct tlv_field *f)
{
  if (f->len != 4)
    {
      r->bad = true;
      return 0;
    }
  return (uint32_t) le_get (f->data, 4);
}

uint64_t
tlv_get_u64 (struct tlv_reader *r, const struct tlv_field *f)
{
  if (f->len != 8)
    {
      r->bad = true;
      return 0;
    }
  return le_get (f->data, 8);
}

const char *
tlv_get_str (struct tlv_reader *r, const struct tlv_field *f)
{
  if (f->len == 0 || memchr (f->data, 0, f->len) != f->data + f->len - 1)
    {
      r->bad = true;
      return "";
    }
  return (const char *) f->data;
}

struct tlv_reader
tlv_get_record (const struct tlv_field *f)
{
  struct tlv_reader r;

  tlv_reader_init (&r, f->data, f->len);
  return r;
}
