/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "rootfs-tree.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"

/* As many as the kernel follows in one path. */
#define MAX_SYMLINKS 40
#define EPOCH_OFFSET INT64_C (0x80000000)
#define SEC_BITS 34

struct chunk
{
  struct chunk *next;
  size_t size, used;
  char data[] __attribute__ ((aligned (16)));
};

struct rcvmi_arena
{
  struct chunk *chunks;
};

uint64_t
rcvmi_time_pack (int64_t sec, uint32_t nsec)
{
  int64_t last = (INT64_C (1) << SEC_BITS) - 1;

  if (sec < -EPOCH_OFFSET)
    return 0;
  if (sec > last - EPOCH_OFFSET)
    return (uint64_t) last << 30 | 999999999;
  return (uint64_t) (sec + EPOCH_OFFSET) << 30 | (nsec & 0x3fffffff);
}

int64_t
rcvmi_time_sec (uint64_t packed)
{
  return (int64_t) (packed >> 30) - EPOCH_OFFSET;
}

uint32_t
rcvmi_time_nsec (uint64_t packed)
{
  return packed & 0x3fffffff;
}

int
rcvmi_tree_init (struct rcvmi_tree *tree, rcvm_error **err)
{
  *tree = (struct rcvmi_tree){ 0 };
  tree->arena = calloc (1, sizeof *tree->arena);
  return tree->arena ? 0 : rcvmi_fail_nomem (err);
}

void
rcvmi_tree_clear (struct rcvmi_tree *tree)
{
  for (size_t i = 0; i < tree->n_origins; i++)
    {
      cleanup_close (&tree->origins[i].fd);
      cleanup_close (&tree->origins[i].view);
      free (tree->origins[i].path);
      free (tree->origins[i].file);
    }
  free (tree->origins);
  free (tree->devs);
  free (tree->links);
  if (tree->arena)
    for (struct chunk *c = tree->arena->chunks, *next; c; c = next)
      {
        next = c->next;
        free (c);
      }
  free (tree->arena);
  *tree = (struct rcvmi_tree){ 0 };
}

void *
rcvmi_tree_alloc (struct rcvmi_tree *tree, size_t size)
{
  struct chunk *c = tree->arena->chunks;
  void *p;

  size = (size + 7) & ~(size_t) 7;
  tree->allocated += size;
  if (!c || c->size - c->used < size)
    {
      size_t chunk = 256 * 1024 - sizeof *c;

      if (size > chunk / 4)
        {
          /* Its own chunk, behind the one in use. */
          struct chunk *own = calloc (1, sizeof *own + size);

          if (!own)
            return NULL;
          own->size = own->used = size;
          if (c)
            {
              own->next = c->next;
              c->next = own;
            }
          else
            tree->arena->chunks = own;
          return own->data;
        }
      c = calloc (1, sizeof *c + chunk);
      if (!c)
        return NULL;
      c->size = chunk;
      c->next = tree->arena->chunks;
      tree->arena->chunks = c;
    }
  p = c->data + c->used;
  c->used += size;
  return p;
}

struct rcvmi_node *
rcvmi_tree_node (struct rcvmi_tree *tree, const char *name, size_t len)
{
  struct rcvmi_node *node = rcvmi_tree_alloc (tree, sizeof *node + len + 1);

  if (!node)
    return NULL;
  node->len = (uint8_t) len;
  memcpy (node->name, name, len);
  return node;
}

struct rcvmi_dir *
rcvmi_tree_dir (struct rcvmi_tree *tree, struct rcvmi_node *node, struct rcvmi_dir *parent)
{
  struct rcvmi_dir *dir = rcvmi_tree_alloc (tree, sizeof *dir);

  if (!dir)
    return NULL;
  dir->self = node;
  dir->parent = parent;
  dir->depth = parent ? parent->depth + 1 : 0;
  node->inode->u.dir = dir;
  return dir;
}

struct rcvmi_origin *
rcvmi_tree_origin (struct rcvmi_tree *tree, const char *path, rcvm_error **err)
{
  struct rcvmi_origin *o;

  if (tree->n_origins >= RCVMI_NO_ORIGIN - 1)
    {
      rcvmi_fail (err, RCVM_E_INVALID, 0, "more than %d copies and layers in one image",
                  RCVMI_NO_ORIGIN - 2);
      return NULL;
    }
  o = reallocarray (tree->origins, tree->n_origins + 1, sizeof *o);
  if (o)
    {
      tree->origins = o;
      o += tree->n_origins;
      *o = (struct rcvmi_origin){ .fd = -1, .view = -1, .path = strdup (path) };
    }
  if (!o || !o->path)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  tree->n_origins++;
  return o;
}

int64_t
rcvmi_tree_dev (struct rcvmi_tree *tree, uint64_t dev)
{
  uint64_t *devs;

  for (size_t i = 0; i < tree->n_devs; i++)
    if (tree->devs[i] == dev)
      return (int64_t) i;
  devs = reallocarray (tree->devs, tree->n_devs + 1, sizeof *devs);
  if (!devs)
    return -1;
  tree->devs = devs;
  devs[tree->n_devs] = dev;
  return (int64_t) tree->n_devs++;
}

static int
compare_names (const char *a, size_t a_len, const char *b, size_t b_len)
{
  int c = memcmp (a, b, a_len < b_len ? a_len : b_len);

  if (c)
    return c;
  return (a_len > b_len) - (a_len < b_len);
}

int
rcvmi_node_compare (const struct rcvmi_node *a, const struct rcvmi_node *b)
{
  return compare_names (a->name, a->len, b->name, b->len);
}

struct rcvmi_node *
rcvmi_tree_lookup (const struct rcvmi_dir *dir, const char *name, size_t len)
{
  for (struct rcvmi_node *n = dir->first; n; n = n->next)
    if (n->len == len && memcmp (n->name, name, len) == 0)
      return n;
  return NULL;
}

void
rcvmi_tree_insert (struct rcvmi_dir *dir, struct rcvmi_node *node)
{
  struct rcvmi_node **at = &dir->first;
  int c = -1;

  while (*at && (c = rcvmi_node_compare (*at, node)) < 0)
    at = &(*at)->next;
  node->next = *at && c == 0 ? (*at)->next : *at;
  *at = node;
}

static struct rcvmi_dir *
first_dir (struct rcvmi_node *n)
{
  for (; n; n = n->next)
    if (rcvmi_inode_is (n->inode, S_IFDIR))
      return n->inode->u.dir;
  return NULL;
}

struct rcvmi_dir *
rcvmi_tree_next_dir (const struct rcvmi_dir *top, struct rcvmi_dir *dir)
{
  struct rcvmi_dir *next = first_dir (dir->first);

  while (!next && dir != top)
    {
      next = first_dir (dir->self->next);
      dir = dir->parent;
    }
  return next;
}

static int
compare_numbers (const void *a, const void *b)
{
  uint64_t x = (*(struct rcvmi_inode *const *) a)->source_ino;
  uint64_t y = (*(struct rcvmi_inode *const *) b)->source_ino;

  return (x > y) - (x < y);
}

struct rcvmi_inode **
rcvmi_tree_archive_files (const struct rcvmi_tree *tree, size_t origin, size_t *n)
{
  struct rcvmi_dir *root = tree->root->inode->u.dir;
  autofree struct rcvmi_inode **list = NULL;
  size_t cap = 0, found = 0, unique = 0;

  for (struct rcvmi_dir *dir = root; dir; dir = rcvmi_tree_next_dir (root, dir))
    for (struct rcvmi_node *node = dir->first; node; node = node->next)
      {
        if (!rcvmi_inode_is (node->inode, S_IFREG) || node->inode->origin != origin)
          continue;
        if (found == cap)
          {
            size_t more = cap ? cap * 2 : 1024;
            struct rcvmi_inode **grown = reallocarray (list, more, sizeof *list);

            if (!grown)
              return NULL;
            list = grown;
            cap = more;
          }
        list[found++] = node->inode;
      }
  if (!list)
    list = malloc (sizeof *list);
  if (found)
    qsort (list, found, sizeof *list, compare_numbers);
  /* Those with several names were found several times. */
  for (size_t i = 0; i < found; i++)
    if (unique == 0 || list[unique - 1] != list[i])
      list[unique++] = list[i];
  *n = unique;
  return steal_ptr (list);
}

char *
rcvmi_source_path (const struct rcvmi_origin *origin, const struct rcvmi_dir *dir,
                   const char *name)
{
  size_t len = strlen (origin->path), size = len + 1 + (name ? strlen (name) + 1 : 0);
  const struct rcvmi_dir *top = origin->dir;
  char *path, *p;

  if (!top)
    return strdup (origin->path);
  for (const struct rcvmi_dir *d = dir; d && d != top; d = d->parent)
    size += d->self->len + 1u;
  path = malloc (size);
  if (!path)
    return NULL;
  p = path + size - 1;
  *p = 0;
  if (name)
    {
      p -= strlen (name);
      memcpy (p, name, strlen (name));
      *--p = '/';
    }
  for (const struct rcvmi_dir *d = dir; d && d != top; d = d->parent)
    {
      p -= d->self->len;
      memcpy (p, d->self->name, d->self->len);
      *--p = '/';
    }
  memcpy (path, origin->path, len);
  return path;
}

int
rcvmi_tree_empty_root (struct rcvmi_tree *tree, rcvm_error **err)
{
  struct rcvmi_node *root = rcvmi_tree_node (tree, "", 0);

  if (!root || !(root->inode = rcvmi_tree_alloc (tree, sizeof *root->inode)))
    return rcvmi_fail_nomem (err);
  root->inode->mode = S_IFDIR | 0755;
  root->inode->mtime = root->inode->atime = rcvmi_time_pack (0, 0);
  root->inode->origin = RCVMI_NO_ORIGIN;
  tree->root = root;
  return rcvmi_tree_dir (tree, root, NULL) ? 0 : rcvmi_fail_nomem (err);
}

/* A directory that only a copy's destination asks for: root's, with the times of the one it is in. */
static struct rcvmi_dir *
make_parent (struct rcvmi_tree *tree, struct rcvmi_dir *dir, const char *name, size_t len)
{
  struct rcvmi_node *node = rcvmi_tree_node (tree, name, len);
  struct rcvmi_inode *inode = rcvmi_tree_alloc (tree, sizeof *inode);

  if (!node || !inode)
    return NULL;
  node->inode = inode;
  inode->mode = S_IFDIR | 0755;
  inode->mtime = inode->atime = dir->self->inode->mtime;
  inode->origin = RCVMI_NO_ORIGIN;
  if (!rcvmi_tree_dir (tree, node, dir))
    return NULL;
  rcvmi_tree_insert (dir, node);
  return inode->u.dir;
}

/* The rest of the path with a symlink's target in front of it. */
static int
splice_target (char **path, const char *target, const char *rest)
{
  char *joined = malloc (strlen (target) + 1 + strlen (rest) + 1);

  if (!joined)
    return -1;
  strcpy (joined, target);
  strcat (joined, "/");
  strcat (joined, rest);
  free (*path);
  *path = joined;
  return 0;
}

int
rcvmi_tree_resolve (struct rcvmi_tree *tree, const char *destination, struct rcvmi_dir **dir_out,
                    char **name_out, rcvm_error **err)
{
  struct rcvmi_dir *root = tree->root->inode->u.dir, *dir = root;
  autofree char *path = strdup (destination);
  int links = 0;

  *name_out = NULL;
  if (!path)
    return rcvmi_fail_nomem (err);
  for (const char *p = path;;)
    {
      size_t len;
      struct rcvmi_node *n;
      const char *rest;

      p += strspn (p, "/");
      len = strcspn (p, "/");
      rest = p + len + strspn (p + len, "/");
      if (len == 0)
        break;
      if (len == 1 && p[0] == '.')
        {
          p = rest;
          continue;
        }
      if (len == 2 && p[0] == '.' && p[1] == '.')
        {
          if (dir->parent)
            dir = dir->parent;
          p = rest;
          continue;
        }
      if (len > RCVMI_NAME_MAX)
        return rcvmi_fail (err, RCVM_E_INVALID, ENAMETOOLONG, "the destination '%s' cannot be used",
                           destination);
      n = rcvmi_tree_lookup (dir, p, len);
      if (n && rcvmi_inode_is (n->inode, S_IFLNK))
        {
          bool absolute = n->inode->u.target[0] == '/';

          if (++links > MAX_SYMLINKS)
            return rcvmi_fail (err, RCVM_E_INVALID, ELOOP, "the destination '%s' cannot be used",
                               destination);
          if (splice_target (&path, n->inode->u.target, rest) < 0)
            return rcvmi_fail_nomem (err);
          p = path;
          if (absolute)
            dir = root;
          continue;
        }
      if (!*rest)
        {
          *name_out = strndup (p, len);
          *dir_out = dir;
          return *name_out ? 0 : rcvmi_fail_nomem (err);
        }
      if (n && !rcvmi_inode_is (n->inode, S_IFDIR))
        return rcvmi_fail (err, RCVM_E_INVALID, 0,
                           "the destination '%s' lies below '%.*s', which is no directory",
                           destination, (int) (p + len - path), path);
      if (n)
        dir = n->inode->u.dir;
      else if (!(dir = make_parent (tree, dir, p, len)))
        return rcvmi_fail_nomem (err);
      p = rest;
    }
  /* The path ended in "/", "." or "..", or a symlink to such: the directory reached is what it names. */
  *dir_out = dir->parent;
  if (dir->parent)
    {
      *name_out = strndup (dir->self->name, dir->self->len);
      return *name_out ? 0 : rcvmi_fail_nomem (err);
    }
  *dir_out = dir;
  return 0;
}
