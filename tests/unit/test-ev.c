/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "support.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "ev.h"

struct loop
{
  struct rcvmi_ev *ev;
  struct rcvmi_ev_source *a, *b;
  int calls, other_calls;
  int fd, other_fd;
  uint32_t events;
  char order[16];
  size_t n;
};

static int
set_up (void **state)
{
  struct loop *l = calloc (1, sizeof *l);

  l->ev = rcvmi_ev_new (NULL);
  *state = l;
  return l->ev ? 0 : -1;
}

static int
tear_down (void **state)
{
  struct loop *l = *state;

  rcvmi_ev_free (l->ev);
  free (l);
  return 0;
}

#define LOOP_TEST(name) static void name (void **state)

static void
run (struct loop *l)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_ev_run (l->ev, &e), e);
}

static void
count_and_stop (void *user, uint32_t events)
{
  struct loop *l = user;

  l->calls++;
  l->events = events;
  rcvmi_ev_stop (l->ev);
}

static void
never (void *user, uint32_t events)
{
  (void) user;
  (void) events;
  fail_msg ("a callback that must not run ran");
}

LOOP_TEST (test_readable)
{
  struct loop *l = *state;
  int fds[2];

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  assert_non_null (rcvmi_ev_add (l->ev, fds[0], EPOLLIN, count_and_stop, l, NULL));
  write_full (fds[1], "x", 1);
  run (l);
  assert_int_equal (l->calls, 1);
  assert_int_equal (l->events, EPOLLIN);
  close (fds[0]);
  close (fds[1]);
}

LOOP_TEST (test_bad_fd)
{
  struct loop *l = *state;
  rcvm_error *e = NULL;

  assert_null (rcvmi_ev_add (l->ev, 9999, EPOLLIN, never, l, &e));
  check_error (&e, RCVM_E_SYSTEM, "monitor", "9999");
}

static void
note (struct loop *l, char c)
{
  assert_true (l->n < sizeof l->order - 1);
  l->order[l->n++] = c;
}

static void
on_late (void *user, uint32_t events)
{
  (void) events;
  note (user, 'c');
  rcvmi_ev_stop (((struct loop *) user)->ev);
}

static void
on_early (void *user, uint32_t events)
{
  (void) events;
  note (user, 'a');
}

static void
on_middle (void *user, uint32_t events)
{
  (void) events;
  note (user, 'b');
}

LOOP_TEST (test_timers_in_order)
{
  struct loop *l = *state;

  assert_non_null (rcvmi_ev_add_timer (l->ev, 60, on_late, l, NULL));
  assert_non_null (rcvmi_ev_add_timer (l->ev, 0, on_early, l, NULL));
  assert_non_null (rcvmi_ev_add_timer (l->ev, 20, on_middle, l, NULL));
  run (l);
  /* Each fired once, although none was removed. */
  assert_string_equal (l->order, "abc");
}

LOOP_TEST (test_timer_removed)
{
  struct loop *l = *state;
  struct rcvmi_ev_source *t = rcvmi_ev_add_timer (l->ev, 0, never, l, NULL);
  int before = count_fds ();

  rcvmi_ev_remove (t);
  rcvmi_ev_remove (NULL);
  assert_non_null (rcvmi_ev_add_timer (l->ev, 10, count_and_stop, l, NULL));
  run (l);
  assert_int_equal (l->calls, 1);
  /* The removed timer's fd went, the other's came. */
  assert_int_equal (count_fds (), before);
}

static void
remove_both (void *user, uint32_t events)
{
  struct loop *l = user;

  (void) events;
  l->calls++;
  rcvmi_ev_remove (steal_ptr (l->a));
  rcvmi_ev_remove (steal_ptr (l->b));
  rcvmi_ev_stop (l->ev);
}

/* Whichever of the two is called first, the other is not called any more. */
LOOP_TEST (test_removed_within_callback)
{
  struct loop *l = *state;
  int fds[2][2];

  for (int i = 0; i < 2; i++)
    {
      assert_int_equal (pipe2 (fds[i], O_CLOEXEC), 0);
      write_full (fds[i][1], "x", 1);
    }
  l->a = rcvmi_ev_add (l->ev, fds[0][0], EPOLLIN, remove_both, l, NULL);
  l->b = rcvmi_ev_add (l->ev, fds[1][0], EPOLLIN, remove_both, l, NULL);
  run (l);
  assert_int_equal (l->calls, 1);
  for (int i = 0; i < 2; i++)
    {
      close (fds[i][0]);
      close (fds[i][1]);
    }
}

static void
replace_other (void *user, uint32_t events)
{
  struct loop *l = user;

  (void) events;
  l->calls++;
  rcvmi_ev_remove (l->b);
  close (l->other_fd);
  /* The number is taken again at once, by an fd that is ready: the old source must not hear of it. */
  l->other_fd = open ("/dev/zero", O_RDONLY | O_CLOEXEC);
  rcvmi_ev_remove (steal_ptr (l->a));
}

LOOP_TEST (test_fd_number_reused)
{
  struct loop *l = *state;
  int fds[2], others[2];

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  assert_int_equal (pipe2 (others, O_CLOEXEC), 0);
  write_full (fds[1], "x", 1);
  l->other_fd = others[0];
  l->b = rcvmi_ev_add (l->ev, others[0], EPOLLIN, never, l, NULL);
  l->a = rcvmi_ev_add (l->ev, fds[0], EPOLLIN, replace_other, l, NULL);
  assert_non_null (rcvmi_ev_add_timer (l->ev, 10, count_and_stop, l, NULL));
  run (l);
  assert_int_equal (l->other_fd, others[0]);
  assert_int_equal (l->calls, 2);
  close (l->other_fd);
  close (others[1]);
  close (fds[0]);
  close (fds[1]);
}

static void
add_within (void *user, uint32_t events)
{
  struct loop *l = user;

  (void) events;
  l->other_calls++;
  rcvmi_ev_remove (steal_ptr (l->a));
  assert_non_null (rcvmi_ev_add_timer (l->ev, 0, count_and_stop, l, NULL));
}

LOOP_TEST (test_added_within_callback)
{
  struct loop *l = *state;

  l->a = rcvmi_ev_add_timer (l->ev, 0, add_within, l, NULL);
  run (l);
  assert_int_equal (l->other_calls, 1);
  assert_int_equal (l->calls, 1);
}

static int
open_file (void)
{
  int fd = open ("/proc/self/exe", O_RDONLY | O_CLOEXEC);

  assert_true (fd >= 0);
  return fd;
}

static void
third_time (void *user, uint32_t events)
{
  struct loop *l = user;

  l->events = events;
  if (++l->calls == 3)
    rcvmi_ev_stop (l->ev);
}

LOOP_TEST (test_regular_file)
{
  struct loop *l = *state;
  char *dir = make_dir ();
  autofree char *path = NULL;
  int fd;

  assert_true (asprintf (&path, "%s/file", dir) > 0);
  fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  assert_true (fd >= 0);
  l->a = rcvmi_ev_add (l->ev, fd, EPOLLIN, third_time, l, NULL);
  assert_non_null (l->a);
  run (l);
  assert_int_equal (l->calls, 3);
  assert_int_equal (l->events, EPOLLIN);
  close (fd);
  remove_tree (dir);
}

static void
wake_file (void *user, uint32_t events)
{
  struct loop *l = user;

  (void) events;
  l->other_calls++;
  assert_int_equal (l->calls, 0);
  rcvmi_ev_set_events (l->a, EPOLLIN);
}

/* A paused file does not run, and does not keep the loop from sleeping. */
LOOP_TEST (test_regular_file_paused)
{
  struct loop *l = *state;
  int fd = open_file ();

  l->a = rcvmi_ev_add (l->ev, fd, EPOLLIN, count_and_stop, l, NULL);
  rcvmi_ev_set_events (l->a, 0);
  assert_non_null (rcvmi_ev_add_timer (l->ev, 20, wake_file, l, NULL));
  run (l);
  assert_int_equal (l->other_calls, 1);
  assert_int_equal (l->calls, 1);
  close (fd);
}

static void
stop_after_file (void *user, uint32_t events)
{
  struct loop *l = user;

  (void) events;
  assert_int_equal (l->calls, 1);
  rcvmi_ev_stop (l->ev);
}

static void
remove_itself (void *user, uint32_t events)
{
  struct loop *l = user;

  (void) events;
  l->calls++;
  rcvmi_ev_remove (steal_ptr (l->a));
}

LOOP_TEST (test_regular_file_removed)
{
  struct loop *l = *state;
  int fd = open_file ();

  l->a = rcvmi_ev_add (l->ev, fd, EPOLLIN, remove_itself, l, NULL);
  assert_non_null (rcvmi_ev_add_timer (l->ev, 20, stop_after_file, l, NULL));
  run (l);
  assert_int_equal (l->calls, 1);
  close (fd);
}

/* A hang-up is not reported to a source that is paused, and is when it goes on. */
LOOP_TEST (test_pause_and_hang_up)
{
  struct loop *l = *state;
  int fds[2];

  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  l->a = rcvmi_ev_add (l->ev, fds[0], EPOLLIN, count_and_stop, l, NULL);
  rcvmi_ev_set_events (l->a, 0);
  rcvmi_ev_set_events (l->a, 0);
  close (fds[1]);
  assert_true (is_ready (fds[0], POLLIN));
  assert_non_null (rcvmi_ev_add_timer (l->ev, 20, wake_file, l, NULL));
  run (l);
  assert_int_equal (l->other_calls, 1);
  assert_int_equal (l->calls, 1);
  assert_true (l->events & EPOLLHUP);
  close (fds[0]);
}

LOOP_TEST (test_other_events)
{
  struct loop *l = *state;
  int fds[2];

  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  l->a = rcvmi_ev_add (l->ev, fds[0], EPOLLIN, count_and_stop, l, NULL);
  rcvmi_ev_set_events (l->a, EPOLLOUT);
  run (l);
  assert_int_equal (l->events, EPOLLOUT);
  /* What is removed does not come back. */
  rcvmi_ev_remove (l->a);
  rcvmi_ev_set_events (l->a, EPOLLOUT);
  close (fds[0]);
  close (fds[1]);
}

/* Stopped before it runs, it returns at once; then it may go on. */
LOOP_TEST (test_stopped)
{
  struct loop *l = *state;
  struct rcvmi_ev_source *t = rcvmi_ev_add_timer (l->ev, 0, never, l, NULL);

  rcvmi_ev_stop (l->ev);
  run (l);
  rcvmi_ev_remove (t);
  assert_non_null (rcvmi_ev_add_timer (l->ev, 0, count_and_stop, l, NULL));
  run (l);
  assert_int_equal (l->calls, 1);
}

TEST (test_no_fd_left)
{
  int before = count_fds (), inheritable = count_inheritable_fds ();
  struct rcvmi_ev *ev = rcvmi_ev_new (NULL);

  assert_non_null (ev);
  rcvmi_ev_add_timer (ev, 1000, never, NULL, NULL);
  rcvmi_ev_remove (rcvmi_ev_add_timer (ev, 1000, never, NULL, NULL));
  assert_int_equal (count_inheritable_fds (), inheritable);
  rcvmi_ev_free (ev);
  rcvmi_ev_free (NULL);
  assert_int_equal (count_fds (), before);
}

#define loop_test(f) cmocka_unit_test_setup_teardown (f, set_up, tear_down)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    loop_test (test_readable),
    loop_test (test_bad_fd),
    loop_test (test_timers_in_order),
    loop_test (test_timer_removed),
    loop_test (test_removed_within_callback),
    loop_test (test_fd_number_reused),
    loop_test (test_added_within_callback),
    loop_test (test_regular_file),
    loop_test (test_regular_file_paused),
    loop_test (test_regular_file_removed),
    loop_test (test_pause_and_hang_up),
    loop_test (test_other_events),
    loop_test (test_stopped),
    cmocka_unit_test (test_no_fd_left),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
