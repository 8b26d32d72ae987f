/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the process that reads the image tells the one that writes to the host.  The reader may be in the guest's
 * hand, so rcvmi_wb_decode lets nothing through that a correct reader would not send.
 *
 * A stream is a run of TLV fields, each a record: DIR (the root, without a name), then per directory files, links,
 * whiteouts and directories, LEAVE; after the root's LEAVE any number of ALSO, with a FILE that has no name before the
 * first of a file that did not come before; and END.  Before all of them, in a write-back that is one of several, KNOWN; which has
 * END alone if nothing has changed.  After a FILE of a regular file come its EXTENTS and DATA by rising
 * offset, and FILE_END.
 */
#ifndef RCVM_LIB_WRITEBACK_WIRE_H
#define RCVM_LIB_WRITEBACK_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "tlv.h"

enum rcvmi_wb_type
{
  WB_DIR = 1,
  WB_LEAVE,
  WB_FILE, /* anything but a directory */
  WB_EXTENTS,
  WB_DATA,
  WB_FILE_END,
  WB_LINK,     /* one more name of a FILE that came before */
  WB_WHITEOUT, /* the name is gone */
  WB_ALSO,     /* a name that only the base has, and whose file is a FILE that came before */
  WB_END,
  WB_KNOWN /* bytes that are to be kept for the next write-back of this image */
};

enum
{
  WB_NAME_MAX = 255,
  WB_TARGET_MAX = 4095,
  WB_RECORD_MAX = 4 << 20,
  WB_EXTENTS_MAX = 1024,
  WB_DATA_MAX = 65536
};

struct rcvmi_wb_extent
{
  uint64_t offset; /* in the file */
  uint64_t image;  /* in the image */
  uint64_t length; /* all in bytes */
};

struct rcvmi_wb_record
{
  enum rcvmi_wb_type type;
  const char *name;
  /* DIR, FILE */
  mode_t mode; /* with the type */
  uid_t uid;
  gid_t gid;
  struct timespec atime, mtime;
  struct tlv_reader xattrs; /* read by rcvmi_wb_next_xattr */
  bool opaque;              /* DIR: nothing of the base shows through */
  /* FILE, LINK, ALSO */
  uint32_t ino;
  bool linked; /* FILE: the inode may have more names */
  bool copied; /* FILE: it began as a copy of the base's */
  uint64_t size;
  uint32_t major, minor;
  const char *target;
  /* EXTENTS; DATA has one and the bytes. */
  const unsigned char *extents;
  size_t n_extents;
  uint64_t offset;
  const unsigned char *data;
  size_t len;
};

struct rcvmi_wb_xattr
{
  const char *name;
  const void *value;
  size_t len;
};

/* Appends to w; what the record's type has no use for is left out.  `xattrs` is a writer that
   rcvmi_wb_put_xattr has filled, or NULL. */
void rcvmi_wb_encode (struct tlv_writer *w, const struct rcvmi_wb_record *record,
                      const struct tlv_writer *xattrs);
void rcvmi_wb_put_xattr (struct tlv_writer *w, const char *name, const void *value, size_t len);
void rcvmi_wb_put_extents (struct tlv_writer *w, const struct rcvmi_wb_extent *extents, size_t n);

/* The record points into `data`.  NULL, or what is wrong with it. */
const char *rcvmi_wb_decode (struct rcvmi_wb_record *record, uint16_t type, const void *data,
                             size_t len);
/* Of a decoded record: the list was checked. */
bool rcvmi_wb_next_xattr (struct tlv_reader *xattrs, struct rcvmi_wb_xattr *xattr);
struct rcvmi_wb_extent rcvmi_wb_get_extent (const struct rcvmi_wb_record *record, size_t i);

/* One component of a path, and no way out of its directory. */
bool rcvmi_wb_is_name (const char *name);
/* An attribute that files of the host may get. */
bool rcvmi_wb_is_xattr (const char *name);

/* Which record may follow which. */
struct rcvmi_wb_order
{
  uint32_t depth; /* directories entered and not left */
  bool began, ended;
  bool in_file;
  uint64_t size; /* of the file */
  uint64_t next; /* the first offset of the file that may come */
  uint64_t data; /* bytes of data in all files together */
  uint64_t image_size;
  bool repeated;  /* there may be KNOWN, or nothing at all */
  uint64_t known; /* bytes of it */
};

/* NULL, or what is wrong about a record at this place. */
const char *rcvmi_wb_check_order (struct rcvmi_wb_order *o, const struct rcvmi_wb_record *record);

#endif
