/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "writeback-known.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "le.h"

enum tag
{
  TAG_HEAD = 1,
  TAG_DIR = 2,
  TAG_ENTRY = 3
};

enum
{
  HEAD_SIZE = 12,
  DIR_SIZE = 8,
  ENTRY_SIZE = 22, /* and the name */
  KINDS = 3
};

void
rcvmi_wb_known_put_head (struct tlv_writer *w, struct timespec since)
{
  unsigned char p[HEAD_SIZE];

  le_put (p, (uint64_t) since.tv_sec, 8);
  le_put (p + 8, (uint64_t) since.tv_nsec, 4);
  tlv_put (w, TAG_HEAD, p, sizeof p);
}

void
rcvmi_wb_known_put_dir (struct tlv_writer *w, uint32_t ino, uint32_t n)
{
  unsigned char p[DIR_SIZE];

  le_put (p, ino, 4);
  le_put (p + 4, n, 4);
  tlv_put (w, TAG_DIR, p, sizeof p);
}

void
rcvmi_wb_known_put_entry (struct tlv_writer *w, const struct rcvmi_wb_known_entry *e)
{
  unsigned char p[ENTRY_SIZE + UINT8_MAX];

  le_put (p, e->ino, 4);
  le_put (p + 4, e->generation, 4);
  le_put (p + 8, (uint64_t) e->sec, 8);
  le_put (p + 16, e->nsec, 4);
  p[20] = e->kind;
  p[21] = e->flags;
  memcpy (p + ENTRY_SIZE, e->name, e->len);
  tlv_put (w, TAG_ENTRY, p, ENTRY_SIZE + (size_t) e->len);
}

int
rcvmi_wb_known_compare (const char *a, size_t a_len, const char *b, size_t b_len)
{
  int r = memcmp (a, b, a_len < b_len ? a_len : b_len);

  return r ? r : (a_len > b_len) - (a_len < b_len);
}

static int
add_dir (struct rcvmi_wb_known *k, size_t *cap, const unsigned char *p)
{
  struct rcvmi_wb_known_dir *d;

  if (k->n_dirs == *cap)
    {
      size_t more = *cap * 2 + 64;

      d = reallocarray (k->dirs, more, sizeof *d);
      if (!d)
        return -ENOMEM;
      k->dirs = d;
      *cap = more;
    }
  d = &k->dirs[k->n_dirs++];
  *d = (struct rcvmi_wb_known_dir){ .ino = (uint32_t) le_get (p, 4), .first = k->n_entries, .n = le_get (p + 4, 4) };
  return 0;
}

static bool
comes_before (const struct rcvmi_wb_known_entry *a, const struct rcvmi_wb_known_entry *b)
{
  return rcvmi_wb_known_compare (a->name, a->len, b->name, b->len) < 0;
}

static int
add_entry (struct rcvmi_wb_known *k, size_t *cap, const unsigned char *p, size_t len)
{
  struct rcvmi_wb_known_entry *e;

  if (k->n_entries == *cap)
    {
      size_t more = *cap * 2 + 256;

      e = reallocarray (k->entries, more, sizeof *e);
      if (!e)
        return -ENOMEM;
      k->entries = e;
      *cap = more;
    }
  e = &k->entries[k->n_entries++];
  *e = (struct rcvmi_wb_known_entry){ .ino = (uint32_t) le_get (p, 4),
                                      .generation = (uint32_t) le_get (p + 4, 4),
                                      .sec = (int64_t) le_get (p + 8, 8),
                                      .nsec = (uint32_t) le_get (p + 16, 4),
                                      .kind = p[20],
                                      .flags = p[21],
                                      .len = (uint8_t) (len - ENTRY_SIZE),
                                      .name = (const char *) p + ENTRY_SIZE };
  return 0;
}

/* The entry that was added last, in the directory that was. */
static bool
is_sound (const struct rcvmi_wb_known *k, const struct rcvmi_wb_known_dir *d)
{
  const struct rcvmi_wb_known_entry *e = &k->entries[k->n_entries - 1];

  return e->len > 0 && e->kind < KINDS && k->n_entries - d->first <= d->n && !memchr (e->name, '/', e->len)
         && !memchr (e->name, 0, e->len) && (k->n_entries - 1 == d->first || comes_before (e - 1, e));
}

static int
compare_dirs (const void *a, const void *b)
{
  const struct rcvmi_wb_known_dir *x = a, *y = b;

  return (x->ino > y->ino) - (x->ino < y->ino);
}

static int
read_fields (struct rcvmi_wb_known *k, struct tlv_reader *r)
{
  size_t dirs_cap = 0, entries_cap = 0;
  bool has_head = false, full = true;
  struct tlv_field f;
  int code = 0;

  while (code == 0 && tlv_next (r, &f))
    if (f.tag == TAG_HEAD && f.len == HEAD_SIZE && !has_head)
      {
        k->since = (struct timespec){ .tv_sec = (time_t) le_get (f.data, 8), .tv_nsec = (long) le_get (f.data + 8, 4) };
        has_head = true;
      }
    else if (f.tag == TAG_DIR && f.len == DIR_SIZE && has_head && full)
      {
        code = add_dir (k, &dirs_cap, f.data);
        full = code == 0 && k->dirs[k->n_dirs - 1].n == 0;
      }
    else if (f.tag == TAG_ENTRY && f.len > ENTRY_SIZE && f.len <= ENTRY_SIZE + UINT8_MAX && !full)
      {
        const struct rcvmi_wb_known_dir *d = &k->dirs[k->n_dirs - 1];

        code = add_entry (k, &entries_cap, f.data, f.len);
        if (code == 0 && !is_sound (k, d))
          code = -EINVAL;
        full = k->n_entries - d->first == d->n;
      }
    else
      code = -EINVAL;
  return code < 0 ? code : r->bad || !has_head || !full ? -EINVAL : 0;
}

int
rcvmi_wb_known_parse (struct rcvmi_wb_known *k, const void *data, size_t len)
{
  struct tlv_reader r;
  int code;

  *k = (struct rcvmi_wb_known){ 0 };
  tlv_reader_init (&r, data, len);
  code = read_fields (k, &r);
  if (code == 0 && k->n_dirs)
    qsort (k->dirs, k->n_dirs, sizeof *k->dirs, compare_dirs);
  for (size_t i = 1; code == 0 && i < k->n_dirs; i++)
    if (k->dirs[i].ino == k->dirs[i - 1].ino)
      code = -EINVAL;
  if (code < 0)
    rcvmi_wb_known_clear (k);
  return code;
}

void
rcvmi_wb_known_clear (struct rcvmi_wb_known *k)
{
  free (k->entries);
  free (k->dirs);
  *k = (struct rcvmi_wb_known){ 0 };
}

const struct rcvmi_wb_known_dir *
rcvmi_wb_known_dir (const struct rcvmi_wb_known *k, uint32_t ino)
{
  const struct rcvmi_wb_known_dir key = { .ino = ino };

  return k->n_dirs ? bsearch (&key, k->dirs, k->n_dirs, sizeof key, compare_dirs) : NULL;
}

const struct rcvmi_wb_known_entry *
rcvmi_wb_known_find (const struct rcvmi_wb_known *k, const struct rcvmi_wb_known_dir *dir, const char *name, size_t len)
{
  size_t low = dir ? dir->first : 0, high = dir ? dir->first + dir->n : 0;

  while (low < high)
    {
      size_t mid = low + (high - low) / 2;
      const struct rcvmi_wb_known_entry *e = &k->entries[mid];
      int r = rcvmi_wb_known_compare (e->name, e->len, name, len);

      if (r == 0)
        return e;
      if (r < 0)
        low = mid + 1;
      else
        high = mid;
    }
  return NULL;
}
