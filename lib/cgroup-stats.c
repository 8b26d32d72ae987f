/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a cgroup has used, in the form of runc's statistics events: both versions of the files in one set of words, and the
 * guest's own numbers of the container beside them.
 */
#include "config.h"

#define RCVMI_STAGE "cgroup"
#include "cgroup-stats.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "json.h"

enum
{
  TEXT_SIZE = 64 * 1024
};

static struct json_object *
sub (struct rcvmi_json *b, struct json_object *o, const char *key)
{
  struct json_object *made = json_object_new_object ();

  rcvmi_json_put (b, o, key, made);
  return b->failed ? NULL : made;
}

/* "max", and what version 1 writes for it, is the largest number that JSON's readers agree on. */
static int64_t
to_number (const char *text)
{
  uint64_t n = strncmp (text, "max", 3) == 0 ? UINT64_MAX : strtoull (text, NULL, 10);

  return n > INT64_MAX ? INT64_MAX : (int64_t) n;
}

/* The number behind KEY in lines of "KEY NUMBER"; -1 if it is not there. */
static int64_t
find_number (const char *text, const char *key)
{
  size_t len = strlen (key);

  for (const char *p = text; p && *p; p = strchr (p, '\n'))
    {
      p += *p == '\n';
      if (strncmp (p, key, len) == 0 && p[len] == ' ')
        return to_number (p + len + 1);
      if (!*p)
        break;
    }
  return -1;
}

static void
put_found (struct rcvmi_json *b, struct json_object *o, const char *name, const char *text, const char *key, int64_t factor)
{
  int64_t n = find_number (text, key), product;

  if (n >= 0 && !__builtin_mul_overflow (n, factor, &product))
    rcvmi_json_put_int (b, o, name, product);
}

/* A file that holds one number. */
static void
put_file (struct rcvmi_json *b, struct json_object *o, const char *name, const struct rcvmi_cgroup_hierarchy *h,
          const char *file)
{
  char text[64];

  if (rcvmi_cgroup_read (h, file, text, sizeof text) == 0)
    rcvmi_json_put_int (b, o, name, to_number (text));
}

static void
put_cpu (struct rcvmi_json *b, struct json_object *o, const struct rcvmi_cgroup *c, char *text)
{
  const struct rcvmi_cgroup_hierarchy *h = rcvmi_cgroup_of (c, "cpu"), *acct = rcvmi_cgroup_of (c, "cpuacct");
  struct json_object *cpu = sub (b, o, "cpu"), *usage = sub (b, cpu, "usage"), *throttling = sub (b, cpu, "throttling");
  /* Version 2 counts time without its controller, too. */
  for (size_t i = 0; !h && !acct && i < c->n; i++)
    if (c->list[i].v2 && c->list[i].path)
      h = &c->list[i];
  if (h && h->v2 && rcvmi_cgroup_read (h, "cpu.stat", text, TEXT_SIZE) == 0)
    {
      put_found (b, usage, "total", text, "usage_usec", 1000);
      put_found (b, usage, "user", text, "user_usec", 1000);
      put_found (b, usage, "kernel", text, "system_usec", 1000);
      put_found (b, throttling, "periods", text, "nr_periods", 1);
      put_found (b, throttling, "throttledPeriods", text, "nr_throttled", 1);
      put_found (b, throttling, "throttledTime", text, "throttled_usec", 1000);
      return;
    }
  put_file (b, usage, "total", acct, "cpuacct.usage");
  put_file (b, usage, "user", acct, "cpuacct.usage_user");
  put_file (b, usage, "kernel", acct, "cpuacct.usage_sys");
  if (rcvmi_cgroup_read (acct, "cpuacct.usage_percpu", text, TEXT_SIZE) == 0)
    {
      struct json_object *list = json_object_new_array ();
      char *save = NULL;

      for (char *w = strtok_r (text, " \n", &save); w; w = strtok_r (NULL, " \n", &save))
        rcvmi_json_append (b, list, json_object_new_int64 (to_number (w)));
      rcvmi_json_put (b, usage, "percpu", list);
    }
  if (rcvmi_cgroup_read (h, "cpu.stat", text, TEXT_SIZE) == 0)
    {
      put_found (b, throttling, "periods", text, "nr_periods", 1);
      put_found (b, throttling, "throttledPeriods", text, "nr_throttled", 1);
      put_found (b, throttling, "throttledTime", text, "throttled_time", 1);
    }
}

/* Lines of "KEY NUMBER" as an object. */
static void
put_raw (struct rcvmi_json *b, struct json_object *o, const char *text)
{
  for (const char *p = text; *p;)
    {
      size_t len = strcspn (p, "\n"), key = strcspn (p, " \n");
      char name[64];

      if (key > 0 && key < sizeof name && p[key] == ' ')
        {
          snprintf (name, sizeof name, "%.*s", (int) key, p);
          rcvmi_json_put_int (b, o, name, to_number (p + key + 1));
        }
      p += len + (p[len] == '\n');
    }
}

static void
put_memory (struct rcvmi_json *b, struct json_object *o, const struct rcvmi_cgroup *c, char *text)
{
  const struct rcvmi_cgroup_hierarchy *h = rcvmi_cgroup_of (c, "memory");
  struct json_object *memory = sub (b, o, "memory"), *usage = sub (b, memory, "usage"), *swap = sub (b, memory, "swap");
  struct json_object *kernel = sub (b, memory, "kernel"), *raw = sub (b, memory, "raw");
  bool v2 = h && h->v2;

  put_file (b, usage, "usage", h, v2 ? "memory.current" : "memory.usage_in_bytes");
  put_file (b, usage, "limit", h, v2 ? "memory.max" : "memory.limit_in_bytes");
  put_file (b, usage, "max", h, v2 ? "memory.peak" : "memory.max_usage_in_bytes");
  put_file (b, swap, "usage", h, v2 ? "memory.swap.current" : "memory.memsw.usage_in_bytes");
  put_file (b, swap, "limit", h, v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes");
  if (v2 && rcvmi_cgroup_read (h, "memory.events", text, TEXT_SIZE) == 0)
    put_found (b, usage, "failcnt", text, "max", 1);
  else
    {
      put_file (b, usage, "failcnt", h, "memory.failcnt");
      put_file (b, kernel, "usage", h, "memory.kmem.usage_in_bytes");
      put_file (b, kernel, "limit", h, "memory.kmem.limit_in_bytes");
      put_file (b, kernel, "max", h, "memory.kmem.max_usage_in_bytes");
      put_file (b, kernel, "failcnt", h, "memory.kmem.failcnt");
    }
  if (rcvmi_cgroup_read (h, "memory.stat", text, TEXT_SIZE) == 0)
    {
      put_found (b, memory, "cache", text, v2 ? "file" : "total_cache", 1);
      put_raw (b, raw, text);
    }
}

/* Lines of "8:0 Read 4096" (version 1) as runc's list. */
static void
put_blkio_v1 (struct rcvmi_json *b, struct json_object *list, char *text)
{
  char *save = NULL;

  for (char *line = strtok_r (text, "\n", &save); line; line = strtok_r (NULL, "\n", &save))
    {
      unsigned major, minor;
      char op[16], value[32];
      struct json_object *o;

      if (sscanf (line, "%u:%u %15s %31s", &major, &minor, op, value) != 4)
        continue;
      o = rcvmi_json_append_object (b, list);
      rcvmi_json_put_int (b, o, "major", major);
      rcvmi_json_put_int (b, o, "minor", minor);
      rcvmi_json_put_str (b, o, "op", op);
      rcvmi_json_put_int (b, o, "value", to_number (value));
    }
}

/* "8:0 rbytes=4096 wbytes=0 ..." */
static void
put_blkio_v2 (struct rcvmi_json *b, struct json_object *bytes, struct json_object *counts, char *text)
{
  static const struct
  {
    const char *word, *op;
    bool is_count;
  } words[] = { { " rbytes=", "Read", false }, { " wbytes=", "Write", false }, { " rios=", "Read", true }, { " wios=", "Write", true } };
  char *save = NULL;

  for (char *line = strtok_r (text, "\n", &save); line; line = strtok_r (NULL, "\n", &save))
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
      {
        const char *found = strstr (line, words[i].word);
        unsigned major, minor;
        struct json_object *o;

        if (!found || sscanf (line, "%u:%u", &major, &minor) != 2)
          continue;
        o = rcvmi_json_append_object (b, words[i].is_count ? counts : bytes);
        rcvmi_json_put_int (b, o, "major", major);
        rcvmi_json_put_int (b, o, "minor", minor);
        rcvmi_json_put_str (b, o, "op", words[i].op);
        rcvmi_json_put_int (b, o, "value", to_number (found + strlen (words[i].word)));
      }
}

static void
put_blkio (struct rcvmi_json *b, struct json_object *o, const struct rcvmi_cgroup *c, char *text)
{
  const struct rcvmi_cgroup_hierarchy *v1 = rcvmi_cgroup_of (c, "blkio"), *v2 = rcvmi_cgroup_of (c, "io");
  struct json_object *blkio = sub (b, o, "blkio"), *bytes = json_object_new_array (), *counts = json_object_new_array ();

  if (v2 && rcvmi_cgroup_read (v2, "io.stat", text, TEXT_SIZE) == 0)
    put_blkio_v2 (b, bytes, counts, text);
  else
    {
      if (rcvmi_cgroup_read (v1, "blkio.throttle.io_service_bytes_recursive", text, TEXT_SIZE) == 0)
        put_blkio_v1 (b, bytes, text);
      if (rcvmi_cgroup_read (v1, "blkio.throttle.io_serviced_recursive", text, TEXT_SIZE) == 0)
        put_blkio_v1 (b, counts, text);
    }
  rcvmi_json_put (b, blkio, "ioServiceBytesRecursive", bytes);
  rcvmi_json_put (b, blkio, "ioServicedRecursive", counts);
}

/* The guest's files, by its own word: K_NAME and K_VALUE in turn. */
static int
put_guest (struct rcvmi_json *b, struct json_object *o, const unsigned char *record, size_t len, rcvm_error **err)
{
  struct json_object *guest = sub (b, o, "guest"), *memory = sub (b, guest, "memory"), *cpu = sub (b, guest, "cpu");
  struct json_object *pids = sub (b, guest, "pids");
  const char *name = "";
  struct tlv_reader r;
  struct tlv_field f;

  tlv_reader_init (&r, record, len);
  while (tlv_next (&r, &f))
    if (f.tag == K_NAME)
      name = tlv_get_str (&r, &f);
    else if (f.tag == K_VALUE)
      {
        const char *text = tlv_get_str (&r, &f);

        if (strcmp (name, "memory.current") == 0)
          rcvmi_json_put_int (b, memory, "usage", to_number (text));
        else if (strcmp (name, "memory.max") == 0)
          rcvmi_json_put_int (b, memory, "limit", to_number (text));
        else if (strcmp (name, "memory.peak") == 0)
          rcvmi_json_put_int (b, memory, "max", to_number (text));
        else if (strcmp (name, "memory.stat") == 0)
          put_found (b, memory, "cache", text, "file", 1);
        else if (strcmp (name, "pids.current") == 0)
          rcvmi_json_put_int (b, pids, "current", to_number (text));
        else if (strcmp (name, "pids.max") == 0)
          rcvmi_json_put_int (b, pids, "limit", to_number (text));
        else if (strcmp (name, "cpu.stat") == 0)
          {
            put_found (b, cpu, "total", text, "usage_usec", 1000);
            put_found (b, cpu, "user", text, "user_usec", 1000);
            put_found (b, cpu, "kernel", text, "system_usec", 1000);
          }
      }
  return r.bad ? rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest's agent sent malformed statistics") : 0;
}

void
rcvmi_cgroup_ask_guest (struct tlv_writer *w)
{
  static const char *const files[]
      = { "memory.current", "memory.max", "memory.peak", "memory.stat", "pids.current", "pids.max", "cpu.stat" };

  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
    tlv_put_str (w, K_NAME, files[i]);
}

char *
rcvmi_cgroup_stats (const struct rcvmi_cgroup *c, const unsigned char *record, size_t len, uint64_t oom_kills,
                    rcvm_error **err)
{
  autofree char *text = malloc (TEXT_SIZE);
  struct json_object *o = json_object_new_object (), *ours, *pids;
  struct rcvmi_json b = { false };
  const char *json = NULL;
  char *copy = NULL;
  int code = 0;

  if (text && o)
    {
      put_cpu (&b, o, c, text);
      put_memory (&b, o, c, text);
      pids = sub (&b, o, "pids");
      put_file (&b, pids, "current", rcvmi_cgroup_of (c, "pids"), "pids.current");
      put_file (&b, pids, "limit", rcvmi_cgroup_of (c, "pids"), "pids.max");
      put_blkio (&b, o, c, text);
      rcvmi_json_put (&b, o, "hugetlb", json_object_new_object ());
      rcvmi_json_put (&b, o, "intel_rdt", json_object_new_object ());
      ours = sub (&b, o, "org.runcvm");
      rcvmi_json_put_int (&b, ours, "oomKills", (int64_t) oom_kills);
      if (record)
        code = put_guest (&b, ours, record, len, err);
      if (code == 0 && !b.failed)
        json = json_object_to_json_string_ext (o, JSON_C_TO_STRING_PLAIN);
    }
  if (json)
    copy = strdup (json);
  json_object_put (o);
  if (!copy && code == 0)
    rcvmi_fail_nomem (err);
  return copy;
}
