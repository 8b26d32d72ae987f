/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash that nobody without the key can compute or
   steer. */
#ifndef RCVM_LIB_NFS_SIPHASH_H
#define RCVM_LIB_NFS_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

enum
{
  RCVMI_NFS_KEY = 16 /* bytes */
};

uint64_t rcvmi_nfs_siphash (const uint8_t key[RCVMI_NFS_KEY], const void *data, size_t len);

#endif
