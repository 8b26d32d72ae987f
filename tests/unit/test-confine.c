/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The confinement of VMMs, with the shell in their place; what one that was taken over finds is tests/vm/410's. */
#include "config.h"

#define RCVMI_STAGE "vmm"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "confine.h"
#include "err.h"
#include "proc.h"

#define SHELL "/bin/sh"

enum
{
  RANGE = 8,
  SOMEBODY = 4242
};

#define NEEDS_ROOT()                                                                              \
  do                                                                                              \
    {                                                                                             \
      char *reason_ = NULL;                                                                       \
      bool possible_;                                                                             \
                                                                                                  \
      SKIP_UNDER_VALGRIND ();                                                                     \
      possible_ = rcvmi_confine_possible (&reason_);                                              \
      free (reason_);                                                                             \
      if (!possible_)                                                                             \
        skip ();                                                                                  \
    }                                                                                             \
  while (0)

/* Libraries. */

struct found
{
  char *list[600];
  size_t n;
};

static int
take (void *user, const char *path, rcvm_error **err)
{
  struct found *f = user;

  (void) err;
  f->list[f->n++] = strdup (path);
  return 0;
}

static void
forget (struct found *f)
{
  while (f->n)
    free (f->list[--f->n]);
}

static bool
has (const struct found *f, const char *path)
{
  struct stat a, b;

  assert_int_equal (stat (path, &a), 0);
  for (size_t i = 0; i < f->n; i++)
    if (stat (f->list[i], &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
      return true;
  return false;
}

/* As the loader itself says. */
TEST (test_libraries)
{
  static const char *const programs[] = { "/bin/sh", "/usr/bin/python3", "/usr/bin/qemu-system-x86_64", "/usr/bin/make", "/usr/bin/tar" };

  for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
    {
      struct found f = { .n = 0 };
      char command[300], line[4096];
      rcvm_error *e = NULL;
      size_t listed = 0;
      FILE *p;

      if (access (programs[i], X_OK) < 0)
        continue;
      check_ok (rcvmi_confine_elf (programs[i], take, &f, &e), e);
      snprintf (command, sizeof command, "%s --list %s", f.list[0], programs[i]);
      p = popen (command, "re");
      while (fgets (line, sizeof line, p))
        {
          char *arrow = strstr (line, "=> /");

          if (!arrow)
            continue;
          arrow += 3;
          arrow[strcspn (arrow, " \n")] = 0;
          if (!has (&f, arrow))
            fail_msg ("%s loads %s, which was not found", programs[i], arrow);
          listed++;
        }
      assert_int_equal (pclose (p), 0);
      assert_true (listed > 0 && f.n >= listed);
      forget (&f);
    }
}

TEST (test_broken_programs)
{
  char *dir = make_dir (), *path = NULL, *text;
  struct found f = { .n = 0 };
  static char copy[4 << 20];
  rcvm_error *e = NULL;
  size_t len;
  char *name;
  int fd;

  assert_true (asprintf (&path, "%s/program", dir) > 0);
  check_error ((rcvmi_confine_elf (path, take, &f, &e), &e), RCVM_E_NOT_FOUND, "vmm", path);
  write_file (path, "#!", 2);
  rcvmi_confine_elf (path, take, &f, &e);
  check_error (&e, RCVM_E_HOST, "vmm", "is no program of this machine, or it is damaged");
  fd = open ("/bin/sh", O_RDONLY | O_CLOEXEC);
  len = (size_t) read (fd, copy, sizeof copy);
  close (fd);
  assert_in_range (len, 1000, sizeof copy - 1);
  /* One that needs what is not there. */
  name = memmem (copy, len, "libc.so.6", 10);
  assert_non_null (name);
  name[3] = '?';
  write_file (path, copy, len);
  rcvmi_confine_elf (path, take, &f, &e);
  check_error (&e, RCVM_E_HOST, "vmm", "the library 'lib?.so.6', which");
  name[3] = 'c';
  /* Cut short anywhere, and with any byte of its head changed: an error, or none, and no more. */
  for (size_t cut = 0; cut < len; cut += cut < 1024 ? 7 : 4099)
    {
      write_file (path, copy, cut);
      rcvmi_confine_elf (path, take, &f, &e);
      rcvm_error_free (e);
      e = NULL;
      forget (&f);
    }
  text = malloc (len);
  for (size_t at = 4; at < 1500; at++)
    {
      memcpy (text, copy, len);
      text[at] = (char) (at % 3 ? 0xff : text[at] + 1);
      write_file (path, text, len);
      rcvmi_confine_elf (path, take, &f, &e);
      rcvm_error_free (e);
      e = NULL;
      forget (&f);
    }
  free (text);
  free (path);
  remove_tree (dir);
}

/* Users. */

TEST (test_users)
{
  int report[2], pids[RANGE];
  bool seen[RANGE] = { false };
  rcvm_error *e = NULL;
  uid_t id;
  int fd = -1;

  NEEDS_ROOT ();
  setenv ("RUNCVM_USERS", "1960000000-1960000007", 1);
  assert_int_equal (pipe2 (report, O_CLOEXEC), 0);
  /* All at once: nobody gets another's. */
  for (int i = 0; i < RANGE; i++)
    {
      pids[i] = fork ();
      if (pids[i] == 0)
        {
          if (rcvmi_confine_take_user (&id, &fd, NULL) < 0 || write (report[1], &id, sizeof id) != sizeof id)
            _exit (1);
          for (;;)
            pause ();
        }
    }
  for (int i = 0; i < RANGE; i++)
    {
      read_full (report[0], &id, sizeof id);
      assert_in_range (id, 1960000000, 1960000007);
      assert_false (seen[id - 1960000000]);
      seen[id - 1960000000] = true;
    }
  rcvmi_confine_take_user (&id, &fd, &e);
  check_error (&e, RCVM_E_STATE, "vmm", "all 8 users for VMMs are taken");
  kill (pids[3], SIGKILL);
  waitpid (pids[3], NULL, 0);
  check_ok (rcvmi_confine_take_user (&id, &fd, &e), e);
  close (fd);
  for (int i = 0; i < RANGE; i++)
    if (i != 3)
      {
        kill (pids[i], SIGKILL);
        waitpid (pids[i], NULL, 0);
      }
  for (const char *const *bad = (const char *const[]){ "0-10", "5", "10-5", "a-b", "1-4294967295", "1-2x", "-1-2", NULL }; *bad; bad++)
    {
      setenv ("RUNCVM_USERS", *bad, 1);
      rcvmi_confine_take_user (&id, &fd, &e);
      check_error (&e, RCVM_E_INVALID, "vmm", "and should be a range");
    }
  unsetenv ("RUNCVM_USERS");
  close (report[0]);
  close (report[1]);
}

/* Processes. */

static void
prepare (struct rcvmi_confine *c)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_confine_init (c, &e), e);
  c->files = 64;
  c->threads = 16;
  c->file_size = 1 << 20;
  check_ok (rcvmi_confine_add_device (c, "/dev/null", "/dev/null", &e), e);
  check_ok (rcvmi_confine_add_program (c, SHELL, &e), e);
}

static int
start (struct rcvmi_proc *proc, struct rcvmi_confine *c, const char *script, rcvm_error **err)
{
  char *argv[] = { (char *) SHELL, (char *) "-c", (char *) script, NULL }, *env[] = { NULL };
  struct rcvmi_proc_how how = { .path = SHELL,
                                .argv = argv,
                                .env = env,
                                .stdout_fd = -1,
                                .stderr_fd = 2,
                                .dir_fd = -1,
                                .namespaces = rcvmi_confine_namespaces (c),
                                .prepare = rcvmi_confine_enter,
                                .user = c };

  return rcvmi_proc_spawn_as (proc, &how, err);
}

/* What the script ends with. */
static int
run (struct rcvmi_confine *c, const char *script)
{
  struct rcvmi_proc proc = RCVMI_PROC_INIT;
  rcvm_error *e = NULL;
  int status;

  check_ok (start (&proc, c, script, &e), e);
  status = rcvmi_proc_reap (&proc);
  return WIFEXITED (status) ? WEXITSTATUS (status) : -WTERMSIG (status);
}

TEST (test_files)
{
  int fds = count_fds ();
  char *dir, *readable = NULL, *foreign = NULL, *text, by_fd[40];
  struct rcvmi_confine c;
  rcvm_error *e = NULL;
  struct stat st;
  int place = -1, fd, found, code;
  bool mapped;

  NEEDS_ROOT ();
  dir = make_dir ();
  assert_true (asprintf (&readable, "%s/readable", dir) > 0 && asprintf (&foreign, "%s/foreign", dir) > 0);
  write_file (readable, "this\n", 5);
  write_file (foreign, "that\n", 5);
  assert_int_equal (chmod (readable, 0644) + chmod (foreign, 0600) + chown (foreign, SOMEBODY, SOMEBODY + 1), 0);
  prepare (&c);
  check_ok (rcvmi_confine_add (&c, RCVMI_CONFINE_FILE, readable, "/vm/readable", &e), e);
  check_ok (rcvmi_confine_add (&c, RCVMI_CONFINE_FILE, "/etc/passwd", "/vm/readable", &e), e);
  code = rcvmi_confine_add_foreign (&c, RCVMI_CONFINE_WRITABLE, foreign, "/vm/foreign", &e);
  mapped = code == 0;
  if (!mapped)
    check_error (&e, RCVM_E_UNSUPPORTED, "vmm", "whose file system does not map owners");
  check_ok (rcvmi_confine_add_place (&c, "/run", 0, &place, &e), e);
  assert_non_null (c.dir = strdup ("/run"));
  assert_int_equal (run (&c, "read x </vm/readable; [ \"$x\" = this ] && ! { echo y >/vm/readable; } 2>/dev/null &&"
                             "! { echo x >/x; } 2>/dev/null && [ ! -e /proc/1 ] && [ ! -e /vm/other ] && [ ! -w / ] && [ $$ = 1 ]"),
                    0);
  /* What it makes of its own the test has by the fd; the same place is there for one process alone. */
  fd = openat (place, "given", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  write_full (fd, "given\n", 6);
  close (fd);
  rcvmi_confine_clear (&c);
  close (place);

  prepare (&c);
  check_ok (rcvmi_confine_add_place (&c, "/run", 0, &place, &e), e);
  assert_non_null (c.dir = strdup ("/run"));
  /* What was found by an fd has no other name that could be relied on. */
  found = open (foreign, O_RDWR | O_CLOEXEC);
  snprintf (by_fd, sizeof by_fd, "/proc/%d/fd/%d", (int) getpid (), found);
  if (mapped)
    check_ok (rcvmi_confine_add_foreign (&c, RCVMI_CONFINE_WRITABLE, by_fd, "/vm/foreign", &e), e);
  assert_int_equal (run (&c, mapped ? "echo more >>/vm/foreign && echo made >file" : "echo made >file"), 0);
  fd = openat (place, "file", O_RDONLY | O_CLOEXEC);
  assert_int_equal (fstat (fd, &st), 0);
  assert_int_equal (st.st_uid, c.id);
  close (fd);
  close (found);
  assert_int_equal (stat (foreign, &st), 0);
  assert_int_equal (st.st_uid, SOMEBODY);
  assert_int_equal (st.st_mode & 07777, 0600);
  text = read_text (foreign);
  assert_string_equal (text, mapped ? "that\nmore\n" : "that\n");
  free (text);
  rcvmi_confine_clear (&c);
  close (place);
  free (readable);
  free (foreign);
  remove_tree (dir);
  assert_int_equal (count_fds (), fds);
}

TEST (test_failures)
{
  int fds = count_fds ();
  struct rcvmi_proc proc = RCVMI_PROC_INIT;
  struct rcvmi_confine c;
  rcvm_error *e = NULL;

  NEEDS_ROOT ();
  prepare (&c);
  rcvmi_confine_add_device (&c, "/etc/passwd", "/dev/x", &e);
  check_error (&e, RCVM_E_HOST, "vmm", "'/etc/passwd' is no device");
  rcvmi_confine_add_device (&c, "/dev/none-such", "/dev/x", &e);
  check_error (&e, RCVM_E_HOST, "vmm", "cannot find the device '/dev/none-such'");
  rcvmi_confine_check_readable ("the kernel", "/etc/shadow", &e);
  check_error (&e, RCVM_E_PERMISSION, "vmm", "the kernel '/etc/shadow' cannot be read by everybody");
  check_ok (rcvmi_confine_check_readable ("the kernel", "/etc/passwd", &e), e);
  check_ok (rcvmi_confine_add (&c, RCVMI_CONFINE_FILE, "/none/such", "/vm/x", &e), e);
  start (&proc, &c, "true", &e);
  check_error (&e, RCVM_E_NOT_FOUND, "vmm", "cannot open '/none/such', which the VMM needs");
  rcvmi_confine_clear (&c);

  /* Without its interpreter. */
  check_ok (rcvmi_confine_init (&c, &e), e);
  c.files = 64;
  c.threads = 16;
  check_ok (rcvmi_confine_add_device (&c, "/dev/null", "/dev/null", &e), e);
  check_ok (rcvmi_confine_add (&c, RCVMI_CONFINE_PROGRAM, SHELL, SHELL, &e), e);
  start (&proc, &c, "true", &e);
  check_error (&e, RCVM_E_NOT_FOUND, "monitor", "cannot execute '/bin/sh'");
  rcvmi_confine_clear (&c);
  assert_int_equal (waitpid (-1, NULL, WNOHANG), -1);
  assert_int_equal (count_fds (), fds);
}

/* One that runs sees a file more, and then not any more. */
TEST (test_show)
{
  char *dir, *file = NULL;
  int fds = count_fds (), place = -1, fd = -1, out = -1;
  struct rcvmi_proc proc = RCVMI_PROC_INIT;
  struct rcvmi_confine c;
  rcvm_error *e = NULL;
  struct stat st;

  NEEDS_ROOT ();
  dir = make_dir ();
  assert_true (asprintf (&file, "%s/file", dir) > 0);
  write_file (file, "shown\n", 6);
  assert_int_equal (chmod (file, 0644), 0);
  prepare (&c);
  check_ok (rcvmi_confine_add_place (&c, "/run", 0, &place, &e), e);
  check_ok (rcvmi_confine_add (&c, RCVMI_CONFINE_EMPTY, NULL, "/vm/hot0", &e), e);
  assert_int_equal (mkfifoat (place, "turn", 0666), 0);
  assert_int_equal (fchmodat (place, "turn", 0666, 0), 0);
  /* Three looks; each waits for its turn. */
  check_ok (start (&proc, &c,
                   "for i in 1 2 3; do read x </run/turn; if read y </vm/hot0; then echo $y >/run/seen$i; else echo nothing >/run/seen$i; fi; "
                   "if echo >>/vm/hot0; then echo written >/run/seen$i; fi; : >/run/done$i; done; read x </run/turn",
                   &e),
            e);
  out = openat (place, "turn", O_RDWR | O_CLOEXEC);
  fd = open (file, O_RDONLY | O_CLOEXEC);
  for (int i = 1; i <= 3; i++)
    {
      char name[16], text[32] = "";
      int seen;

      if (i == 2)
        check_ok (rcvmi_confine_show (&c, proc.pid, fd, true, file, "/vm/hot0", &e), e);
      if (i == 3)
        check_ok (rcvmi_confine_hide (proc.pid, "/vm/hot0", &e), e);
      write_full (out, "go\n", 3);
      snprintf (name, sizeof name, "done%d", i);
      while (fstatat (place, name, &st, 0) < 0)
        usleep (1000);
      snprintf (name, sizeof name, "seen%d", i);
      seen = openat (place, name, O_RDONLY | O_CLOEXEC);
      assert_true (seen >= 0);
      assert_true (read (seen, text, sizeof text - 1) > 0);
      assert_string_equal (text, i == 2 ? "shown\n" : "nothing\n");
      close (seen);
    }
  /* There is no such place, and nobody's namespace. */
  assert_int_equal (rcvmi_confine_show (&c, proc.pid, fd, true, file, "/vm/hot9", &e), RCVM_E_NOT_FOUND);
  check_error (&e, RCVM_E_NOT_FOUND, "vmm", "cannot mount what is shown to the VMM at '/vm/hot9'");
  rcvmi_proc_kill (&proc);
  close (fd);
  close (out);
  close (place);
  rcvmi_confine_clear (&c);
  free (file);
  remove_tree (dir);
  assert_int_equal (count_fds (), fds);
}

/* A signal is for what has a handler; death is death, from the parent and with it. */
TEST (test_death)
{
  struct rcvmi_proc proc = RCVMI_PROC_INIT;
  int report[2], fds = count_fds (), watched;
  struct rcvmi_confine c;
  rcvm_error *e = NULL;
  pid_t parent, vmm;
  siginfo_t info;

  NEEDS_ROOT ();
  prepare (&c);
  assert_int_equal (run (&c, "exit 9"), 9);
  check_ok (start (&proc, &c, "while :; do read x </dev/null; done", &e), e);
  /* As a pause does: no other signal stops the first process of a namespace. */
  assert_int_equal (rcvmi_proc_stop (&proc), 0);
  assert_int_equal (rcvmi_proc_continue (&proc), 0);
  assert_int_equal (waitid (P_PIDFD, (id_t) proc.pidfd, &info, WCONTINUED), 0);
  assert_int_equal (info.si_code, CLD_CONTINUED);
  rcvmi_proc_kill (&proc);
  assert_int_equal (proc.pid, -1);
  assert_int_equal (pipe2 (report, O_CLOEXEC), 0);
  parent = fork ();
  if (parent == 0)
    {
      /* Others of the test have no part in it. */
      if (start (&proc, &c, "while :; do read x </dev/null; done", NULL) < 0 || write (report[1], &proc.pid, sizeof proc.pid) < 0)
        _exit (1);
      for (;;)
        pause ();
    }
  read_full (report[0], &vmm, sizeof vmm);
  watched = pidfd_open (vmm, 0);
  assert_true (watched >= 0);
  assert_false (is_ready (watched, POLLIN));
  kill (parent, SIGKILL);
  waitpid (parent, NULL, 0);
  await (watched, POLLIN);
  close (watched);
  close (report[0]);
  close (report[1]);
  rcvmi_confine_clear (&c);
  assert_int_equal (count_fds (), fds);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_libraries), cmocka_unit_test (test_broken_programs), cmocka_unit_test (test_users),
    cmocka_unit_test (test_files),     cmocka_unit_test (test_failures),        cmocka_unit_test (test_show),
    cmocka_unit_test (test_death),
  };

  alarm (TEST_SECONDS);
  return cmocka_run_group_tests (tests, NULL, NULL);
}
