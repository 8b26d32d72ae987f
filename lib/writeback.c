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
#include "writeback-known-file.h"
#include "writeback-parser.h"

enum
{
  FIELD_HEADER = 6,
  BUFFER = 256 << 10
};

struct rcvmi_writeback
{
  struct rcvmi_wb_intent intent;
  struct rcvmi_wb_known_file known;
  struct rcvmi_wb_apply apply;
  char *note;
  int image, base, lock, root;
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

/* Before anything changes. */
static int
begin (struct rcvmi_writeback *w, rcvm_error **err)
{
  int code = rcvmi_wb_known_file_begin (&w->known, err);

  return code < 0 ? code : rcvmi_wb_intent_write (&w->intent, w->note, err);
}

/* 1: one was applied, 0: the stream has ended. */
static int
apply_one (struct rcvmi_writeback *w, struct stream *s, bool *begun, rcvm_error **err)
{
  struct rcvmi_wb_apply *a = &w->apply;
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
  if (code > 0 && !*begun && type != WB_KNOWN && type != WB_END)
    {
      *begun = true;
      code = begin (w, err) < 0 ? -1 : 1;
    }
  if (code <= 0)
    return code;
  code = rcvmi_wb_apply_record (a, type, s->data + s->start + FIELD_HEADER, len, err);
  s->start += FIELD_HEADER + (size_t) len;
  return code < 0 ? code : 1;
}

static int
run_parser (struct rcvmi_writeback *w, rcvm_error **err)
{
  struct rcvmi_wb_apply *a = &w->apply;
  struct rcvmi_proc proc = RCVMI_PROC_INIT;
  autoclose int stream = -1, error_fd = -1;
  struct stream s = { 0 };
  struct rcvmi_wb_scope scope = { .top = a->options && a->options->top ? a->options->top : "upper",
                                  .repeated = a->options && a->options->repeated,
                                  .done_fd = w->known.done_fd,
                                  .begun_fd = w->known.begun_fd };
  bool begun = false;
  int code;

  if (scope.repeated)
    scope.frozen = a->options->frozen;
  code = rcvmi_wb_parser_start (&proc, a->image, w->base, a->image_name, &scope, &stream, &error_fd, err);

  if (code < 0)
    return code;
  s.fd = stream;
  do
    code = apply_one (w, &s, &begun, err);
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
          code = rcvmi_proc_read_error (steal_fd (&error_fd), status, "the reader of the image", err);
        }
      else
        code = 0;
    }
  return code;
}

/* All but what makes it last. */
static int
write_back (struct rcvmi_writeback *w, rcvm_error **err)
{
  struct rcvmi_wb_apply *a = &w->apply;
  int code = rcvmi_wb_recover (a, w->base < 0, err);

  if (code == 0)
    code = run_parser (w, err);
  if (code == 0)
    code = rcvmi_wb_apply_finish (a, err);
  if (code < 0)
    rcvmi_wb_recover (a, a->sharing, NULL);
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

/* Another open file: the reader has the image's, and may outlive a writer that is killed for a moment.  One that is
   repeated waits for that. */
static int
lock_image (struct rcvmi_writeback *w, const char *image, bool wait, rcvm_error **err)
{
  struct stat st;
  int code = open_image (image, &w->lock, &st, err);

  if (code < 0)
    return code;
  if (flock (w->lock, wait ? LOCK_EX : LOCK_EX | LOCK_NB) == 0)
    return 0;
  return errno == EWOULDBLOCK ? rcvmi_fail (err, RCVM_E_STATE, 0, "the image '%s' is being written back already", image)
                              : rcvmi_fail_errno (err, errno, "cannot lock the image '%s'", image);
}

static int
open_all (struct rcvmi_writeback *w, const char *image, const char *rootfs, const struct rcvmi_writeback_options *options,
          rcvm_error **err)
{
  struct stat st, image_st;
  int code = open_image (image, &w->image, &image_st, err);

  if (code == 0 && options && options->base)
    code = open_image (options->base, &w->base, &st, err);
  if (code == 0)
    code = lock_image (w, image, options && options->repeated, err);
  if (code < 0)
    return code;
  w->root = open (rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (w->root < 0 || fstat (w->root, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the rootfs '%s'", rootfs);
  code = rcvmi_wb_intent_begin (&w->intent, w->note, rootfs, &st, err);
  if (code == 0 && options && options->repeated)
    code = rcvmi_wb_known_file_open (&w->known, w->note, err);
  if (code < 0)
    return code;
  rcvmi_wb_apply_init (&w->apply, w->image, image, w->root, rootfs, w->intent.staging, options, (uint64_t) image_st.st_size);
  w->apply.known = &w->known;
  w->apply.order.repeated = options && options->repeated;
  /* What came with a delta and is gone was known the last time: that it is gone is told. */
  for (size_t i = 0; options && w->known.done_fd < 0 && i < RCVMI_WRITEBACK_DELTAS; i++)
    if (options->deltas[i])
      {
        w->apply.deltas[i] = open (options->deltas[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (w->apply.deltas[i] < 0)
          return rcvmi_fail_errno (err, errno, "cannot open the overlay's directory '%s'", options->deltas[i]);
      }
  return 0;
}

struct rcvmi_writeback *
rcvmi_writeback_apply (const char *image, const char *rootfs, const struct rcvmi_writeback_options *options, rcvm_error **err)
{
  struct rcvmi_writeback *w;
  rcvm_error *e = NULL;
  int code;

  if (check_arguments (image, rootfs, err) < 0)
    return NULL;
  w = calloc (1, sizeof *w);
  if (w)
    {
      w->image = w->base = w->lock = w->root = -1;
      w->known = RCVMI_WB_KNOWN_FILE_INIT;
      /* So that it can be cleared. */
      rcvmi_wb_apply_init (&w->apply, -1, image, -1, rootfs, "", options, 0);
      w->note = strdup (options && options->note ? options->note : image);
    }
  if (!w || !w->note)
    {
      rcvmi_writeback_free (w);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  code = open_all (w, image, rootfs, options, &e);
  if (code < 0)
    rcvmi_error_pass (err, e);
  else
    {
      code = write_back (w, &e);
      /* Others of the same image can follow. */
      if (code == 0 && options && options->repeated)
        {
          cleanup_close (&w->lock);
          w->lock = -1;
        }
      if (code == 0)
        return w;
      if (w->intent.fresh && !w->apply.order.began)
        {
          if (w->intent.written)
            rcvmi_wb_intent_end (w->note, NULL);
          rcvmi_error_pass (err, e);
        }
      else
        explain (e, err);
    }
  rcvmi_writeback_free (w);
  return NULL;
}

bool
rcvmi_writeback_is_empty (const struct rcvmi_writeback *w)
{
  return !w->apply.order.began;
}

int
rcvmi_writeback_commit (struct rcvmi_writeback *w, rcvm_error **err)
{
  rcvm_error *e = NULL;
  int code = 0;

  if (w->apply.order.began && syncfs (w->root) < 0)
    code = rcvmi_fail_errno (&e, errno, "cannot sync the rootfs '%s'", w->apply.tree.where);
  if (code == 0)
    code = rcvmi_wb_known_file_done (&w->known, &e);
  if (code == 0 && w->intent.written)
    code = rcvmi_wb_intent_end (w->note, &e);
  return code < 0 ? explain (e, err) : 0;
}

void
rcvmi_writeback_free (struct rcvmi_writeback *w)
{
  if (!w)
    return;
  rcvmi_wb_apply_clear (&w->apply);
  rcvmi_wb_known_file_clear (&w->known);
  rcvmi_wb_intent_clear (&w->intent);
  cleanup_close (&w->image);
  cleanup_close (&w->base);
  cleanup_close (&w->lock);
  cleanup_close (&w->root);
  free (w->note);
  free (w);
}

int
rcvmi_writeback (const char *image, const char *rootfs,
                 const struct rcvmi_writeback_options *options, rcvm_error **err)
{
  rcvm_error *e = NULL;
  struct rcvmi_writeback *w = rcvmi_writeback_apply (image, rootfs, options, &e);
  int code = w ? rcvmi_writeback_commit (w, &e) : -1;

  rcvmi_writeback_free (w);
  return code < 0 ? rcvmi_error_pass (err, e) : 0;
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
