/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "writeback-set.h"

#include <stdlib.h>

static uint32_t *
slot (uint32_t *slots, size_t cap, uint32_t ino)
{
  size_t i = (ino * UINT32_C (2654435761)) & (cap - 1);

  while (slots[i] && slots[i] != ino)
    i = (i + 1) & (cap - 1);
  return &slots[i];
}

bool
rcvmi_wb_set_has (const struct rcvmi_wb_set *set, uint32_t ino)
{
  return set->cap && *slot (set->slots, set->cap, ino) == ino;
}

bool
rcvmi_wb_set_add (struct rcvmi_wb_set *set, uint32_t ino)
{
  if (set->n * 2 >= set->cap)
    {
      size_t cap = set->cap ? set->cap * 2 : 256;
      uint32_t *slots = calloc (cap, sizeof *slots);

      if (!slots)
        return false;
      for (size_t i = 0; i < set->cap; i++)
        if (set->slots[i])
          *slot (slots, cap, set->slots[i]) = set->slots[i];
      free (set->slots);
      set->slots = slots;
      set->cap = cap;
    }
  *slot (set->slots, set->cap, ino) = ino;
  set->n++;
  return true;
}
