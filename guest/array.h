/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Growing arrays. */
#ifndef RCVM_GUEST_ARRAY_H
#define RCVM_GUEST_ARRAY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Room for one more than `n` elements; the capacity is the power of two that holds `n`. */
static inline void *
array_room (void *array, size_t n, size_t size)
{
  size_t cap = n ? n * 2 : 1;

  if (n & (n - 1))
    return array;
  return cap > SIZE_MAX / 2 / size ? NULL : realloc (array, cap * size);
}

/* A new zeroed element at the end of the `n` of `array`; NULL without memory. */
#define array_append(array, n)                                                                    \
  ({                                                                                              \
    __typeof__ (array) room_ = array_room ((array), (n), sizeof *(array));                        \
    if (room_)                                                                                    \
      {                                                                                           \
        (array) = room_;                                                                          \
        room_ = memset (&room_[(n)++], 0, sizeof *room_);                                         \
      }                                                                                           \
    room_;                                                                                        \
  })

#endif
