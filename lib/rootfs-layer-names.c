/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "rootfs-layer-names.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cleanup.h"
#include "err.h"

int
rcvmi_layer_names_init (struct rcvmi_layer_names *l, struct rcvmi_tree *tree, uint32_t layer,
                        rcvm_error **err)
{
  *l = (struct rcvmi_layer_names){ .tree = tree, .layer = layer, .cap = 1024 };
  l->slots = calloc (l->cap, sizeof *l->slots);
  if (!l->slots)
    return rcvmi_fail_nomem (err);
  /* Against names that are made to collide; nothing of the image depends on it. */
  if (getrandom (&l->key, sizeof l->key, GRND_NONBLOCK) != sizeof l->key)
    l->key = (uintptr_t) l->slots;
  l->key |= 1;
  return 0;
}

void
rcvmi_layer_names_clear (struct rcvmi_layer_names *l)
{
  free (l->slots);
  free (l->dirs);
}

static size_t
hash (const struct rcvmi_layer_names *l, const struct rcvmi_dir *dir, const char *name, size_t len)
{
  uint64_t h = (uintptr_t) dir * l->key ^ len;

  for (size_t i = 0; i < len; i += 8)
    {
      uint64_t word = 0;

      memcpy (&word, name + i, len - i < 8 ? len - i : 8);
      h = (h ^ word) * l->key;
      h ^= h >> 29;
      h *= UINT64_C (0x9e3779b97f4a7c15);
      h ^= h >> 32;
    }
  return (size_t) h;
}

static struct rcvmi_layer_slot *
find_slot (const struct rcvmi_layer_names *l, const struct rcvmi_dir *dir, const char *name, size_t len)
{
  size_t mask = l->cap - 1, i = hash (l, dir, name, len) & mask;

  while (l->slots[i].node
         && (l->slots[i].dir != dir || l->slots[i].node->len != len
             || memcmp (l->slots[i].node->name, name, len) != 0))
    i = (i + 1) & mask;
  return &l->slots[i];
}

static int
set_slot (struct rcvmi_layer_names *l, struct rcvmi_dir *dir, struct rcvmi_node *node, rcvm_error **err)
{
  struct rcvmi_layer_slot *slot;

  if (l->n * 4 >= l->cap * 3)
    {
      struct rcvmi_layer_slot *old = l->slots;
      size_t cap = l->cap;

      l->slots = calloc (cap * 2, sizeof *l->slots);
      if (!l->slots)
        {
          l->slots = old;
          return rcvmi_fail_nomem (err);
        }
      l->cap = cap * 2;
      for (size_t i = 0; i < cap; i++)
        if (old[i].node)
          *find_slot (l, old[i].dir, old[i].node->name, old[i].node->len) = old[i];
      free (old);
    }
  slot = find_slot (l, dir, node->name, node->len);
  if (!slot->node)
    l->n++;
  *slot = (struct rcvmi_layer_slot){ dir, node };
  return 0;
}

static int
load (struct rcvmi_layer_names *l, struct rcvmi_dir *dir, rcvm_error **err)
{
  if (dir->layer == l->layer)
    return 0;
  if (l->n_dirs == l->cap_dirs)
    {
      size_t cap = l->cap_dirs ? l->cap_dirs * 2 : 256;
      struct rcvmi_dir **dirs = reallocarray (l->dirs, cap, sizeof *dirs);

      if (!dirs)
        return rcvmi_fail_nomem (err);
      l->dirs = dirs;
      l->cap_dirs = cap;
    }
  l->dirs[l->n_dirs++] = dir;
  dir->layer = l->layer;
  for (struct rcvmi_node *n = dir->first; n; n = n->next)
    if (set_slot (l, dir, n, err) < 0)
      return -1;
  return 0;
}

int
rcvmi_layer_names_find (struct rcvmi_layer_names *l, struct rcvmi_dir *dir, const char *name, size_t len,
                        struct rcvmi_node **node, rcvm_error **err)
{
  *node = NULL;
  if (load (l, dir, err) < 0)
    return -1;
  *node = find_slot (l, dir, name, len)->node;
  if (*node && (*node)->flags & RCVMI_NODE_GONE)
    *node = NULL;
  return 0;
}

void
rcvmi_layer_names_own (struct rcvmi_dir *dir, struct rcvmi_node *node)
{
  node->flags |= RCVMI_NODE_OWN;
  for (; dir && !dir->touched; dir = dir->parent)
    dir->touched = true;
}

int
rcvmi_layer_names_put (struct rcvmi_layer_names *l, struct rcvmi_dir *dir, struct rcvmi_node *node,
                       rcvm_error **err)
{
  struct rcvmi_node *old;

  if (rcvmi_layer_names_find (l, dir, node->name, node->len, &old, err) < 0
      || set_slot (l, dir, node, err) < 0)
    return -1;
  if (old)
    old->flags |= RCVMI_NODE_GONE;
  node->next = dir->first;
  dir->first = node;
  rcvmi_layer_names_own (dir, node);
  return 0;
}

/* A directory of below that is hidden, but has something of the archive in it: as if nobody had
   named it. */
static void
forget_metadata (struct rcvmi_dir *parent, struct rcvmi_inode *inode)
{
  inode->mode = S_IFDIR | 0755;
  inode->uid = inode->gid = 0;
  inode->xattrs = NULL;
  inode->mtime = inode->atime = parent->self->inode->mtime;
  inode->origin = RCVMI_NO_ORIGIN;
}

/* Directories whose entries of below are to be hidden. */
struct todo
{
  struct rcvmi_dir **dirs;
  size_t n, cap;
};

static int
hide_node (struct todo *todo, struct rcvmi_dir *parent, struct rcvmi_node *node, rcvm_error **err)
{
  bool own = node->flags & RCVMI_NODE_OWN;

  if (!rcvmi_inode_is (node->inode, S_IFDIR) || !(own || node->inode->u.dir->touched))
    {
      if (!own)
        node->flags |= RCVMI_NODE_GONE;
      return 0;
    }
  if (!own)
    forget_metadata (parent, node->inode);
  if (todo->n == todo->cap)
    {
      size_t cap = todo->cap ? todo->cap * 2 : 64;
      struct rcvmi_dir **dirs = reallocarray (todo->dirs, cap, sizeof *dirs);

      if (!dirs)
        return rcvmi_fail_nomem (err);
      todo->dirs = dirs;
      todo->cap = cap;
    }
  todo->dirs[todo->n++] = node->inode->u.dir;
  return 0;
}

static int
hide_entries (struct rcvmi_layer_names *l, struct todo *todo, struct rcvmi_dir *dir, rcvm_error **err)
{
  if (dir->hidden == l->layer)
    return 0;
  dir->hidden = l->layer;
  /* So that what is gone is taken out in the end. */
  if (load (l, dir, err) < 0)
    return -1;
  for (struct rcvmi_node *n = dir->first; n; n = n->next)
    if (!(n->flags & RCVMI_NODE_GONE) && hide_node (todo, dir, n, err) < 0)
      return -1;
  return 0;
}

static int
hide_all (struct rcvmi_layer_names *l, struct todo *todo, rcvm_error **err)
{
  while (todo->n)
    if (hide_entries (l, todo, todo->dirs[--todo->n], err) < 0)
      return -1;
  return 0;
}

int
rcvmi_layer_names_opaque (struct rcvmi_layer_names *l, struct rcvmi_dir *dir, rcvm_error **err)
{
  struct todo todo = { 0 };
  int r = hide_entries (l, &todo, dir, err);

  if (r == 0)
    r = hide_all (l, &todo, err);
  free (todo.dirs);
  return r;
}

int
rcvmi_layer_names_whiteout (struct rcvmi_layer_names *l, struct rcvmi_dir *dir, const char *name, size_t len,
                            rcvm_error **err)
{
  struct todo todo = { 0 };
  struct rcvmi_node *node;
  int r = rcvmi_layer_names_find (l, dir, name, len, &node, err);

  if (r == 0 && node)
    r = hide_node (&todo, dir, node, err);
  if (r == 0)
    r = hide_all (l, &todo, err);
  free (todo.dirs);
  return r;
}

static int
compare (const void *a, const void *b)
{
  return rcvmi_node_compare (*(struct rcvmi_node *const *) a, *(struct rcvmi_node *const *) b);
}

int
rcvmi_layer_names_finish (struct rcvmi_layer_names *l, rcvm_error **err)
{
  autofree struct rcvmi_node **sorted = NULL;
  size_t cap = 0;

  for (size_t i = 0; i < l->n_dirs; i++)
    {
      struct rcvmi_dir *dir = l->dirs[i];
      struct rcvmi_node **at = &dir->first;
      size_t n = 0, all = 0;

      for (struct rcvmi_node *node = dir->first; node; node = node->next)
        all++;
      if (all > cap)
        {
          struct rcvmi_node **more = reallocarray (sorted, all, sizeof *sorted);

          if (!more)
            return rcvmi_fail_nomem (err);
          sorted = more;
          cap = all;
        }
      for (struct rcvmi_node *node = dir->first; node; node = node->next)
        {
          node->flags &= (uint8_t) ~RCVMI_NODE_OWN;
          if (!(node->flags & RCVMI_NODE_GONE))
            sorted[n++] = node;
        }
      if (n)
        qsort (sorted, n, sizeof *sorted, compare);
      for (size_t k = 0; k < n; k++)
        {
          *at = sorted[k];
          at = &sorted[k]->next;
        }
      *at = NULL;
      dir->touched = false;
    }
  return 0;
}
