/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A set of inode numbers, none of which is 0. */
#ifndef RCVM_LIB_WRITEBACK_SET_H
#define RCVM_LIB_WRITEBACK_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rcvmi_wb_set
{
  uint32_t *slots; /* freed by the owner */
  size_t n, cap;
};

bool rcvmi_wb_set_has (const struct rcvmi_wb_set *set, uint32_t ino);
/* False: out of memory. */
bool rcvmi_wb_set_add (struct rcvmi_wb_set *set, uint32_t ino);

#endif
