/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of root disks: trees to build from, and images read back by libext2fs, without mounting. */
#ifndef RCVM_TESTS_ROOTFS_IMAGE_H
#define RCVM_TESTS_ROOTFS_IMAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

#include <runcvm/rootfs.h>

/* A directory of the test's own, with "tree" in it; removed by the teardown.  The current directory of
   the test program is there. */
int image_setup (void **state);
int image_teardown (void **state);

/* Relative to the test's directory.  All of these fail the test if they cannot do it. */
void make_file (const char *path, const void *data, size_t len);
void make_text (const char *path, const char *text);
void make_dir (const char *path);
void make_link (const char *target, const char *path);
int count_entries (const char *path);

/* Builds "image" from "tree"; options may be NULL, and are freed. */
void build (rcvm_rootfs_options *options);
/* Expects a failure with this code and this in its message, and that no file was left. */
void build_fails (rcvm_rootfs_options *options, int code, const char *part);
rcvm_rootfs_options *options_new (void);
rcvm_rootfs_options *options_copy (rcvm_rootfs_options *o, const char *source, const char *destination);
/* e2fsck finds nothing. */
void check_clean (const char *image);

ext2_filsys image_open (const char *image);
/* 0: there is none. */
ext2_ino_t image_lookup (ext2_filsys fs, const char *path);
struct ext2_inode_large image_inode (ext2_filsys fs, const char *path);
void image_expect (ext2_filsys fs, const char *path, const void *data, size_t len);
void image_expect_text (ext2_filsys fs, const char *path, const char *text);
/* Open, expect, close. */
void expect_text (const char *path, const char *text);
void expect_none (const char *path);
int64_t image_time (uint32_t low, uint32_t extra, uint32_t *nsec);
/* The length, or -1; up to `size` bytes of it. */
long image_xattr (ext2_filsys fs, const char *path, const char *name, void *value, size_t size);

#endif
