/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The EXEC record: OCI's process object resolved to what the kernel wants. */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

#include <stdlib.h>
#include <string.h>

#include "agent-wire.h"
#include "err.h"

/* The kernel's numbers (linux/sched.h, linux/ioprio.h). */
static const struct rcvmi_name scheduler_policies[] = {
  { "SCHED_OTHER", 0 }, { "SCHED_FIFO", 1 }, { "SCHED_RR", 2 },
  { "SCHED_BATCH", 3 }, { "SCHED_IDLE", 5 }, { "SCHED_DEADLINE", 6 },
  { NULL, 0 },
};

static const struct rcvmi_name scheduler_flags[] = {
  { "SCHED_FLAG_RESET_ON_FORK", 0x01 },  { "SCHED_FLAG_RECLAIM", 0x02 },
  { "SCHED_FLAG_DL_OVERRUN", 0x04 },     { "SCHED_FLAG_KEEP_POLICY", 0x08 },
  { "SCHED_FLAG_KEEP_PARAMS", 0x10 },    { "SCHED_FLAG_UTIL_CLAMP_MIN", 0x20 },
  { "SCHED_FLAG_UTIL_CLAMP_MAX", 0x40 }, { NULL, 0 },
};

static const struct rcvmi_name io_classes[] = {
  { "IOPRIO_CLASS_RT", 1 },
  { "IOPRIO_CLASS_BE", 2 },
  { "IOPRIO_CLASS_IDLE", 3 },
  { NULL, 0 },
};

enum
{
  POLICY_FIFO = 1,
  POLICY_RR = 2,
  POLICY_DEADLINE = 6,
  IOPRIO_CLASS_SHIFT = 13
};

static bool
parse_id (const char *text, size_t len, uint32_t *id)
{
  uint64_t value = 0;

  if (len == 0 || len > 10)
    return false;
  for (size_t i = 0; i < len; i++)
    {
      if (text[i] < '0' || text[i] > '9')
        return false;
      value = value * 10 + (uint64_t) (text[i] - '0');
    }
  *id = (uint32_t) value;
  return value < UINT32_MAX;
}

static int
check_user (const char *user, rcvm_error **err)
{
  size_t name = strcspn (user, ":");
  const char *group = user + name + (user[name] != 0);
  bool ok = name > 0 && (!user[name] || *group) && !strchr (group, ':');
  uint32_t id;

  for (const char *c = user; *c; c++)
    ok &= (unsigned char) *c > 0x20 && *c != 0x7f && *c != '/';
  /* A number that is no id would otherwise be looked up as a name. */
  if (strspn (user, "0123456789") == name && !parse_id (user, name, &id))
    ok = false;
  if (user[name] && strspn (group, "0123456789") == strlen (group)
      && !parse_id (group, strlen (group), &id))
    ok = false;
  if (ok)
    return 0;
  return rcvmi_fail (err, RCVM_E_INVALID, 0,
                     "the option 'user' is '%.100s' and must be uid, uid:gid, name or name:group",
                     user);
}

int
rcvmi_plan_override (struct rcvmi_spec *spec, const struct rcvmi_plan_process *changes,
                     rcvm_error **err)
{
  struct rcvmi_spec_process *p = spec->process;
  int rc;

  if (changes->args)
    {
      if (!changes->args[0] || !changes->args[0][0])
        return rcvmi_fail (err, RCVM_E_INVALID, 0, "the option 'args' must name a program");
      p->args = rcvmi_plan_copy_list (&spec->arena, changes->args);
      if (!p->args)
        return rcvmi_fail_nomem (err);
    }
  for (size_t i = 0; changes->env && changes->env[i]; i++)
    if (changes->env[i][0] == '=' || !strchr (changes->env[i], '='))
      return rcvmi_fail (err, RCVM_E_INVALID, 0,
                         "entry %zu of the option 'env' is not of the form NAME=VALUE", i);
  p->env = rcvmi_plan_merge (&spec->arena, p->env, changes->env);
  if (!p->env)
    return rcvmi_fail_nomem (err);
  if (changes->user)
    {
      rc = check_user (changes->user, err);
      if (rc < 0)
        return rc;
      p->user_name = rcvmi_arena_strdup (&spec->arena, changes->user);
      if (!p->user_name)
        return rcvmi_fail_nomem (err);
    }
  if (changes->cwd)
    {
      if (changes->cwd[0] != '/')
        return rcvmi_fail (err, RCVM_E_INVALID, 0,
                           "the option 'cwd' is '%.200s' and must be an absolute path",
                           changes->cwd);
      p->cwd = rcvmi_arena_strdup (&spec->arena, changes->cwd);
      if (!p->cwd)
        return rcvmi_fail_nomem (err);
    }
  if (changes->terminal >= 0)
    p->terminal = changes->terminal > 0;
  if (changes->rows && changes->cols)
    {
      p->console_size = rcvmi_arena_alloc (&spec->arena, 1, sizeof *p->console_size);
      if (!p->console_size)
        return rcvmi_fail_nomem (err);
      p->console_size->height = (struct rcvmi_spec_uint){ true, changes->rows };
      p->console_size->width = (struct rcvmi_spec_uint){ true, changes->cols };
    }
  return 0;
}

static void
put_user (const struct rcvmi_spec_process *p, struct tlv_writer *w)
{
  const struct rcvmi_spec_user *user = p->user;

  if (p->user_name)
    {
      size_t name = strcspn (p->user_name, ":");
      uint32_t uid, gid;

      if (p->user_name[name] && parse_id (p->user_name, name, &uid)
          && parse_id (p->user_name + name + 1, strlen (p->user_name + name + 1), &gid))
        {
          tlv_put_u32 (w, E_UID, uid);
          tlv_put_u32 (w, E_GID, gid);
        }
      else
        tlv_put_str (w, E_USER_NAME, p->user_name);
    }
  else
    {
      tlv_put_u32 (w, E_UID, user ? (uint32_t) user->uid.value : 0);
      tlv_put_u32 (w, E_GID, user ? (uint32_t) user->gid.value : 0);
      for (size_t i = 0; user && i < user->n_additional_gids; i++)
        tlv_put_u32 (w, E_GROUP, (uint32_t) user->additional_gids[i]);
    }
  if (user && user->umask.set)
    tlv_put_u32 (w, E_UMASK, (uint32_t) user->umask.value);
}

static int
put_capabilities (struct rcvmi_spec *spec, struct tlv_writer *w, rcvm_error **err)
{
  const struct rcvmi_spec_capabilities *caps = spec->process->capabilities;
  const struct
  {
    uint16_t tag;
    const char *name;
    char **list;
  } sets[] = {
    { E_CAP_BOUNDING, "bounding", caps ? caps->bounding : NULL },
    { E_CAP_EFFECTIVE, "effective", caps ? caps->effective : NULL },
    { E_CAP_INHERITABLE, "inheritable", caps ? caps->inheritable : NULL },
    { E_CAP_PERMITTED, "permitted", caps ? caps->permitted : NULL },
    { E_CAP_AMBIENT, "ambient", caps ? caps->ambient : NULL },
  };

  for (size_t s = 0; caps && s < sizeof sets / sizeof sets[0]; s++)
    {
      uint64_t mask = 0;

      for (size_t i = 0; sets[s].list && sets[s].list[i]; i++)
        {
          const struct rcvmi_name *cap = rcvmi_plan_name (rcvmi_capability_names, sets[s].list[i]);
          int rc;

          if (cap)
            {
              mask |= UINT64_C (1) << cap->value;
              continue;
            }
          rc = rcvmi_spec_warn (spec, err,
                                "'process.capabilities.%s[%zu]' has no effect: '%.60s' is no "
                                "capability that is known",
                                sets[s].name, i, sets[s].list[i]);
          if (rc < 0)
            return rc;
        }
      tlv_put_u64 (w, sets[s].tag, mask);
    }
  return 0;
}

static int
put_rlimits (const struct rcvmi_spec_process *p, struct tlv_writer *w, rcvm_error **err)
{
  uint64_t seen = 0;

  for (size_t i = 0; i < p->n_rlimits; i++)
    {
      const struct rcvmi_spec_rlimit *limit = &p->rlimits[i];
      const struct rcvmi_name *type = rcvmi_plan_name (rcvmi_rlimit_names, limit->type);
      size_t mark;

      if (!type)
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "'process.rlimits[%zu].type' is '%.40s', which is no limit like "
                           "RLIMIT_NOFILE", i,
                           limit->type);
      if (seen & UINT64_C (1) << type->value)
        return rcvmi_fail (err, RCVM_E_SPEC, 0, "'process.rlimits' has %s twice", limit->type);
      if (limit->soft.value > limit->hard.value)
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "'process.rlimits[%zu].soft' of %s is above its hard limit",
                           i, limit->type);
      seen |= UINT64_C (1) << type->value;
      mark = tlv_begin (w, E_RLIMIT);
      tlv_put_u32 (w, R_TYPE, (uint32_t) type->value);
      tlv_put_u64 (w, R_SOFT, limit->soft.value);
      tlv_put_u64 (w, R_HARD, limit->hard.value);
      tlv_end (w, mark);
    }
  return 0;
}

static int
put_scheduler (const struct rcvmi_spec_scheduler *s, struct tlv_writer *w, rcvm_error **err)
{
  const struct rcvmi_name *policy = rcvmi_plan_name (scheduler_policies, s->policy);
  bool is_static;
  uint64_t flags = 0;
  size_t mark;

  if (!policy)
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "'process.scheduler.policy' is '%.40s', which is no policy that Linux has",
                       s->policy);
  for (char **f = s->flags; f && *f; f++)
    {
      const struct rcvmi_name *flag = rcvmi_plan_name (scheduler_flags, *f);

      if (!flag)
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "'process.scheduler.flags' has '%.40s', which is no flag that is known",
                           *f);
      flags |= flag->value;
    }
  is_static = policy->value == POLICY_FIFO || policy->value == POLICY_RR;
  if (is_static != (s->priority.value > 0))
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       is_static ? "'process.scheduler.priority' must be 1 to 99 for %s"
                                 : "'process.scheduler.priority' must be 0 for %s",
                       s->policy);
  if (policy->value != POLICY_DEADLINE
      && (s->runtime.value || s->deadline.value || s->period.value))
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "'process.scheduler.%s' is for SCHED_DEADLINE and must be 0 for %s",
                       s->runtime.value ? "runtime" : s->deadline.value ? "deadline" : "period",
                       s->policy);
  mark = tlv_begin (w, E_SCHEDULER);
  tlv_put_u32 (w, P_POLICY, (uint32_t) policy->value);
  tlv_put_u32 (w, P_NICE, (uint32_t) s->nice.value);
  tlv_put_u32 (w, P_PRIORITY, (uint32_t) s->priority.value);
  tlv_put_u64 (w, P_FLAGS, flags);
  tlv_put_u64 (w, P_RUNTIME, s->runtime.value);
  tlv_put_u64 (w, P_DEADLINE, s->deadline.value);
  tlv_put_u64 (w, P_PERIOD, s->period.value);
  tlv_end (w, mark);
  return 0;
}

static int
put_io_priority (const struct rcvmi_spec_io_priority *io, struct tlv_writer *w, rcvm_error **err)
{
  const struct rcvmi_name *class = rcvmi_plan_name (io_classes, io->class);

  if (!class)
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "'process.ioPriority.class' is '%.40s', which is no class like "
                       "IOPRIO_CLASS_BE",
                       io->class);
  tlv_put_u32 (w, E_IOPRIO,
               (uint32_t) (class->value << IOPRIO_CLASS_SHIFT) | (uint32_t) io->priority.value);
  return 0;
}

int
rcvmi_plan_process (struct rcvmi_spec *spec, const struct rcvmi_spec *container,
                    struct tlv_writer *w, rcvm_error **err)
{
  const struct rcvmi_spec_process *p = spec->process;
  int rc;

  for (char **s = p->args; s && *s; s++)
    tlv_put_str (w, E_ARG, *s);
  for (char **s = p->env; s && *s; s++)
    tlv_put_str (w, E_ENV, *s);
  tlv_put_str (w, E_CWD, p->cwd);
  put_user (p, w);
  if (p->terminal)
    {
      tlv_put_u32 (w, E_TERMINAL, 1);
      if (p->console_size)
        {
          tlv_put_u32 (w, E_ROWS, (uint32_t) p->console_size->height.value);
          tlv_put_u32 (w, E_COLS, (uint32_t) p->console_size->width.value);
        }
    }
  rc = put_capabilities (spec, w, err);
  if (rc == 0)
    rc = put_rlimits (p, w, err);
  if (rc < 0)
    return rc;
  if (p->no_new_privileges)
    tlv_put_u32 (w, E_NO_NEW_PRIVS, 1);
  if (p->oom_score_adj.set)
    tlv_put_u32 (w, E_OOM_SCORE_ADJ, (uint32_t) p->oom_score_adj.value);
  if (p->io_priority)
    rc = put_io_priority (p->io_priority, w, err);
  if (rc == 0 && p->scheduler)
    rc = put_scheduler (p->scheduler, w, err);
  if (container->filter)
    {
      tlv_put (w, E_SECCOMP, container->filter, container->filter_len);
      if (container->filter_flags)
        tlv_put_u32 (w, E_SECCOMP_FLAGS, container->filter_flags);
    }
  return rc < 0 ? rc : rcvmi_plan_check_record (w, "the process's arguments and environment", err);
}

/* A process object of the caller's own stands alone: nothing of the container's process is added to
   it. */
static struct rcvmi_spec *
own_process (const struct rcvmi_exec_options *options, rcvm_error **err)
{
  struct rcvmi_spec_given given = { .args = options->args, .cwd = options->cwd };

  return rcvmi_spec_parse_process (options->process_json, &given, err);
}

/* The container's process as it was started, but for what belongs to one process alone. */
static struct rcvmi_spec *
inherited_process (const struct rcvmi_plan *plan, const struct rcvmi_exec_options *options,
                   rcvm_error **err)
{
  struct rcvmi_spec *spec;

  if (!options->args)
    {
      rcvmi_fail (err, RCVM_E_INVALID, 0, "the process to start has no arguments");
      return NULL;
    }
  spec = calloc (1, sizeof *spec);
  if (spec)
    spec->process = rcvmi_arena_alloc (&spec->arena, 1, sizeof *spec->process);
  if (!spec || !spec->process)
    {
      rcvmi_spec_free (spec);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  /* What it points to lives as long as the plan does. */
  *spec->process = *plan->spec->process;
  spec->process->args = NULL;
  spec->process->terminal = false;
  spec->process->console_size = NULL;
  return spec;
}

int
rcvmi_plan_exec (const struct rcvmi_plan *plan, const struct rcvmi_exec_options *options,
                 struct tlv_writer *record, bool *terminal, rcvm_error **err)
{
  struct rcvmi_plan_process changes = {
    .args = options->args,
    .env = options->env,
    .user = options->user,
    .cwd = options->cwd,
    .terminal = options->terminal,
    .rows = options->rows,
    .cols = options->cols,
  };
  rcvm_error *error = NULL; /* its code is wanted also where the caller wants no object */
  struct rcvmi_spec *spec = options->process_json ? own_process (options, &error)
                                                  : inherited_process (plan, options, &error);
  int rc;

  if (!spec)
    return rcvmi_error_pass (err, error);
  rc = rcvmi_plan_override (spec, &changes, &error);
  if (rc == 0)
    rc = rcvmi_plan_process (spec, plan->spec, record, &error);
  if (rc == 0)
    *terminal = spec->process->terminal;
  rcvmi_spec_free (spec);
  return rc < 0 ? rcvmi_error_pass (err, error) : 0;
}
