/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All of the bytes, at a place of a file: 0, or -1 with errno (EIO: it ends before). */
#ifndef RCVM_LIB_FULLIO_H
#define RCVM_LIB_FULLIO_H

#include <stddef.h>
#include <stdint.h>

int rcvmi_pread_all (int fd, void *buf, size_t len, uint64_t at);
int rcvmi_pwrite_all (int fd, const void *buf, size_t len, uint64_t at);

#endif
