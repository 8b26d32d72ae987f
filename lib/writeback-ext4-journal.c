/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The journal of a file system that was not unmounted, because its VM was killed: which blocks would a replay
 * write?  Nothing is written here: reads of these blocks are answered from the journal.  So the image stays what it is
 * however often a write-back is repeated, and no other program has to be let near it.
 *
 * All numbers are big-endian.  The log is a ring of blocks from `first` to the end: descriptors, each followed by
 * the blocks that it lists, revocations, and commits.  It ends where a block is not what must come next; what comes
 * after the last commit does not count.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-ext4.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"

enum
{
  MAGIC = (int) 0xc03b3998,
  DESCRIPTOR = 1,
  COMMIT = 2,
  SUPERBLOCK_V1 = 3,
  SUPERBLOCK_V2 = 4,
  REVOKE = 5,

  FEATURE_REVOKE = 0x1,
  FEATURE_64BIT = 0x2,
  FEATURE_ASYNC = 0x4,
  FEATURE_CSUM_V2 = 0x8,
  FEATURE_CSUM_V3 = 0x10,
  FEATURES = FEATURE_REVOKE | FEATURE_64BIT | FEATURE_ASYNC | FEATURE_CSUM_V2 | FEATURE_CSUM_V3,

  TAG_ESCAPED = 1,
  TAG_SAME_UUID = 2,
  TAG_LAST = 8,

  HEADER = 12,
  UUID_SIZE = 16,
  SB_SIZE = 1024,
  SB_CSUM = 0xfc,
  COMMIT_CSUM = 16
};

struct revoked
{
  uint64_t block;
  uint32_t sequence;
};

enum pass
{
  PASS_SCAN,
  PASS_REVOKE,
  PASS_REPLAY
};

struct journal
{
  struct rcvmi_wb_source *source;
  const uint64_t *map;
  uint32_t n_blocks, first, start;
  uint32_t sequence; /* of the first transaction */
  uint32_t end;      /* of the first one that does not count */
  uint32_t features, seed;
  struct revoked *revoked;
  size_t n_revoked, cap_revoked;
  /* of the pass */
  uint32_t next, passed;
  unsigned char *block;
  const char *name;
  rcvm_error **err;
};

static uint32_t
be32 (const unsigned char *p)
{
  uint32_t v;

  memcpy (&v, p, sizeof v);
  return be32toh (v);
}

static uint32_t
be16 (const unsigned char *p)
{
  return (uint32_t) p[0] << 8 | p[1];
}

static int
damaged (const struct journal *j, const char *what)
{
  return rcvmi_fail (j->err, RCVM_E_IMAGE, 0,
                     "the journal of the image '%s' is damaged: %s; its VM was killed, and what it wrote "
                     "last can be had with e2fsck alone (package e2fsprogs)",
                     j->name, what);
}

static int
read_block (const struct journal *j, uint32_t block, void *data)
{
  uint64_t size = j->source->block_size;

  if (rcvmi_wb_source_read (j->source, j->map[block] * size, data, size) < 0)
    return rcvmi_fail_errno (j->err, errno, "cannot read the journal of the image '%s'", j->name);
  return 0;
}

/* Block `*block` of the ring; the one after it is next. */
static int
advance (struct journal *j, uint32_t *block)
{
  if (j->passed++ >= j->n_blocks)
    return damaged (j, "it goes round in a circle");
  *block = j->next++;
  if (j->next == j->n_blocks)
    j->next = j->first;
  return 0;
}

static bool
has_csum (const struct journal *j)
{
  return j->features & (FEATURE_CSUM_V2 | FEATURE_CSUM_V3);
}

/* The checksum is in the block itself, and counts as zero. */
static bool
csum_ok (const struct journal *j, unsigned char *block, size_t at)
{
  uint32_t csum = be32 (block + at), found;

  if (!has_csum (j))
    return true;
  memset (block + at, 0, 4);
  found = ext2fs_crc32c_le (j->seed, block, j->source->block_size);
  return found == csum;
}

static size_t
tag_size (const struct journal *j)
{
  if (j->features & FEATURE_CSUM_V3)
    return 16;
  return 8u + (j->features & FEATURE_64BIT ? 4 : 0) + (j->features & FEATURE_CSUM_V2 ? 2 : 0);
}

static bool
is_revoked (const struct journal *j, uint64_t block, uint32_t sequence)
{
  size_t low = 0, high = j->n_revoked;

  while (low < high)
    {
      size_t mid = (low + high) / 2;

      if (j->revoked[mid].block < block)
        low = mid + 1;
      else
        high = mid;
    }
  for (; low < j->n_revoked && j->revoked[low].block == block; low++)
    if ((int32_t) (j->revoked[low].sequence - sequence) >= 0)
      return true;
  return false;
}

static int
add_replayed (struct journal *j, const struct rcvmi_wb_replayed *r)
{
  struct rcvmi_wb_replay *replay = &j->source->replay;

  if (replay->n == replay->cap)
    {
      size_t cap = replay->cap * 2 + 256;
      struct rcvmi_wb_replayed *blocks = reallocarray (replay->blocks, cap, sizeof *blocks);

      if (!blocks)
        return rcvmi_fail_nomem (j->err);
      replay->blocks = blocks;
      replay->cap = cap;
    }
  replay->blocks[replay->n++] = *r;
  return 0;
}

static int
check_contents (const struct journal *j, uint32_t at, uint32_t csum, uint32_t sequence)
{
  autofree unsigned char *data = malloc (j->source->block_size);
  uint32_t number = htobe32 (sequence), found;

  if (!data)
    return rcvmi_fail_nomem (j->err);
  if (read_block (j, at, data) < 0)
    return -1;
  found = ext2fs_crc32c_le (j->seed, (const unsigned char *) &number, sizeof number);
  found = ext2fs_crc32c_le (found, data, j->source->block_size);
  if (!(j->features & FEATURE_CSUM_V3))
    found &= 0xffff;
  return found == csum ? 0 : damaged (j, "a block has a wrong checksum");
}

/* One block that a descriptor lists. */
static int
take_tag (struct journal *j, enum pass pass, const unsigned char *tag, uint32_t flags,
          uint32_t sequence)
{
  struct rcvmi_wb_replayed r = { .block = be32 (tag), .sequence = sequence };
  bool v3 = j->features & FEATURE_CSUM_V3;
  uint32_t at = 0;

  if (advance (j, &at) < 0)
    return -1;
  if (pass != PASS_REPLAY)
    return 0;
  if (j->features & FEATURE_64BIT)
    r.block |= (uint64_t) be32 (tag + 8) << 32;
  r.at = j->map[at];
  r.escaped = flags & TAG_ESCAPED;
  if (is_revoked (j, r.block, sequence))
    return 0;
  if (has_csum (j) && check_contents (j, at, v3 ? be32 (tag + 12) : be16 (tag + 4), sequence) < 0)
    return -1;
  return add_replayed (j, &r);
}

static int
take_descriptor (struct journal *j, enum pass pass, uint32_t sequence)
{
  size_t size = j->source->block_size, tail = has_csum (j) ? 4 : 0, at = HEADER, step = tag_size (j);
  bool last = false;

  if (!csum_ok (j, j->block, size - 4))
    return damaged (j, "a descriptor has a wrong checksum");
  while (!last && at + step <= size - tail)
    {
      const unsigned char *tag = j->block + at;
      uint32_t flags = j->features & FEATURE_CSUM_V3 ? be32 (tag + 4) : be16 (tag + 6);

      if (take_tag (j, pass, tag, flags, sequence) < 0)
        return -1;
      at += step + (flags & TAG_SAME_UUID ? 0 : UUID_SIZE);
      last = flags & TAG_LAST;
    }
  return 0;
}

static int
take_revoke (struct journal *j, enum pass pass, uint32_t sequence)
{
  size_t size = j->source->block_size, step = j->features & FEATURE_64BIT ? 8 : 4;
  size_t end = be32 (j->block + HEADER);

  if (!csum_ok (j, j->block, size - 4))
    return damaged (j, "a revocation has a wrong checksum");
  if (end > size - (has_csum (j) ? 4 : 0))
    return damaged (j, "a revocation is too long");
  if (pass != PASS_REVOKE)
    return 0;
  for (size_t at = HEADER + 4; at + step <= end; at += step)
    {
      uint64_t block = be32 (j->block + at);

      if (step == 8)
        block = block << 32 | be32 (j->block + at + 4);
      if (j->n_revoked == j->cap_revoked)
        {
          size_t cap = j->cap_revoked * 2 + 256;
          struct revoked *list = reallocarray (j->revoked, cap, sizeof *list);

          if (!list)
            return rcvmi_fail_nomem (j->err);
          j->revoked = list;
          j->cap_revoked = cap;
        }
      j->revoked[j->n_revoked++] = (struct revoked){ .block = block, .sequence = sequence };
    }
  return 0;
}

static int
run_pass (struct journal *j, enum pass pass)
{
  uint32_t sequence = j->sequence, at = 0;
  int code = 0;

  j->next = j->start;
  j->passed = 0;
  while (code == 0 && (pass == PASS_SCAN || sequence != j->end))
    {
      if (j->passed >= j->n_blocks)
        break;
      if (advance (j, &at) < 0 || read_block (j, at, j->block) < 0)
        return -1;
      if (be32 (j->block) != (uint32_t) MAGIC || be32 (j->block + 8) != sequence)
        break;
      switch (be32 (j->block + 4))
        {
        case DESCRIPTOR:
          code = take_descriptor (j, pass, sequence);
          break;
        case REVOKE:
          code = take_revoke (j, pass, sequence);
          break;
        case COMMIT:
          if (!csum_ok (j, j->block, COMMIT_CSUM))
            return damaged (j, "a commit has a wrong checksum");
          sequence++;
          break;
        default:
          goto end;
        }
    }
end:
  if (pass == PASS_SCAN)
    j->end = sequence;
  return code;
}

static int
compare_revoked (const void *a, const void *b)
{
  const struct revoked *x = a, *y = b;

  return x->block < y->block ? -1 : x->block > y->block;
}

static int
compare_replayed (const void *a, const void *b)
{
  const struct rcvmi_wb_replayed *x = a, *y = b;

  if (x->block != y->block)
    return x->block < y->block ? -1 : 1;
  return (int32_t) (x->sequence - y->sequence) < 0 ? -1 : x->sequence != y->sequence;
}

/* The newest of each block, by rising block. */
static void
settle (struct rcvmi_wb_replay *replay)
{
  size_t n = 0;

  qsort (replay->blocks, replay->n, sizeof *replay->blocks, compare_replayed);
  for (size_t i = 0; i < replay->n; i++)
    {
      if (n && replay->blocks[n - 1].block == replay->blocks[i].block)
        n--;
      replay->blocks[n++] = replay->blocks[i];
    }
  replay->n = n;
}

static int
read_superblock (struct journal *j, uint64_t n_blocks)
{
  unsigned char *b = j->block;
  uint32_t version, csum;

  if (read_block (j, 0, b) < 0)
    return -1;
  version = be32 (b + 4);
  if (be32 (b) != (uint32_t) MAGIC || (version != SUPERBLOCK_V1 && version != SUPERBLOCK_V2))
    return damaged (j, "it has no superblock");
  j->n_blocks = be32 (b + 16);
  j->first = be32 (b + 20);
  j->sequence = be32 (b + 24);
  j->start = be32 (b + 28);
  if (be32 (b + 12) != j->source->block_size || j->n_blocks > n_blocks || j->first == 0
      || j->first >= j->n_blocks || j->start >= j->n_blocks || (j->start && j->start < j->first))
    return damaged (j, "its superblock makes no sense");
  if (version == SUPERBLOCK_V1)
    return 0;
  j->features = be32 (b + 40);
  if (j->features & ~(uint32_t) FEATURES)
    return rcvmi_fail (j->err, RCVM_E_UNSUPPORTED, 0,
                       "the journal of the image '%s' has features (0x%x) that are not supported here; run "
                       "e2fsck on it (package e2fsprogs) and try again",
                       j->name, j->features & ~(uint32_t) FEATURES);
  if (!has_csum (j))
    return 0;
  j->seed = ext2fs_crc32c_le (~0U, b + 48, UUID_SIZE);
  csum = be32 (b + SB_CSUM);
  memset (b + SB_CSUM, 0, 4);
  return ext2fs_crc32c_le (~0U, b, SB_SIZE) == csum
             ? 0
             : damaged (j, "its superblock has a wrong checksum");
}

int
rcvmi_wb_journal_read (struct rcvmi_wb_source *source, const uint64_t *map, uint64_t n_blocks,
                       const char *name, rcvm_error **err)
{
  autofree unsigned char *block = malloc (source->block_size);
  struct journal j = { .source = source, .map = map, .block = block, .name = name, .err = err };
  int code;

  if (!block)
    return rcvmi_fail_nomem (err);
  if (source->block_size < SB_SIZE || n_blocks < 2)
    return damaged (&j, "it is too small");
  code = read_superblock (&j, n_blocks);
  /* Start 0: empty. */
  if (code == 0 && j.start)
    {
      code = run_pass (&j, PASS_SCAN);
      if (code == 0)
        code = run_pass (&j, PASS_REVOKE);
      if (code == 0 && j.n_revoked)
        qsort (j.revoked, j.n_revoked, sizeof *j.revoked, compare_revoked);
      if (code == 0)
        code = run_pass (&j, PASS_REPLAY);
      if (code == 0 && source->replay.n)
        settle (&source->replay);
    }
  free (j.revoked);
  return code;
}
