/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extended attributes as the host tells them, in the form that ext4 keeps.
 *
 * They are asked for by name through /proc/self/fd, so that nothing need be opened for them: not a FIFO,
 * not a device.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "cleanup.h"
#include "rootfs-scan.h"

/* The kernel's limits of a list and of a value. */
#define LIST_MAX 65536
#define VALUE_MAX 65536
#define INDEX_ACL_ACCESS 2
#define INDEX_ACL_DEFAULT 3

/* Where the value is one of "system.posix_acl_*", the name is all prefix. */
static const struct
{
  const char *prefix;
  uint8_t index;
  bool whole;
} namespaces[] = {
  { "user.", 1, false },
  { "system.posix_acl_access", INDEX_ACL_ACCESS, true },
  { "system.posix_acl_default", INDEX_ACL_DEFAULT, true },
  { "trusted.", 4, false },
  { "security.", 6, false },
};

static uint8_t
name_index (const char *name, const char **rest)
{
  for (size_t i = 0; i < sizeof namespaces / sizeof namespaces[0]; i++)
    {
      size_t len = strlen (namespaces[i].prefix);

      if (strncmp (name, namespaces[i].prefix, len) == 0
          && (name[len] == 0) == namespaces[i].whole)
        {
          *rest = name + len;
          return namespaces[i].index;
        }
    }
  return 0;
}

enum
{
  ACL_TAG_USER = 2,
  ACL_TAG_GROUP = 8
};

/* From the kernel's interface (version 2, every entry with an id) to ext4's form (version 1, ids only where
   they mean something).  Returns the new length, or -1 for a value that is no ACL. */
static ssize_t
convert_acl (unsigned char *value, size_t len)
{
  uint32_t word;
  size_t out = 4;

  if (len < 4 || (len - 4) % 8 != 0)
    return -1;
  memcpy (&word, value, 4);
  if (le32toh (word) != 2)
    return -1;
  word = htole32 (1);
  memcpy (value, &word, 4);
  for (size_t in = 4; in < len; in += 8)
    {
      uint16_t tag;
      size_t n;

      memcpy (&tag, value + in, 2);
      tag = le16toh (tag);
      n = tag == ACL_TAG_USER || tag == ACL_TAG_GROUP ? 8 : 4;
      memmove (value + out, value + in, n);
      out += n;
    }
  return (ssize_t) out;
}

static size_t
padded_size (const struct rcvmi_xattr *x)
{
  return (sizeof *x + x->name_len + x->value_len + 7) & ~(size_t) 7;
}

void
rcvmi_xattr_list_clear (struct rcvmi_xattr_list *b)
{
  free (b->data);
}

static void *
list_grow (struct rcvmi_xattr_list *b, size_t n)
{
  void *p;

  if (b->cap - b->len < n)
    {
      size_t cap = b->len * 2 + n;
      unsigned char *data = realloc (b->data, cap);

      if (!data)
        return NULL;
      b->data = data;
      b->cap = cap;
    }
  p = b->data + b->len;
  memset (p, 0, n);
  return p;
}

static ssize_t
get_value (const char *path, int fd, const char *name, void *value)
{
  return path ? lgetxattr (path, name, value, VALUE_MAX) : fgetxattr (fd, name, value, VALUE_MAX);
}

/* The value lies behind the name. */
static int
commit (struct rcvmi_xattr_list *b, struct rcvmi_xattr *x, uint8_t index, const char *name, ssize_t len)
{
  size_t name_len = strlen (name);
  unsigned char *value = (unsigned char *) (x + 1) + name_len;

  if (index == INDEX_ACL_ACCESS || index == INDEX_ACL_DEFAULT)
    {
      len = convert_acl (value, (size_t) len);
      if (len < 0)
        return -EINVAL;
    }
  x->index = index;
  x->name_len = (uint8_t) name_len;
  x->value_len = (uint32_t) len;
  memcpy (x + 1, name, name_len);
  memset ((char *) x + sizeof *x + name_len + (size_t) len, 0, 8);
  b->len += padded_size (x);
  b->n++;
  return 0;
}

static void
remove_named (struct rcvmi_xattr_list *b, uint8_t index, const char *name)
{
  for (size_t at = 0; at < b->len;)
    {
      struct rcvmi_xattr *x = (struct rcvmi_xattr *) (b->data + at);
      size_t size = padded_size (x);

      if (x->index != index || x->name_len != strlen (name)
          || memcmp (x + 1, name, x->name_len) != 0)
        {
          at += size;
          continue;
        }
      memmove (b->data + at, b->data + at + size, b->len - at - size);
      b->len -= size;
      b->n--;
    }
}

int
rcvmi_xattr_list_add (struct rcvmi_xattr_list *b, const char *name, const void *value, size_t len)
{
  const char *rest;
  uint8_t index = name_index (name, &rest);
  struct rcvmi_xattr *x;

  if (!index)
    return 0;
  if (strlen (rest) > RCVMI_NAME_MAX || len > VALUE_MAX || b->len + len > 2 * VALUE_MAX)
    return -E2BIG;
  remove_named (b, index, rest);
  x = list_grow (b, sizeof *x + strlen (rest) + len + 8);
  if (!x)
    return -ENOMEM;
  if (len)
    memcpy ((char *) (x + 1) + strlen (rest), value, len);
  return commit (b, x, index, rest, (ssize_t) len);
}

static int
read_value (struct rcvmi_xattr_list *b, const char *path, int fd, const char *name)
{
  const char *rest;
  struct rcvmi_xattr *x;
  unsigned char *value;
  ssize_t len;
  uint8_t index = name_index (name, &rest);

  if (!index)
    return 0;
  x = list_grow (b, sizeof *x + strlen (rest) + VALUE_MAX + 8);
  if (!x)
    return -ENOMEM;
  value = (unsigned char *) (x + 1) + strlen (rest);
  len = get_value (path, fd, name, value);
  if (len < 0)
    return errno == ENODATA ? 0 : -errno;
  return commit (b, x, index, rest, len);
}

const struct rcvmi_xattr *
rcvmi_xattrs_next (const struct rcvmi_xattrs *list, const struct rcvmi_xattr *x)
{
  const char *start = (const char *) (list + 1), *p = start;

  if (x)
    p = (const char *) x + padded_size (x);
  return (size_t) (p - start) < list->size ? (const struct rcvmi_xattr *) p : NULL;
}

/* ext4's own order in a block of attributes, and a fixed one whatever the host's file system lists first. */
static int
compare (const void *a, const void *b)
{
  const struct rcvmi_xattr *x = *(const struct rcvmi_xattr *const *) a;
  const struct rcvmi_xattr *y = *(const struct rcvmi_xattr *const *) b;

  if (x->index != y->index)
    return x->index < y->index ? -1 : 1;
  if (x->name_len != y->name_len)
    return x->name_len < y->name_len ? -1 : 1;
  return memcmp (rcvmi_xattr_name (x), rcvmi_xattr_name (y), x->name_len);
}

int
rcvmi_xattr_list_store (struct rcvmi_tree *tree, const struct rcvmi_xattr_list *b, struct rcvmi_xattrs **out)
{
  autofree const struct rcvmi_xattr **sorted = NULL;
  struct rcvmi_xattrs *list;
  uint32_t n = b->n;
  char *p;

  *out = NULL;
  if (n == 0)
    return 0;
  sorted = calloc (n, sizeof *sorted);
  list = rcvmi_tree_alloc (tree, sizeof *list + b->len);
  if (!sorted || !list)
    return -ENOMEM;
  *list = (struct rcvmi_xattrs){ .n = n, .size = (uint32_t) b->len };
  for (size_t i = 0, at = 0; i < n; i++)
    {
      const struct rcvmi_xattr *x = (const struct rcvmi_xattr *) (b->data + at);

      sorted[i] = x;
      at += padded_size (x);
    }
  qsort (sorted, n, sizeof *sorted, compare);
  p = (char *) (list + 1);
  for (size_t i = 0; i < n; i++)
    {
      size_t size = padded_size (sorted[i]);

      memcpy (p, sorted[i], size);
      p += size;
    }
  *out = list;
  return 0;
}

int
rcvmi_xattrs_read (struct rcvmi_tree *tree, int fd, const char *name, struct rcvmi_xattrs **out)
{
  __attribute__ ((cleanup (rcvmi_xattr_list_clear))) struct rcvmi_xattr_list values = { 0 };
  autofree char *names = NULL;
  char path[sizeof "/proc/self/fd/" + 12 + RCVMI_NAME_MAX], few[512];
  const char *list = few;
  ssize_t len;

  *out = NULL;
  if (name)
    snprintf (path, sizeof path, "/proc/self/fd/%d/%s", fd, name);
  len = name ? llistxattr (path, few, sizeof few) : flistxattr (fd, few, sizeof few);
  if (len < 0 && errno == ERANGE)
    {
      list = names = malloc (LIST_MAX);
      if (!names)
        return -ENOMEM;
      len = name ? llistxattr (path, names, LIST_MAX) : flistxattr (fd, names, LIST_MAX);
    }
  if (len < 0)
    return errno == ENOTSUP ? 0 : -errno;
  for (const char *p = list; p < list + len; p += strlen (p) + 1)
    {
      int r = read_value (&values, name ? path : NULL, fd, p);

      if (r < 0)
        return r;
    }
  return rcvmi_xattr_list_store (tree, &values, out);
}
