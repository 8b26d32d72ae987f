/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cache: directories, the environment, what it lists, and the public calls. */
#include "config.h"

#include "cache-testing.h"

#include <runcvm/cache.h>

static void
open_fails (const char *directory, int code, const char *part)
{
  struct rcvmi_cache c = RCVMI_CACHE_INIT;
  rcvm_error *err = NULL;
  int fds = count_fds ();

  assert_int_equal (rcvmi_cache_open (&c, directory, &err), code);
  check_error (&err, code, "rootfs", part);
  assert_int_equal (c.fd, -1);
  assert_int_equal (count_fds (), fds);
}

TEST (test_directories)
{
  struct fixture *f = *state;
  char *file = path_in (f->tree, "file"), *below = path_in (f->tree, "file/cache"),
       *deep = path_in (f->top, "a/b/c"), *cwd = get_current_dir_name ();
  struct rcvmi_cache c = RCVMI_CACHE_INIT;
  rcvm_error *err = NULL;
  struct stat st;

  open_fails (file, RCVM_E_NOT_FOUND, file);
  open_fails (below, RCVM_E_NOT_FOUND, below);
  assert_int_equal (chmod (f->tree, 0777), 0);
  open_fails (f->tree, RCVM_E_PERMISSION, "others can write");
  if (geteuid () == 0)
    {
      assert_int_equal (chmod (f->tree, 0700), 0);
      assert_int_equal (chown (f->tree, 65534, 0), 0);
      open_fails (f->tree, RCVM_E_PERMISSION, "belongs to user 65534");
      open_fails ("/proc/cache", RCVM_E_NOT_FOUND, "cannot make the cache directory '/proc/cache'");
    }
  check_ok (rcvmi_cache_open (&c, deep, &err), err);
  assert_int_equal (stat (deep, &st), 0);
  assert_int_equal (st.st_mode & 07777, 0700);
  rcvmi_cache_close (&c);
  /* Relative to where the caller is, once and for all. */
  assert_int_equal (chdir (f->top), 0);
  check_ok (rcvmi_cache_open (&c, "a/b/c", &err), err);
  assert_int_equal (chdir (cwd), 0);
  assert_string_equal (c.path + strlen (c.path) - 5, "a/b/c");
  assert_int_equal (c.path[0], '/');
  rcvmi_cache_close (&c);
  free (file);
  free (below);
  free (deep);
  free (cwd);
}

/* What root may do must not be needed. */
TEST (test_unprivileged)
{
  struct fixture *f = *state;
  char *file = path_in (f->tree, "file"), *own = path_in (f->top, "home/cache"),
       *home = path_in (f->top, "home");
  struct rcvmi_cache root = f->cache;
  rcvm_error *err = NULL;
  int r = -1;

  assert_int_equal (chmod (f->top, 0777), 0);
  assert_int_equal (chmod (file, 0644), 0);
  assert_int_equal (mkdir (home, 0700), 0);
  if (geteuid () == 0)
    {
      assert_int_equal (chown (home, 65534, 65534), 0);
      assert_int_equal (seteuid (65534), 0);
    }
  f->cache = RCVMI_CACHE_INIT;
  if (rcvmi_cache_open (&f->cache, own, &err) == 0 && have (f, "k") && !have (f, "k"))
    r = rcvmi_cache_prune (&f->cache, 0, NULL, &err);
  if (getuid () == 0)
    assert_int_equal (seteuid (0), 0);
  check_ok (r, err);
  assert_int_equal (count_files (f, ""), 1);
  rcvmi_cache_close (&f->cache);
  f->cache = root;
  free (file);
  free (own);
  free (home);
}

static void
expect_path (const char *path, uint64_t limit)
{
  struct rcvmi_cache c = RCVMI_CACHE_INIT;
  rcvm_error *err = NULL;

  check_ok (rcvmi_cache_open (&c, NULL, &err), err);
  assert_string_equal (c.path, path);
  if (limit)
    assert_true (c.limit == limit);
  else
    assert_true (c.limit > 0);
  rcvmi_cache_close (&c);
}

TEST (test_environment)
{
  struct fixture *f = *state;
  char *data = path_in (f->top, "data"), *cache = path_in (f->top, "data/cache"),
       *own = path_in (f->top, "own");

  setenv ("RUNCVM_DATA_DIR", data, 1);
  unsetenv ("RUNCVM_CACHE_DIR");
  unsetenv ("RUNCVM_CACHE_SIZE");
  expect_path (cache, 0);
  setenv ("RUNCVM_CACHE_DIR", own, 1);
  setenv ("RUNCVM_CACHE_SIZE", "3G", 1);
  expect_path (own, UINT64_C (3) << 30);
  setenv ("RUNCVM_CACHE_SIZE", "unlimited", 1);
  expect_path (own, UINT64_MAX);
  setenv ("RUNCVM_CACHE_SIZE", "much", 1);
  open_fails (NULL, RCVM_E_INVALID, "RUNCVM_CACHE_SIZE is 'much'");
  unsetenv ("RUNCVM_CACHE_SIZE");
  /* Of which directory, a monitor would not know. */
  setenv ("RUNCVM_CACHE_DIR", "relative", 1);
  open_fails (NULL, RCVM_E_INVALID, "have to begin with /");
  unsetenv ("RUNCVM_CACHE_DIR");
  unsetenv ("RUNCVM_DATA_DIR");
  free (data);
  free (cache);
  free (own);
}

/* The directory goes while the cache is open. */
TEST (test_directory_goes)
{
  struct fixture *f = *state;
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
  rcvm_error *err = NULL;
  char *moved = path_in (f->top, "moved");

  have (f, "k");
  assert_int_equal (rename (f->cache.path, moved), 0);
  acquire (f, "new", &e, &err);
  check_error (&err, RCVM_E_NOT_FOUND, "rootfs", f->cache.path);
  assert_int_equal (rename (moved, f->cache.path), 0);
  assert_true (have (f, "new"));
  free (moved);
}

TEST (test_json)
{
  struct fixture *f = *state;
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
  rcvm_error *err = NULL;
  char *text = rcvmi_cache_list_json (&f->cache, &err);

  assert_string_equal (text, "[\n]\n");
  free (text);
  have (f, "older");
  check_ok (acquire (f, "newer", &e, &err), err);
  /* Looking at them changes nothing. */
  for (int i = 0; i < 2; i++)
    {
      free (rcvmi_cache_verify_json (&f->cache, false, &err));
      free (rcvmi_cache_list_json (&f->cache, &err));
    }
  text = rcvmi_cache_list_json (&f->cache, &err);
  assert_non_null (text);
  assert_true (strstr (text, "\"newer\"") < strstr (text, "\"older\""));
  assert_non_null (strstr (text, "\"inUse\":true"));
  assert_non_null (strstr (text, "\"inUse\":false"));
  assert_true (strstr (text, "\"inUse\":true") < strstr (text, "\"inUse\":false"));
  assert_non_null (strstr (text, "\"source\":\"a test\""));
  assert_non_null (strstr (text, "\"durable\":false"));
  free (text);
  rcvmi_cache_entry_clear (&e);
}

TEST (test_public)
{
  struct fixture *f = *state;
  char *dir = path_in (f->top, "public"), *text;
  rcvm_cache *c;
  rcvm_error *err = NULL;
  uint64_t freed = 7;
  int fd = -1, fds;

  rcvm_cache_free (NULL);
  assert_string_equal (rcvm_cache_get_path (NULL), "");
  assert_int_equal (rcvm_cache_set_limit (NULL, 1, &err), RCVM_E_INVALID);
  check_error (&err, RCVM_E_INVALID, "api", "no cache was given");
  assert_null (rcvm_cache_list_json (NULL, &err));
  check_error (&err, RCVM_E_INVALID, "api", "no cache was given");
  assert_null (rcvm_cache_verify_json (NULL, 0, &err));
  check_error (&err, RCVM_E_INVALID, "api", "no cache was given");
  assert_null (rcvm_cache_add_json (NULL, f->tree, NULL, &fd, &err));
  check_error (&err, RCVM_E_INVALID, "api", "no cache was given");
  assert_int_equal (rcvm_cache_prune (NULL, 0, NULL, &err), RCVM_E_INVALID);
  check_error (&err, RCVM_E_INVALID, "api", "no cache was given");

  fds = count_fds ();
  c = rcvm_cache_open (dir, &err);
  assert_non_null (c);
  assert_string_equal (rcvm_cache_get_path (c), dir);
  assert_null (rcvm_cache_add_json (c, NULL, NULL, &fd, &err));
  check_error (&err, RCVM_E_INVALID, "api", "needs a directory");
  assert_int_equal (fd, -1);
  check_ok (rcvm_cache_set_limit (c, 1, &err), err);
  text = rcvm_cache_add_json (c, f->tree, NULL, &fd, &err);
  assert_non_null (text);
  assert_true (fd >= 0);
  rcvm_free (text);
  check_ok (rcvm_cache_prune (c, 0, &freed, &err), err);
  assert_int_equal (freed, 0);
  close (fd);
  check_ok (rcvm_cache_prune (c, 0, &freed, &err), err);
  assert_true (freed > 0);
  rcvm_cache_free (c);
  assert_int_equal (count_fds (), fds);
  free (dir);
}

#define T(name) cmocka_unit_test_setup_teardown (name, fixture_setup, fixture_teardown)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    T (test_directories),
    T (test_unprivileged),
    T (test_environment),
    T (test_directory_goes),
    T (test_json),
    T (test_public),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
