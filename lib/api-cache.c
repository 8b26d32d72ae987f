/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "api"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include <runcvm/cache.h>

#include "cache.h"
#include "cleanup.h"
#include "err.h"
#include "visibility.h"

/* Every call opens its own locks, so that one handle serves several threads. */
struct rcvm_cache
{
  struct rcvmi_cache cache;
  _Atomic uint64_t limit;
};

static int
check (const rcvm_cache *cache, rcvm_error **err)
{
  return cache ? 0 : rcvmi_fail (err, RCVM_E_INVALID, 0, "no cache was given");
}

RCVM_PUBLIC rcvm_cache *
rcvm_cache_open (const char *directory, rcvm_error **err)
{
  rcvm_cache *c = calloc (1, sizeof *c);

  if (!c)
    rcvmi_fail_nomem (err);
  else if (rcvmi_cache_open (&c->cache, directory, err) < 0)
    {
      free (c);
      c = NULL;
    }
  else
    c->limit = c->cache.limit;
  return c;
}

RCVM_PUBLIC void
rcvm_cache_free (rcvm_cache *c)
{
  if (!c)
    return;
  rcvmi_cache_close (&c->cache);
  free (c);
}

RCVM_PUBLIC const char *
rcvm_cache_get_path (const rcvm_cache *c)
{
  return c ? c->cache.path : "";
}

RCVM_PUBLIC int
rcvm_cache_set_limit (rcvm_cache *c, uint64_t bytes, rcvm_error **err)
{
  int r = check (c, err);

  if (r == 0)
    c->limit = bytes;
  return r;
}

static char *
entry_to_json (const char *key, const struct rcvmi_cache_entry *e, rcvm_error **err)
{
  struct json_object *o = json_object_new_object ();
  const struct
  {
    const char *name;
    struct json_object *value;
  } members[] = {
    { "key", json_object_new_string (key) },
    { "path", json_object_new_string (e->path) },
    { "size", json_object_new_int64 ((int64_t) e->size) },
    { "allocated", json_object_new_int64 ((int64_t) e->allocated) },
    { "hit", json_object_new_boolean (e->hit) },
    { "note", e->note ? json_object_new_string (e->note) : NULL },
  };
  const char *text;
  char *copy = NULL;
  bool failed = !o;

  for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
    if (members[i].value && (!o || json_object_object_add (o, members[i].name, members[i].value) < 0))
      {
        json_object_put (members[i].value);
        failed = true;
      }
  text = failed ? NULL
                : json_object_to_json_string_ext (o, JSON_C_TO_STRING_PRETTY
                                                         | JSON_C_TO_STRING_NOSLASHESCAPE);
  if (!text || asprintf (&copy, "%s\n", text) < 0)
    {
      copy = NULL;
      rcvmi_fail_nomem (err);
    }
  json_object_put (o);
  return copy;
}

RCVM_PUBLIC char *
rcvm_cache_add_json (rcvm_cache *c, const char *rootfs, char *const digests[], int *fd,
                     rcvm_error **err)
{
  struct rcvmi_cache_entry entry = RCVMI_CACHE_ENTRY_INIT;
  struct rcvmi_cache cache;
  autofree char *key = NULL;
  char *text = NULL;

  if (check (c, err) < 0)
    return NULL;
  if (!rootfs || !*rootfs)
    {
      rcvmi_fail (err, RCVM_E_INVALID, 0, "a cached image needs a directory to be made from");
      return NULL;
    }
  cache = c->cache;
  cache.limit = c->limit;
  if (rcvmi_cache_acquire_tree (&cache, rootfs, (const char *const *) digests, NULL, &key, &entry, err)
      == 0)
    text = entry_to_json (key, &entry, err);
  if (text && fd)
    *fd = steal_fd (&entry.fd);
  rcvmi_cache_entry_clear (&entry);
  return text;
}

RCVM_PUBLIC char *
rcvm_cache_list_json (rcvm_cache *c, rcvm_error **err)
{
  return check (c, err) < 0 ? NULL : rcvmi_cache_list_json (&c->cache, err);
}

RCVM_PUBLIC int
rcvm_cache_prune (rcvm_cache *c, uint64_t limit, uint64_t *freed, rcvm_error **err)
{
  int r = check (c, err);

  return r < 0 ? r : rcvmi_cache_prune (&c->cache, limit, freed, err);
}

RCVM_PUBLIC int
rcvm_cache_remove (rcvm_cache *c, const char *key, rcvm_error **err)
{
  int r = check (c, err);

  if (r < 0)
    return r;
  if (!key || !*key)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "no key was given of what is to be removed from the cache");
  return rcvmi_cache_take_out (&c->cache, key, err);
}

RCVM_PUBLIC char *
rcvm_cache_verify_json (rcvm_cache *c, int remove, rcvm_error **err)
{
  return check (c, err) < 0 ? NULL : rcvmi_cache_verify_json (&c->cache, remove != 0, err);
}
