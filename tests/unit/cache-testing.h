/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of the cache: a directory of the test's own with a cache and a tree, and a builder that
   counts. */
#ifndef RCVM_TESTS_CACHE_TESTING_H
#define RCVM_TESTS_CACHE_TESTING_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache-priv.h"
#include "support.h"

struct fixture
{
  char *top;
  char *tree;   /* holds one small file */
  char *builds; /* a byte for each build, by whichever process */
  struct rcvmi_cache cache;
};

static char *
path_in (const char *dir, const char *name)
{
  char *path;

  assert_true (asprintf (&path, "%s/%s", dir, name) > 0);
  return path;
}

static int
fixture_setup (void **state)
{
  struct fixture *f = calloc (1, sizeof *f);
  rcvm_error *err = NULL;
  char *file, *dir;

  f->top = make_dir ();
  f->tree = path_in (f->top, "tree");
  f->builds = path_in (f->top, "builds");
  assert_int_equal (mkdir (f->tree, 0755), 0);
  file = path_in (f->tree, "file");
  write_file (file, "contents", 8);
  free (file);
  dir = path_in (f->top, "cache");
  check_ok (rcvmi_cache_open (&f->cache, dir, &err), err);
  f->cache.limit = RCVMI_CACHE_UNLIMITED;
  /* What is tested here needs no disk. */
  f->cache.sync = false;
  free (dir);
  *state = f;
  return 0;
}

static int
fixture_teardown (void **state)
{
  struct fixture *f = *state;
  char *mounted = path_in (f->tree, "dir");

  /* What a test that failed may have left. */
  umount2 (mounted, MNT_DETACH);
  if (f->cache.path)
    umount2 (f->cache.path, MNT_DETACH);
  free (mounted);
  rcvmi_cache_close (&f->cache);
  remove_tree (f->top);
  free (f->tree);
  free (f->builds);
  free (f);
  return 0;
}

static int __attribute__ ((unused))
count_builds (const struct fixture *f)
{
  struct stat st;

  return stat (f->builds, &st) == 0 ? (int) st.st_size : 0;
}

static int
build_counted (void *user, const char *path, rcvm_error **err)
{
  const struct fixture *f = user;
  struct rcvmi_rootfs_params params = RCVMI_CACHE_ROOTFS_PARAMS;
  int fd = open (f->builds, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

  assert_true (fd >= 0 && write (fd, "b", 1) == 1);
  close (fd);
  params.sync = false;
  return rcvmi_rootfs_build (f->tree, path, &params, err);
}

static int __attribute__ ((unused))
acquire (struct fixture *f, const char *key, struct rcvmi_cache_entry *out, rcvm_error **err)
{
  struct rcvmi_cache_build b = { .build = build_counted, .user = f, .source = "a test" };

  return rcvmi_cache_acquire (&f->cache, key, &b, out, err);
}

/* Has that image, and does not keep it in use.  Returns whether it was built. */
static bool __attribute__ ((unused))
have (struct fixture *f, const char *key)
{
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
  rcvm_error *err = NULL;
  bool built;

  if (acquire (f, key, &e, &err) < 0) fail_msg ("%s", rcvm_error_get_message (err));
  built = !e.hit;
  rcvmi_cache_entry_clear (&e);
  return built;
}

static char *__attribute__ ((unused))
image_path (const struct fixture *f, const char *key)
{
  char *path;

  assert_true (asprintf (&path, "%s/%s.ext4", f->cache.path, key) > 0);
  return path;
}

static bool __attribute__ ((unused))
is_there (const struct fixture *f, const char *key)
{
  char *path = image_path (f, key);
  bool there = access (path, F_OK) == 0;

  free (path);
  return there;
}

/* Files of the cache whose names begin so. */
static int __attribute__ ((unused))
count_files (const struct fixture *f, const char *prefix)
{
  DIR *dir = opendir (f->cache.path);
  struct dirent *d;
  int n = 0;

  assert_non_null (dir);
  while ((d = readdir (dir)))
    n += d->d_name[0] != '.' && strncmp (d->d_name, prefix, strlen (prefix)) == 0;
  closedir (dir);
  return n;
}

/* A child that ends with what the function returns; pipes and locks are its own. */
static pid_t __attribute__ ((unused))
spawn (int (*fn) (void *user), void *user)
{
  pid_t pid = fork ();

  assert_true (pid >= 0);
  if (pid == 0)
    _exit (fn (user));
  return pid;
}

static int __attribute__ ((unused))
await_exit (pid_t pid)
{
  int status;

  while (waitpid (pid, &status, 0) < 0)
    assert_int_equal (errno, EINTR);
  return WIFEXITED (status) ? WEXITSTATUS (status) : 128 + WTERMSIG (status);
}

#endif
