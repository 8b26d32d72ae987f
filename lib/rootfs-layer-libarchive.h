/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libarchive, loaded when the first tar is read.  It brings libxml2 and ICU along: linked, they
 * would cost every process that uses this library, and every VM's monitor, 1.2 ms at its start and
 * 300 KiB of memory.
 */
#ifndef RCVM_LIB_ROOTFS_LAYER_LIBARCHIVE_H
#define RCVM_LIB_ROOTFS_LAYER_LIBARCHIVE_H

#include <archive.h>
#include <archive_entry.h>

#include <runcvm/error.h>

#define RCVMI_LIBARCHIVE_FUNCTIONS(X) \
  X (archive_entry_acl_next)          \
  X (archive_entry_acl_reset)         \
  X (archive_entry_atime)             \
  X (archive_entry_atime_is_set)      \
  X (archive_entry_atime_nsec)        \
  X (archive_entry_filetype)          \
  X (archive_entry_gid)               \
  X (archive_entry_hardlink)          \
  X (archive_entry_mtime)             \
  X (archive_entry_mtime_nsec)        \
  X (archive_entry_pathname)          \
  X (archive_entry_perm)              \
  X (archive_entry_rdevmajor)         \
  X (archive_entry_rdevminor)         \
  X (archive_entry_size)              \
  X (archive_entry_sparse_next)       \
  X (archive_entry_sparse_reset)      \
  X (archive_entry_symlink)           \
  X (archive_entry_uid)               \
  X (archive_entry_xattr_next)        \
  X (archive_entry_xattr_reset)       \
  X (archive_errno)                   \
  X (archive_error_string)            \
  X (archive_filter_bytes)            \
  X (archive_read_data_block)         \
  X (archive_read_data_skip)          \
  X (archive_read_free)               \
  X (archive_read_new)                \
  X (archive_read_next_header)        \
  X (archive_read_open2)              \
  X (archive_read_support_format_tar) \
  X (archive_set_error)

struct rcvmi_libarchive
{
  void *handle;
#define X(name) __typeof__ (name) *name;
  RCVMI_LIBARCHIVE_FUNCTIONS (X)
#undef X
};

/* It stays loaded: what it is linked with is not made to be taken out again. */
int rcvmi_libarchive_load (struct rcvmi_libarchive *lib, rcvm_error **err);
void rcvmi_libarchive_unload (struct rcvmi_libarchive *lib);

#endif
