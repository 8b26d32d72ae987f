/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cache: hits, builders and waiters, use, limits, full disks. */
#include "config.h"

#include "cache-testing.h"

#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <runcvm/rootfs.h>

#include "err.h"

TEST (test_hit)
{
  struct fixture *f = *state;
  struct rcvmi_cache_entry a = RCVMI_CACHE_ENTRY_INIT, b = RCVMI_CACHE_ENTRY_INIT;
  int fds = count_fds (), inheritable = count_inheritable_fds ();
  rcvm_error *err = NULL;
  struct stat st;

  check_ok (acquire (f, "k", &a, &err), err);
  assert_false (a.hit);
  assert_null (a.note);
  assert_false (a.durable);
  assert_int_equal (count_fds (), fds + 1);
  assert_int_equal (count_inheritable_fds (), inheritable);
  check_ok (acquire (f, "k", &b, &err), err);
  assert_true (b.hit);
  assert_string_equal (a.path, b.path);
  assert_int_equal (a.size, b.size);
  assert_int_equal (a.allocated, b.allocated);
  assert_int_equal (count_builds (f), 1);
  assert_int_equal (fstat (b.fd, &st), 0);
  assert_int_equal (st.st_size, a.size + RCVMI_CACHE_RECORD_SIZE);
  assert_int_equal (st.st_mode & 07777, 0600);
  check_ok (rcvm_rootfs_verify (a.path, &err), err);
  rcvmi_cache_entry_clear (&a);
  rcvmi_cache_entry_clear (&b);
  assert_int_equal (count_fds (), fds);
  /* The image and the file with the locks. */
  assert_int_equal (count_files (f, ""), 2);
}

TEST (test_no_builder)
{
  struct fixture *f = *state;
  struct rcvmi_cache_build none = { 0 };
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
  rcvm_error *err = NULL;

  assert_int_equal (rcvmi_cache_acquire (&f->cache, "k", &none, &e, &err), RCVM_E_NOT_FOUND);
  check_error (&err, RCVM_E_NOT_FOUND, "rootfs", "has no image 'k'");
  have (f, "k");
  check_ok (rcvmi_cache_acquire (&f->cache, "k", &none, &e, &err), err);
  rcvmi_cache_entry_clear (&e);
}

TEST (test_bad_keys)
{
  static const char *const bad[] = { "", "-a", "a/b", "..", "A", "a.b", "a b", "ä" };
  struct fixture *f = *state;
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
  char longest[RCVMI_CACHE_KEY_MAX + 2] = "";
  rcvm_error *err = NULL;

  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      acquire (f, bad[i], &e, &err);
      check_error (&err, RCVM_E_INVALID, "rootfs", "is no key");
    }
  memset (longest, 'k', RCVMI_CACHE_KEY_MAX);
  assert_true (have (f, longest));
  assert_false (have (f, longest));
  longest[RCVMI_CACHE_KEY_MAX] = 'k';
  acquire (f, longest, &e, &err);
  check_error (&err, RCVM_E_INVALID, "rootfs", "is no key");
}

/* ---- several builders ---- */

struct racer
{
  struct fixture *f;
  int start[2];
};

/* 10: it built, 11: a hit; both with a good image. */
static int
race (void *user)
{
  struct racer *r = user;
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
  bool hit;
  char c;

  close (r->start[1]);
  if (read (r->start[0], &c, 1) != 0)
    return 1;
  if (acquire (r->f, "one", &e, NULL) < 0)
    return 2;
  if (rcvm_rootfs_verify (e.path, NULL) < 0 || !rcvmi_cache_is_current (&r->f->cache, "one", e.fd))
    return 3;
  hit = e.hit;
  rcvmi_cache_entry_clear (&e);
  return hit ? 11 : 10;
}

TEST (test_twenty_builders)
{
  struct fixture *f = *state;
  struct racer r = { .f = f };
  pid_t pids[20];
  int built = 0;

  SKIP_UNDER_VALGRIND ();
  assert_int_equal (pipe2 (r.start, O_CLOEXEC), 0);
  for (int i = 0; i < 20; i++)
    pids[i] = spawn (race, &r);
  /* All at once. */
  close (r.start[0]);
  close (r.start[1]);
  for (int i = 0; i < 20; i++)
    {
      int code = await_exit (pids[i]);

      assert_in_range (code, 10, 11);
      built += code == 10;
    }
  assert_int_equal (built, 1);
  assert_int_equal (count_builds (f), 1);
  assert_int_equal (count_files (f, "tmp."), 0);
}

/* A builder that says that it has begun, and goes on when it is told. */
struct slow
{
  struct fixture *f;
  const char *key;
  int begun[2], go[2];
  bool fail;
  bool leave; /* files, as the builder does where files must have names */
};

static void
slow_init (struct slow *s, struct fixture *f, const char *key)
{
  *s = (struct slow){ .f = f, .key = key };
  assert_int_equal (pipe2 (s->begun, O_CLOEXEC), 0);
  assert_int_equal (pipe2 (s->go, O_CLOEXEC), 0);
}

static void
slow_clear (struct slow *s)
{
  close (s->begun[0]);
  close (s->begun[1]);
  close (s->go[0]);
  close (s->go[1]);
}

static int
build_slowly (void *user, const char *path, rcvm_error **err)
{
  struct slow *s = user;
  char c = 'b';

  if (s->leave)
    {
      char *named;

      write_file (path, "half", 4);
      assert_true (asprintf (&named, "%s.a1b2c3", path) > 0);
      write_file (named, "half", 4);
      free (named);
    }
  write_full (s->begun[1], &c, 1);
  read_full (s->go[0], &c, 1);
  if (s->fail)
    return rcvmi_fail_at (err, "rootfs", RCVM_E_STATE, 0, "as the test wants it");
  return build_counted (s->f, path, err);
}

static int
acquire_slowly (void *user)
{
  struct slow *s = user;
  struct rcvmi_cache_build b = { .build = build_slowly, .user = s };
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
  bool hit;

  if (rcvmi_cache_acquire (&s->f->cache, s->key, &b, &e, NULL) < 0)
    return 20;
  hit = e.hit;
  rcvmi_cache_entry_clear (&e);
  return hit ? 11 : 10;
}

/* The second one waits for the first, whose failure is not its own. */
TEST (test_builder_fails)
{
  struct fixture *f = *state;
  struct slow first, second;
  pid_t a, b;
  char c;

  SKIP_UNDER_VALGRIND ();
  slow_init (&first, f, "k");
  slow_init (&second, f, "k");
  first.fail = first.leave = true;
  a = spawn (acquire_slowly, &first);
  read_full (first.begun[0], &c, 1);
  b = spawn (acquire_slowly, &second);
  write_full (second.go[1], "g", 1);
  assert_false (is_ready (second.begun[0], POLLIN));
  write_full (first.go[1], "g", 1);
  assert_int_equal (await_exit (a), 20);
  assert_int_equal (await_exit (b), 10);
  assert_int_equal (count_builds (f), 1);
  assert_int_equal (count_files (f, "tmp."), 0);
  slow_clear (&first);
  slow_clear (&second);
}

/* Nor does one that dies keep the others, nor does what it left stay. */
TEST (test_builder_is_killed)
{
  struct fixture *f = *state;
  struct slow first, second;
  pid_t a, b;
  char c;

  SKIP_UNDER_VALGRIND ();
  slow_init (&first, f, "k");
  slow_init (&second, f, "k");
  first.leave = true;
  a = spawn (acquire_slowly, &first);
  read_full (first.begun[0], &c, 1);
  assert_int_equal (count_files (f, "tmp."), 2);
  b = spawn (acquire_slowly, &second);
  write_full (second.go[1], "g", 1);
  kill (a, SIGKILL);
  assert_int_equal (await_exit (a), 128 + SIGKILL);
  assert_int_equal (await_exit (b), 10);
  assert_int_equal (count_files (f, "tmp."), 0);
  slow_clear (&first);
  slow_clear (&second);
}

/* Whoever comes next removes what the dead left, and leaves the living alone, whatever their keys. */
TEST (test_left_over)
{
  struct fixture *f = *state;
  struct slow dead, living;
  uint64_t freed = 0;
  rcvm_error *err = NULL;
  pid_t a, b;
  char c;

  SKIP_UNDER_VALGRIND ();
  slow_init (&dead, f, "dead");
  slow_init (&living, f, "living");
  dead.leave = living.leave = true;
  a = spawn (acquire_slowly, &dead);
  b = spawn (acquire_slowly, &living);
  read_full (dead.begun[0], &c, 1);
  read_full (living.begun[0], &c, 1);
  kill (a, SIGKILL);
  await_exit (a);
  assert_int_equal (count_files (f, "tmp."), 4);
  /* Not the builder of another key alone, but anybody. */
  have (f, "other");
  assert_int_equal (count_files (f, "tmp.dead"), 0);
  assert_int_equal (count_files (f, "tmp.living"), 2);
  check_ok (rcvmi_cache_prune (&f->cache, 0, &freed, &err), err);
  assert_true (freed > 0);
  assert_int_equal (count_files (f, "tmp.living"), 2);
  kill (b, SIGKILL);
  await_exit (b);
  check_ok (rcvmi_cache_prune (&f->cache, 0, &freed, &err), err);
  assert_int_equal (count_files (f, ""), 1);
  slow_clear (&dead);
  slow_clear (&living);
}

TEST (test_different_keys_do_not_wait)
{
  struct fixture *f = *state;
  struct slow first;
  pid_t a;
  char c;

  SKIP_UNDER_VALGRIND ();
  slow_init (&first, f, "slow");
  a = spawn (acquire_slowly, &first);
  read_full (first.begun[0], &c, 1);
  assert_true (have (f, "quick"));
  assert_false (have (f, "quick"));
  write_full (first.go[1], "g", 1);
  assert_int_equal (await_exit (a), 10);
  slow_clear (&first);
}

/* Somebody empties the directory while an image is built: an error or an image, never one that is not
   whole. */
TEST (test_directory_is_emptied)
{
  struct fixture *f = *state;
  struct slow first;
  char *lock, c;
  pid_t a;

  SKIP_UNDER_VALGRIND ();
  lock = path_in (f->cache.path, "lock");
  slow_init (&first, f, "k");
  a = spawn (acquire_slowly, &first);
  read_full (first.begun[0], &c, 1);
  assert_int_equal (unlink (lock), 0);
  assert_true (have (f, "k"));
  write_full (first.go[1], "g", 1);
  assert_int_equal (await_exit (a), 10);
  assert_false (have (f, "k"));
  slow_clear (&first);
  free (lock);
}

/* ---- use and limits ---- */

TEST (test_limit)
{
  struct fixture *f = *state;
  struct rcvmi_cache_entry used = RCVMI_CACHE_ENTRY_INIT;
  rcvm_error *err = NULL;
  uint64_t one, freed;
  int copy, lock;

  check_ok (acquire (f, "a", &used, &err), err);
  one = used.allocated;
  assert_true (one > 0);
  /* A copy of the fd is enough, and so is one in another process. */
  copy = dup (used.fd);
  rcvmi_cache_entry_clear (&used);
  have (f, "b");
  have (f, "c");
  have (f, "b");
  f->cache.limit = 3 * one + one / 2;
  have (f, "d");
  /* In the order of use: a (in use), c, b, d. */
  assert_true (is_there (f, "a") && is_there (f, "b") && is_there (f, "d"));
  assert_false (is_there (f, "c"));
  f->cache.limit = one / 2;
  have (f, "e");
  assert_true (is_there (f, "a"));
  assert_false (is_there (f, "b") || is_there (f, "d"));
  /* The new one was in use then, and is not now. */
  assert_true (is_there (f, "e"));
  check_ok (rcvmi_cache_prune (&f->cache, one / 2, &freed, &err), err);
  assert_int_equal (freed, one);
  assert_true (is_there (f, "a"));
  close (copy);
  /* Nor does one go whose builder is at work. */
  check_ok (rcvmi_cache_lock (&f->cache, "a", true, &lock, &err), err);
  check_ok (rcvmi_cache_prune (&f->cache, 0, &freed, &err), err);
  assert_int_equal (freed, 0);
  assert_true (is_there (f, "a"));
  rcvmi_cache_unlock (&lock);
  check_ok (rcvmi_cache_prune (&f->cache, one, &freed, &err), err);
  assert_int_equal (freed, 0);
  check_ok (rcvmi_cache_prune (&f->cache, 0, &freed, &err), err);
  assert_int_equal (freed, one);
  assert_int_equal (count_files (f, ""), 1);
}

static int
receive_and_wait (void *user)
{
  const int *sockets = user;
  char byte, control[CMSG_SPACE (sizeof (int))];
  struct iovec iov = { &byte, 1 };
  struct msghdr m = {
    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
  };

  close (sockets[0]);
  if (recvmsg (sockets[1], &m, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR (&m))
    return 1;
  if (write (sockets[1], "r", 1) != 1)
    return 2;
  /* Until the test is done with it. */
  return read (sockets[1], &byte, 1) == 0 ? 0 : 3;
}

TEST (test_use_is_passed_on)
{
  struct fixture *f = *state;
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
  char byte = 'x', control[CMSG_SPACE (sizeof (int))] = "";
  struct iovec iov = { &byte, 1 };
  struct msghdr m = {
    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
  };
  struct cmsghdr *c = CMSG_FIRSTHDR (&m);
  rcvm_error *err = NULL;
  int sockets[2];
  pid_t pid;

  SKIP_UNDER_VALGRIND ();
  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  /* Forked first: what it has of the image it has by the message. */
  pid = spawn (receive_and_wait, sockets);
  close (sockets[1]);
  check_ok (acquire (f, "a", &e, &err), err);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN (sizeof (int));
  memcpy (CMSG_DATA (c), &e.fd, sizeof (int));
  assert_int_equal (sendmsg (sockets[0], &m, 0), 1);
  read_full (sockets[0], &byte, 1);
  rcvmi_cache_entry_clear (&e);
  check_ok (rcvmi_cache_prune (&f->cache, 0, NULL, &err), err);
  assert_true (is_there (f, "a"));
  close (sockets[0]);
  assert_int_equal (await_exit (pid), 0);
  check_ok (rcvmi_cache_prune (&f->cache, 0, NULL, &err), err);
  assert_false (is_there (f, "a"));
}

enum
{
  ROUNDS = 150
};

static int
prune_often (void *user)
{
  struct fixture *f = user;

  for (int i = 0; i < ROUNDS; i++)
    if (rcvmi_cache_prune (&f->cache, 0, NULL, NULL) < 0)
      return 1;
  return 0;
}

static int
acquire_often (void *user)
{
  struct fixture *f = user;

  for (int i = 0; i < ROUNDS; i++)
    {
      struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
      struct rcvmi_cache_record record;
      const char *key = i % 3 ? "x" : "y", *why;

      if (acquire (f, key, &e, NULL) < 0)
        return 1;
      /* It has its name as long as it is in use, and is whole. */
      if (!rcvmi_cache_is_current (&f->cache, key, e.fd) || e.note
          || rcvmi_cache_record_check (e.fd, key, &record, &why) != 0)
        return 2;
      rcvmi_cache_entry_clear (&e);
    }
  return 0;
}

TEST (test_prune_while_acquired)
{
  struct fixture *f = *state;
  pid_t pids[4];

  SKIP_UNDER_VALGRIND ();
  for (int i = 0; i < 4; i++)
    pids[i] = spawn (i < 2 ? prune_often : acquire_often, f);
  for (int i = 0; i < 4; i++)
    assert_int_equal (await_exit (pids[i]), 0);
}

/* ---- a full disk ---- */

/* A file system of 16 MiB in the place of the cache. */
static void
make_small (struct fixture *f)
{
  rcvm_error *err = NULL;
  char *path = strdup (f->cache.path);

  rcvmi_cache_close (&f->cache);
  if (mount ("none", path, "tmpfs", 0, "size=16M,mode=0700") < 0)
    {
      assert_int_equal (errno, EPERM);
      check_ok (rcvmi_cache_open (&f->cache, path, &err), err);
      free (path);
      skip ();
    }
  check_ok (rcvmi_cache_open (&f->cache, path, &err), err);
  /* A fifth of it. */
  assert_in_range (f->cache.limit, 3 << 20, 4 << 20);
  f->cache.limit = RCVMI_CACHE_UNLIMITED;
  f->cache.sync = false;
  free (path);
}

static void
grow_tree (struct fixture *f, size_t size)
{
  char *path = path_in (f->tree, "file"), *data = malloc (size);

  memset (data, 'x', size);
  write_file (path, data, size);
  free (data);
  free (path);
}

/* One that does not say what it needs, and one that does. */
static int
acquire_large (struct fixture *f, const char *key, uint64_t expected, struct rcvmi_cache_entry *e,
               rcvm_error **err)
{
  struct rcvmi_cache_build b = { .build = build_counted, .user = f, .expected = expected };

  return rcvmi_cache_acquire (&f->cache, key, &b, e, err);
}

static void
check_full (struct fixture *f)
{
  struct rcvmi_cache_entry a = RCVMI_CACHE_ENTRY_INIT, b = RCVMI_CACHE_ENTRY_INIT, c = RCVMI_CACHE_ENTRY_INIT;
  rcvm_error *err = NULL;
  int builds;

  grow_tree (f, 4 << 20);
  check_ok (acquire (f, "a", &a, &err), err);
  check_ok (acquire (f, "b", &b, &err), err);
  check_ok (acquire (f, "c", &c, &err), err);
  rcvmi_cache_entry_clear (&b);
  rcvmi_cache_entry_clear (&c);
  grow_tree (f, 6 << 20);
  /* Makes room: b alone has to go. */
  check_ok (acquire_large (f, "d", 7 << 20, &b, &err), err);
  assert_false (is_there (f, "b"));
  assert_true (is_there (f, "a") && is_there (f, "c") && is_there (f, "d"));
  rcvmi_cache_entry_clear (&b);
  /* Finds out when it is too late, and tries again. */
  builds = count_builds (f);
  check_ok (acquire_large (f, "e", 0, &b, &err), err);
  assert_int_equal (count_builds (f), builds + 2);
  assert_false (is_there (f, "c") || is_there (f, "d"));
  /* a and e are in use. */
  assert_int_equal (acquire_large (f, "f", 0, &c, &err), RCVM_E_NO_SPACE);
  assert_int_equal (rcvm_error_get_errno (err), ENOSPC);
  check_error (&err, RCVM_E_NO_SPACE, "rootfs", f->cache.path);
  assert_int_equal (acquire_large (f, "f", 8 << 20, &c, &err), RCVM_E_NO_SPACE);
  check_error (&err, RCVM_E_NO_SPACE, "rootfs", "No space left on device");
  /* As usable as it was. */
  assert_int_equal (count_files (f, "tmp."), 0);
  assert_false (have (f, "a") || have (f, "e"));
  rcvmi_cache_entry_clear (&a);
  assert_false (have (f, "e"));
  check_ok (acquire_large (f, "f", 0, &c, &err), err);
  check_ok (rcvm_rootfs_verify (c.path, &err), err);
  rcvmi_cache_entry_clear (&b);
  rcvmi_cache_entry_clear (&c);
}

TEST (test_full_disk)
{
  struct fixture *f = *state;
  char *path;

  if (geteuid () != 0)
    skip ();
  make_small (f);
  check_full (f);
  path = strdup (f->cache.path);
  rcvmi_cache_close (&f->cache);
  assert_int_equal (umount (path), 0);
  free (path);
}

#define T(name) cmocka_unit_test_setup_teardown (name, fixture_setup, fixture_teardown)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    T (test_hit),
    T (test_no_builder),
    T (test_bad_keys),
    T (test_twenty_builders),
    T (test_builder_fails),
    T (test_builder_is_killed),
    T (test_left_over),
    T (test_different_keys_do_not_wait),
    T (test_directory_is_emptied),
    T (test_limit),
    T (test_use_is_passed_on),
    T (test_prune_while_acquired),
    T (test_full_disk),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
