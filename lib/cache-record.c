/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record: one block behind the file system of an image.  It is in the same file, so that both get their
 * name in one step, and outside of the file system, which stays what the builder made.  A guest can read
 * it: it holds nothing of the host.
 *
 * The time of the last change of an image is one of two constants.  Whoever writes into it afterwards sets
 * another, so that an open tells that without reading.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cache-priv.h"
#include "cleanup.h"
#include "err.h"

#define MAGIC "libruncvm image"
#define RECORD_VERSION 1
/* Superblock and group descriptors, of images of up to 120 GiB all of them. */
#define HEAD_MAX 65536

/* 2000-01-01 and -02, in seconds: on disk; perhaps only in this boot's memory. */
#define MTIME_DURABLE INT64_C (946684800)
#define MTIME_BOOT INT64_C (946771200)

struct record
{
  char magic[16];
  uint32_t version;
  uint32_t head_size;
  uint64_t size;
  uint64_t created;
  char key[RCVMI_CACHE_KEY_MAX + 8];
  uint8_t head[RCVMI_SHA256_BYTES];
  uint8_t boot[RCVMI_SHA256_BYTES]; /* in which it was made; mixed with the key: it says nothing else */
  uint8_t zero[RCVMI_CACHE_RECORD_SIZE - 240];
  uint8_t digest[RCVMI_SHA256_BYTES]; /* of all before it */
};
_Static_assert (sizeof (struct record) == RCVMI_CACHE_RECORD_SIZE, "one block");

static ssize_t
read_at (int fd, void *buf, size_t len, off_t offset)
{
  size_t done = 0;

  while (done < len)
    {
      ssize_t n = pread (fd, (char *) buf + done, len - done, offset + (off_t) done);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return -errno;
      if (n == 0)
        break;
      done += (size_t) n;
    }
  return (ssize_t) done;
}

/* 1: done; 0: this host does not tell. */
static int
digest_boot (const char *key, uint8_t digest[RCVMI_SHA256_BYTES])
{
  autoclose int fd = open ("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  struct rcvmi_sha256 sha;
  char id[64];
  ssize_t n = fd < 0 ? -1 : read_at (fd, id, sizeof id, 0);

  if (n < 32)
    return 0;
  rcvmi_sha256_init (&sha);
  rcvmi_sha256_update (&sha, id, (size_t) n);
  rcvmi_sha256_update (&sha, key, strlen (key));
  rcvmi_sha256_final (&sha, digest);
  return 1;
}

static int
digest_head (int fd, uint64_t size, uint32_t *head_size, uint8_t digest[RCVMI_SHA256_BYTES])
{
  autofree char *head = malloc (HEAD_MAX);
  ssize_t n;

  if (!head)
    return -ENOMEM;
  *head_size = size < HEAD_MAX ? (uint32_t) size : HEAD_MAX;
  n = read_at (fd, head, *head_size, 0);
  if (n < 0)
    return (int) n;
  if ((size_t) n != *head_size)
    return -EIO;
  rcvmi_sha256 (head, *head_size, digest);
  return 0;
}

static int
set_mtime (int fd, int64_t seconds)
{
  struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = (time_t) seconds } };

  return futimens (fd, times) < 0 ? -errno : 0;
}

int
rcvmi_cache_record_write (int fd, const char *key, bool durable, rcvm_error **err)
{
  struct record r = { .magic = MAGIC, .version = htole32 (RECORD_VERSION) };
  uint32_t head_size = 0;
  struct stat st;
  ssize_t n;
  int e;

  if (fstat (fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot read the new image");
  if (!S_ISREG (st.st_mode) || st.st_size < 4096 || st.st_size % 4096)
    return rcvmi_fail (err, RCVM_E_IMAGE, 0, "what was built for the cache is no disk image");
  e = digest_head (fd, (uint64_t) st.st_size, &head_size, r.head);
  if (e < 0)
    return rcvmi_fail_errno (err, -e, "cannot read the new image");
  r.head_size = htole32 (head_size);
  r.size = htole64 ((uint64_t) st.st_size);
  r.created = htole64 ((uint64_t) time (NULL));
  strncpy (r.key, key, sizeof r.key - 1);
  digest_boot (key, r.boot);
  rcvmi_sha256 (&r, offsetof (struct record, digest), r.digest);
  n = pwrite (fd, &r, sizeof r, st.st_size);
  if (n != (ssize_t) sizeof r)
    return rcvmi_fail_errno (err, n < 0 ? errno : ENOSPC, "cannot write the record of the new image");
  e = set_mtime (fd, durable ? MTIME_DURABLE : MTIME_BOOT);
  if (e < 0)
    return rcvmi_fail_errno (err, -e, "cannot set the time of the new image");
  return 0;
}

int
rcvmi_cache_record_set_durable (int fd)
{
  return set_mtime (fd, MTIME_DURABLE);
}

static int
damaged (const char **why, const char *what)
{
  *why = what;
  return 1;
}

int
rcvmi_cache_record_check (int fd, const char *key, struct rcvmi_cache_record *record,
                          const char **why)
{
  uint8_t digest[RCVMI_SHA256_BYTES];
  struct record r;
  uint32_t head_size;
  struct stat st;
  ssize_t n;
  int e;

  if (fstat (fd, &st) < 0)
    return -errno;
  if (!S_ISREG (st.st_mode))
    return damaged (why, "it is no file");
  if (st.st_uid != geteuid () || st.st_mode & 022)
    return damaged (why, "others can write to it");
  if (st.st_mtim.tv_nsec != 0
      || (st.st_mtim.tv_sec != MTIME_DURABLE && st.st_mtim.tv_sec != MTIME_BOOT))
    return damaged (why, "it was changed after it had been made");
  if (st.st_size <= RCVMI_CACHE_RECORD_SIZE)
    return damaged (why, "it is cut short");
  n = read_at (fd, &r, sizeof r, st.st_size - RCVMI_CACHE_RECORD_SIZE);
  if (n < 0)
    return (int) n;
  rcvmi_sha256 (&r, offsetof (struct record, digest), digest);
  if (n != (ssize_t) sizeof r || memcmp (r.magic, MAGIC, sizeof MAGIC) != 0
      || memcmp (digest, r.digest, sizeof digest) != 0)
    return damaged (why, "its record is missing or damaged");
  if (le32toh (r.version) != RECORD_VERSION)
    return damaged (why, "it is of another version");
  if (r.key[sizeof r.key - 1] || strcmp (r.key, key) != 0)
    return damaged (why, "it belongs to another key");
  record->size = le64toh (r.size);
  record->created = (int64_t) le64toh (r.created);
  record->durable = st.st_mtim.tv_sec == MTIME_DURABLE;
  if (record->size != (uint64_t) st.st_size - RCVMI_CACHE_RECORD_SIZE)
    return damaged (why, "it is not as long as it was made");
  e = digest_head (fd, record->size, &head_size, digest);
  if (e < 0)
    return e;
  if (head_size != le32toh (r.head_size) || memcmp (digest, r.head, sizeof digest) != 0)
    return damaged (why, "its superblock or group descriptors are damaged");
  if (!record->durable && (!digest_boot (key, digest) || memcmp (digest, r.boot, sizeof digest) != 0))
    return damaged (why, "the host was started anew before it was on disk");
  return 0;
}
