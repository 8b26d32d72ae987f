/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "put-list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "le.h"
#include "tlv.h"

enum
{
  LENGTH = 4,
  FILE_MAX = 256 << 20,

  L_PATH = 1,
  L_SEC = 2,
  L_NSEC = 3,
  L_DIR = 4
};

int
rcvmi_puts_append (int fd, const struct rcvmi_put *put, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  unsigned char length[LENGTH];
  int code = 0;

  tlv_put_str (&w, L_PATH, put->path);
  tlv_put_u64 (&w, L_SEC, (uint64_t) put->change.tv_sec);
  tlv_put_u32 (&w, L_NSEC, (uint32_t) put->change.tv_nsec);
  tlv_put_u32 (&w, L_DIR, put->dir);
  le_put (length, w.len, LENGTH);
  if (w.failed)
    code = rcvmi_fail_nomem (err);
  else if (write (fd, length, sizeof length) != sizeof length || write (fd, w.data, w.len) != (ssize_t) w.len)
    code = rcvmi_fail_errno (err, errno, "cannot write down what others have put into the container's root");
  tlv_writer_free (&w);
  return code;
}

void
rcvmi_puts_clear (struct rcvmi_puts *puts)
{
  for (size_t i = 0; i < puts->n; i++)
    free (puts->list[i].path);
  free (puts->list);
  *puts = (struct rcvmi_puts){ 0 };
}

static int
compare (const void *a, const void *b)
{
  return strcmp (((const struct rcvmi_put *) a)->path, ((const struct rcvmi_put *) b)->path);
}

struct rcvmi_put *
rcvmi_puts_find (const struct rcvmi_puts *puts, const char *path)
{
  struct rcvmi_put key = { .path = (char *) path };

  return puts->n ? bsearch (&key, puts->list, puts->n, sizeof key, compare) : NULL;
}

static bool
is_later (const struct rcvmi_put *a, const struct rcvmi_put *b)
{
  return a->change.tv_sec > b->change.tv_sec
         || (a->change.tv_sec == b->change.tv_sec && a->change.tv_nsec > b->change.tv_nsec);
}

static void
sort (struct rcvmi_puts *puts)
{
  size_t n = 0;

  if (puts->n)
    qsort (puts->list, puts->n, sizeof *puts->list, compare);
  for (size_t i = 0; i < puts->n; i++)
    if (n && strcmp (puts->list[n - 1].path, puts->list[i].path) == 0)
      {
        struct rcvmi_put *kept = &puts->list[n - 1], older = puts->list[i];

        if (is_later (&older, kept))
          {
            older = *kept;
            *kept = puts->list[i];
          }
        free (older.path);
      }
    else
      puts->list[n++] = puts->list[i];
  puts->n = n;
}

/* The record at the beginning of the data: its length, 0 at the end; `put` is not to be freed.  Negative: damaged. */
static ssize_t
next (const unsigned char *data, size_t len, struct rcvmi_put *put)
{
  size_t n = len < LENGTH ? 0 : (size_t) le_get (data, LENGTH);
  struct tlv_reader r;
  struct tlv_field f;

  /* The last one of a writer that was killed may not be all there. */
  if (len < LENGTH || n > len - LENGTH)
    return 0;
  *put = (struct rcvmi_put){ .path = "" };
  tlv_reader_init (&r, data + LENGTH, n);
  while (tlv_next (&r, &f))
    if (f.tag == L_PATH)
      put->path = (char *) tlv_get_str (&r, &f);
    else if (f.tag == L_SEC)
      put->change.tv_sec = (time_t) tlv_get_u64 (&r, &f);
    else if (f.tag == L_NSEC)
      put->change.tv_nsec = tlv_get_u32 (&r, &f);
    else if (f.tag == L_DIR)
      put->dir = tlv_get_u32 (&r, &f) != 0;
  return r.bad || !*put->path || *put->path == '/' ? -1 : (ssize_t) (LENGTH + n);
}

static int
add (struct rcvmi_puts *puts, size_t *cap, const struct rcvmi_put *put, rcvm_error **err)
{
  if (puts->n == *cap)
    {
      struct rcvmi_put *list = reallocarray (puts->list, *cap * 2 + 32, sizeof *list);

      if (!list)
        return rcvmi_fail_nomem (err);
      puts->list = list;
      *cap = *cap * 2 + 32;
    }
  puts->list[puts->n] = *put;
  if (!(puts->list[puts->n].path = strdup (put->path)))
    return rcvmi_fail_nomem (err);
  puts->n++;
  return 0;
}

static int
read_all (int fd, unsigned char **data, size_t *len, rcvm_error **err)
{
  struct stat st;

  if (fstat (fd, &st) < 0 || st.st_size > FILE_MAX)
    return rcvmi_fail_errno (err, errno, "cannot read the file '%s'", RCVMI_PUT_FILE);
  *data = malloc ((size_t) st.st_size + 1);
  if (!*data)
    return rcvmi_fail_nomem (err);
  if (pread (fd, *data, (size_t) st.st_size, 0) != st.st_size)
    return rcvmi_fail_errno (err, errno, "cannot read the file '%s'", RCVMI_PUT_FILE);
  *len = (size_t) st.st_size;
  return 0;
}

int
rcvmi_puts_read (struct rcvmi_puts *puts, int fd, rcvm_error **err)
{
  autofree unsigned char *data = NULL;
  struct rcvmi_put put;
  size_t len, at = 0, cap = 0;
  ssize_t n = 0;
  int code;

  *puts = (struct rcvmi_puts){ 0 };
  code = read_all (fd, &data, &len, err);
  while (code == 0 && (n = next (data + at, len - at, &put)) > 0)
    {
      code = add (puts, &cap, &put, err);
      at += (size_t) n;
    }
  if (code == 0 && n < 0)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "the file '%s' is damaged", RCVMI_PUT_FILE);
  if (code < 0)
    rcvmi_puts_clear (puts);
  else
    sort (puts);
  return code;
}

int
rcvmi_puts_keep (int list, int results, int dir, struct rcvmi_puts_outcome *outcome, rcvm_error **err)
{
  autoclose int fd = openat (dir, RCVMI_PUT_FILE, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  autofree unsigned char *data = NULL, *answers = NULL;
  size_t len, n_answers, at = 0;
  struct rcvmi_put put;
  ssize_t n;

  *outcome = (struct rcvmi_puts_outcome){ 0 };
  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot write the file '%s'", RCVMI_PUT_FILE);
  if (read_all (list, &data, &len, err) < 0 || read_all (results, &answers, &n_answers, err) < 0)
    return -1;
  for (size_t i = 0; (n = next (data + at, len - at, &put)) > 0; i++)
    {
      int errnum = i < n_answers ? answers[i] : EIO;

      if (errnum == 0 && write (fd, data + at, (size_t) n) != n)
        return rcvmi_fail_errno (err, errno, "cannot write the file '%s'", RCVMI_PUT_FILE);
      outcome->n++;
      if (errnum == EXDEV)
        outcome->covered++;
      else if (errnum && !outcome->failed++)
        {
          outcome->errnum = errnum;
          snprintf (outcome->path, sizeof outcome->path, "%s", put.path);
        }
      at += (size_t) n;
    }
  return 0;
}

int
rcvmi_puts_read_at (struct rcvmi_puts *puts, int dir, rcvm_error **err)
{
  autoclose int fd = openat (dir, RCVMI_PUT_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

  *puts = (struct rcvmi_puts){ 0 };
  if (fd < 0)
    return errno == ENOENT ? 0 : rcvmi_fail_errno (err, errno, "cannot open the file '%s'", RCVMI_PUT_FILE);
  return rcvmi_puts_read (puts, fd, err);
}
