/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The directory of a VM's disks: whose it is, who has it, and what stays in it. */
#include "config.h"

#include "support.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "disks.h"

static char *
join (const char *a, const char *b)
{
  char *path;

  assert_true (asprintf (&path, "%s/%s", a, b) > 0);
  return path;
}

/* A data directory with one VM's disks, open. */
static char *
set_up (struct rcvmi_disks *d)
{
  char *top = make_dir ();
  autofree char *data = join (top, "data");
  rcvm_error *err = NULL;

  setenv ("RUNCVM_DATA_DIR", data, 1);
  check_ok (rcvmi_disks_open (d, "/run/x", "vm", &err), err);
  return top;
}

static bool
exists (const char *path)
{
  return access (path, F_OK) == 0;
}

/* What an earlier VM has changed is there until it has been written back, whatever becomes of the next one. */
TEST (test_pending)
{
  struct rcvmi_disks d;
  char *top = set_up (&d);
  autofree char *root = join (top, "root"), *moved = join (top, "moved");
  struct rcvmi_intent intent = { .rootfs = root, .base = "/base" };
  rcvm_error *err = NULL;

  assert_false (rcvmi_disks_pending (&d));
  assert_int_equal (mkdir (root, 0755), 0);
  write_file (d.upper, "x", 1);
  assert_false (rcvmi_disks_pending (&d));
  check_ok (rcvmi_disks_intend (&d, &intent, &err), err);
  assert_true (rcvmi_disks_pending (&d));
  assert_int_equal (rename (root, moved), 0);
  assert_int_equal (mkdir (root, 0755), 0);
  assert_true (rcvmi_disks_settle (&d, &err) < 0);
  assert_non_null (strstr (rcvm_error_get_message (err), d.dir));
  check_error (&err, RCVM_E_STATE, "rootfs", "is not the root file system that it was");
  assert_true (rcvmi_disks_pending (&d));
  rcvmi_disks_remove (&d);
  remove_tree (top);
}

TEST (test_whose)
{
  struct rcvmi_disks d;
  char *top = set_up (&d);
  autofree char *dir = strdup (d.dir), *vms = join (top, "data/vms"), *upper = strdup (d.upper);
  rcvm_error *err = NULL;

  write_file (upper, "x", 1);
  rcvmi_disks_close (&d);
  assert_int_equal (chmod (vms, 0777), 0);
  assert_true (rcvmi_disks_open (&d, "/run/x", "vm", &err) < 0);
  check_error (&err, RCVM_E_PERMISSION, "rootfs", "others can write");
  assert_true (rcvmi_disks_recover (dir, false, &err) < 0);
  check_error (&err, RCVM_E_PERMISSION, "rootfs", "others can write");
  assert_int_equal (chmod (vms, 0700), 0);
  if (geteuid () == 0)
    {
      assert_int_equal (chown (dir, 65534, 65534), 0);
      assert_true (rcvmi_disks_open (&d, "/run/x", "vm", &err) < 0);
      check_error (&err, RCVM_E_PERMISSION, "rootfs", "belongs to user 65534");
      assert_true (rcvmi_disks_recover (dir, true, &err) < 0);
      check_error (&err, RCVM_E_PERMISSION, "rootfs", "belongs to user 65534");
      assert_int_equal (chown (dir, 0, 0), 0);
    }
  assert_true (exists (upper));
  check_ok (rcvmi_disks_recover (dir, false, &err), err);
  assert_false (exists (dir));
  check_ok (rcvmi_disks_recover (dir, false, &err), err);
  remove_tree (top);
}

/* Neither is waited for. */
TEST (test_nowhere)
{
  char *top = make_dir ();
  autofree char *link = join (top, "link"), *dir = NULL;
  struct rcvmi_disks d;
  rcvm_error *err = NULL;

  assert_int_equal (symlink ("/nonexistent/runcvm", link), 0);
  setenv ("RUNCVM_DATA_DIR", link, 1);
  assert_true (rcvmi_disks_open (&d, "/run/x", "vm", &err) < 0);
  check_error (&err, RCVM_E_NOT_FOUND, "rootfs", "cannot make the data directory");
  setenv ("RUNCVM_DATA_DIR", "relative", 1);
  assert_true (rcvmi_disks_open (&d, "/run/x", "vm", &err) < 0);
  check_error (&err, RCVM_E_INVALID, "rootfs", "has to begin with /");
  assert_false (exists ("relative"));
  remove_tree (top);
}

struct caller
{
  const char *dir;
  int result;
  rcvm_error *err;
  atomic_bool done;
};

static void *
recover (void *user)
{
  struct caller *c = user;

  c->result = rcvmi_disks_recover (c->dir, false, &c->err);
  atomic_store (&c->done, true);
  return NULL;
}

/* Whether somebody waits for a lock on the file. */
static bool
is_waited_for (int fd)
{
  char line[256], inode[64];
  FILE *locks = fopen ("/proc/locks", "re");
  bool found = false;
  struct stat st;

  assert_non_null (locks);
  assert_int_equal (fstat (fd, &st), 0);
  snprintf (inode, sizeof inode, ":%llu ", (unsigned long long) st.st_ino);
  while (fgets (line, sizeof line, locks))
    if (strstr (line, "-> ") && strstr (line, inode))
      found = true;
  fclose (locks);
  return found;
}

/* The second caller is not told that all is well before the first one has finished; but a VM that lives is not waited for. */
TEST (test_recover_twice)
{
  struct flock first = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 2 };
  struct rcvmi_disks d;
  autofree char *dir = NULL, *lock = NULL;
  struct caller c = { 0 };
  pthread_t thread;
  char *top;
  int fd;

  /* Which lets no other thread run while one waits for such a lock. */
  SKIP_UNDER_VALGRIND ();
  top = set_up (&d);
  lock = join (d.dir, "lock");
  dir = strdup (d.dir);
  c.dir = dir;
  check_ok (rcvmi_disks_recover (dir, false, &c.err), c.err);
  assert_true (exists (lock));
  rcvmi_disks_close (&d);
  fd = open (lock, O_RDWR | O_CLOEXEC);
  assert_true (fd >= 0);
  assert_int_equal (fcntl (fd, F_OFD_SETLK, &first), 0);
  assert_int_equal (pthread_create (&thread, NULL, recover, &c), 0);
  while (!is_waited_for (fd))
    assert_false (atomic_load (&c.done));
  assert_true (exists (lock));
  close (fd);
  assert_int_equal (pthread_join (thread, NULL), 0);
  check_ok (c.result, c.err);
  assert_false (exists (dir));
  remove_tree (top);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_pending),
    cmocka_unit_test (test_whose),
    cmocka_unit_test (test_nowhere),
    cmocka_unit_test (test_recover_twice),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
