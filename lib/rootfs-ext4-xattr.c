/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extended attributes on disk: in what is left of the inode, and what does not fit there in one block of
 * its own.  Entries grow from the front, values from the back.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <string.h>

#include "err.h"
#include "rootfs-ext4-priv.h"
#include "rootfs-scan.h"

/* Behind the magic number, and with the zero word that ends the list. */
#define INODE_ROOM (INODE_XATTR_SIZE - 4u - 4u)
#define BLOCK_ROOM (RCVMI_BLOCK - sizeof (struct ext2_ext_attr_header) - 4u)

static size_t
size_of (const struct rcvmi_xattr *x)
{
  return EXT2_EXT_ATTR_LEN (x->name_len) + EXT2_EXT_ATTR_SIZE ((size_t) x->value_len);
}

int
rcvmi_ext4_plan_xattrs (struct rcvmi_inode *inode, rcvm_error **err)
{
  size_t in_inode = INODE_ROOM, in_block = BLOCK_ROOM;

  if (!inode->xattrs)
    return 0;
  for (const struct rcvmi_xattr *x = rcvmi_xattrs_next (inode->xattrs, NULL); x;
       x = rcvmi_xattrs_next (inode->xattrs, x))
    {
      size_t size = size_of (x);

      if (size <= in_inode)
        in_inode -= size;
      else if (size <= in_block)
        {
          in_block -= size;
          inode->flags |= RCVMI_INODE_XBLOCK;
        }
      else
        return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                           "more extended attributes than the 4 KiB that ext4 has room for");
    }
  return 0;
}

struct area
{
  unsigned char *base;  /* what offsets of values count from */
  unsigned char *entry; /* the next one */
  size_t value;         /* the offset of the last one */
};

static void
put (struct area *a, const struct rcvmi_xattr *x)
{
  struct ext2_ext_attr_entry *entry = (struct ext2_ext_attr_entry *) a->entry;

  a->value -= EXT2_EXT_ATTR_SIZE ((size_t) x->value_len);
  memcpy (a->base + a->value, rcvmi_xattr_value (x), x->value_len);
  memcpy (a->entry + sizeof *entry, rcvmi_xattr_name (x), x->name_len);
  entry->e_name_len = x->name_len;
  entry->e_name_index = x->index;
  entry->e_value_offs = ext2fs_cpu_to_le16 (x->value_len ? (uint16_t) a->value : 0);
  entry->e_value_size = ext2fs_cpu_to_le32 (x->value_len);
  entry->e_hash = ext2fs_cpu_to_le32 (ext2fs_ext_attr_hash_entry (entry, a->base + a->value));
  a->entry += EXT2_EXT_ATTR_LEN (x->name_len);
}

/* crc32c of the block's number and the block, the field itself as zero. */
static void
seal_block (const struct rcvmi_ext4 *e, unsigned char *block, uint64_t nr)
{
  struct ext2_ext_attr_header *h = (struct ext2_ext_attr_header *) block;
  uint64_t le = ext2fs_cpu_to_le64 (nr);
  uint32_t crc = ext2fs_crc32c_le (e->seed, (unsigned char *) &le, sizeof le);

  h->h_checksum = 0;
  h->h_checksum = ext2fs_cpu_to_le32 (ext2fs_crc32c_le (crc, block, RCVMI_BLOCK));
}

void
rcvmi_ext4_put_xattrs (const struct rcvmi_ext4 *e, const struct rcvmi_inode *inode,
                       unsigned char *raw, unsigned char *block, uint64_t block_nr)
{
  size_t in_inode = INODE_ROOM;
  unsigned char *magic = raw + INODE_XATTR_OFFSET;
  uint32_t word = ext2fs_cpu_to_le32 (EXT2_EXT_ATTR_MAGIC);
  struct area a = { magic + 4, magic + 4, INODE_XATTR_SIZE - 4 }, b = { 0 };
  struct ext2_ext_attr_header *h = (struct ext2_ext_attr_header *) block;

  if (!inode->xattrs)
    return;
  if (block)
    {
      h->h_magic = word;
      h->h_refcount = ext2fs_cpu_to_le32 (1);
      h->h_blocks = ext2fs_cpu_to_le32 (1);
      b = (struct area){ block, block + sizeof *h, RCVMI_BLOCK };
    }
  for (const struct rcvmi_xattr *x = rcvmi_xattrs_next (inode->xattrs, NULL); x;
       x = rcvmi_xattrs_next (inode->xattrs, x))
    {
      size_t size = size_of (x);

      if (size <= in_inode)
        {
          memcpy (magic, &word, 4);
          put (&a, x);
          in_inode -= size;
        }
      else
        put (&b, x);
    }
  if (block)
    {
      ext2fs_ext_attr_block_rehash (h, (struct ext2_ext_attr_entry *) b.entry);
      seal_block (e, block, block_nr);
    }
}
