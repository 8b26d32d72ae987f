/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inotify tells of what this kernel does itself.  So a file that was changed elsewhere is touched here in a way that changes
 * nothing: opened for writing and closed, and given the mode that it has.  Watchers get IN_OPEN, IN_ATTRIB and
 * IN_CLOSE_WRITE with its name; of what is gone its directory gets IN_ATTRIB.  A size or a time is never set: another change may
 * come in between.
 *
 * A volume's server may keep who touches it waiting, so this is done by a process of its own, in the container's mounts.
 */
#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "container.h"
#include "kernel.h"
#include "log.h"
#include "tlv.h"

static int to_child = -1;

static int
open_in (int dir, const char *path, int flags)
{
  struct open_how how = { .flags = (unsigned) (flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
                          .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };

  if (flags & O_PATH)
    how.flags = (unsigned) (flags | O_CLOEXEC);
  return (int) syscall (SYS_openat2, dir, path, &how, sizeof how);
}

/* Without /proc: the container's does not know this process. */
static void
touch (int top, const char *path)
{
  autoclose int place = open_in (top, path, O_PATH), fd = -1;
  struct stat st;

  if (place < 0 || fstat (place, &st) < 0)
    return;
  if (S_ISREG (st.st_mode))
    fd = open_in (top, path, O_WRONLY);
  /* Of a program that runs, for instance. */
  if (fd < 0 && (S_ISREG (st.st_mode) || S_ISDIR (st.st_mode)))
    fd = open_in (top, path, O_RDONLY);
  if (fd >= 0 && fstat (fd, &st) == 0)
    fchmod (fd, st.st_mode & 07777);
}

/* A volume of a single file is touched by its own name. */
static void
touch_target (const char *destination, const char *path)
{
  autoclose int top = open (destination, O_PATH | O_DIRECTORY | O_CLOEXEC);

  if (top >= 0)
    touch (top, *path ? path : ".");
  else if (errno == ENOTDIR && !*path)
    {
      autoclose int root = open ("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

      touch (root, destination + 1);
    }
}

static void
take_one (const char *record, size_t len)
{
  const char *destination = "", *path = "";
  struct tlv_reader r;
  struct tlv_field f;

  tlv_reader_init (&r, record, len);
  while (tlv_next (&r, &f))
    if (f.tag == V_DESTINATION)
      destination = tlv_get_str (&r, &f);
    else if (f.tag == V_PATH)
      path = tlv_get_str (&r, &f);
  if (!r.bad && *destination == '/')
    touch_target (destination, path);
}

static _Noreturn void
serve (int from)
{
  char record[2 * PATH_MAX];
  ssize_t n;

  if (container_enter_mounts () < 0)
    _exit (1);
  while ((n = recv (from, record, sizeof record, 0)) > 0 || (n < 0 && errno == EINTR))
    if (n > 0)
      take_one (record, (size_t) n);
  _exit (0);
}

static int
start (void)
{
  int ends[2];
  pid_t pid;

  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    return -1;
  pid = fork ();
  if (pid == 0)
    {
      close (ends[0]);
      serve (ends[1]);
    }
  close (ends[1]);
  if (pid < 0)
    {
      close (ends[0]);
      return -1;
    }
  return ends[0];
}

void
notify_take (const void *record, size_t len)
{
  if (to_child < 0)
    to_child = start ();
  if (to_child < 0)
    log_write (LOG_WARNING, "changes of volumes cannot be told to watchers: %s", strerror (errno));
  else if (send (to_child, record, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EPIPE)
    close (steal_fd (&to_child));
}
