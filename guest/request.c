/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent-wire.h"
#include "array.h"

static bool
parse_rlimit (struct request *q, struct tlv_reader r)
{
  struct request_rlimit *l = array_append (q->rlimits, q->n_rlimits);
  struct tlv_field f;

  if (!l)
    return false;
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case R_TYPE:
        l->type = tlv_get_u32 (&r, &f);
        break;
      case R_SOFT:
        l->soft = tlv_get_u64 (&r, &f);
        break;
      case R_HARD:
        l->hard = tlv_get_u64 (&r, &f);
        break;
      }
  return !r.bad;
}

static bool
parse_scheduler (struct request *q, struct tlv_reader r)
{
  struct k_sched_attr *a = &q->scheduler;
  struct tlv_field f;

  a->size = sizeof *a;
  q->has_scheduler = true;
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case P_POLICY:
        a->policy = tlv_get_u32 (&r, &f);
        break;
      case P_NICE:
        a->nice = (int32_t) tlv_get_u32 (&r, &f);
        break;
      case P_PRIORITY:
        a->priority = tlv_get_u32 (&r, &f);
        break;
      case P_FLAGS:
        a->flags = tlv_get_u64 (&r, &f);
        break;
      case P_RUNTIME:
        a->runtime = tlv_get_u64 (&r, &f);
        break;
      case P_DEADLINE:
        a->deadline = tlv_get_u64 (&r, &f);
        break;
      case P_PERIOD:
        a->period = tlv_get_u64 (&r, &f);
        break;
      }
  return !r.bad;
}

static bool
parse_seccomp (struct request *q, const struct tlv_field *f)
{
  if (q->seccomp || f->len == 0 || f->len % sizeof *q->seccomp
      || f->len / sizeof *q->seccomp > UINT16_MAX)
    return false;
  q->seccomp = malloc (f->len);
  if (!q->seccomp)
    return false;
  memcpy (q->seccomp, f->data, f->len);
  q->n_seccomp = f->len / sizeof *q->seccomp;
  return true;
}

static bool
parse_cap_set (struct request *q, int set, uint64_t mask)
{
  q->caps[set] = mask;
  q->caps_given |= 1u << set;
  return true;
}

static bool
append_string (char ***list, size_t *n, const char *value)
{
  char **p = array_append (*list, *n);

  /* execve takes char *; nobody writes through it. */
  if (p)
    *p = (char *) value;
  return p;
}

static bool
parse_hook (struct request *q, struct tlv_reader r)
{
  struct request_hook *h = array_append (q->hooks, q->n_hooks);
  struct tlv_field f;
  size_t args, envs;

  if (!h)
    return false;
  h->path = "";
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case H_PATH:
        h->path = tlv_get_str (&r, &f);
        break;
      case H_ARG:
        if (!append_string (&h->argv, &h->n_argv, tlv_get_str (&r, &f)))
          return false;
        break;
      case H_ENV:
        if (!append_string (&h->env, &h->n_env, tlv_get_str (&r, &f)))
          return false;
        break;
      case H_TIMEOUT:
        h->timeout = tlv_get_u32 (&r, &f);
        break;
      }
  args = h->n_argv;
  envs = h->n_env;
  return append_string (&h->argv, &args, NULL) && append_string (&h->env, &envs, NULL) && !r.bad;
}

static bool
parse_field (struct request *q, struct tlv_reader *r, const struct tlv_field *f)
{
  switch (f->tag)
    {
    case E_ARG:
      return append_string (&q->argv, &q->n_argv, tlv_get_str (r, f));
    case E_ENV:
      return append_string (&q->env, &q->n_env, tlv_get_str (r, f));
    case E_CWD:
      q->cwd = tlv_get_str (r, f);
      return true;
    case E_UID:
      q->uid = tlv_get_u32 (r, f);
      return true;
    case E_GID:
      q->gid = tlv_get_u32 (r, f);
      return true;
    case E_GROUP:
      {
        gid_t *g = array_append (q->groups, q->n_groups);

        if (g)
          *g = tlv_get_u32 (r, f);
        return g;
      }
    case E_USER_NAME:
      q->user = tlv_get_str (r, f);
      return true;
    case E_UMASK:
      q->has_umask = true;
      q->mask = tlv_get_u32 (r, f);
      return true;
    case E_TERMINAL:
      q->terminal = tlv_get_u32 (r, f) != 0;
      return true;
    case E_ROWS:
      q->rows = tlv_get_u32 (r, f);
      return true;
    case E_COLS:
      q->cols = tlv_get_u32 (r, f);
      return true;
    case E_CAP_BOUNDING:
      return parse_cap_set (q, CAP_SET_BOUNDING, tlv_get_u64 (r, f));
    case E_CAP_EFFECTIVE:
      return parse_cap_set (q, CAP_SET_EFFECTIVE, tlv_get_u64 (r, f));
    case E_CAP_INHERITABLE:
      return parse_cap_set (q, CAP_SET_INHERITABLE, tlv_get_u64 (r, f));
    case E_CAP_PERMITTED:
      return parse_cap_set (q, CAP_SET_PERMITTED, tlv_get_u64 (r, f));
    case E_CAP_AMBIENT:
      return parse_cap_set (q, CAP_SET_AMBIENT, tlv_get_u64 (r, f));
    case E_RLIMIT:
      return parse_rlimit (q, tlv_get_record (f));
    case E_NO_NEW_PRIVS:
      q->no_new_privs = tlv_get_u32 (r, f) != 0;
      return true;
    case E_OOM_SCORE_ADJ:
      q->has_oom_score = true;
      q->oom_score = (int) tlv_get_u32 (r, f);
      return true;
    case E_NO_STDIN:
      q->no_stdin = tlv_get_u32 (r, f) != 0;
      return true;
    case E_NAMES:
      q->names = tlv_get_u32 (r, f) != 0;
      return true;
    case E_UNPACK:
      q->unpack = tlv_get_u32 (r, f) != 0;
      return true;
    case E_SECCOMP:
      return parse_seccomp (q, f);
    case E_SECCOMP_FLAGS:
      q->seccomp_flags = tlv_get_u32 (r, f);
      return true;
    case E_IOPRIO:
      q->has_ioprio = true;
      q->ioprio = tlv_get_u32 (r, f);
      return true;
    case E_SCHEDULER:
      return parse_scheduler (q, tlv_get_record (f));
    case E_HOOK:
      return parse_hook (q, tlv_get_record (f));
    case E_STATE:
      q->state = tlv_get_str (r, f);
      return true;
    default:
      return true;
    }
}

int
request_parse (struct request *q, const void *record, size_t len, struct failure *f)
{
  struct tlv_reader r;
  struct tlv_field field;
  size_t args, envs;

  memset (q, 0, sizeof *q);
  q->cwd = "/";
  tlv_reader_init (&r, record, len);
  while (tlv_next (&r, &field))
    if (!parse_field (q, &r, &field))
      return fail (f, "exec", EPROTO, "the EXEC record has a malformed field %u", field.tag);
  if (r.bad || (q->caps_given && q->caps_given != (1u << CAP_SETS) - 1))
    return fail (f, "exec", EPROTO, "the EXEC record is malformed");
  if (q->n_argv == 0)
    return fail (f, "exec", EINVAL, "the process has no arguments");
  args = q->n_argv;
  envs = q->n_env;
  if (!append_string (&q->argv, &args, NULL) || !append_string (&q->env, &envs, NULL))
    return fail (f, "exec", ENOMEM, "cannot read the EXEC record");
  if (!*q->cwd)
    q->cwd = "/";
  return 0;
}

void
request_free (struct request *q)
{
  free (q->argv);
  free (q->env);
  free (q->groups);
  free (q->rlimits);
  free (q->seccomp);
  for (size_t i = 0; i < q->n_hooks; i++)
    {
      free (q->hooks[i].argv);
      free (q->hooks[i].env);
    }
  free (q->hooks);
  memset (q, 0, sizeof *q);
}

const char *
request_env (const struct request *q, const char *name)
{
  size_t n = strlen (name);

  for (size_t i = 0; i < q->n_env; i++)
    if (strncmp (q->env[i], name, n) == 0 && q->env[i][n] == '=')
      return q->env[i] + n + 1;
  return NULL;
}
