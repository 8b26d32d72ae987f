/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The process that reads the image: it has the image, the base and the pipe, and no rights. */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-parser.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  PIPE_SIZE = 1 << 20
};

struct work
{
  const char *name;
  struct rcvmi_wb_scope scope;
  int base;
};

static int
emit (void *user, const void *data, size_t len)
{
  const int *fd = user;
  const char *p = data;

  while (len)
    {
      ssize_t n = write (*fd, p, len);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return -1;
      p += n;
      len -= (size_t) n;
    }
  return 0;
}

static int
read_image (void *user, rcvm_error **err)
{
  const struct work *w = user;
  int image = RCVMI_PROC_FORK_FD, out = image + 1;
  int null = open ("/dev/null", O_RDWR | O_CLOEXEC), code;

  for (int fd = 0; fd < 3; fd++)
    if (null < 0 || dup2 (null, fd) < 0)
      return rcvmi_fail_errno (err, errno, "cannot open /dev/null");
  close (null);
  code = rcvmi_wb_sandbox (err);
  return code < 0 ? code : rcvmi_wb_parse (image, w->base, w->name, &w->scope, emit, &out, err);
}

/* The number that it has in the child. */
static int
add_fd (int *fds, int *n, int fd)
{
  if (fd < 0)
    return -1;
  fds[*n] = fd;
  return RCVMI_PROC_FORK_FD + (*n)++;
}

int
rcvmi_wb_parser_start (struct rcvmi_proc *proc, int image, int base, const char *name, const struct rcvmi_wb_scope *scope,
                       int *stream, int *error_fd, rcvm_error **err)
{
  struct work w = { .name = name, .scope = *scope, .base = -1 };
  autoclose int from = -1, to = -1;
  int ends[2], fds[5], n = 0, code;

  if (pipe2 (ends, O_CLOEXEC) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a pipe");
  from = ends[0];
  to = ends[1];
  /* Only faster; a user may have had all that is allowed. */
  fcntl (to, F_SETPIPE_SZ, PIPE_SIZE);
  fds[n++] = image;
  fds[n++] = to;
  w.base = add_fd (fds, &n, base);
  w.scope.done_fd = add_fd (fds, &n, scope->done_fd);
  w.scope.begun_fd = add_fd (fds, &n, scope->begun_fd);
  code = rcvmi_proc_fork_with (proc, read_image, &w, fds, (size_t) n, error_fd, err);
  if (code == 0)
    *stream = steal_fd (&from);
  return code;
}
