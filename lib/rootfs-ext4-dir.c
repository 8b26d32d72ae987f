/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directories on disk.  What fits into one block is a plain list.  More is a hash tree: a root block, where
 * one is not enough a level of nodes, and leaves that hold the entries in the order of their hashes.
 * All of it is laid out at once, so that a directory of a million entries costs one sort.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-ext4-priv.h"

#define TAIL_SIZE 12u
#define LIST_ROOM (RCVMI_BLOCK - TAIL_SIZE)
#define ROOT_ENTRIES_OFFSET 32u
#define NODE_ENTRIES_OFFSET 8u
#define DX_TAIL_OFFSET (RCVMI_BLOCK - 8u)
#define ROOT_LIMIT ((DX_TAIL_OFFSET - ROOT_ENTRIES_OFFSET) / 8)
#define NODE_LIMIT ((DX_TAIL_OFFSET - NODE_ENTRIES_OFFSET) / 8)
#define DOTS_SIZE 24u

struct hashed
{
  uint32_t hash, minor;
  const struct rcvmi_node *node;
};

static size_t
entry_size (size_t name_len)
{
  return (8 + name_len + 3) & ~(size_t) 3;
}

static int
compare (const void *a, const void *b)
{
  const struct hashed *x = a, *y = b;

  if (x->hash != y->hash)
    return x->hash < y->hash ? -1 : 1;
  if (x->minor != y->minor)
    return x->minor < y->minor ? -1 : 1;
  return rcvmi_node_compare (x->node, y->node);
}

static int
hash_entries (const struct rcvmi_dir *dir, const uint32_t seed[4], struct hashed **out,
              rcvm_error **err)
{
  autofree struct hashed *list = reallocarray (NULL, dir->entries, sizeof *list);
  size_t i = 0;

  if (!list)
    return rcvmi_fail_nomem (err);
  for (const struct rcvmi_node *n = dir->first; n; n = n->next, i++)
    {
      list[i].node = n;
      if (ext2fs_dirhash2 (EXT2_HASH_HALF_MD4, n->name, n->len, NULL, 0, seed, &list[i].hash,
                           &list[i].minor))
        return rcvmi_fail (err, RCVM_E_SYSTEM, 0, "cannot hash the name '%s'", n->name);
    }
  qsort (list, dir->entries, sizeof *list, compare);
  *out = steal_ptr (list);
  return 0;
}

/* How many entries from `at` on go into one leaf. */
static size_t
leaf_entries (const struct hashed *list, size_t n, size_t at)
{
  size_t size = 0, i;

  for (i = at; i < n; i++)
    {
      size += entry_size (list[i].node->len);
      if (size > LIST_ROOM)
        break;
    }
  return i - at;
}

static uint32_t
count_nodes (uint32_t leaves)
{
  return leaves > ROOT_LIMIT ? (leaves + NODE_LIMIT - 1) / NODE_LIMIT : 0;
}

int
rcvmi_ext4_plan_dir (struct rcvmi_dir *dir, const uint32_t seed[4], rcvm_error **err)
{
  autofree struct hashed *list = NULL;
  size_t size = DOTS_SIZE;
  int r;

  dir->leaves = 0;
  dir->blocks = 1;
  for (const struct rcvmi_node *n = dir->first; n && size <= LIST_ROOM; n = n->next)
    size += entry_size (n->len);
  if (size <= LIST_ROOM)
    return 0;
  r = hash_entries (dir, seed, &list, err);
  if (r < 0)
    return r;
  for (size_t at = 0; at < dir->entries; dir->leaves++)
    at += leaf_entries (list, dir->entries, at);
  if (count_nodes (dir->leaves) > ROOT_LIMIT)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the directory '%s' has more entries (%u) than ext4 can index",
                       dir->self->name, dir->entries);
  dir->blocks = 1 + count_nodes (dir->leaves) + dir->leaves;
  return 0;
}

static uint8_t
file_type (const struct rcvmi_inode *inode)
{
  switch (inode->mode & S_IFMT)
    {
    case S_IFREG:
      return EXT2_FT_REG_FILE;
    case S_IFDIR:
      return EXT2_FT_DIR;
    case S_IFCHR:
      return EXT2_FT_CHRDEV;
    case S_IFBLK:
      return EXT2_FT_BLKDEV;
    case S_IFIFO:
      return EXT2_FT_FIFO;
    case S_IFSOCK:
      return EXT2_FT_SOCK;
    case S_IFLNK:
      return EXT2_FT_SYMLINK;
    default:
      return EXT2_FT_UNKNOWN;
    }
}

static void
set_16 (unsigned char *p, size_t value)
{
  uint16_t le = ext2fs_cpu_to_le16 ((uint16_t) value);

  memcpy (p, &le, sizeof le);
}

static void
set_32 (unsigned char *p, uint32_t value)
{
  uint32_t le = ext2fs_cpu_to_le32 (value);

  memcpy (p, &le, sizeof le);
}

static void
put_entry (unsigned char *p, uint32_t ino, size_t rec_len, const char *name, size_t len,
           uint8_t type)
{
  set_32 (p, ino);
  set_16 (p + 4, rec_len);
  p[6] = (unsigned char) len;
  p[7] = type;
  memcpy (p + 8, name, len);
}

static void
put_node (unsigned char *p, const struct rcvmi_node *n, size_t rec_len)
{
  put_entry (p, n->inode->ino, rec_len, n->name, n->len, file_type (n->inode));
}

static uint32_t
parent_ino (const struct rcvmi_dir *dir)
{
  return (dir->parent ? dir->parent : dir)->self->inode->ino;
}

/* A block of entries ends in one that is none and holds the checksum. */
static void
seal_list (unsigned char *block, uint32_t seed)
{
  unsigned char *tail = block + LIST_ROOM;

  set_32 (tail, 0);
  set_16 (tail + 4, TAIL_SIZE);
  tail[6] = 0;
  tail[7] = EXT2_DIR_NAME_LEN_CSUM >> 8;
  set_32 (tail + 8, ext2fs_crc32c_le (seed, block, LIST_ROOM));
}

static void
seal_index (unsigned char *block, uint32_t seed, size_t offset, size_t count)
{
  static const unsigned char zero[4];
  uint32_t crc = ext2fs_crc32c_le (seed, block, offset + count * 8);

  crc = ext2fs_crc32c_le (crc, block + DX_TAIL_OFFSET, 4);
  crc = ext2fs_crc32c_le (crc, zero, sizeof zero);
  set_32 (block + DX_TAIL_OFFSET + 4, crc);
}

/* An entry of an index: what has this hash or more is in `block`, unless the next entry says so of it. The
   first one says nothing of its hash; its place holds limit and count. */
struct index_entry
{
  uint32_t hash;
  uint32_t block;
};

static void
put_index (unsigned char *block, size_t offset, size_t limit, const struct index_entry *entries,
           size_t count, uint32_t seed)
{
  for (size_t i = 0; i < count; i++)
    {
      set_32 (block + offset + i * 8, entries[i].hash);
      set_32 (block + offset + i * 8 + 4, entries[i].block);
    }
  set_16 (block + offset, limit);
  set_16 (block + offset + 2, count);
  seal_index (block, seed, offset, count);
}

static unsigned char *
put_block (struct rcvmi_ext4 *e, struct rcvmi_writer *w, const struct rcvmi_dir *dir,
           uint32_t block, rcvm_error **err)
{
  const struct rcvmi_inode *inode = dir->self->inode;
  uint64_t run, first = inode->first + (inode->flags & RCVMI_INODE_XBLOCK ? 1 : 0);
  uint64_t at = rcvmi_ext4_map (e, first + block, 1, &run);

  return rcvmi_writer_put (w, at * RCVMI_BLOCK, RCVMI_BLOCK, err);
}

static int
write_list (struct rcvmi_ext4 *e, struct rcvmi_writer *w, const struct rcvmi_dir *dir,
            uint32_t seed, rcvm_error **err)
{
  unsigned char *block = put_block (e, w, dir, 0, err), *p = block;
  size_t size;

  if (!block)
    return -1;
  put_entry (p, dir->self->inode->ino, 12, ".", 1, EXT2_FT_DIR);
  p += 12;
  put_entry (p, parent_ino (dir), dir->first ? 12 : LIST_ROOM - 12, "..", 2, EXT2_FT_DIR);
  p += 12;
  for (const struct rcvmi_node *n = dir->first; n; n = n->next, p += size)
    {
      size = n->next ? entry_size (n->len) : (size_t) (block + LIST_ROOM - p);
      put_node (p, n, size);
    }
  seal_list (block, seed);
  return 0;
}

static int
write_leaves (struct rcvmi_ext4 *e, struct rcvmi_writer *w, const struct rcvmi_dir *dir,
              const struct hashed *list, struct index_entry *leaves, uint32_t seed,
              rcvm_error **err)
{
  uint32_t first = dir->blocks - dir->leaves, n = 0;

  for (size_t at = 0, count; at < dir->entries; at += count, n++)
    {
      unsigned char *block = put_block (e, w, dir, first + n, err), *p = block;

      if (!block)
        return -1;
      count = leaf_entries (list, dir->entries, at);
      for (size_t i = at; i < at + count; i++)
        {
          size_t size = i + 1 < at + count ? entry_size (list[i].node->len)
                                           : (size_t) (block + LIST_ROOM - p);

          put_node (p, list[i].node, size);
          p += size;
        }
      seal_list (block, seed);
      leaves[n].block = first + n;
      leaves[n].hash = at ? list[at].hash : 0;
      /* The lowest bit: names with this hash also are in the block before. */
      if (at && list[at].hash == list[at - 1].hash)
        leaves[n].hash |= 1;
    }
  return 0;
}

static int
write_root (struct rcvmi_ext4 *e, struct rcvmi_writer *w, const struct rcvmi_dir *dir,
            const struct index_entry *entries, size_t count, unsigned levels, uint32_t seed,
            rcvm_error **err)
{
  unsigned char *block = put_block (e, w, dir, 0, err);
  struct ext2_dx_root_info info
      = { .hash_version = EXT2_HASH_HALF_MD4, .info_length = 8, .indirect_levels = (uint8_t) levels };

  if (!block)
    return -1;
  put_entry (block, dir->self->inode->ino, 12, ".", 1, EXT2_FT_DIR);
  put_entry (block + 12, parent_ino (dir), RCVMI_BLOCK - 12, "..", 2, EXT2_FT_DIR);
  memcpy (block + DOTS_SIZE, &info, sizeof info);
  put_index (block, ROOT_ENTRIES_OFFSET, ROOT_LIMIT, entries, count, seed);
  return 0;
}

static int
write_tree (struct rcvmi_ext4 *e, struct rcvmi_writer *w, const struct rcvmi_dir *dir,
            uint32_t seed, rcvm_error **err)
{
  autofree struct hashed *list = NULL;
  autofree struct index_entry *leaves = calloc (dir->leaves, sizeof *leaves), *nodes = NULL;
  uint32_t n_nodes = count_nodes (dir->leaves);

  if (!leaves)
    return rcvmi_fail_nomem (err);
  if (hash_entries (dir, e->fs->super->s_hash_seed, &list, err) < 0
      || write_leaves (e, w, dir, list, leaves, seed, err) < 0)
    return -1;
  if (n_nodes == 0)
    return write_root (e, w, dir, leaves, dir->leaves, 0, seed, err);
  nodes = calloc (n_nodes, sizeof *nodes);
  if (!nodes)
    return rcvmi_fail_nomem (err);
  for (uint32_t i = 0, at = 0; i < n_nodes; i++)
    {
      uint32_t count = dir->leaves - at < NODE_LIMIT ? dir->leaves - at : (uint32_t) NODE_LIMIT;
      unsigned char *block = put_block (e, w, dir, 1 + i, err);

      if (!block)
        return -1;
      put_entry (block, 0, RCVMI_BLOCK, "", 0, 0);
      put_index (block, NODE_ENTRIES_OFFSET, NODE_LIMIT, leaves + at, count, seed);
      nodes[i] = (struct index_entry){ leaves[at].hash, 1 + i };
      at += count;
    }
  return write_root (e, w, dir, nodes, n_nodes, 1, seed, err);
}

int
rcvmi_ext4_write_dir (struct rcvmi_ext4 *e, struct rcvmi_writer *w, struct rcvmi_dir *dir,
                      rcvm_error **err)
{
  uint32_t seed = rcvmi_ext4_inode_seed (e, dir->self->inode->ino);

  return dir->leaves ? write_tree (e, w, dir, seed, err) : write_list (e, w, dir, seed, err);
}
