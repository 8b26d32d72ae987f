/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A builder is killed at each of its system calls, one after the other, and at moments drawn at random:
   what is left is an image that is whole, or none, and the next one that asks has it. */
#include "config.h"

#include "cache-testing.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <time.h>

static int
build_traced (void *user)
{
  struct fixture *f = user;
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;

  if (ptrace (PTRACE_TRACEME, 0, NULL, NULL) < 0)
    return 30;
  raise (SIGSTOP);
  return acquire (f, "k", &e, NULL) < 0 ? 20 : 10;
}

/* Kills it when it is about to begin the n-th system call, or has just ended it: the file system has no state
   in between that another process could see.  False: it ended before that. */
static bool
kill_at (struct fixture *f, int n)
{
  pid_t pid = spawn (build_traced, f);
  int status;

  assert_int_equal (waitpid (pid, &status, 0), pid);
  assert_true (WIFSTOPPED (status));
  for (int i = 0; i < n; i++)
    {
      assert_int_equal (ptrace (PTRACE_SYSCALL, pid, NULL, NULL), 0);
      assert_int_equal (waitpid (pid, &status, 0), pid);
      if (WIFEXITED (status))
        {
          assert_int_equal (WEXITSTATUS (status), 10);
          return false;
        }
      assert_true (WIFSTOPPED (status));
    }
  kill (pid, SIGKILL);
  assert_int_equal (waitpid (pid, &status, 0), pid);
  assert_true (WIFSIGNALED (status));
  return true;
}

static void
check_after (struct fixture *f)
{
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
  bool there = is_there (f, "k");
  rcvm_error *err = NULL;

  /* What has the name is whole, */
  check_ok (acquire (f, "k", &e, &err), err);
  assert_true (e.hit == there);
  assert_null (e.note);
  check_ok (rcvm_rootfs_verify (e.path, &err), err);
  rcvmi_cache_entry_clear (&e);
  /* and nothing else stays. */
  assert_int_equal (count_files (f, "tmp."), 0);
  check_ok (rcvmi_cache_prune (&f->cache, 0, NULL, &err), err);
  assert_int_equal (count_files (f, ""), 1);
}

TEST (test_at_each_system_call)
{
  struct fixture *f = *state;
  int n = 1, last = 0;

  SKIP_UNDER_VALGRIND ();
  while (kill_at (f, n))
    {
      check_after (f);
      n++;
    }
  last = n;
  /* There were some: opening, building, sealing, renaming. */
  assert_true (last > 40);
}

/* As others see it: not synced first, and with the syncs in between. */
TEST (test_at_each_system_call_synced)
{
  struct fixture *f = *state;

  SKIP_UNDER_VALGRIND ();
  f->cache.sync = true;
  test_at_each_system_call (state);
}

static int
build_untraced (void *user)
{
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;

  return acquire (user, "k", &e, NULL) < 0 ? 20 : 10;
}

static int64_t
now (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C (1000000000) + t.tv_nsec;
}

TEST (test_at_random_moments)
{
  struct fixture *f = *state;
  char *path, *data;
  int64_t whole;
  int killed = 0;

  SKIP_UNDER_VALGRIND ();
  path = path_in (f->tree, "large");
  data = malloc (8 << 20);
  memset (data, 'd', 8 << 20);
  write_file (path, data, 8 << 20);
  free (data);
  free (path);
  whole = now ();
  assert_int_equal (await_exit (spawn (build_untraced, f)), 10);
  whole = now () - whole;
  rcvmi_cache_prune (&f->cache, 0, NULL, NULL);
  for (int i = 0; i < 30; i++)
    {
      struct timespec delay = { 0 };
      uint64_t random;
      pid_t pid;

      assert_int_equal (getrandom (&random, sizeof random, 0), sizeof random);
      delay.tv_sec = (time_t) (random % (uint64_t) whole / 1000000000);
      delay.tv_nsec = (long) (random % (uint64_t) whole % 1000000000);
      pid = spawn (build_untraced, f);
      nanosleep (&delay, NULL);
      kill (pid, SIGKILL);
      killed += await_exit (pid) == 128 + SIGKILL;
      check_after (f);
    }
  print_message ("# killed in time: %d of 30\n", killed);
}

#define T(name) cmocka_unit_test_setup_teardown (name, fixture_setup, fixture_teardown)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    T (test_at_each_system_call),
    T (test_at_each_system_call_synced),
    T (test_at_random_moments),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
