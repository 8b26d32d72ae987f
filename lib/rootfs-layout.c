/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "rootfs-layout.h"

#include <inttypes.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-scan.h"

#define MIB (UINT64_C (1) << 20)
/* An image that is to be written to is at least this large. */
#define WRITABLE_MIN (128 * MIB)
#define BLOCKS_PER_INODE 4
#define JOURNAL_MIN 1024
/* A last group smaller than that is left off. */
#define GROUP_MIN 64

/* A digest of the metadata, which makes the UUID: not against forgers, just so that images differ. */
struct digest
{
  uint64_t a, b;
};

static void
digest_word (struct digest *d, uint64_t word)
{
  d->a = (d->a ^ word) * UINT64_C (0x9e3779b97f4a7c15);
  d->a ^= d->a >> 29;
  d->b = (d->b + (word ^ d->a >> 7)) * UINT64_C (0xd6e8feb86659fd93);
  d->b ^= d->b >> 32;
}

static void
digest_bytes (struct digest *d, const void *data, size_t len)
{
  const unsigned char *p = data;

  digest_word (d, len);
  for (; len >= 8; p += 8, len -= 8)
    {
      uint64_t word = 0;

      for (int i = 7; i >= 0; i--)
        word = word << 8 | p[i];
      digest_word (d, word);
    }
  for (; len; p++, len--)
    digest_word (d, *p);
}

static void
digest_inode (struct digest *d, const struct rcvmi_inode *inode)
{
  digest_word (d, inode->mode);
  digest_word (d, (uint64_t) inode->uid << 32 | inode->gid);
  digest_word (d, inode->mtime);
  digest_word (d, inode->size);
  if (rcvmi_inode_is (inode, S_IFLNK))
    digest_bytes (d, inode->u.target, inode->size);
  if (rcvmi_inode_is (inode, S_IFCHR) || rcvmi_inode_is (inode, S_IFBLK))
    digest_word (d, inode->u.rdev);
  for (const struct rcvmi_xattr *x = inode->xattrs ? rcvmi_xattrs_next (inode->xattrs, NULL) : NULL;
       x; x = rcvmi_xattrs_next (inode->xattrs, x))
    {
      digest_word (d, x->index);
      digest_bytes (d, rcvmi_xattr_name (x), x->name_len);
      digest_bytes (d, rcvmi_xattr_value (x), x->value_len);
    }
}

static int
fail_at_inode (struct rcvmi_tree *tree, const struct rcvmi_dir *dir, const char *name,
               rcvm_error *cause, rcvm_error **err)
{
  struct rcvmi_origin whole = { .path = (char *) "", .dir = tree->root->inode->u.dir };
  autofree char *path = rcvmi_source_path (&whole, dir, name);
  int code = rcvm_error_get_code (cause);

  rcvmi_fail (err, code, 0, "'%s' cannot be kept: %s", path && *path ? path : "/",
              rcvm_error_get_message (cause));
  rcvm_error_free (cause);
  return code;
}

/* A name of an inode, new or known. */
static int
number_node (struct rcvmi_layout *l, struct rcvmi_tree *tree, struct digest *d,
             struct rcvmi_dir *dir, struct rcvmi_node *n, rcvm_error **err)
{
  struct rcvmi_inode *inode = n->inode;
  rcvm_error *cause = NULL;

  if (dir)
    {
      dir->entries++;
      if (rcvmi_inode_is (inode, S_IFDIR))
        dir->subdirs++;
    }
  inode->nlink++;
  digest_bytes (d, n->name, n->len);
  if (inode->nlink > 65000)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "'%s' has more hard links than the 65000 that ext4 can count", n->name);
  if (inode->nlink > 1)
    {
      digest_word (d, inode->ino);
      return 0;
    }
  inode->ino = (uint32_t) (dir ? RCVMI_EXT4_FIRST_INO + l->inodes++ : RCVMI_EXT4_ROOT_INO);
  if (l->inodes > UINT32_MAX / 2)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "the tree has too many files for one image");
  digest_inode (d, inode);
  if (rcvmi_ext4_plan_xattrs (inode, &cause) < 0)
    return fail_at_inode (tree, dir, dir ? n->name : NULL, cause, err);
  return 0;
}

static int
number_inodes (struct rcvmi_layout *l, struct rcvmi_tree *tree, struct digest *d, rcvm_error **err)
{
  struct rcvmi_dir *root = tree->root->inode->u.dir;
  int r = number_node (l, tree, d, NULL, tree->root, err);

  for (struct rcvmi_dir *dir = root; dir && r == 0; dir = rcvmi_tree_next_dir (root, dir))
    {
      for (struct rcvmi_node *n = dir->first; n && r == 0; n = n->next)
        r = number_node (l, tree, d, dir, n, err);
      digest_word (d, dir->entries);
    }
  return r;
}

/* The first time that a walk over all names comes to an inode. */
static bool
is_first (const struct rcvmi_inode *inode, uint32_t *last)
{
  if (inode->ino <= *last)
    return false;
  *last = inode->ino;
  return true;
}

static int
size_tree (struct rcvmi_layout *l, struct rcvmi_tree *tree, rcvm_error **err)
{
  struct rcvmi_dir *root = tree->root->inode->u.dir;
  uint32_t last = RCVMI_EXT4_ROOT_INO;
  int r;

  for (struct rcvmi_dir *dir = root; dir; dir = rcvmi_tree_next_dir (root, dir))
    {
      r = rcvmi_ext4_plan_dir (dir, l->geometry.hash_seed, err);
      if (r < 0)
        return r;
    }
  l->blocks = rcvmi_inode_blocks (tree->root->inode) + rcvmi_ext4_index_bound (tree->root->inode)
              + (tree->root->inode->flags & RCVMI_INODE_XBLOCK ? 1 : 0);
  for (struct rcvmi_dir *dir = root; dir; dir = rcvmi_tree_next_dir (root, dir))
    for (struct rcvmi_node *n = dir->first; n; n = n->next)
      if (is_first (n->inode, &last))
        l->blocks += rcvmi_inode_blocks (n->inode) + rcvmi_ext4_index_bound (n->inode)
                     + (n->inode->flags & RCVMI_INODE_XBLOCK ? 1 : 0);
  return 0;
}

static uint64_t
all_inodes (uint64_t inodes)
{
  return inodes + RCVMI_EXT4_FIRST_INO - 1;
}

static uint64_t
count_groups (uint64_t blocks)
{
  return (blocks + RCVMI_EXT4_GROUP_BLOCKS - 1) / RCVMI_EXT4_GROUP_BLOCKS;
}

/* What the last group (which may be the only one) must have to be worth its tables; libext2fs leaves it off
   otherwise. */
static uint64_t
last_group_min (uint64_t blocks, uint64_t inodes)
{
  uint64_t groups = count_groups (blocks), per_group = (inodes + groups - 1) / groups;

  return per_group / (RCVMI_BLOCK / 256) + 4 + (groups + 63) / 64 + GROUP_MIN;
}

/* The smallest image with room for that much, of `blocks` or more. */
static uint64_t
image_blocks (const struct rcvmi_layout *l, uint64_t contents, uint64_t inodes, uint64_t blocks)
{
  /* A group's bitmap has a bit for as many inodes as it has for blocks. */
  uint64_t groups = (inodes + RCVMI_EXT4_GROUP_BLOCKS - 1) / RCVMI_EXT4_GROUP_BLOCKS;
  uint64_t least = (groups - 1) * RCVMI_EXT4_GROUP_BLOCKS + GROUP_MIN;

  if (blocks < least)
    blocks = least;
  for (;;)
    {
      uint32_t journal = l->journal ? rcvmi_ext4_journal_blocks (blocks) : 0;
      uint64_t need = contents + rcvmi_ext4_overhead (blocks, inodes, journal);
      uint64_t rest, min = last_group_min (blocks, inodes);

      if (need < blocks)
        need = blocks;
      rest = need % RCVMI_EXT4_GROUP_BLOCKS;
      if (rest > 0 && rest < min)
        need += min - rest;
      if (need == blocks)
        return blocks;
      blocks = need;
    }
}

/* Whether the tree has room in an image of a given size. */
static bool
fits (const struct rcvmi_layout *l, uint64_t blocks, uint64_t inodes, uint32_t journal)
{
  uint64_t rest = blocks % RCVMI_EXT4_GROUP_BLOCKS;

  if (rest > 0 && rest < last_group_min (blocks, inodes))
    blocks -= rest;
  return inodes <= count_groups (blocks) * RCVMI_EXT4_GROUP_BLOCKS
         && l->blocks + rcvmi_ext4_overhead (blocks, inodes, journal) <= blocks;
}

static uint64_t
with_headroom (uint64_t n, unsigned percent)
{
  return n + n / 100 * percent + (n % 100 * percent + 99) / 100;
}

static void
choose_size (struct rcvmi_layout *l, const struct rcvmi_rootfs_params *params)
{
  uint64_t contents = with_headroom (l->blocks, params->headroom);
  uint64_t inodes = with_headroom (all_inodes (l->inodes), params->headroom);
  uint64_t blocks = image_blocks (l, contents, inodes,
                                  params->headroom ? WRITABLE_MIN / RCVMI_BLOCK : 0);

  if (params->headroom && inodes < blocks / BLOCKS_PER_INODE)
    {
      inodes = blocks / BLOCKS_PER_INODE;
      blocks = image_blocks (l, contents, inodes, blocks);
    }
  l->geometry.blocks = blocks;
  l->geometry.inodes = inodes;
  l->geometry.journal_blocks = l->journal ? rcvmi_ext4_journal_blocks (blocks) : 0;
  l->image_size = blocks * RCVMI_BLOCK;
}

static int
fail_too_small (const struct rcvmi_layout *l, rcvm_error **err)
{
  return rcvmi_fail (err, RCVM_E_NO_SPACE, 0,
                     "an image of %" PRIu64 " bytes is too small for the tree: it needs %" PRIu64
                     " bytes (%" PRIu64 " MiB)",
                     l->image_size, l->minimum, (l->minimum + MIB - 1) / MIB);
}

/* The usual journal and number of inodes, or as much as the contents leave room for. */
static int
fit_size (struct rcvmi_layout *l, rcvm_error **err)
{
  uint64_t least = all_inodes (l->inodes), blocks = l->image_size / RCVMI_BLOCK;
  uint64_t inodes = with_headroom (least, 10);
  uint32_t journal = l->journal ? rcvmi_ext4_journal_blocks (blocks) : 0;

  if (blocks == 0)
    return fail_too_small (l, err);
  while (journal / 2 >= JOURNAL_MIN && !fits (l, blocks, least, journal))
    journal /= 2;
  if (inodes < blocks / BLOCKS_PER_INODE)
    inodes = blocks / BLOCKS_PER_INODE;
  while (!fits (l, blocks, inodes, journal))
    {
      if (inodes <= least)
        return fail_too_small (l, err);
      inodes -= (inodes - least + 1) / 2;
    }
  l->geometry.blocks = blocks;
  l->geometry.inodes = inodes;
  l->geometry.journal_blocks = journal;
  return 0;
}

int
rcvmi_layout_plan (struct rcvmi_layout *l, struct rcvmi_tree *tree,
                   const struct rcvmi_rootfs_params *params, rcvm_error **err)
{
  struct digest d = { UINT64_C (0x243f6a8885a308d3), UINT64_C (0x13198a2e03707344) };
  struct rcvmi_ext4_geometry *g = &l->geometry;
  int r;

  *l = (struct rcvmi_layout){ .journal = params->journal, .image_size = params->size };
  r = number_inodes (l, tree, &d, err);
  if (r < 0)
    return r;
  for (int i = 0; i < 8; i++)
    {
      g->uuid[i] = (unsigned char) (d.a >> i * 8);
      g->uuid[8 + i] = (unsigned char) (d.b >> i * 8);
    }
  g->uuid[6] = (g->uuid[6] & 0x0f) | 0x80; /* version 8: made from data */
  g->uuid[8] = (g->uuid[8] & 0x3f) | 0x80;
  for (int i = 0; i < 4; i++)
    {
      digest_word (&d, (uint64_t) i);
      g->hash_seed[i] = (uint32_t) (d.b >> 16);
    }
  r = size_tree (l, tree, err);
  if (r < 0)
    return r;
  l->minimum = image_blocks (l, l->blocks, all_inodes (l->inodes), 0) * RCVMI_BLOCK;
  if (params->size)
    r = fit_size (l, err);
  else
    choose_size (l, params);
  if (r < 0)
    return r;
  if (g->blocks > UINT32_MAX || g->inodes > UINT32_MAX)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "an image of %" PRIu64 " bytes is larger than the 16 TiB that are supported",
                       l->image_size);
  return 0;
}

static void
assign_inode (struct rcvmi_layout *l, struct rcvmi_inode *inode, const struct rcvmi_ext4 *e,
              uint64_t limit)
{
  uint64_t blocks = rcvmi_inode_blocks (inode);

  inode->first = l->used;
  l->used += blocks + (inode->flags & RCVMI_INODE_XBLOCK ? 1 : 0);
  /* Beyond the end there is nothing to count. */
  if (blocks > 1 && l->used <= limit)
    l->used += rcvmi_ext4_index_blocks (e, inode);
}

/* In the order in which the archive has them: its second reading then writes from front to back. */
static int
assign_archive (struct rcvmi_layout *l, struct rcvmi_tree *tree, size_t origin, const struct rcvmi_ext4 *e,
                rcvm_error **err)
{
  size_t n;
  autofree struct rcvmi_inode **files = rcvmi_tree_archive_files (tree, origin, &n);

  if (!files)
    return rcvmi_fail_nomem (err);
  for (size_t i = 0; i < n; i++)
    assign_inode (l, files[i], e, rcvmi_ext4_free_blocks (e));
  return 0;
}

int
rcvmi_layout_assign (struct rcvmi_layout *l, struct rcvmi_tree *tree, const struct rcvmi_ext4 *e,
                     rcvm_error **err)
{
  struct rcvmi_dir *root = tree->root->inode->u.dir;
  uint64_t limit = rcvmi_ext4_free_blocks (e);

  l->used = 0;
  assign_inode (l, tree->root->inode, e, limit);
  for (size_t pass = 0; pass <= tree->n_origins; pass++)
    {
      uint32_t last = RCVMI_EXT4_ROOT_INO;

      if (pass && tree->origins[pass - 1].archive)
        {
          int r = assign_archive (l, tree, pass - 1, e, err);

          if (r < 0)
            return r;
          continue;
        }
      for (struct rcvmi_dir *dir = root; dir; dir = rcvmi_tree_next_dir (root, dir))
        for (struct rcvmi_node *n = dir->first; n; n = n->next)
          {
            bool file = rcvmi_inode_is (n->inode, S_IFREG);

            if (is_first (n->inode, &last) && (pass ? file && n->inode->origin == pass - 1 : !file))
              assign_inode (l, n->inode, e, limit);
          }
    }
  return l->used <= limit ? 0 : fail_too_small (l, err);
}
