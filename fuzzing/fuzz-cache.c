/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The record behind an image of the cache, with its own digest mended so that the fields are looked at;
   and a file that is nothing but the bytes. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cache-priv.h"

enum
{
  BODY = 8192,
  MAGIC = 16
};

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
  static uint8_t file[BODY + RCVMI_CACHE_RECORD_SIZE];
  uint8_t *record = file + BODY, *digest = record + RCVMI_CACHE_RECORD_SIZE - RCVMI_SHA256_BYTES;
  size_t fields = RCVMI_CACHE_RECORD_SIZE - RCVMI_SHA256_BYTES - MAGIC;

  check (data, size);
  memset (record, 0, RCVMI_CACHE_RECORD_SIZE);
  memcpy (record, "libruncvm image", MAGIC);
  memcpy (record + MAGIC, data, size < fields ? size : fields);
  rcvmi_sha256 (record, (size_t) (digest - record), digest);
  check (file, sizeof file);
  return 0;
}
