/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * zlib and libzstd are asked directly: libarchive's own filter for gzip does not look at the
 * checksum, and what it has unpacked ahead could not be counted.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "rootfs-layer-stream.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "err.h"

#define IN_SIZE (128 * 1024)
#define OUT_SIZE (256 * 1024)
/* The longest of the magic numbers below. */
#define MAGIC_SIZE 6
/* What a decompressor may remember: as much as zstd itself allows without being asked. */
#define ZSTD_WINDOW_LOG 27

enum packing
{
  PLAIN,
  GZIP,
  ZSTD
};

struct rcvmi_layer_stream
{
  int fd;
  const char *path;
  enum packing packing;
  uint64_t position, size; /* of the file */
  unsigned char *in, *out;
  size_t in_at, in_len;
  bool inside;  /* of a gzip member or a zstd frame */
  bool members; /* there has been one */
  z_stream z;
  ZSTD_DStream *zstd;
};

static int
fail_damaged (const struct rcvmi_layer_stream *s, const char *what, rcvm_error **err)
{
  return rcvmi_fail (err, RCVM_E_IMAGE, 0, "the layer '%s' is damaged: %s", s->path, what);
}

static ssize_t
read_at (const struct rcvmi_layer_stream *s, void *to, size_t len, uint64_t at, rcvm_error **err)
{
  for (;;)
    {
      ssize_t n = pread (s->fd, to, len, (off_t) at);

      if (n >= 0)
        return n;
      if (errno == EINTR)
        continue;
      rcvmi_fail_errno (err, errno, "cannot read the layer '%s'", s->path);
      return -1;
    }
}

static bool
starts_with (const unsigned char *data, ssize_t len, const char *magic, size_t magic_len)
{
  return (size_t) len >= magic_len && memcmp (data, magic, magic_len) == 0;
}

static int
detect (struct rcvmi_layer_stream *s, rcvm_error **err)
{
  unsigned char magic[MAGIC_SIZE];
  ssize_t n = read_at (s, magic, sizeof magic, 0, err);

  if (n < 0)
    return -1;
  if (n == 0)
    return fail_damaged (s, "it is empty", err);
  if (starts_with (magic, n, "\x1f\x8b", 2))
    s->packing = GZIP;
  else if (starts_with (magic, n, "\x28\xb5\x2f\xfd", 4)
           || (starts_with (magic + 1, n - 1, "\x2a\x4d\x18", 3) && (magic[0] & 0xf0) == 0x50))
    s->packing = ZSTD;
  else if (starts_with (magic, n, "\xfd" "7zXZ\0", 6) || starts_with (magic, n, "BZh", 3)
           || starts_with (magic, n, "\x04\x22\x4d\x18", 4))
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the layer '%s' is packed in another way than gzip or zstd; unpack it first", s->path);
  else
    s->packing = PLAIN;
  return 0;
}

int
rcvmi_layer_stream_open (struct rcvmi_layer_stream **out, int fd, const char *path, rcvm_error **err)
{
  struct rcvmi_layer_stream *s = calloc (1, sizeof *s);
  struct stat st;

  if (!s)
    return rcvmi_fail_nomem (err);
  s->fd = fd;
  s->path = path;
  s->in = malloc (IN_SIZE);
  s->out = malloc (OUT_SIZE);
  if (!s->in || !s->out)
    rcvmi_fail_nomem (err);
  else if (fstat (fd, &st) < 0)
    rcvmi_fail_errno (err, errno, "cannot read the layer '%s'", path);
  else if (detect (s, err) == 0)
    {
      s->size = (uint64_t) st.st_size;
      if (s->packing == ZSTD)
        s->zstd = ZSTD_createDStream ();
      /* 16: the form of gzip, with its checksum. */
      if (s->packing == PLAIN || (s->packing == GZIP && inflateInit2 (&s->z, 16 + MAX_WBITS) == Z_OK)
          || (s->zstd
              && !ZSTD_isError (ZSTD_DCtx_setParameter (s->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG))))
        {
          *out = s;
          return 0;
        }
      rcvmi_fail_nomem (err);
    }
  rcvmi_layer_stream_close (s);
  return -1;
}

void
rcvmi_layer_stream_close (struct rcvmi_layer_stream *s)
{
  if (!s)
    return;
  if (s->packing == GZIP)
    inflateEnd (&s->z);
  ZSTD_freeDStream (s->zstd);
  free (s->in);
  free (s->out);
  free (s);
}

/* More of the file: 0 at its end. */
static ssize_t
fill (struct rcvmi_layer_stream *s, rcvm_error **err)
{
  ssize_t n = read_at (s, s->in, IN_SIZE, s->position, err);

  if (n < 0)
    return -1;
  s->position += (uint64_t) n;
  s->in_at = 0;
  s->in_len = (size_t) n;
  return n;
}

/* One step of a decompressor: *made is what it has put into s->out. */
static int
step_gzip (struct rcvmi_layer_stream *s, size_t *made, rcvm_error **err)
{
  int r;

  s->z.next_in = s->in + s->in_at;
  s->z.avail_in = (uInt) (s->in_len - s->in_at);
  s->z.next_out = s->out;
  s->z.avail_out = OUT_SIZE;
  r = inflate (&s->z, Z_NO_FLUSH);
  s->in_at = s->in_len - s->z.avail_in;
  *made = OUT_SIZE - s->z.avail_out;
  if (r == Z_MEM_ERROR)
    return rcvmi_fail_nomem (err);
  if (r == Z_STREAM_END)
    {
      s->inside = false;
      return inflateReset (&s->z) == Z_OK ? 0 : fail_damaged (s, "gzip cannot go on", err);
    }
  if (r != Z_OK && r != Z_BUF_ERROR)
    return fail_damaged (s, s->z.msg ? s->z.msg : "gzip cannot unpack it", err);
  return 0;
}

static int
step_zstd (struct rcvmi_layer_stream *s, size_t *made, rcvm_error **err)
{
  ZSTD_inBuffer in = { s->in, s->in_len, s->in_at };
  ZSTD_outBuffer out = { s->out, OUT_SIZE, 0 };
  size_t r = ZSTD_decompressStream (s->zstd, &out, &in);

  s->in_at = in.pos;
  *made = out.pos;
  if (ZSTD_isError (r))
    return fail_damaged (s, ZSTD_getErrorName (r), err);
  s->inside = r != 0;
  return 0;
}

static bool
is_zero (const unsigned char *p, size_t len)
{
  return len == 0 || (p[0] == 0 && memcmp (p, p + 1, len - 1) == 0);
}

/* Behind a member there may be another one, or zeros. */
static int
start_member (struct rcvmi_layer_stream *s, rcvm_error **err)
{
  if (s->packing == GZIP && s->members && s->in[s->in_at] != 0x1f)
    {
      if (!is_zero (s->in + s->in_at, s->in_len - s->in_at))
        return fail_damaged (s, "there is something behind its end", err);
      s->in_at = s->in_len;
      return 0;
    }
  s->inside = s->members = true;
  return 0;
}

ssize_t
rcvmi_layer_stream_read (struct rcvmi_layer_stream *s, const void **data, rcvm_error **err)
{
  size_t made = 0;
  ssize_t n;

  *data = s->packing == PLAIN ? s->in : s->out;
  if (s->packing == PLAIN)
    return fill (s, err);
  while (made == 0)
    {
      if (s->in_at == s->in_len)
        {
          n = fill (s, err);
          if (n < 0)
            return -1;
          /* What has been taken in may still have something to give out. */
          if (n == 0 && !s->inside)
            return 0;
        }
      if (!s->inside && start_member (s, err) < 0)
        return -1;
      if (!s->inside)
        continue;
      n = (ssize_t) (s->in_len - s->in_at);
      if ((s->packing == GZIP ? step_gzip : step_zstd) (s, &made, err) < 0)
        return -1;
      if (made == 0 && n == 0 && s->inside)
        {
          fail_damaged (s, "it is cut short", err);
          return -1;
        }
    }
  return (ssize_t) made;
}

int64_t
rcvmi_layer_stream_skip (struct rcvmi_layer_stream *s, int64_t n)
{
  uint64_t left = s->size > s->position ? s->size - s->position : 0;

  if (s->packing != PLAIN || n <= 0)
    return 0;
  if ((uint64_t) n > left)
    n = (int64_t) left;
  s->position += (uint64_t) n;
  return n;
}

uint64_t
rcvmi_layer_stream_position (const struct rcvmi_layer_stream *s)
{
  return s->position;
}

int
rcvmi_layer_stream_is_packed (const struct rcvmi_layer_stream *s)
{
  return s->packing != PLAIN;
}
