/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum
{
  AWAIT_MS = 60000
};

static void __attribute__ ((constructor))
set_up (void)
{
  const char *seconds = getenv ("TEST_SECONDS");

  alarm (seconds ? (unsigned) atoi (seconds) : TEST_SECONDS);
  /* As in the monitor. */
  signal (SIGPIPE, SIG_IGN);
}

int
count_fds (void)
{
  DIR *dir = opendir ("/proc/self/fd");
  int n = 0;

  assert_non_null (dir);
  while (readdir (dir))
    n++;
  closedir (dir);
  return n - 3; /* ".", ".." and the directory's own */
}

int
count_inheritable_fds (void)
{
  DIR *dir = opendir ("/proc/self/fd");
  struct dirent *e;
  int n = 0;

  assert_non_null (dir);
  while ((e = readdir (dir)))
    n += e->d_name[0] != '.' && !(fcntl (atoi (e->d_name), F_GETFD) & FD_CLOEXEC);
  closedir (dir);
  return n;
}

bool
is_ready (int fd, short events)
{
  struct pollfd p = { .fd = fd, .events = events };

  return poll (&p, 1, 0) > 0;
}

void
await (int fd, short events)
{
  struct pollfd p = { .fd = fd, .events = events };
  int r;

  while ((r = poll (&p, 1, AWAIT_MS)) < 0 && errno == EINTR)
    ;
  assert_int_equal (r, 1);
}

char *
make_dir (void)
{
  const char *tmp = getenv ("TMPDIR");
  char *path = NULL;

  assert_true (asprintf (&path, "%s/runcvm-unit.XXXXXX", tmp && *tmp ? tmp : "/tmp") > 0);
  assert_non_null (mkdtemp (path));
  return path;
}

static int
remove_entry (const char *path, const struct stat *st, int type, struct FTW *ftw)
{
  (void) st;
  (void) type;
  (void) ftw;
  return remove (path);
}

void
remove_tree (char *path)
{
  assert_int_equal (nftw (path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
  free (path);
}

void
write_file (const char *path, const void *data, size_t len)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

  assert_true (fd >= 0);
  write_full (fd, data, len);
  close (fd);
}

char *
read_text (const char *path)
{
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  char *text;
  ssize_t n;

  assert_true (fd >= 0);
  assert_int_equal (fstat (fd, &st), 0);
  text = calloc (1, (size_t) st.st_size + 1);
  assert_non_null (text);
  n = read (fd, text, (size_t) st.st_size);
  assert_int_equal (n, st.st_size);
  close (fd);
  return text;
}

void
read_full (int fd, void *buf, size_t len)
{
  for (size_t done = 0; done < len;)
    {
      ssize_t n;

      await (fd, POLLIN);
      n = read (fd, (char *) buf + done, len - done);
      if (n < 0 && (errno == EAGAIN || errno == EINTR))
        continue;
      assert_true (n > 0);
      done += (size_t) n;
    }
}

void
write_full (int fd, const void *buf, size_t len)
{
  for (size_t done = 0; done < len;)
    {
      ssize_t n = write (fd, (const char *) buf + done, len - done);

      if (n < 0 && errno == EAGAIN)
        await (fd, POLLOUT);
      else if (n < 0 && errno == EINTR)
        continue;
      else
        {
          assert_true (n > 0);
          done += (size_t) n;
        }
    }
}

void
check_error_at (rcvm_error **err, int code, const char *stage, const char *part, const char *file,
                int line)
{
  const char *message = rcvm_error_get_message (*err);

  if (rcvm_error_get_code (*err) != code || strcmp (rcvm_error_get_stage (*err), stage) != 0
      || (part && !strstr (message, part)))
    {
      print_error ("wanted %s of stage '%s' with '%s', got %s of stage '%s': %s\n", rcvm_code_name (code),
                   stage, part ? part : "", rcvm_code_name (rcvm_error_get_code (*err)),
                   rcvm_error_get_stage (*err), message);
      _fail (file, line);
    }
  rcvm_error_free (*err);
  *err = NULL;
}

void
check_ok_at (int64_t result, const rcvm_error *err, const char *file, int line)
{
  if (result >= 0 && !err)
    return;
  print_error ("result %lld, %s: %s\n", (long long) result, rcvm_code_name (rcvm_error_get_code (err)),
               rcvm_error_get_message (err));
  _fail (file, line);
}

char
process_state (pid_t pid)
{
  char path[64], text[512] = "", *at;
  FILE *f;

  snprintf (path, sizeof path, "/proc/%d/stat", (int) pid);
  f = fopen (path, "re");
  assert_non_null (f);
  assert_non_null (fgets (text, sizeof text, f));
  fclose (f);
  at = strrchr (text, ')');
  assert_non_null (at);
  return at[2];
}
