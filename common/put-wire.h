/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What others have put into the container's root on the host, on its way into the guest: the standard input of a process that an
 * EXEC record with E_UNPACK starts there.
 *
 * An entry is the length of a record (4 bytes, little endian), the record, and P_SIZE bytes: a regular file's data.  What comes back on
 * the standard output is a byte for each: 0, or why it is not there (errno).  A directory comes twice: before what is in it and, for
 * its times, after.
 */
#ifndef RCVM_COMMON_PUT_WIRE_H
#define RCVM_COMMON_PUT_WIRE_H

enum
{
  PUT_LENGTH = 4,
  PUT_RECORD_MAX = 1024 * 1024
};

enum put_tag
{
  P_PATH = 1,       /* str: relative to the container's root; no "..", nothing empty */
  P_MODE = 2,       /* u32: with the type */
  P_UID = 3,        /* u32 */
  P_GID = 4,        /* u32 */
  P_MTIME_SEC = 5,  /* u64, two's complement */
  P_MTIME_NSEC = 6, /* u32 */
  P_SIZE = 7,       /* u64 */
  P_TARGET = 8,     /* str: of a symlink */
  P_MAJOR = 9,      /* u32: of a device */
  P_MINOR = 10,     /* u32 */
  P_LINK = 11,      /* str: the path of an earlier entry: it is another name of that */
  P_XATTR = 12      /* record, repeated: K_NAME, K_VALUE (bytes) */
};

#endif
