/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cgroups: which there are, by the kernel's texts; and, where they can be made here, the real ones. */
#include "config.h"

#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "cgroup-stats.h"

/* "CONTROLLERS at MOUNT own OWN; ..." */
static char *
parse (const char *mountinfo, const char *cgroup)
{
  struct rcvmi_cgroup c;
  rcvm_error *err = NULL;
  char *text = NULL;
  size_t size;
  FILE *f = open_memstream (&text, &size);

  assert_int_equal (rcvmi_cgroup_parse (&c, mountinfo, cgroup, &err), 0);
  check_ok (0, err);
  for (size_t i = 0; i < c.n; i++)
    fprintf (f, "%s%s %s %s", i ? "; " : "", c.list[i].v2 ? "v2" : c.list[i].controllers, c.list[i].mount,
             c.list[i].own ? c.list[i].own : "-");
  fclose (f);
  rcvmi_cgroup_clear (&c);
  return text;
}

static void
test_parse (void **state)
{
  static const struct
  {
    const char *mountinfo, *cgroup, *wanted;
  } cases[] = {
    { "", "", "" },
    { "30 24 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", "0::/user.slice/x.scope\n",
      "v2 /sys/fs/cgroup /sys/fs/cgroup/user.slice/x.scope" },
    { "30 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/\n", "v2 /sys/fs/cgroup /sys/fs/cgroup" },
    /* Two controllers in one, named ones, one that is not mounted, a second mount of the same. */
    { "1 1 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
      "2 1 0:2 / /c/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "3 1 0:3 / /c/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
      "4 1 0:4 / /c/memory\\040x rw - cgroup cgroup rw,memory\n"
      "5 1 0:2 / /elsewhere rw - cgroup cgroup rw,cpu,cpuacct\n"
      "6 1 0:5 / /c/unified rw - cgroup2 cgroup2 rw\n",
      "12:cpu,cpuacct:/a\n3:memory:/b/c\n2:pids:/\n1:name=systemd:/s\n0::/u\n",
      "cpu,cpuacct /c/cpu,cpuacct /c/cpu,cpuacct/a; name=systemd /c/systemd /c/systemd/s; memory /c/memory x /c/memory x/b/c; "
      "v2 /c/unified /c/unified/u" },
    /* In a container: what is mounted is a part of the hierarchy. */
    { "1 1 0:1 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "1:memory:/docker/abc\n",
      "memory /sys/fs/cgroup/memory /sys/fs/cgroup/memory" },
    { "1 1 0:1 /docker/abc /m rw - cgroup cgroup rw,memory\n", "1:memory:/docker/abc/d\n", "memory /m /m/d" },
    { "1 1 0:1 /docker/abc /m rw - cgroup cgroup rw,memory\n", "1:memory:/docker/abcd\n", "memory /m -" },
    { "1 1 0:1 / /m rw - cgroup2 cgroup2 rw\n", "0::/../..\n", "v2 /m -" },
    /* What is no such line. */
    { "1 1 0:1 / /m rw\n - cgroup\n1 - cgroup2 cgroup2 rw\n\n1 2 3 4 5 - cgroup\n", "x\n::\n0:\n", "" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      char *got = parse (cases[i].mountinfo, cases[i].cgroup);

      assert_string_equal (got, cases[i].wanted);
      free (got);
    }
}

static void
test_bad_paths (void **state)
{
  static const char *const bad[] = { "", "/", "///", "/a/../b", "..", "a/.", "/a\nb", "/a\x7f" };

  (void) state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      struct rcvmi_cgroup c = { 0 };
      rcvm_error *err = NULL;

      assert_int_equal (rcvmi_cgroup_make (&c, bad[i], &err), RCVM_E_SPEC);
      check_error (&err, RCVM_E_SPEC, "cgroup", "path");
    }
}

/* Records that were tampered with name nothing that is there, and nothing is done. */
static void
test_bad_records (void **state)
{
  static const char *const bad[] = { "", "\n\n", "1", "1 2", "1 2 ", "3 1 /tmp\n", "1 x /tmp\n", "1 18446744073709551615 /tmp\n",
                                     "2 1 tmp\n", "1 5 /nowhere\n", "1 1 /tmp" };

  (void) state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_int_equal (rcvmi_cgroup_remove_record (bad[i], NULL), 0);
  assert_int_equal (access ("/tmp", F_OK), 0);
}

/* A group of this test, or a skip. */
static struct rcvmi_cgroup
make_real (char name[64])
{
  struct rcvmi_cgroup c;
  rcvm_error *err = NULL;

  SKIP_UNDER_VALGRIND ();
  snprintf (name, 64, "runcvm-unit-%d", (int) getpid ());
  assert_int_equal (rcvmi_cgroup_find (&c, &err), 0);
  if (c.n == 0 || rcvmi_cgroup_make (&c, name, &err) < 0)
    {
      rcvm_error_free (err);
      rcvmi_cgroup_clear (&c);
      skip ();
    }
  return c;
}

static void
test_real (void **state)
{
  char name[64], *record, *json;
  struct rcvmi_cgroup c = make_real (name), again;
  rcvm_error *err = NULL;
  pid_t child, *pids;
  struct stat st;
  int ready[2], status;

  (void) state;
  assert_int_equal (pipe (ready), 0);
  child = fork ();
  if (child == 0)
    {
      char ok = rcvmi_cgroup_enter (&c, NULL) == 0;

      if (write (ready[1], &ok, 1) == 1)
        pause ();
      _exit (1);
    }
  read_full (ready[0], &status, 1);
  assert_int_equal (status & 0xff, 1);
  close (ready[0]);
  close (ready[1]);
  pids = rcvmi_cgroup_processes (&c, &err);
  check_ok (0, err);
  assert_int_equal (pids[0], child);
  assert_int_equal (pids[1], -1);
  free (pids);
  json = rcvmi_cgroup_stats (&c, NULL, 0, 3, &err);
  check_ok (0, err);
  assert_non_null (strstr (json, "\"oomKills\":3"));
  free (json);
  /* Whose processes are in it, another VM's group it cannot be. */
  assert_int_equal (rcvmi_cgroup_find (&again, &err), 0);
  assert_int_equal (rcvmi_cgroup_make (&again, name, &err), RCVM_E_STATE);
  check_error (&err, RCVM_E_STATE, "cgroup", "there are processes in the cgroup");
  rcvmi_cgroup_clear (&again);
  record = rcvmi_cgroup_to_record (&c, &err);
  check_ok (0, err);
  assert_int_equal (rcvmi_cgroup_remove_record (record, &err), 0);
  check_ok (0, err);
  assert_int_equal (waitpid (child, &status, 0), child);
  assert_int_equal (status, SIGKILL);
  for (size_t i = 0; i < c.n; i++)
    assert_int_equal (stat (c.list[i].path, &st), -1);
  /* Twice is once. */
  assert_int_equal (rcvmi_cgroup_remove_record (record, &err), 0);
  free (record);
  rcvmi_cgroup_clear (&c);
}

/* Another group of the same name is left alone. */
static void
test_other_group (void **state)
{
  char name[64], *record;
  struct rcvmi_cgroup c = make_real (name);
  rcvm_error *err = NULL;
  struct stat st;

  (void) state;
  record = rcvmi_cgroup_to_record (&c, &err);
  check_ok (0, err);
  for (size_t i = 0; i < c.n; i++)
    {
      assert_int_equal (rmdir (c.list[i].path), 0);
      assert_int_equal (mkdir (c.list[i].path, 0755), 0);
    }
  assert_int_equal (rcvmi_cgroup_remove_record (record, &err), 0);
  for (size_t i = 0; i < c.n; i++)
    {
      assert_int_equal (stat (c.list[i].path, &st), 0);
      assert_int_equal (rmdir (c.list[i].path), 0);
    }
  free (record);
  rcvmi_cgroup_clear (&c);
}

static void
test_real_limits (void **state)
{
  char name[64], text[64], *record;
  struct rcvmi_cgroup c = make_real (name);
  const struct rcvmi_cgroup_hierarchy *h = rcvmi_cgroup_of (&c, "pids");
  struct rcvmi_limit list[] = {
    { .what = "pids.limit", .controller = (char *) "pids", .file = (char *) "pids.nothing", .value = (char *) "1",
      .other_file = (char *) "pids.max", .other_value = (char *) "77" },
    { .what = "pids.limit", .controller = (char *) "pids", .file = (char *) "pids.missing", .value = (char *) "1", .optional = true },
    { .what = "nothing", .controller = (char *) "no-such", .file = (char *) "x", .value = (char *) "1" },
    { .what = "late", .controller = (char *) "pids", .file = (char *) "pids.max", .value = (char *) "88", .late = true },
    { .what = "wrong", .controller = (char *) "pids", .file = (char *) "pids.max", .value = (char *) "many" },
  };
  struct rcvmi_limits limits = { list, 4 };
  rcvm_error *err = NULL;

  (void) state;
  record = rcvmi_cgroup_to_record (&c, &err);
  if (h)
    {
      for (size_t i = 0; i < 5; i++)
        list[i].v2 = h->v2;
      assert_true (rcvmi_cgroup_takes (&c, &limits, "pids.limit"));
      assert_false (rcvmi_cgroup_takes (&c, &limits, "nothing"));
      assert_int_equal (rcvmi_cgroup_apply (&c, &limits, false, &err), 0);
      check_ok (0, err);
      assert_int_equal (rcvmi_cgroup_read (h, "pids.max", text, sizeof text), 0);
      assert_string_equal (text, "77\n");
      assert_int_equal (rcvmi_cgroup_apply (&c, &limits, true, &err), 0);
      assert_int_equal (rcvmi_cgroup_read (h, "pids.max", text, sizeof text), 0);
      assert_string_equal (text, "88\n");
      limits.n = 5;
      assert_true (rcvmi_cgroup_apply (&c, &limits, false, &err) < 0);
      check_error (&err, RCVM_E_SYSTEM, "cgroup", "'linux.resources.wrong': cannot write 'many'");
    }
  assert_int_equal (rcvmi_cgroup_remove_record (record, NULL), 0);
  free (record);
  rcvmi_cgroup_clear (&c);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_parse),       cmocka_unit_test (test_bad_paths),   cmocka_unit_test (test_bad_records),
    cmocka_unit_test (test_real),        cmocka_unit_test (test_other_group), cmocka_unit_test (test_real_limits),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
