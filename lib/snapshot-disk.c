/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk in a snapshot.
 *
 * Most of a disk was never written to, and holes do not outlive an archive (containerd packs what Docker saves into one).  So its file has
 * what was written alone, in the order of its places on the disk, and then a list of these places.
 */
#include "config.h"

#define RCVMI_STAGE "snapshot"
#include "snapshot.h"

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "fullio.h"

enum
{
  FEW = 64
};

/* As it is in the file, little endian. */
struct place
{
  uint64_t at, len;
};

static int
add_place (struct place **list, size_t *n, uint64_t at, uint64_t len)
{
  if (*n % FEW == 0)
    {
      struct place *more = reallocarray (*list, *n + FEW, sizeof **list);

      if (!more)
        return -1;
      *list = more;
    }
  (*list)[(*n)++] = (struct place){ htole64 (at), htole64 (len) };
  return 0;
}

/* -1 with errno. */
static int
pack (int in, int out, uint64_t size, struct place **list, size_t *n, uint64_t *stored)
{
  off_t at = 0;

  *stored = 0;
  while ((uint64_t) at < size)
    {
      off_t data = lseek (in, at, SEEK_DATA), hole;

      if (data < 0 && errno == ENXIO)
        break;
      hole = data < 0 ? -1 : lseek (in, data, SEEK_HOLE);
      if (hole < 0)
        return -1;
      if ((uint64_t) hole > size)
        hole = (off_t) size;
      if (hole <= data)
        break;
      if (add_place (list, n, (uint64_t) data, (uint64_t) (hole - data)) < 0
          || rcvmi_snapshot_copy_part (in, data, out, (off_t) *stored, (uint64_t) (hole - data)) < 0)
        return -1;
      *stored += (uint64_t) (hole - data);
      at = hole;
    }
  return 0;
}

int
rcvmi_snapshot_disk_pack (const char *from, const char *to, struct rcvmi_snapshot_disk *d, rcvm_error **err)
{
  autoclose int in = open (from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  autoclose int out = in < 0 ? -1 : open (to, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  autofree struct place *list = NULL;
  size_t n = 0;
  struct stat st;

  if (in < 0 || fstat (in, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the disk '%.200s'", from);
  if (out < 0)
    return rcvmi_fail_errno (err, errno, "cannot make '%.200s'", to);
  d->size = (uint64_t) st.st_size;
  if (pack (in, out, d->size, &list, &n, &d->stored) < 0 || rcvmi_pwrite_all (out, list, n * sizeof *list, d->stored) < 0)
    return rcvmi_fail_errno (err, errno, "cannot copy '%.200s' to '%.200s'", from, to);
  d->n_places = n;
  d->stored += n * sizeof *list;
  rcvmi_snapshot_digest (list ? (const void *) list : "", n * sizeof *list, d->digest);
  return 0;
}

/* As many bytes as the file has places for; each place beyond the one before, and on the disk. */
static bool
is_sound (const struct place *list, size_t n, uint64_t size, uint64_t bytes)
{
  uint64_t end = 0, sum = 0;

  for (size_t i = 0; i < n; i++)
    {
      uint64_t at = le64toh (list[i].at), len = le64toh (list[i].len);

      if (at < end || at > size || len == 0 || len > size - at)
        return false;
      end = at + len;
      sum += len;
    }
  return sum == bytes;
}

static int
unpack (int in, int out, const struct rcvmi_snapshot_disk *d, const struct place *list)
{
  uint64_t from = 0;

  if (ftruncate (out, (off_t) d->size) < 0)
    return -1;
  for (size_t i = 0; i < d->n_places; i++)
    {
      uint64_t len = le64toh (list[i].len);

      if (rcvmi_snapshot_copy_part (in, (off_t) from, out, (off_t) le64toh (list[i].at), len) < 0)
        return -1;
      from += len;
    }
  return 0;
}

int
rcvmi_snapshot_disk_unpack (const char *from, const char *to, const struct rcvmi_snapshot_disk *d, rcvm_error **err)
{
  autoclose int in = open (from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  size_t len = d->n_places * sizeof (struct place);
  autofree struct place *list = malloc (len + 1);
  char hex[RCVMI_SHA256_HEX + 1];
  autoclose int out = -1;
  struct stat st;

  if (!list)
    return rcvmi_fail_nomem (err);
  if (in < 0 || fstat (in, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%.200s', which a snapshot has", from);
  if (!S_ISREG (st.st_mode) || (uint64_t) st.st_size != d->stored || d->stored < len
      || rcvmi_pread_all (in, list, len, d->stored - len) < 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot's file '%.200s' is cut short", from);
  rcvmi_snapshot_digest (list, len, hex);
  if (strcmp (hex, d->digest) != 0 || !is_sound (list, d->n_places, d->size, d->stored - len))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot's file '%.200s' is damaged", from);
  out = open (to, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (out < 0)
    return rcvmi_fail_errno (err, errno, "cannot make '%.200s'", to);
  if (unpack (in, out, d, list) < 0)
    return rcvmi_fail_errno (err, errno, "cannot copy '%.200s' to '%.200s'", from, to);
  return 0;
}
