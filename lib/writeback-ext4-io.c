/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opens an image for reading: libext2fs gets its blocks from here, with the journal's newer ones in their place. */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-ext4.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

/* Anything else would have to be understood to be read right. */
#define FEATURES                                                                                  \
  (EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_RECOVER | EXT3_FEATURE_INCOMPAT_EXTENTS \
   | EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG | EXT2_FEATURE_INCOMPAT_META_BG  \
   | EXT4_FEATURE_INCOMPAT_CSUM_SEED | EXT4_FEATURE_INCOMPAT_LARGEDIR                             \
   | EXT4_FEATURE_INCOMPAT_EA_INODE)

enum
{
  JOURNAL_MAX = 1 << 26, /* blocks */
  PIECE = 65536
};

static const unsigned char journal_magic[] = { 0xc0, 0x3b, 0x39, 0x98 };

int
rcvmi_wb_source_read (const struct rcvmi_wb_source *source, uint64_t offset, void *data,
                      size_t len)
{
  char *p = data;

  while (len)
    {
      ssize_t n = pread (source->fd, p, len, (off_t) offset);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return -1;
      if (n == 0)
        {
          memset (p, 0, len);
          return 0;
        }
      p += n;
      len -= (size_t) n;
      offset += (size_t) n;
    }
  return 0;
}

size_t
rcvmi_wb_replay_find (const struct rcvmi_wb_replay *replay, uint64_t block)
{
  size_t low = 0, high = replay->n;

  while (low < high)
    {
      size_t mid = (low + high) / 2;

      if (replay->blocks[mid].block < block)
        low = mid + 1;
      else
        high = mid;
    }
  return low;
}

int
rcvmi_wb_replay_read (const struct rcvmi_wb_source *source, const struct rcvmi_wb_replayed *r,
                      void *data)
{
  if (rcvmi_wb_source_read (source, r->at * source->block_size, data, source->block_size) < 0)
    return -1;
  if (r->escaped)
    memcpy (data, journal_magic, sizeof journal_magic);
  return 0;
}

/* Puts what the journal has of [offset, offset + len) over what was read. */
static int
overlay (const struct rcvmi_wb_source *source, uint64_t offset, unsigned char *data, size_t len)
{
  const struct rcvmi_wb_replay *replay = &source->replay;
  uint64_t size = source->block_size;
  autofree unsigned char *block = NULL;

  if (replay->n == 0 || len == 0)
    return 0;
  for (size_t i = rcvmi_wb_replay_find (replay, offset / size);
       i < replay->n && replay->blocks[i].block <= (offset + len - 1) / size; i++)
    {
      uint64_t start = replay->blocks[i].block * size, from, to;

      if (!block && !(block = malloc (size)))
        return -1;
      if (rcvmi_wb_replay_read (source, &replay->blocks[i], block) < 0)
        return -1;
      from = start > offset ? start : offset;
      to = start + size < offset + len ? start + size : offset + len;
      memcpy (data + (from - offset), block + (from - start), to - from);
    }
  return 0;
}

static errcode_t
io_read64 (io_channel channel, unsigned long long block, int count, void *data)
{
  const struct rcvmi_wb_source *source = channel->private_data;
  uint64_t size = (uint64_t) channel->block_size;
  uint64_t len = count < 0 ? (uint64_t) -(int64_t) count : (uint64_t) count * size;

  if (block > INT64_MAX / size || block * size > (uint64_t) INT64_MAX - len)
    return EXT2_ET_BAD_BLOCK_NUM;
  if (block * size >= source->size)
    return EXT2_ET_SHORT_READ;
  if (rcvmi_wb_source_read (source, block * size, data, len) < 0
      || overlay (source, block * size, data, len) < 0)
    return errno ? errno : EXT2_ET_SHORT_READ;
  return 0;
}

static errcode_t
io_read (io_channel channel, unsigned long block, int count, void *data)
{
  return io_read64 (channel, block, count, data);
}

static errcode_t
io_close (io_channel channel)
{
  if (--channel->refcount > 0)
    return 0;
  free (channel->name);
  free (channel);
  return 0;
}

static errcode_t
io_set_blksize (io_channel channel, int size)
{
  if (size < EXT2_MIN_BLOCK_SIZE || size > EXT2_MAX_BLOCK_SIZE)
    return EXT2_ET_INVALID_ARGUMENT;
  channel->block_size = size;
  return 0;
}

static errcode_t
io_write (io_channel channel, unsigned long block, int count, const void *data)
{
  (void) channel, (void) block, (void) count, (void) data;
  return EXT2_ET_RO_FILSYS;
}

static errcode_t
io_write64 (io_channel channel, unsigned long long block, int count, const void *data)
{
  (void) channel, (void) block, (void) count, (void) data;
  return EXT2_ET_RO_FILSYS;
}

static errcode_t
io_flush (io_channel channel)
{
  (void) channel;
  return 0;
}

static errcode_t io_open (const char *name, int flags, io_channel *channel);

static const struct struct_io_manager manager = {
  .magic = EXT2_ET_MAGIC_IO_MANAGER,
  .name = "libruncvm write-back",
  .open = io_open,
  .close = io_close,
  .set_blksize = io_set_blksize,
  .read_blk = io_read,
  .write_blk = io_write,
  .flush = io_flush,
  .read_blk64 = io_read64,
  .write_blk64 = io_write64,
};

/* The "name" is where the source is: libext2fs has no other way to hand it through. */
static errcode_t
io_open (const char *name, int flags, io_channel *channel)
{
  io_channel c = calloc (1, sizeof *c);
  void *source = NULL;

  (void) flags;
  if (!c || sscanf (name, "%p", &source) != 1 || !(c->name = strdup (name)))
    {
      free (c);
      return EXT2_ET_NO_MEMORY;
    }
  c->magic = EXT2_ET_MAGIC_IO_CHANNEL;
  c->manager = (io_manager) &manager;
  c->block_size = EXT2_MIN_BLOCK_SIZE;
  c->refcount = 1;
  c->private_data = source;
  *channel = c;
  return 0;
}

static int
open_fs (struct rcvmi_wb_source *source, int flags, const char *name, ext2_filsys *fs,
         rcvm_error **err)
{
  char where[32];
  errcode_t code;

  snprintf (where, sizeof where, "%p", (void *) source);
  code = ext2fs_open (where, EXT2_FLAG_64BITS | flags, 0, 0, (io_manager) &manager, fs);
  if (code == EXT2_ET_NO_MEMORY)
    return rcvmi_fail_nomem (err);
  if (code == EXT2_ET_BAD_MAGIC || code == EXT2_ET_SHORT_READ)
    return rcvmi_fail (err, RCVM_E_IMAGE, 0, "'%s' is no ext4 image", name);
  if (code)
    return rcvmi_fail (err, RCVM_E_IMAGE, 0,
                       "the image '%s' has a damaged superblock or group table (libext2fs: %ld)",
                       name, (long) code);
  return 0;
}

static int
check_features (ext2_filsys fs, const char *name, rcvm_error **err)
{
  const struct ext2_super_block *s = fs->super;

  if (s->s_feature_incompat & ~(unsigned) FEATURES)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the image '%s' has features of ext4 (0x%x) that the write-back does not read",
                       name, s->s_feature_incompat & ~(unsigned) FEATURES);
  if (s->s_state & EXT2_ERROR_FS)
    return rcvmi_fail (err, RCVM_E_IMAGE, 0,
                       "the guest's kernel has found errors in the image '%s'; run e2fsck on it "
                       "(package e2fsprogs) and try again",
                       name);
  if (!(s->s_state & EXT2_VALID_FS) && !ext2fs_has_feature_journal (fs->super))
    return rcvmi_fail (err, RCVM_E_IMAGE, 0,
                       "the image '%s' was not unmounted and has no journal; run e2fsck on it "
                       "(package e2fsprogs) and try again",
                       name);
  return 0;
}

struct journal_map
{
  uint64_t *blocks;
  uint64_t n;
};

static int
map_block (ext2_filsys fs, blk64_t *block, e2_blkcnt_t count, blk64_t ref, int offset, void *user)
{
  struct journal_map *m = user;

  (void) fs, (void) ref, (void) offset;
  if (count >= 0 && (uint64_t) count < m->n)
    m->blocks[count] = *block;
  return 0;
}

static int
read_journal (struct rcvmi_wb_source *source, ext2_filsys fs, const char *name, rcvm_error **err)
{
  uint32_t ino = fs->super->s_journal_inum;
  struct journal_map m = { 0 };
  struct ext2_inode inode;
  errcode_t code;
  int r;

  if (ino < 1 || ino > fs->super->s_inodes_count || ext2fs_read_inode (fs, ino, &inode)
      || !LINUX_S_ISREG (inode.i_mode))
    return rcvmi_fail (err, RCVM_E_IMAGE, 0, "the journal of the image '%s' cannot be found", name);
  m.n = EXT2_I_SIZE (&inode) / fs->blocksize;
  if (m.n > JOURNAL_MAX || m.n > source->size / fs->blocksize)
    return rcvmi_fail (err, RCVM_E_IMAGE, 0, "the journal of the image '%s' is too large", name);
  m.blocks = calloc (m.n + 1, sizeof *m.blocks);
  if (!m.blocks)
    return rcvmi_fail_nomem (err);
  code = ext2fs_block_iterate3 (fs, ino, BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY, NULL,
                                map_block, &m);
  for (uint64_t i = 0; !code && i < m.n; i++)
    if (m.blocks[i] == 0 || m.blocks[i] >= source->size / fs->blocksize)
      code = EXT2_ET_BAD_BLOCK_NUM;
  r = code ? rcvmi_fail (err, RCVM_E_IMAGE, 0,
                         "the journal of the image '%s' has no place (libext2fs: %ld)", name,
                         (long) code)
           : rcvmi_wb_journal_read (source, m.blocks, m.n, name, err);
  free (m.blocks);
  return r;
}

static int
open_source (struct rcvmi_wb_source *source, int fd, const char *name, ext2_filsys *fs,
             rcvm_error **err)
{
  off_t size = lseek (fd, 0, SEEK_END);
  int code;

  *source = (struct rcvmi_wb_source){ .fd = fd };
  *fs = NULL;
  if (size < 0)
    return rcvmi_fail_errno (err, errno, "cannot read the image '%s'", name);
  source->size = (uint64_t) size;
  /* Checksums of what the journal has newer may be wrong here. */
  code = open_fs (source, EXT2_FLAG_IGNORE_CSUM_ERRORS, name, fs, err);
  if (code < 0 || (code = check_features (*fs, name, err)) < 0)
    return code;
  source->block_size = (*fs)->blocksize;
  if (source->size / source->block_size < ext2fs_blocks_count ((*fs)->super))
    return rcvmi_fail (err, RCVM_E_IMAGE, 0, "the image '%s' is cut short", name);
  if (!ext2fs_has_feature_journal_needs_recovery ((*fs)->super))
    {
      (*fs)->flags &= ~EXT2_FLAG_IGNORE_CSUM_ERRORS;
      return 0;
    }
  code = read_journal (source, *fs, name, err);
  ext2fs_free (*fs);
  *fs = NULL;
  if (code == 0)
    code = open_fs (source, 0, name, fs, err);
  if (code == 0 && (*fs)->blocksize != source->block_size)
    code = rcvmi_fail (err, RCVM_E_IMAGE, 0, "the journal of the image '%s' makes no sense", name);
  return code == 0 ? check_features (*fs, name, err) : code;
}

int
rcvmi_wb_source_open (struct rcvmi_wb_source *source, int fd, const char *name, ext2_filsys *fs,
                      rcvm_error **err)
{
  int code = open_source (source, fd, name, fs, err);

  if (code < 0)
    rcvmi_wb_source_close (source, fs);
  return code;
}

void
rcvmi_wb_source_close (struct rcvmi_wb_source *source, ext2_filsys *fs)
{
  if (*fs)
    ext2fs_free (*fs);
  *fs = NULL;
  free (source->replay.blocks);
  source->replay = (struct rcvmi_wb_replay){ 0 };
}
