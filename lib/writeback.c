/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The order of the steps: see writeback.h. */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <runcvm/rootfs.h>

#include "cleanup.h"
#include "err.h"
#include "visibility.h"
#include "writeback-apply.h"
#include "writeback-intent.h"
#include "writeback-parser.h"

enum
{
  FIELD_HEADER = 6,
  BUFFER = 256 << 10
};

/* The records that come through the pipe. */
struct stream
{
  int fd;
  unsigned char *data;
  size_t start, end, cap;
};

/* At least `want` bytes in the buffer: 1, or 0 at the end of the stream. */
static int
fill (struct stream *s, size_t want, rcvm_error **err)
{
  while (s->end - s->start < want)
    {
      ssize_t n;

      if (s->start && s->cap - s->start < want)
        {
          memmove (s->data, s->data + s->start, s->end - s->start);
          s->end -= s->start;
          s->start = 0;
        }
      if (s->cap < want)
        {
          size_t cap = want < BUFFER ? BUFFER : want;
          unsigned char *data = realloc (s->data, cap);

          if (!data)
            return rcvmi_fail_nomem (err);
          s->data = data;
          s->cap = cap;
        }
      n = read (s->fd, s->data + s->end, s->cap - s->end);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return rcvmi_fail_errno (err, errno, "cannot read from the reader of the image");
      if (n == 0)
        return 0;
      s->end += (size_t) n;
    }
  return 1;
}

/* 1: one was applied, 0: the stream has ended. */
static int
apply_one (struct rcvmi_wb_apply *a, struct stream *s, rcvm_error **err)
{
  const unsigned char *p;
  uint16_t type;
  uint32_t len;
  int code = fill (s, FIELD_HEADER, err);

  if (code <= 0)
    return code;
  p = s->data + s->start;
  type = (uint16_t) (p[0] | p[1] << 8);
  len = p[2] | (uint32_t) p[3] << 8 | (uint32_t) p[4] << 16 | (uint32_t) p[5] << 24;
  if (len > WB_RECORD_MAX)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0,
                       "the reader of the image '%s' sent a record of %u bytes", a->image_name, len);
  code = fill (s, FIELD_HEADER + (size_t) len, err);
  if (code <= 0)
    return code;
  code = rcvmi_wb_apply_record (a, type, s->data + s->start + FIELD_HEADER, len, err);
  s->start += FIELD_HEADER + (size_t) len;
  return code < 0 ? code : 1;
}

static int
run_parser (struct rcvmi_wb_apply *a, int base, rcvm_error **err)
{
  struct rcvmi_proc proc = RCVMI_PROC_INIT;
  autoclose int stream = -1, error_fd = -1;
  struct stream s = { 0 };
  struct rcvmi_wb_scope scope = { .top = a->options && a->options->top ? a->options->top : "upper" };
  int code = rcvmi_wb_parser_start (&proc, a->image, base, a->image_name, &scope, &stream, &error_fd, err);

  if (code < 0)
    return code;
  s.fd = stream;
  do
    code = apply_one (a, &s, err);
  while (code > 0 && !a->order.ended);
  free (s.data);
  if (code < 0)
    rcvmi_proc_kill (&proc);
  else
    {
      int status = rcvmi_proc_reap (&proc);

      if (!a->order.ended)
        {
          /* Where the caller ignores SIGCHLD there is no status, but still a report. */
          if (status == 0)
            status = 1 << 8;
          code = rcvmi_proc_read_error (error_fd, status, "the reader of the image", err);
        }
      else
        code = 0;
    }
  return code;
}

/* All between the two ends of the intent. */
static int
write_back (struct rcvmi_wb_apply *a, int base, rcvm_error **err)
{
  int code = rcvmi_wb_recover (a, base < 0, err);

  if (code == 0)
    code = run_parser (a, base, err);
  if (code == 0)
    code = rcvmi_wb_apply_finish (a, err);
  if (code < 0)
    rcvmi_wb_recover (a, a->sharing, NULL);
  if (code == 0 && syncfs (a->tree.root) < 0)
    code = rcvmi_fail_errno (err, errno, "cannot sync the rootfs '%s'", a->tree.where);
  return code;
}

/* Says, behind what failed, what has become of the changes. */
static int
explain (rcvm_error *e, rcvm_error **err)
{
  autofree char *text = NULL;
  int code = rcvm_error_get_code (e);

  if (asprintf (&text,
                "%s; the rootfs may be partly old and partly new, the image still holds all changes, and the "
                "write-back can be repeated",
                rcvm_error_get_message (e))
      < 0)
    {
      text = NULL;
      return rcvmi_error_pass (err, e);
    }
  code = rcvmi_error_restore (err, code, rcvm_error_get_errno (e), rcvm_error_get_exit_code (e),
                              rcvm_error_get_stage (e), text);
  rcvm_error_free (e);
  return code;
}

static int
open_image (const char *image, int *fd, struct stat *st, rcvm_error **err)
{
  *fd = open (image, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (*fd < 0 || fstat (*fd, st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the image '%s'", image);
  if (!S_ISREG (st->st_mode))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the image '%s' is no regular file", image);
  return 0;
}

static int
check_arguments (const char *image, const char *rootfs, rcvm_error **err)
{
  if (!image || !*image)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "no image was named");
  if (!rootfs || !*rootfs)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "no rootfs was named");
  return 0;
}

int
rcvmi_writeback (const char *image, const char *rootfs,
                 const struct rcvmi_writeback_options *options, rcvm_error **err)
{
  const char *base_name = options ? options->base : NULL, *note = options && options->note ? options->note : image;
  autoclose int image_fd = -1, base_fd = -1, lock = -1, root = -1;
  struct rcvmi_wb_intent intent;
  struct stat st, image_st;
  struct rcvmi_wb_apply a;
  rcvm_error *e = NULL;
  bool unchanged;
  int code = check_arguments (image, rootfs, err);

  if (code == 0)
    code = open_image (image, &image_fd, &image_st, err);
  if (code == 0 && base_name)
    code = open_image (base_name, &base_fd, &st, err);
  /* Another open file: the reader has image_fd, and may outlive a writer that is killed for a moment. */
  if (code == 0)
    code = open_image (image, &lock, &st, err);
  if (code < 0)
    return code;
  if (flock (lock, LOCK_EX | LOCK_NB) < 0)
    return errno == EWOULDBLOCK
               ? rcvmi_fail (err, RCVM_E_STATE, 0, "the image '%s' is being written back already", image)
               : rcvmi_fail_errno (err, errno, "cannot lock the image '%s'", image);
  root = open (rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0 || fstat (root, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the rootfs '%s'", rootfs);
  code = rcvmi_wb_intent_begin (&intent, note, rootfs, &st, &e);
  if (code == 0)
    {
      rcvmi_wb_apply_init (&a, image_fd, image, root, rootfs, intent.staging, options,
                           (uint64_t) image_st.st_size);
      for (size_t i = 0; code == 0 && options && i < RCVMI_WRITEBACK_DELTAS; i++)
        if (options->deltas[i])
          {
            a.deltas[i] = open (options->deltas[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (a.deltas[i] < 0)
              code = rcvmi_fail_errno (&e, errno, "cannot open the overlay's directory '%s'", options->deltas[i]);
          }
      if (code == 0)
        code = write_back (&a, base_fd, &e);
      rcvmi_wb_apply_clear (&a);
      unchanged = code < 0 && intent.fresh && !a.order.began;
      if (code == 0)
        code = rcvmi_wb_intent_end (note, &e);
      else if (unchanged)
        rcvmi_wb_intent_end (note, NULL);
      rcvmi_wb_intent_clear (&intent);
      if (code == 0)
        return 0;
      return unchanged ? rcvmi_error_pass (err, e) : explain (e, err);
    }
  rcvmi_wb_intent_clear (&intent);
  return rcvmi_error_pass (err, e);
}

int
rcvmi_writeback_pending (const char *image, rcvm_error **err)
{
  return rcvmi_wb_intent_exists (image, err);
}

RCVM_PUBLIC int
rcvm_rootfs_write_back (const char *upper_image, const char *rootfs, rcvm_error **err)
{
  return rcvmi_writeback (upper_image, rootfs, NULL, err);
}
