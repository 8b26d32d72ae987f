/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-known-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

static char *
path_of (const char *note, const char *suffix)
{
  char *path;

  return asprintf (&path, "%s.known%s", note, suffix) < 0 ? NULL : path;
}

static int
open_if_there (const char *path, int *fd, rcvm_error **err)
{
  *fd = open (path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  return *fd < 0 && errno != ENOENT ? rcvmi_fail_errno (err, errno, "cannot open '%s'", path) : 0;
}

int
rcvmi_wb_known_file_open (struct rcvmi_wb_known_file *f, const char *note, rcvm_error **err)
{
  int code;

  f->done = path_of (note, "");
  f->begun = path_of (note, ".begun");
  f->new_path = path_of (note, ".new");
  if (!f->done || !f->begun || !f->new_path)
    return rcvmi_fail_nomem (err);
  code = open_if_there (f->done, &f->done_fd, err);
  return code < 0 ? code : open_if_there (f->begun, &f->begun_fd, err);
}

int
rcvmi_wb_known_file_add (struct rcvmi_wb_known_file *f, const void *data, size_t len, rcvm_error **err)
{
  const char *p = data;

  if (f->fd < 0)
    {
      if (unlink (f->new_path) < 0 && errno != ENOENT)
        return rcvmi_fail_errno (err, errno, "cannot remove '%s'", f->new_path);
      f->fd = open (f->new_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
      if (f->fd < 0)
        return rcvmi_fail_errno (err, errno, "cannot make '%s'", f->new_path);
    }
  while (len)
    {
      ssize_t n = write (f->fd, p, len);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return rcvmi_fail_errno (err, errno, "cannot write '%s'", f->new_path);
      p += n;
      len -= (size_t) n;
    }
  return 0;
}

int
rcvmi_wb_known_file_begin (struct rcvmi_wb_known_file *f, rcvm_error **err)
{
  if (f->fd < 0)
    return 0;
  if (fdatasync (f->fd) < 0 || rename (f->new_path, f->begun) < 0)
    return rcvmi_fail_errno (err, errno, "cannot write '%s'", f->begun);
  return 0;
}

int
rcvmi_wb_known_file_done (struct rcvmi_wb_known_file *f, rcvm_error **err)
{
  return f->fd >= 0 && rename (f->begun, f->done) < 0 ? rcvmi_fail_errno (err, errno, "cannot write '%s'", f->done) : 0;
}

void
rcvmi_wb_known_file_clear (struct rcvmi_wb_known_file *f)
{
  cleanup_close (&f->done_fd);
  cleanup_close (&f->begun_fd);
  cleanup_close (&f->fd);
  free (f->done);
  free (f->begun);
  free (f->new_path);
  *f = RCVMI_WB_KNOWN_FILE_INIT;
}
