/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * File handles:
 *
 *    0  version, 1
 *    1  kind
 *    2  type of the kernel's handle (0 for the other kinds)
 *    3  length of the payload, at most 48
 *    4  tag of the scope (export and mount), 4 bytes
 *    8  payload: the kernel's handle, or an inode number and its trail
 *    .  SipHash-2-4 of all that and of the scope's identity, 8 bytes
 *
 * The key is the VM's own, and the identity is made of the export's name and of the file system and inode
 * of its root: a handle says nothing in another VM, in another export, or once the export's directory is
 * another.
 */
#include "config.h"

#include "nfs.h"

enum
{
  HEADER = 8,
  MAC = 8,
  FORMAT = 1
};

static void
store_le (uint8_t *p, uint64_t v, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    p[i] = (uint8_t) (v >> (8 * i));
}

/* Writes the MAC behind `len` bytes. */
static void
mac (uint8_t *out, const uint8_t *data, size_t len, const uint8_t *key, const struct nfs_scope *scope)
{
  uint8_t text[NFS_HANDLE_MAX + 8];

  memcpy (text, data, len);
  store_le (text + len, scope->identity, 8);
  store_le (out, rcvmi_nfs_siphash (key, text, len + 8), MAC);
}

void
rcvmi_nfs_handle_seal (struct nfs_handle *h, const uint8_t *key, const struct nfs_scope *scope,
                       enum nfs_handle_kind kind, unsigned type, const void *payload, size_t len)
{
  h->data[0] = FORMAT;
  h->data[1] = (uint8_t) kind;
  h->data[2] = (uint8_t) type;
  h->data[3] = (uint8_t) len;
  store_le (h->data + 4, scope->tag, 4);
  if (len)
    memcpy (h->data + HEADER, payload, len);
  mac (h->data + HEADER + len, h->data, HEADER + len, key, scope);
  h->len = (uint32_t) (HEADER + len + MAC);
}

bool
rcvmi_nfs_handle_parse (const struct nfs_handle *h, struct nfs_handle_parts *parts)
{
  if (h->len < HEADER + MAC || h->len > NFS_HANDLE_MAX || h->data[0] != FORMAT
      || h->data[1] < NFS_HANDLE_KERNEL || h->data[1] > NFS_HANDLE_SINGLE
      || h->len != HEADER + MAC + (uint32_t) h->data[3])
    return false;
  parts->kind = h->data[1];
  parts->type = h->data[2];
  parts->len = h->data[3];
  parts->tag = (uint32_t) h->data[7] << 24 | (uint32_t) h->data[6] << 16 | (uint32_t) h->data[5] << 8
               | h->data[4];
  parts->payload = h->data + HEADER;
  return true;
}

bool
rcvmi_nfs_handle_verify (const struct nfs_handle *h, const uint8_t *key, const struct nfs_scope *scope)
{
  uint8_t wanted[MAC], differ = 0;

  mac (wanted, h->data, h->len - MAC, key, scope);
  /* In constant time: the guest may measure. */
  for (unsigned i = 0; i < MAC; i++)
    differ |= wanted[i] ^ h->data[h->len - MAC + i];
  return differ == 0;
}
