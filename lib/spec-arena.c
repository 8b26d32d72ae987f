/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "spec-types.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rcvmi_arena_block
{
  struct rcvmi_arena_block *next;
  max_align_t data[];
};

void *
rcvmi_arena_alloc (struct rcvmi_arena *arena, size_t n, size_t size)
{
  struct rcvmi_arena_block *block;

  if (__builtin_mul_overflow (n, size, &size)
      || __builtin_add_overflow (size, sizeof *block, &size))
    return NULL;
  block = calloc (1, size);
  if (!block)
    return NULL;
  block->next = arena->blocks;
  arena->blocks = block;
  return block->data;
}

char *
rcvmi_arena_strdup (struct rcvmi_arena *arena, const char *s)
{
  size_t size = strlen (s) + 1;
  char *copy = rcvmi_arena_alloc (arena, 1, size);

  return copy ? memcpy (copy, s, size) : NULL;
}

char *
rcvmi_arena_printf (struct rcvmi_arena *arena, const char *fmt, ...)
{
  va_list ap, again;
  char *s = NULL;
  int n;

  va_start (ap, fmt);
  va_copy (again, ap);
  n = vsnprintf (NULL, 0, fmt, ap);
  if (n >= 0)
    s = rcvmi_arena_alloc (arena, 1, (size_t) n + 1);
  if (s)
    vsnprintf (s, (size_t) n + 1, fmt, again);
  va_end (again);
  va_end (ap);
  return s;
}

void
rcvmi_arena_free (struct rcvmi_arena *arena)
{
  while (arena->blocks)
    {
      struct rcvmi_arena_block *block = arena->blocks;

      arena->blocks = block->next;
      free (block);
    }
}
