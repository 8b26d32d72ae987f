/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running hooks: order, time-outs, failures, what they are given and what is left of them. */
#include "config.h"

#include "support.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "hooks.h"

static char dir[] = "/tmp/runcvm-hooks.XXXXXX";

/* A shell that runs `script`, with the time-out in seconds. */
#define HOOK(script, seconds)                                                                     \
  { .path = (char *) "/bin/sh", .args = (char *[]){ (char *) "sh", (char *) "-c", (char *) (script), NULL },                    \
    .env = (char *[]){ (char *) "A=b c", NULL }, .timeout = { (seconds) > 0, seconds } }

static int
run (const struct rcvmi_spec_hook *list, size_t n, bool go_on, rcvm_error **err)
{
  struct rcvmi_hooks hooks = { .kind = "test", .list = list, .n = n, .state = "{\"id\":\"x\"}", .dir = dir, .go_on = go_on, .abort_fd = -1 };

  return rcvmi_hooks_run (&hooks, err);
}

static void
assert_file (const char *name, const char *wanted)
{
  char path[256], text[1024];
  FILE *f;
  size_t n;

  snprintf (path, sizeof path, "%s/%s", dir, name);
  f = fopen (path, "re");
  if (!wanted)
    {
      assert_null (f);
      return;
    }
  assert_non_null (f);
  n = fread (text, 1, sizeof text - 1, f);
  text[n] = 0;
  fclose (f);
  unlink (path);
  assert_string_equal (text, wanted);
}

static void
test_given (void **state)
{
  const struct rcvmi_spec_hook list[] = { HOOK ("cat >in; env | grep -v -E '^(PWD|_|SHLVL|OLDPWD)=' >env; pwd >pwd", 0),
                                          HOOK ("echo 2 >>order; echo lost >&2", 5), HOOK ("echo 3 >>order", 0) };
  rcvm_error *err = NULL;

  (void) state;
  SKIP_UNDER_VALGRIND ();
  assert_int_equal (run (list, 3, false, &err), 0);
  check_ok (0, err);
  assert_file ("in", "{\"id\":\"x\"}");
  assert_file ("env", "A=b c\n");
  assert_file ("order", "2\n3\n");
}

static void
test_failures (void **state)
{
  const struct rcvmi_spec_hook list[] = { HOOK ("echo 1 >>order", 0), HOOK ("echo a; echo 'the\a last' >&2; exit 3", 0),
                                          HOOK ("echo 3 >>order; kill -9 $$", 0) };
  struct rcvmi_spec_hook missing = { .path = (char *) "/nowhere/at all" };
  rcvm_error *err = NULL;

  (void) state;
  SKIP_UNDER_VALGRIND ();
  assert_int_equal (run (list, 3, false, &err), RCVM_E_PROCESS);
  check_error (&err, RCVM_E_PROCESS, "hooks", "the test hook '/bin/sh' ended with exit code 3: the? last");
  assert_file ("order", "1\n");
  err = NULL;
  assert_int_equal (run (list, 3, true, &err), RCVM_E_PROCESS);
  check_error (&err, RCVM_E_PROCESS, "hooks", "exit code 3");
  assert_file ("order", "1\n3\n");
  err = NULL;
  assert_int_equal (run (list + 2, 1, false, &err), RCVM_E_PROCESS);
  check_error (&err, RCVM_E_PROCESS, "hooks", "signal 9");
  assert_file ("order", "3\n");
  err = NULL;
  assert_int_equal (run (&missing, 1, false, &err), RCVM_E_PROCESS);
  check_error (&err, RCVM_E_PROCESS, "hooks", "cannot be run");
}

/* Killed with what it has started. */
static void
test_timeout (void **state)
{
  const struct rcvmi_spec_hook list[] = { HOOK ("sleep 1000 & echo $! >child; sleep 1000", 1) };
  rcvm_error *err = NULL;
  char path[256], text[32] = "";
  FILE *f;
  int fd;

  (void) state;
  SKIP_UNDER_VALGRIND ();
  assert_int_equal (run (list, 1, false, &err), RCVM_E_TIMEOUT);
  check_error (&err, RCVM_E_TIMEOUT, "hooks", "was killed after its 1 seconds");
  snprintf (path, sizeof path, "%s/child", dir);
  f = fopen (path, "re");
  assert_non_null (f);
  assert_non_null (fgets (text, sizeof text, f));
  fclose (f);
  unlink (path);
  fd = pidfd_open (atoi (text), 0);
  if (fd >= 0)
    {
      await (fd, POLLIN);
      close (fd);
    }
}

/* What it leaves behind does not hold anybody up, and much output does no harm. */
static void
test_output (void **state)
{
  const struct rcvmi_spec_hook quick[] = { HOOK ("sleep 1000 & echo $! >child", 60) };
  const struct rcvmi_spec_hook loud[] = { HOOK ("yes | head -c 1000000; echo; echo end; exit 1", 60) };
  rcvm_error *err = NULL;
  char path[256], text[32] = "";
  FILE *f;

  (void) state;
  SKIP_UNDER_VALGRIND ();
  assert_int_equal (run (quick, 1, false, &err), 0);
  snprintf (path, sizeof path, "%s/child", dir);
  f = fopen (path, "re");
  assert_non_null (f);
  assert_non_null (fgets (text, sizeof text, f));
  fclose (f);
  unlink (path);
  assert_int_equal (kill (atoi (text), SIGKILL), 0);
  assert_int_equal (run (loud, 1, false, &err), RCVM_E_PROCESS);
  check_error (&err, RCVM_E_PROCESS, "hooks", "exit code 1: end");
}

static void
test_abort (void **state)
{
  const struct rcvmi_spec_hook list[] = { HOOK ("sleep 1000", 0) };
  struct rcvmi_hooks hooks = { .kind = "test", .list = list, .n = 1, .state = "{}", .dir = dir };
  rcvm_error *err = NULL;
  int fds[2];

  (void) state;
  SKIP_UNDER_VALGRIND ();
  assert_int_equal (pipe (fds), 0);
  close (fds[0]);
  hooks.abort_fd = fds[1];
  assert_int_equal (rcvmi_hooks_run (&hooks, &err), RCVM_E_CANCELLED);
  check_error (&err, RCVM_E_CANCELLED, "hooks", "was killed");
  close (fds[1]);
}

static void
test_no_fds_are_left (void **state)
{
  const struct rcvmi_spec_hook good[] = { HOOK ("true", 0) }, bad[] = { HOOK ("exit 1", 0) };
  struct rcvmi_spec_hook missing = { .path = (char *) "/nowhere" };
  int before = dup (0), after;

  (void) state;
  SKIP_UNDER_VALGRIND ();
  close (before);
  assert_int_equal (run (good, 1, false, NULL), 0);
  assert_int_equal (run (bad, 1, false, NULL), RCVM_E_PROCESS);
  assert_int_equal (run (&missing, 1, false, NULL), RCVM_E_PROCESS);
  after = dup (0);
  close (after);
  assert_int_equal (before, after);
}

/* As text, and back. */
static void
test_text (void **state)
{
  struct rcvmi_spec_hook list[] = { HOOK ("a 'b' \"c\" \n\x01", 7), { .path = (char *) "/p" } };
  struct rcvmi_spec_hooks hooks = { .poststop = list, .n_poststop = 2 };
  rcvm_error *err = NULL;
  char *json = rcvmi_spec_hooks_to_json (&hooks, &err);
  struct rcvmi_spec *s;

  (void) state;
  check_ok (0, err);
  s = rcvmi_spec_parse_hooks (json, &err);
  check_ok (0, err);
  assert_int_equal (s->hooks->n_poststop, 2);
  assert_string_equal (s->hooks->poststop[0].args[2], list[0].args[2]);
  assert_string_equal (s->hooks->poststop[0].env[0], "A=b c");
  assert_int_equal (s->hooks->poststop[0].timeout.value, 7);
  assert_string_equal (s->hooks->poststop[1].path, "/p");
  assert_null (s->hooks->poststop[1].args);
  assert_false (s->hooks->poststop[1].timeout.set);
  rcvmi_spec_free (s);
  free (json);
  assert_null (rcvmi_spec_parse_hooks ("{\"poststop\":[{}]}", &err));
  check_error (&err, RCVM_E_SPEC, "spec", "path");
}

static int
set_up (void **state)
{
  (void) state;
  return mkdtemp (dir) ? 0 : -1;
}

static int
tear_down (void **state)
{
  char path[256];

  (void) state;
  snprintf (path, sizeof path, "%s/pwd", dir);
  unlink (path);
  return rmdir (dir);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_given),   cmocka_unit_test (test_failures),         cmocka_unit_test (test_timeout),
    cmocka_unit_test (test_output),  cmocka_unit_test (test_abort),            cmocka_unit_test (test_no_fds_are_left),
    cmocka_unit_test (test_text),
  };

  return cmocka_run_group_tests (tests, set_up, tear_down);
}
