/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "userfd.h"

static int
copy_of (int fd)
{
  int copy = fcntl (fd, F_DUPFD_CLOEXEC, 3);

  assert_true (copy >= 0);
  return copy;
}

/* Writes until the fd refuses; the count. */
static size_t
fill_up (struct rcvmi_userfd *s)
{
  char junk[4096] = { 0 };
  size_t total = 0;
  ssize_t n;

  while ((n = rcvmi_userfd_write (s, junk, sizeof junk)) > 0)
    total += (size_t) n;
  assert_int_equal (n, -1);
  assert_int_equal (errno, EAGAIN);
  return total;
}

TEST (test_none)
{
  struct rcvmi_userfd s;
  char c;

  rcvmi_userfd_open (&s, -1, true);
  assert_int_equal (s.kind, RCVMI_USERFD_NONE);
  assert_int_equal (rcvmi_userfd_write (&s, "abc", 3), 3);
  assert_int_equal (rcvmi_userfd_read (&s, &c, 1), 0);
  rcvmi_userfd_close (&s);
}

/* The caller's pipe is read and written without blocking, and stays a blocking one. */
TEST (test_pipe)
{
  struct rcvmi_userfd in, out;
  int fds[2], before;
  char buf[8];

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  before = count_fds ();
  rcvmi_userfd_open (&in, copy_of (fds[0]), false);
  rcvmi_userfd_open (&out, copy_of (fds[1]), true);
  assert_int_equal (in.kind, RCVMI_USERFD_OWN);
  assert_int_equal (out.kind, RCVMI_USERFD_OWN);
  assert_int_equal (fcntl (in.fd, F_GETFD), FD_CLOEXEC);
  assert_int_equal (rcvmi_userfd_read (&in, buf, sizeof buf), -1);
  assert_int_equal (errno, EAGAIN);
  assert_int_equal (rcvmi_userfd_write (&out, "abc", 3), 3);
  assert_int_equal (rcvmi_userfd_read (&in, buf, sizeof buf), 3);
  assert_memory_equal (buf, "abc", 3);
  assert_true (fill_up (&out) >= 65536);
  assert_int_equal (fcntl (fds[0], F_GETFL) & O_NONBLOCK, 0);
  assert_int_equal (fcntl (fds[1], F_GETFL) & O_NONBLOCK, 0);
  rcvmi_userfd_close (&in);
  rcvmi_userfd_close (&out);
  assert_int_equal (out.fd, -1);
  assert_int_equal (count_fds (), before);
  close (fds[0]);
  close (fds[1]);
}

/* Our own end is no writer: the reader sees the end of the pipe when the others have gone. */
TEST (test_pipe_ends)
{
  struct rcvmi_userfd in, out;
  int fds[2];
  char c;

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  rcvmi_userfd_open (&in, fds[0], false);
  close (fds[1]);
  assert_int_equal (rcvmi_userfd_read (&in, &c, 1), 0);
  rcvmi_userfd_close (&in);

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  rcvmi_userfd_open (&out, fds[1], true);
  close (fds[0]);
  assert_int_equal (rcvmi_userfd_write (&out, "x", 1), -1);
  assert_int_equal (errno, EPIPE);
  rcvmi_userfd_close (&out);

  /* The reader had gone before. */
  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  close (fds[0]);
  rcvmi_userfd_open (&out, fds[1], true);
  assert_int_equal (rcvmi_userfd_write (&out, "x", 1), -1);
  assert_int_equal (errno, EPIPE);
  rcvmi_userfd_close (&out);
}

TEST (test_socket)
{
  struct rcvmi_userfd s;
  int fds[2];
  char buf[8];

  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  rcvmi_userfd_open (&s, copy_of (fds[0]), true);
  assert_int_equal (s.kind, RCVMI_USERFD_SOCKET);
  assert_int_equal (rcvmi_userfd_read (&s, buf, sizeof buf), -1);
  assert_int_equal (errno, EAGAIN);
  write_full (fds[1], "in", 2);
  assert_int_equal (rcvmi_userfd_read (&s, buf, sizeof buf), 2);
  assert_true (fill_up (&s) > 0);
  assert_int_equal (fcntl (fds[0], F_GETFL) & O_NONBLOCK, 0);
  close (fds[1]);
  assert_int_equal (rcvmi_userfd_write (&s, "x", 1), -1);
  assert_true (errno == EPIPE || errno == ECONNRESET);
  rcvmi_userfd_close (&s);
  close (fds[0]);
}

/* The offset of a file is shared with the caller's other processes, and must stay so. */
TEST (test_file_offset)
{
  struct rcvmi_userfd s;
  char *dir = make_dir ();
  autofree char *path = NULL;
  autofree char *text = NULL;
  int fd;

  assert_true (asprintf (&path, "%s/f", dir) > 0);
  write_file (path, "0123456789", 10);
  fd = open (path, O_RDWR | O_CLOEXEC);
  assert_int_equal (lseek (fd, 3, SEEK_SET), 3);
  rcvmi_userfd_open (&s, copy_of (fd), true);
  assert_int_equal (s.kind, RCVMI_USERFD_FILE);
  assert_int_equal (rcvmi_userfd_write (&s, "ab", 2), 2);
  assert_int_equal (lseek (fd, 0, SEEK_CUR), 5);
  write_full (fd, "cd", 2);
  assert_int_equal (rcvmi_userfd_write (&s, "e", 1), 1);
  rcvmi_userfd_close (&s);
  text = read_text (path);
  assert_string_equal (text, "012abcde89");
  close (fd);
  remove_tree (dir);
}

TEST (test_append)
{
  struct rcvmi_userfd a, b;
  char *dir = make_dir ();
  autofree char *path = NULL;
  autofree char *text = NULL;

  assert_true (asprintf (&path, "%s/f", dir) > 0);
  write_file (path, "-", 1);
  rcvmi_userfd_open (&a, open (path, O_WRONLY | O_APPEND | O_CLOEXEC), true);
  rcvmi_userfd_open (&b, open (path, O_WRONLY | O_APPEND | O_CLOEXEC), true);
  assert_int_equal (rcvmi_userfd_write (&a, "a", 1), 1);
  assert_int_equal (rcvmi_userfd_write (&b, "b", 1), 1);
  assert_int_equal (rcvmi_userfd_write (&a, "a", 1), 1);
  rcvmi_userfd_close (&a);
  rcvmi_userfd_close (&b);
  text = read_text (path);
  assert_string_equal (text, "-aba");
  remove_tree (dir);
}

TEST (test_null_device)
{
  struct rcvmi_userfd s;
  char c;

  rcvmi_userfd_open (&s, open ("/dev/null", O_RDWR | O_CLOEXEC), true);
  assert_int_equal (rcvmi_userfd_write (&s, "abc", 3), 3);
  rcvmi_userfd_close (&s);
  rcvmi_userfd_open (&s, open ("/dev/null", O_RDWR | O_CLOEXEC), false);
  assert_int_equal (rcvmi_userfd_read (&s, &c, 1), 0);
  rcvmi_userfd_close (&s);
}

/* Nothing that can be opened anew: poll is asked before each read. */
TEST (test_careful)
{
  struct rcvmi_userfd s;
  int fd = eventfd (0, EFD_CLOEXEC);
  uint64_t value = 0;

  rcvmi_userfd_open (&s, fd, false);
  assert_int_equal (s.kind, RCVMI_USERFD_CAREFUL);
  assert_int_equal (rcvmi_userfd_read (&s, &value, sizeof value), -1);
  assert_int_equal (errno, EAGAIN);
  eventfd_write (fd, 5);
  assert_int_equal (rcvmi_userfd_read (&s, &value, sizeof value), sizeof value);
  assert_int_equal (value, 5);
  rcvmi_userfd_close (&s);
}

TEST (test_terminal)
{
  struct rcvmi_userfd s, in;
  int master = posix_openpt (O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
  char buf[16];

  if (master < 0 || grantpt (master) < 0 || unlockpt (master) < 0)
    {
      print_message ("no pseudo-terminals here\n");
      skip ();
    }
  slave = open (ptsname (master), O_RDWR | O_NOCTTY | O_CLOEXEC);
  assert_true (slave >= 0);
  rcvmi_userfd_open (&s, copy_of (slave), true);
  rcvmi_userfd_open (&in, copy_of (slave), false);
  assert_int_equal (in.kind, RCVMI_USERFD_OWN);
  assert_int_equal (rcvmi_userfd_write (&s, "out", 3), 3);
  read_full (master, buf, 3);
  assert_memory_equal (buf, "out", 3);
  assert_int_equal (rcvmi_userfd_read (&in, buf, sizeof buf), -1);
  assert_int_equal (errno, EAGAIN);
  assert_int_equal (fcntl (slave, F_GETFL) & O_NONBLOCK, 0);
  /* Hung up: an end like any other, or EIO. */
  close (slave);
  close (master);
  errno = 0;
  assert_true (rcvmi_userfd_read (&in, buf, sizeof buf) <= 0);
  assert_int_not_equal (errno, EAGAIN);
  rcvmi_userfd_close (&s);
  rcvmi_userfd_close (&in);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_none),        cmocka_unit_test (test_pipe),
    cmocka_unit_test (test_pipe_ends),   cmocka_unit_test (test_socket),
    cmocka_unit_test (test_file_offset), cmocka_unit_test (test_append),
    cmocka_unit_test (test_null_device), cmocka_unit_test (test_careful),
    cmocka_unit_test (test_terminal),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
