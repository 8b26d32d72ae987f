/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "api"

#include "options.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

/*
 * One table per record says what each tag is, so that what is encoded and what is decoded cannot
 * differ. Tags are never reused: a monitor may be older or newer than the library that talks to
 * it.
 */
enum kind
{
  KIND_STR,
  KIND_LIST, /* a repeated string */
  KIND_INT,  /* -1: not asked for */
  KIND_UNSIGNED,
  KIND_U64
};

struct option
{
  uint16_t tag;
  enum kind kind;
  size_t offset;
  const char *name;
};

/* An empty list is not the same as no list (args = {} is an error that plan.c reports), but the API
   never stores one. */
#define OPTION(type, tag, kind, member) { tag, kind, offsetof (struct type, member), #member }

static const struct option vm_options[] = {
  OPTION (rcvmi_options, 1, KIND_STR, id),
  OPTION (rcvmi_options, 2, KIND_STR, bundle),
  OPTION (rcvmi_options, 3, KIND_STR, config_json),
  OPTION (rcvmi_options, 4, KIND_STR, rootfs),
  OPTION (rcvmi_options, 5, KIND_LIST, args),
  OPTION (rcvmi_options, 6, KIND_LIST, env),
  OPTION (rcvmi_options, 7, KIND_LIST, annotations),
  OPTION (rcvmi_options, 8, KIND_STR, user),
  OPTION (rcvmi_options, 9, KIND_STR, cwd),
  OPTION (rcvmi_options, 10, KIND_STR, hostname),
  OPTION (rcvmi_options, 11, KIND_INT, terminal),
  OPTION (rcvmi_options, 12, KIND_INT, readonly_rootfs),
  OPTION (rcvmi_options, 13, KIND_STR, hypervisor),
  OPTION (rcvmi_options, 14, KIND_STR, kernel),
  OPTION (rcvmi_options, 15, KIND_STR, initramfs),
  OPTION (rcvmi_options, 16, KIND_STR, kernel_args),
  OPTION (rcvmi_options, 17, KIND_U64, memory),
  OPTION (rcvmi_options, 18, KIND_UNSIGNED, cpus),
  OPTION (rcvmi_options, 19, KIND_U64, rootfs_size),
  OPTION (rcvmi_options, 20, KIND_UNSIGNED, rows),
  OPTION (rcvmi_options, 21, KIND_UNSIGNED, cols),
  OPTION (rcvmi_options, 22, KIND_INT, log_level),
  OPTION (rcvmi_options, 23, KIND_STR, rootfs_disk),
  OPTION (rcvmi_options, 24, KIND_STR, rootfs_changes),
  OPTION (rcvmi_options, 25, KIND_LIST, rootfs_digests),
  OPTION (rcvmi_options, 26, KIND_UNSIGNED, console),
  OPTION (rcvmi_options, 27, KIND_STR, confinement),
  OPTION (rcvmi_options, 40, KIND_STR, binds),
  OPTION (rcvmi_options, 41, KIND_LIST, volumes),
  OPTION (rcvmi_options, 60, KIND_STR, network),
  OPTION (rcvmi_options, 61, KIND_STR, network_join),
  OPTION (rcvmi_options, 62, KIND_STR, tap_name),
  OPTION (rcvmi_options, 63, KIND_UNSIGNED, dhcp),
  OPTION (rcvmi_options, 64, KIND_LIST, nics),
  OPTION (rcvmi_options, 65, KIND_LIST, ports),
  OPTION (rcvmi_options, 80, KIND_STR, cgroup_driver),
  OPTION (rcvmi_options, 90, KIND_STR, snapshot),
};

static const struct option exec_options[] = {
  OPTION (rcvmi_exec_options, 1, KIND_STR, process_json),
  OPTION (rcvmi_exec_options, 2, KIND_LIST, args),
  OPTION (rcvmi_exec_options, 3, KIND_LIST, env),
  OPTION (rcvmi_exec_options, 4, KIND_STR, user),
  OPTION (rcvmi_exec_options, 5, KIND_STR, cwd),
  OPTION (rcvmi_exec_options, 6, KIND_INT, terminal),
  OPTION (rcvmi_exec_options, 7, KIND_UNSIGNED, rows),
  OPTION (rcvmi_exec_options, 8, KIND_UNSIGNED, cols),
  OPTION (rcvmi_exec_options, 9, KIND_UNSIGNED, tied),
};

#define N_ELEMENTS(a) (sizeof (a) / sizeof ((a)[0]))

static void *
member (const void *base, const struct option *o)
{
  return (char *) base + o->offset;
}

static void
clear (void *base, const struct option *table, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (table[i].kind == KIND_STR)
      free (*(char **) member (base, &table[i]));
    else if (table[i].kind == KIND_LIST)
      rcvmi_strv_free (*(char ***) member (base, &table[i]));
}

static void
encode (const void *base, const struct option *table, size_t n, struct tlv_writer *w)
{
  for (const struct option *o = table; o < table + n; o++)
    {
      const void *m = member (base, o);

      switch (o->kind)
        {
        case KIND_STR:
          tlv_put_str (w, o->tag, *(char *const *) m);
          break;
        case KIND_LIST:
          for (char *const *s = *(char **const *) m; s && *s; s++)
            tlv_put_str (w, o->tag, *s);
          break;
        case KIND_INT:
          if (*(const int *) m != -1)
            tlv_put_u32 (w, o->tag, (uint32_t) *(const int *) m);
          break;
        case KIND_UNSIGNED:
          if (*(const unsigned *) m)
            tlv_put_u32 (w, o->tag, *(const unsigned *) m);
          break;
        case KIND_U64:
          if (*(const uint64_t *) m)
            tlv_put_u64 (w, o->tag, *(const uint64_t *) m);
          break;
        }
    }
}

/* A list while it grows: appending with rcvmi_strv_append alone would take time in the square of
   its length, and the length is the peer's to choose. */
struct growing
{
  size_t n;
  size_t cap;
};

static int
grow (char ***list, struct growing *g, const char *s)
{
  char *copy;

  if (g->n + 1 >= g->cap)
    {
      size_t cap = g->cap ? g->cap * 2 : 16;
      char **p = reallocarray (*list, cap, sizeof *p);

      if (!p)
        return -1;
      p[g->n] = NULL;
      *list = p;
      g->cap = cap;
    }
  copy = strdup (s);
  if (!copy)
    return -1;
  (*list)[g->n++] = copy;
  (*list)[g->n] = NULL;
  return 0;
}

/* `base` is in its initial state. */
static int
decode (void *base, const struct option *table, size_t n, const void *data, size_t len,
        rcvm_error **err)
{
  struct growing lists[N_ELEMENTS (vm_options)] = { 0 };
  bool seen[N_ELEMENTS (vm_options)] = { 0 };
  struct tlv_reader r;
  struct tlv_field f;

  if (len == 0)
    return 0;
  tlv_reader_init (&r, data, len);
  while (tlv_next (&r, &f))
    {
      const struct option *o = NULL;
      const char *s;
      uint32_t number;
      void *m;

      for (size_t i = 0; i < n; i++)
        if (table[i].tag == f.tag)
          o = &table[i];
      if (!o)
        continue;
      m = member (base, o);
      if (seen[o - table] && o->kind != KIND_LIST)
        return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the options record has two fields '%s'",
                           o->name);
      seen[o - table] = true;
      switch (o->kind)
        {
        case KIND_STR:
          s = tlv_get_str (&r, &f);
          if (!r.bad && !(*(char **) m = strdup (s)))
            return rcvmi_fail_nomem (err);
          break;
        case KIND_LIST:
          s = tlv_get_str (&r, &f);
          if (!r.bad && grow ((char ***) m, &lists[o - table], s) < 0)
            return rcvmi_fail_nomem (err);
          break;
        case KIND_INT:
          number = tlv_get_u32 (&r, &f);
          if (!r.bad && number > INT_MAX)
            r.bad = true;
          if (!r.bad)
            *(int *) m = (int) number;
          break;
        case KIND_UNSIGNED:
          *(unsigned *) m = tlv_get_u32 (&r, &f);
          break;
        case KIND_U64:
          *(uint64_t *) m = tlv_get_u64 (&r, &f);
          break;
        }
      if (r.bad)
        return rcvmi_fail (err, RCVM_E_PROTOCOL, 0,
                           "the field '%s' of the options record is malformed",
                           o->name);
    }
  if (r.bad)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the options record is cut short");
  return 0;
}

void
rcvmi_options_clear (struct rcvmi_options *o)
{
  clear (o, vm_options, N_ELEMENTS (vm_options));
  *o = RCVMI_OPTIONS_INIT;
}

void
rcvmi_options_encode (const struct rcvmi_options *o, struct tlv_writer *w)
{
  encode (o, vm_options, N_ELEMENTS (vm_options), w);
}

int
rcvmi_options_decode (struct rcvmi_options *o, const void *data, size_t len, rcvm_error **err)
{
  int rc;

  *o = RCVMI_OPTIONS_INIT;
  rc = decode (o, vm_options, N_ELEMENTS (vm_options), data, len, err);
  if (rc < 0)
    rcvmi_options_clear (o);
  return rc;
}

void
rcvmi_exec_options_clear (struct rcvmi_exec_options *o)
{
  clear (o, exec_options, N_ELEMENTS (exec_options));
  *o = RCVMI_EXEC_OPTIONS_INIT;
}

void
rcvmi_exec_options_encode (const struct rcvmi_exec_options *o, struct tlv_writer *w)
{
  encode (o, exec_options, N_ELEMENTS (exec_options), w);
}

int
rcvmi_exec_options_decode (struct rcvmi_exec_options *o, const void *data, size_t len,
                           rcvm_error **err)
{
  int rc;

  *o = RCVMI_EXEC_OPTIONS_INIT;
  rc = decode (o, exec_options, N_ELEMENTS (exec_options), data, len, err);
  if (rc < 0)
    rcvmi_exec_options_clear (o);
  return rc;
}

size_t
rcvmi_strv_length (char *const *list)
{
  size_t n = 0;

  while (list && list[n])
    n++;
  return n;
}

void
rcvmi_strv_free (char **list)
{
  for (char **s = list; s && *s; s++)
    free (*s);
  free (list);
}

int
rcvmi_strv_append (char ***list, const char *s)
{
  size_t n = rcvmi_strv_length (*list);
  char *copy = strdup (s);
  char **p;

  if (!copy)
    return -1;
  p = reallocarray (*list, n + 2, sizeof *p);
  if (!p)
    {
      free (copy);
      return -1;
    }
  p[n] = copy;
  p[n + 1] = NULL;
  *list = p;
  return 0;
}

int
rcvmi_strv_set_env (char ***list, const char *name_value)
{
  size_t name = strcspn (name_value, "=");

  for (char **s = *list; s && *s; s++)
    if (strncmp (*s, name_value, name) == 0 && ((*s)[name] == '=' || !(*s)[name]))
      {
        char *copy = strdup (name_value);

        if (!copy)
          return -1;
        free (*s);
        *s = copy;
        return 0;
      }
  return rcvmi_strv_append (list, name_value);
}

char **
rcvmi_strv_copy (char *const *list)
{
  size_t n = rcvmi_strv_length (list);
  char **copy = calloc (n + 1, sizeof *copy);

  if (!copy)
    return NULL;
  for (size_t i = 0; i < n; i++)
    {
      copy[i] = strdup (list[i]);
      if (!copy[i])
        {
          rcvmi_strv_free (copy);
          return NULL;
        }
    }
  return copy;
}
