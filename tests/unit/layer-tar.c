/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "layer-tar.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

void
tar_bytes (struct tar *t, const void *data, size_t len)
{
  if (t->cap - t->len < len)
    {
      t->cap = (t->len + len) * 2;
      t->data = realloc (t->data, t->cap);
      assert_non_null (t->data);
    }
  memcpy (t->data + t->len, data, len);
  t->len += len;
}

static void
pad (struct tar *t)
{
  static const char zeros[512];

  if (t->len % 512)
    tar_bytes (t, zeros, 512 - t->len % 512);
}

static void
number (char *field, size_t size, uint64_t value)
{
  if (value >> (3 * (size - 1)) == 0)
    {
      snprintf (field, size, "%0*" PRIo64, (int) size - 1, value);
      return;
    }
  /* In base 256. */
  for (size_t i = size; i-- > 0; value >>= 8)
    field[i] = (char) value;
  field[0] |= (char) 0x80;
}

void
tar_entry (struct tar *t, struct tar_entry e)
{
  char header[512] = { 0 };
  unsigned sum = 0;

  if (!e.type)
    e.type = '0';
  if (!e.mode)
    e.mode = e.type == '5' ? 0755 : 0644;
  if (!e.size && e.text)
    e.size = strlen (e.text);
  strncpy (header, e.name, 100);
  number (header + 100, 8, e.mode);
  number (header + 108, 8, e.uid);
  number (header + 116, 8, e.gid);
  number (header + 124, 12, e.size);
  number (header + 136, 12, (uint64_t) (e.mtime ? e.mtime : 1000000000));
  memset (header + 148, ' ', 8);
  header[156] = e.type;
  if (e.target)
    strncpy (header + 157, e.target, 100);
  memcpy (header + 257, "ustar\00000", 8);
  number (header + 329, 8, e.major);
  number (header + 337, 8, e.minor);
  for (size_t i = 0; i < sizeof header; i++)
    sum += (unsigned char) header[i];
  snprintf (header + 148, 8, "%06o", sum);
  tar_bytes (t, header, sizeof header);
  if (e.text)
    tar_bytes (t, e.text, strlen (e.text));
  pad (t);
}

void
tar_file (struct tar *t, const char *name, const char *text)
{
  tar_entry (t, (struct tar_entry){ .name = name, .text = text });
}

void
tar_dir (struct tar *t, const char *name)
{
  tar_entry (t, (struct tar_entry){ .name = name, .type = '5' });
}

void
tar_link (struct tar *t, const char *name, const char *target)
{
  tar_entry (t, (struct tar_entry){ .name = name, .type = '2', .target = target });
}

void
tar_hard (struct tar *t, const char *name, const char *target)
{
  tar_entry (t, (struct tar_entry){ .name = name, .type = '1', .target = target });
}

void
tar_pax (struct tar *t, const char *key, const void *value, size_t len)
{
  size_t body = 1 + strlen (key) + 1 + len + 1, total = body + 1;
  char digits[24];

  /* The number at the front counts itself. */
  while (total != body + (size_t) snprintf (digits, sizeof digits, "%zu", total))
    total++;
  tar_entry (t, (struct tar_entry){ .name = "pax", .type = 'x', .size = total });
  tar_bytes (t, digits, strlen (digits));
  tar_bytes (t, " ", 1);
  tar_bytes (t, key, strlen (key));
  tar_bytes (t, "=", 1);
  tar_bytes (t, value, len);
  tar_bytes (t, "\n", 1);
  pad (t);
}

void
tar_end (struct tar *t)
{
  static const char zeros[1024];

  tar_bytes (t, zeros, sizeof zeros);
}

void
tar_free (struct tar *t)
{
  free (t->data);
  *t = (struct tar){ 0 };
}

static void
write_file (const char *path, const void *data, size_t len)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

  assert_true (fd >= 0);
  assert_int_equal (write (fd, data, len), (ssize_t) len);
  assert_int_equal (close (fd), 0);
}

void
tar_write (struct tar *t, const char *path)
{
  write_file (path, t->data, t->len);
  tar_free (t);
}

void
tar_write_gzip (struct tar *t, const char *path)
{
  size_t bound = compressBound (t->len) + 64;
  unsigned char *out = malloc (bound);
  z_stream z = { 0 };

  assert_non_null (out);
  assert_int_equal (deflateInit2 (&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  z.next_in = t->data;
  z.avail_in = (uInt) t->len;
  z.next_out = out;
  z.avail_out = (uInt) bound;
  assert_int_equal (deflate (&z, Z_FINISH), Z_STREAM_END);
  write_file (path, out, bound - z.avail_out);
  deflateEnd (&z);
  free (out);
  tar_free (t);
}

void
tar_write_zstd (struct tar *t, const char *path)
{
  size_t bound = ZSTD_compressBound (t->len), len;
  void *out = malloc (bound);
  ZSTD_CCtx *c = ZSTD_createCCtx ();

  assert_non_null (out);
  assert_non_null (c);
  ZSTD_CCtx_setParameter (c, ZSTD_c_checksumFlag, 1);
  len = ZSTD_compress2 (c, out, bound, t->data, t->len);
  assert_false (ZSTD_isError (len));
  write_file (path, out, len);
  ZSTD_freeCCtx (c);
  free (out);
  tar_free (t);
}
