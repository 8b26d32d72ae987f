/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Buffers for replies in four sizes.  Some of each are kept: a fresh MiB costs more in page faults than a
   read from the page cache does. */
#include "config.h"

#include "nfs.h"

#include <stdlib.h>

static const struct
{
  size_t cap;
  unsigned keep;
} classes[] = { { 1024, 64 }, { 8192, 16 }, { 72 << 10, 8 }, { (1 << 20) + 4096, 4 } };

enum
{
  CLASSES = sizeof classes / sizeof classes[0]
};

static unsigned
class_of (size_t cap)
{
  unsigned i = 0;

  while (i < CLASSES && classes[i].cap < cap)
    i++;
  return i;
}

struct nfs_buf *
rcvmi_nfs_buf_new (struct nfs_bufs *bufs, size_t cap)
{
  unsigned i = class_of (cap);
  struct nfs_buf *b = NULL;

  if (i < CLASSES)
    {
      cap = classes[i].cap;
      pthread_mutex_lock (&bufs->lock);
      b = bufs->free[i];
      if (b)
        {
          bufs->free[i] = b->next;
          bufs->n_free[i]--;
        }
      pthread_mutex_unlock (&bufs->lock);
    }
  if (!b)
    b = malloc (sizeof *b + cap);
  if (!b)
    return NULL;
  b->next = NULL;
  b->cap = cap;
  b->len = b->sent = b->file_left = 0;
  b->file = NULL;
  return b;
}

void
rcvmi_nfs_buf_free (struct nfs_bufs *bufs, struct nfs_buf *b)
{
  unsigned i;

  if (!b)
    return;
  i = class_of (b->cap);
  if (i < CLASSES && classes[i].cap == b->cap)
    {
      pthread_mutex_lock (&bufs->lock);
      if (bufs->n_free[i] < classes[i].keep)
        {
          b->next = bufs->free[i];
          bufs->free[i] = b;
          bufs->n_free[i]++;
          b = NULL;
        }
      pthread_mutex_unlock (&bufs->lock);
    }
  free (b);
}

void
rcvmi_nfs_bufs_trim (struct nfs_bufs *bufs)
{
  pthread_mutex_lock (&bufs->lock);
  for (unsigned i = 0; i < CLASSES; i++)
    while (bufs->free[i])
      {
        struct nfs_buf *b = bufs->free[i];

        bufs->free[i] = b->next;
        bufs->n_free[i]--;
        free (b);
      }
  pthread_mutex_unlock (&bufs->lock);
}
