/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tree that an image will hold: names, inodes and where each came from.  No data, no open files.
 *
 * A million entries must fit into memory, so all of it lives in one arena, and times are packed.
 */
#ifndef RCVM_LIB_ROOTFS_TREE_H
#define RCVM_LIB_ROOTFS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <runcvm/error.h>

#define RCVMI_BLOCK 4096u
#define RCVMI_NAME_MAX 255

/* Of what is made up for the image. */
#define RCVMI_NO_ORIGIN UINT16_MAX

struct rcvmi_node;

/* An extended attribute in ext4's terms: the prefix of its name as a number. */
struct rcvmi_xattr
{
  uint32_t value_len;
  uint8_t index;
  uint8_t name_len;
  /* name, value */
};

struct rcvmi_xattrs
{
  uint32_t n;
  uint32_t size; /* of what follows: struct rcvmi_xattr, each padded to 8 bytes */
};

/* The parts of a sparse file that have data, in blocks. */
struct rcvmi_segment
{
  uint64_t block;
  uint64_t count;
};

struct rcvmi_segments
{
  uint64_t n;
  uint64_t blocks; /* their sum */
  struct rcvmi_segment s[];
};

struct rcvmi_dir
{
  struct rcvmi_dir *parent; /* NULL for the root */
  struct rcvmi_node *self;
  struct rcvmi_node *first; /* bytewise sorted */
  uint32_t entries;
  uint32_t subdirs;
  uint32_t leaves; /* hash-ordered leaf blocks; 0: one plain block */
  uint32_t blocks;
  uint32_t depth;
  uint32_t layer; /* the last archive that had its names looked up */
  uint32_t hidden; /* the last archive that hid all that was below it in there */
  bool touched;   /* that archive has put something into it, or below it */
};

enum
{
  RCVMI_INODE_XBLOCK = 1, /* attributes that need a block of their own */
  RCVMI_INODE_WRITTEN = 2 /* its data is in the image */
};

struct rcvmi_inode
{
  uint64_t size;
  uint64_t mtime, atime; /* rcvmi_time_pack */
  uint64_t ctime;        /* of the source, to notice changes */
  uint64_t source_ino;
  uint64_t first; /* index of its first block among the free blocks of the image */
  union
  {
    struct rcvmi_dir *dir;           /* S_IFDIR */
    struct rcvmi_segments *segments; /* S_IFREG; NULL: no holes */
    char *target;                    /* S_IFLNK; size bytes and a NUL */
    uint64_t rdev;                   /* S_IFCHR, S_IFBLK */
  } u;
  struct rcvmi_xattrs *xattrs;
  uint32_t uid, gid;
  uint32_t nlink;
  uint32_t ino;
  uint32_t source_dev; /* index into tree->devs */
  uint16_t mode;
  uint16_t origin; /* index into tree->origins */
  uint8_t flags;
};

enum
{
  RCVMI_NODE_OWN = 1,    /* of the layer that is being applied */
  RCVMI_NODE_GONE = 2,   /* replaced or hidden by it, and not yet taken out of its list */
  RCVMI_NODE_LINKED = 4  /* a further name that the inode's origin does not have */
};

/* One name of an inode. */
struct rcvmi_node
{
  struct rcvmi_inode *inode;
  struct rcvmi_node *next; /* in its directory */
  uint8_t len;
  uint8_t flags;
  char name[];
};

/* Where the origin of an inode has it, whatever became of that name since. */
struct rcvmi_link
{
  struct rcvmi_dir *dir;
  struct rcvmi_node *node;
};

/* A place of the host that (part of) the tree comes from.  Every file of it lies at the same path
   below `fd` as its node does below `dir`; but an archive is `fd` itself, and its files are known by their
   number in it (source_ino). */
struct rcvmi_origin
{
  char *path;            /* for messages */
  int view;              /* a private mount that fd lies in, or -1 */
  int fd;                /* the directory; for a single file, the directory that holds it */
  bool archive;
  struct stat identity;  /* of an archive, to notice changes */
  bool quiet;            /* reading through fd leaves access times as they are */
  struct rcvmi_dir *dir; /* NULL for a single file */
  char *file;            /* the single file's name in fd */
  struct rcvmi_node *node;
};

struct rcvmi_tree
{
  struct rcvmi_node *root;
  struct rcvmi_origin *origins;
  size_t n_origins;
  uint64_t *devs;
  size_t n_devs;
  struct rcvmi_link *links; /* of inodes with RCVMI_NODE_LINKED names */
  size_t n_links;
  struct rcvmi_arena *arena;
  uint64_t allocated; /* bytes in the arena */
};

/* 34 bits of seconds from 1901-12-13 on, as ext4 has them, and 30 of nanoseconds; clamped. */
uint64_t rcvmi_time_pack (int64_t sec, uint32_t nsec);
int64_t rcvmi_time_sec (uint64_t packed);
uint32_t rcvmi_time_nsec (uint64_t packed);

int rcvmi_tree_init (struct rcvmi_tree *tree, rcvm_error **err);
/* Closes and frees everything. */
void rcvmi_tree_clear (struct rcvmi_tree *tree);
/* Zeroed, aligned for any of the structs here; NULL: out of memory. */
void *rcvmi_tree_alloc (struct rcvmi_tree *tree, size_t size);
/* A name with an inode yet to fill in; not in any directory. */
struct rcvmi_node *rcvmi_tree_node (struct rcvmi_tree *tree, const char *name, size_t len);
/* Makes the inode a directory of `parent`. */
struct rcvmi_dir *rcvmi_tree_dir (struct rcvmi_tree *tree, struct rcvmi_node *node,
                                  struct rcvmi_dir *parent);
/* A new origin, to be filled in; NULL with *err set. */
struct rcvmi_origin *rcvmi_tree_origin (struct rcvmi_tree *tree, const char *path, rcvm_error **err);
/* The regular files of an archive that the image holds, in the archive's order; malloc'ed, *n of them.
   NULL: out of memory. */
struct rcvmi_inode **rcvmi_tree_archive_files (const struct rcvmi_tree *tree, size_t origin, size_t *n);
/* The index of a device number; -1: out of memory. */
int64_t rcvmi_tree_dev (struct rcvmi_tree *tree, uint64_t dev);

struct rcvmi_node *rcvmi_tree_lookup (const struct rcvmi_dir *dir, const char *name, size_t len);
/* Puts a node in its place; an entry of the same name gives way. */
void rcvmi_tree_insert (struct rcvmi_dir *dir, struct rcvmi_node *node);
/* A root directory of root's that comes from nowhere. */
int rcvmi_tree_empty_root (struct rcvmi_tree *tree, rcvm_error **err);
/* The order of names in a directory. */
int rcvmi_node_compare (const struct rcvmi_node *a, const struct rcvmi_node *b);

/* Walks directories, parents first, without recursion: trees may be deeper than any stack. */
struct rcvmi_dir *rcvmi_tree_next_dir (const struct rcvmi_dir *top, struct rcvmi_dir *dir);

/* "PATH-OF-ORIGIN/a/b/name" for messages, in a malloc'ed string; `name` may be NULL. NULL: no memory. */
char *rcvmi_source_path (const struct rcvmi_origin *origin, const struct rcvmi_dir *dir,
                         const char *name);

/* Finds what `path` names inside the image, symlinks followed as if the root directory were "/". The
   directories that lack are made.  *dir and *name (malloc'ed) say where the last component belongs;
   *name is NULL where the path is the root directory. */
int rcvmi_tree_resolve (struct rcvmi_tree *tree, const char *path, struct rcvmi_dir **dir,
                        char **name, rcvm_error **err);

static inline bool
rcvmi_inode_is (const struct rcvmi_inode *inode, unsigned type)
{
  return (inode->mode & S_IFMT) == type;
}

/* Bytes of a symlink's target that fit into the inode itself. */
#define RCVMI_FAST_SYMLINK 59

static inline uint64_t
rcvmi_blocks (uint64_t bytes)
{
  return bytes / RCVMI_BLOCK + (bytes % RCVMI_BLOCK != 0);
}

/* Blocks of contents: data, entries or a long target. */
static inline uint64_t
rcvmi_inode_blocks (const struct rcvmi_inode *inode)
{
  switch (inode->mode & S_IFMT)
    {
    case S_IFREG:
      return inode->u.segments ? inode->u.segments->blocks : rcvmi_blocks (inode->size);
    case S_IFDIR:
      return inode->u.dir->blocks;
    case S_IFLNK:
      return inode->size > RCVMI_FAST_SYMLINK ? 1 : 0;
    default:
      return 0;
    }
}

#endif
