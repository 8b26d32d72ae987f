/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An image of the cache that somebody has damaged: the bytes are its end, once as they are, and once with the digest of
   the record mended so that the fields behind it are looked at. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cache-priv.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check (const uint8_t *data, size_t size)
{
  struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = 946684800 } };
  struct rcvmi_cache_record record;
  const char *why = NULL;
  int fd = memfd_create ("image", MFD_CLOEXEC);
  int r;

  if (fd < 0 || fchmod (fd, 0600) < 0 || write (fd, data, size) != (ssize_t) size || futimens (fd, times) < 0)
    abort ();
  r = rcvmi_cache_record_check (fd, "key", &record, &why);
  if (r > 0 && !why)
    abort ();
  if (r == 0 && record.size + RCVMI_CACHE_RECORD_SIZE != size)
    abort ();
  close (fd);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  uint8_t *copy;

  check (data, size);
  if (size <= RCVMI_CACHE_RECORD_SIZE)
    return 0;
  copy = malloc (size);
  if (!copy)
    return 0;
  memcpy (copy, data, size);
  memcpy (copy + size - RCVMI_CACHE_RECORD_SIZE, "libruncvm image\0\1\0\0", 20);
  rcvmi_sha256 (copy + size - RCVMI_CACHE_RECORD_SIZE, RCVMI_CACHE_RECORD_SIZE - RCVMI_SHA256_BYTES,
                copy + size - RCVMI_SHA256_BYTES);
  check (copy, size);
  free (copy);
  return 0;
}
