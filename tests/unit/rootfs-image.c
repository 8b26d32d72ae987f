/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "rootfs-image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int
image_setup (void **state)
{
  char template[] = "/tmp/rootfs-test.XXXXXX";
  char *dir = mkdtemp (template);

  umask (0);
  if (!dir || chdir (dir) < 0 || mkdir ("tree", 0755) < 0)
    return -1;
  *state = strdup (dir);
  return *state ? 0 : -1;
}

static int
remove_entry (const char *path, const struct stat *st, int type, struct FTW *ftw)
{
  (void) st;
  (void) type;
  (void) ftw;
  return remove (path);
}

int
image_teardown (void **state)
{
  int r = chdir ("/");

  if (nftw (*state, remove_entry, 16, FTW_DEPTH | FTW_PHYS) < 0)
    r = -1;
  free (*state);
  return r;
}

void
make_file (const char *path, const void *data, size_t len)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

  assert_true (fd >= 0);
  assert_int_equal (write (fd, data, len), (ssize_t) len);
  assert_int_equal (close (fd), 0);
}

void
make_text (const char *path, const char *text)
{
  make_file (path, text, strlen (text));
}

void
make_dir (const char *path)
{
  assert_int_equal (mkdir (path, 0755), 0);
}

void
make_link (const char *target, const char *path)
{
  assert_int_equal (symlink (target, path), 0);
}

rcvm_rootfs_options *
options_new (void)
{
  rcvm_rootfs_options *o = rcvm_rootfs_options_new (NULL);

  assert_non_null (o);
  /* Small images, quickly made. */
  assert_int_equal (rcvm_rootfs_options_set_headroom (o, 0, NULL), 0);
  assert_int_equal (rcvm_rootfs_options_set_sync (o, 0, NULL), 0);
  return o;
}

rcvm_rootfs_options *
options_copy (rcvm_rootfs_options *o, const char *source, const char *destination)
{
  assert_int_equal (rcvm_rootfs_options_add_copy (o, source, destination, NULL), 0);
  return o;
}

void
build (rcvm_rootfs_options *options)
{
  rcvm_rootfs_options *o = options ? options : options_new ();
  rcvm_error *err = NULL;

  if (rcvm_rootfs_build ("tree", "image", o, &err) < 0)
    fail_msg ("%s", rcvm_error_get_message (err));
  rcvm_rootfs_options_free (o);
  check_clean ("image");
}

int
count_entries (const char *path)
{
  DIR *dir = opendir (path);
  int n = 0;

  assert_non_null (dir);
  while (readdir (dir))
    n++;
  closedir (dir);
  /* Without "." and "..". */
  return n - 2;
}

void
build_fails (rcvm_rootfs_options *options, int code, const char *part)
{
  rcvm_rootfs_options *o = options ? options : options_new ();
  rcvm_error *err = NULL;
  int before = count_entries ("."), r = rcvm_rootfs_build ("tree", "image", o, &err);

  assert_int_not_equal (r, 0);
  assert_string_equal (rcvm_code_name (r), rcvm_code_name (code));
  assert_int_equal (rcvm_error_get_code (err), code);
  assert_string_equal (rcvm_error_get_stage (err), "rootfs");
  if (!strstr (rcvm_error_get_message (err), part))
    fail_msg ("'%s' is not in: %s", part, rcvm_error_get_message (err));
  rcvm_error_free (err);
  rcvm_rootfs_options_free (o);
  assert_int_equal (count_entries ("."), before);
}

void
check_clean (const char *image)
{
  char *argv[] = { (char *) "e2fsck", (char *) "-fn", (char *) image, NULL };
  char *envp[] = { (char *) "PATH=/usr/sbin:/sbin:/usr/bin:/bin", NULL };
  posix_spawn_file_actions_t actions;
  int status;
  pid_t pid;

  posix_spawn_file_actions_init (&actions);
  posix_spawn_file_actions_addopen (&actions, 1, "fsck.log", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2 (&actions, 1, 2);
  if (access ("/sbin/e2fsck", X_OK) == 0)
    {
      assert_int_equal (posix_spawn (&pid, "/sbin/e2fsck", &actions, NULL, argv, envp), 0);
      assert_int_equal (waitpid (pid, &status, 0), pid);
      if (status)
        assert_int_equal (system ("cat fsck.log >&2"), 0);
      assert_int_equal (status, 0);
      unlink ("fsck.log");
    }
  else
    print_message ("e2fsck is not there: the image is not checked\n");
  posix_spawn_file_actions_destroy (&actions);
}

ext2_filsys
image_open (const char *image)
{
  ext2_filsys fs;

  assert_int_equal (ext2fs_open (image, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs), 0);
  return fs;
}

ext2_ino_t
image_lookup (ext2_filsys fs, const char *path)
{
  ext2_ino_t ino;
  errcode_t code = ext2fs_namei (fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, &ino);

  if (code == EXT2_ET_FILE_NOT_FOUND || code == EXT2_ET_NO_DIRECTORY)
    return 0;
  assert_int_equal (code, 0);
  return ino;
}

struct ext2_inode_large
image_inode (ext2_filsys fs, const char *path)
{
  struct ext2_inode_large inode;
  ext2_ino_t ino = image_lookup (fs, path);

  if (!ino)
    fail_msg ("'%s' is not in the image", path);
  assert_int_equal (
      ext2fs_read_inode_full (fs, ino, (struct ext2_inode *) &inode, sizeof inode), 0);
  return inode;
}

void
image_expect (ext2_filsys fs, const char *path, const void *data, size_t len)
{
  struct ext2_inode_large inode = image_inode (fs, path);
  char *buffer = malloc (len + 1);
  unsigned got = 0;
  ext2_file_t file;

  assert_non_null (buffer);
  assert_true (LINUX_S_ISREG (inode.i_mode));
  assert_int_equal (EXT2_I_SIZE (&inode), len);
  assert_int_equal (ext2fs_file_open (fs, image_lookup (fs, path), 0, &file), 0);
  for (size_t at = 0; at < len; at += got)
    {
      assert_int_equal (ext2fs_file_read (file, buffer + at, (unsigned) (len - at), &got), 0);
      assert_int_not_equal (got, 0);
    }
  ext2fs_file_close (file);
  assert_memory_equal (buffer, data, len);
  free (buffer);
}

void
image_expect_text (ext2_filsys fs, const char *path, const char *text)
{
  image_expect (fs, path, text, strlen (text));
}

void
expect_text (const char *path, const char *text)
{
  ext2_filsys fs = image_open ("image");

  image_expect_text (fs, path, text);
  ext2fs_close_free (&fs);
}

void
expect_none (const char *path)
{
  ext2_filsys fs = image_open ("image");

  assert_int_equal (image_lookup (fs, path), 0);
  ext2fs_close_free (&fs);
}

int64_t
image_time (uint32_t low, uint32_t extra, uint32_t *nsec)
{
  *nsec = extra >> 2;
  return (int64_t) (int32_t) low + ((int64_t) (extra & 3) << 32);
}

long
image_xattr (ext2_filsys fs, const char *path, const char *name, void *value, size_t size)
{
  struct ext2_xattr_handle *h;
  errcode_t code;
  void *found;
  size_t len;

  assert_int_equal (ext2fs_xattrs_open (fs, image_lookup (fs, path), &h), 0);
  /* As on disk: ACLs unconverted. */
  unsigned flags = XATTR_HANDLE_FLAG_RAW;
  assert_int_equal (ext2fs_xattrs_flags (h, &flags, NULL), 0);
  assert_int_equal (ext2fs_xattrs_read (h), 0);
  code = ext2fs_xattr_get (h, name, &found, &len);
  ext2fs_xattrs_close (&h);
  if (code == EXT2_ET_EA_KEY_NOT_FOUND)
    return -1;
  assert_int_equal (code, 0);
  memcpy (value, found, len < size ? len : size);
  ext2fs_free_mem (&found);
  return (long) len;
}
