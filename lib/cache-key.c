/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keys: digests of everything that decides what an image will be. */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cache-priv.h"
#include "cleanup.h"
#include "err.h"

static int
key_begin (struct rcvmi_sha256 *sha, const char *kind, const struct rcvmi_rootfs_params *params,
           rcvm_error **err)
{
  struct rcvmi_rootfs_params defaults = RCVMI_CACHE_ROOTFS_PARAMS;
  char text[128];
  int n;

  if (!params)
    params = &defaults;
  if (params->n_copies)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "a cached image cannot have copies, which are one container's own");
  n = snprintf (text, sizeof text, "libruncvm %s %d size %ju headroom %u journal %d", kind,
                RCVMI_CACHE_FORMAT, (uintmax_t) params->size, params->headroom, params->journal);
  rcvmi_sha256_init (sha);
  rcvmi_sha256_update (sha, text, (size_t) n + 1);
  return 0;
}

static int
key_end (struct rcvmi_sha256 *sha, const char *kind, char **key, rcvm_error **err)
{
  uint8_t digest[RCVMI_SHA256_BYTES];
  char hex[RCVMI_SHA256_HEX + 1];

  rcvmi_sha256_final (sha, digest);
  rcvmi_sha256_hex (digest, hex);
  if (asprintf (key, "%s-%s", kind, hex) < 0)
    {
      *key = NULL;
      return rcvmi_fail_nomem (err);
    }
  return 0;
}

int
rcvmi_cache_key_tree (const char *rootfs, const struct rcvmi_rootfs_params *params, char **key,
                      uint64_t *bytes, rcvm_error **err)
{
  struct rcvmi_sha256 sha;
  uint64_t unused;
  int r = key_begin (&sha, "tree", params, err);

  if (r == 0)
    r = rcvmi_cache_walk (rootfs, &sha, bytes ? bytes : &unused, err);
  return r < 0 ? r : key_end (&sha, "tree", key, err);
}

/* As the OCI image specification has them: an algorithm, ':', and what it gave. */
static bool
is_digest (const char *text)
{
  size_t algorithm = strspn (text, "abcdefghijklmnopqrstuvwxyz0123456789+._-");
  size_t value;

  if (algorithm == 0 || text[algorithm] != ':')
    return false;
  text += algorithm + 1;
  value = strspn (text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=_-");
  /* Shorter ones are names, and names come again. */
  return value >= 32 && text[value] == 0;
}

int
rcvmi_cache_key_digests (const char *const *digests, const struct rcvmi_rootfs_params *params,
                         char **key, rcvm_error **err)
{
  struct rcvmi_sha256 sha;
  int r = key_begin (&sha, "digests", params, err);

  if (r < 0)
    return r;
  if (!digests || !digests[0])
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a key needs the digest of a layer at least");
  for (; *digests; digests++)
    {
      if (!is_digest (*digests))
        return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.100s' is no digest like sha256:<64 digits>",
                           *digests);
      rcvmi_sha256_update (&sha, *digests, strlen (*digests) + 1);
    }
  return key_end (&sha, "digests", key, err);
}

static int
add_layer (struct rcvmi_sha256 *sha, const char *directory, rcvm_error **err)
{
  struct statx sx;
  uint64_t id[9];

  if (statx (AT_FDCWD, directory, 0, STATX_BASIC_STATS | STATX_BTIME, &sx) < 0)
    return rcvmi_fail_errno (err, errno, "cannot read the layer '%s'", directory);
  if (!S_ISDIR (sx.stx_mode))
    return rcvmi_fail (err, RCVM_E_INVALID, ENOTDIR, "the layer '%s' is no directory", directory);
  id[0] = sx.stx_dev_major;
  id[1] = sx.stx_dev_minor;
  id[2] = sx.stx_ino;
  id[3] = (uint64_t) sx.stx_ctime.tv_sec;
  id[4] = sx.stx_ctime.tv_nsec;
  id[5] = (uint64_t) sx.stx_mtime.tv_sec;
  id[6] = sx.stx_mtime.tv_nsec;
  id[7] = sx.stx_mask & STATX_BTIME ? (uint64_t) sx.stx_btime.tv_sec : 0;
  id[8] = sx.stx_mask & STATX_BTIME ? sx.stx_btime.tv_nsec : 0;
  rcvmi_sha256_update (sha, id, sizeof id);
  return 0;
}

int
rcvmi_cache_key_layers (const char *const *directories, const struct rcvmi_rootfs_params *params,
                        char **key, rcvm_error **err)
{
  struct rcvmi_sha256 sha;
  int r = key_begin (&sha, "layers", params, err);

  if (r == 0 && (!directories || !directories[0]))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a key needs the directory of a layer at least");
  for (; r == 0 && *directories; directories++)
    r = add_layer (&sha, *directories, err);
  return r < 0 ? r : key_end (&sha, "layers", key, err);
}

struct tree
{
  const char *rootfs;
  const struct rcvmi_rootfs_params *params;
};

static int
build_tree (void *user, const char *path, rcvm_error **err)
{
  const struct tree *t = user;

  return rcvmi_rootfs_build (t->rootfs, path, t->params, err);
}

int
rcvmi_cache_acquire_tree (const struct rcvmi_cache *cache, const char *rootfs,
                          const char *const *digests, const struct rcvmi_rootfs_params *params,
                          char **key_out, struct rcvmi_cache_entry *out, rcvm_error **err)
{
  struct rcvmi_rootfs_params p = params ? *params : RCVMI_CACHE_ROOTFS_PARAMS;
  struct tree tree = { rootfs, &p };
  struct rcvmi_cache_build build = { .build = build_tree, .user = &tree, .source = rootfs };
  autofree char *key = NULL;
  int r;

  /* The cache syncs what it publishes. */
  p.sync = cache->sync;
  if (digests)
    r = rcvmi_cache_key_digests (digests, &p, &key, err);
  else
    r = rcvmi_cache_key_tree (rootfs, &p, &key, &build.expected, err);
  if (r == 0)
    r = rcvmi_cache_acquire (cache, key, &build, out, err);
  if (r == 0 && key_out)
    *key_out = steal_ptr (key);
  return r;
}
