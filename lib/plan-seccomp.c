/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * linux.seccomp as a BPF program, once per container: the guest's agent installs it in every
 * process that it starts there.  The guest has the host's architecture, so libseccomp's native one
 * is right.
 */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/filter.h>
#include <seccomp.h>

#include "cleanup.h"
#include "err.h"

enum
{
  /* Engines have some 500 and 20.  libseccomp's time grows with the square and the cube of them. */
  RULES_MAX = 4000,
  COMPARISONS_MAX = 1000,
  ERRNO_MAX = 4094,  /* libseccomp's, and the kernel's but for one */
  /* libseccomp takes these two actions only where the host's kernel has them, and the kernel that
     counts is the guest's.  So it compiles TRACE with these numbers, which take_program exchanges
     for the real ones. */
  TRACE_KILL_PROCESS = 0xffff,
  TRACE_LOG = 0xfffe,
  TRACE_MAX = 0xfffd
};

const struct rcvmi_name rcvmi_seccomp_actions[] = {
  { "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW },
  { "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO (0) },
  { "SCMP_ACT_KILL", SCMP_ACT_KILL },
  { "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
  { "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
  { "SCMP_ACT_LOG", SCMP_ACT_LOG },
  { "SCMP_ACT_TRACE", SCMP_ACT_TRACE (0) },
  { "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
  { NULL, 0 },
};

const struct rcvmi_name rcvmi_seccomp_operators[] = {
  { "SCMP_CMP_EQ", SCMP_CMP_EQ }, { "SCMP_CMP_GE", SCMP_CMP_GE },
  { "SCMP_CMP_GT", SCMP_CMP_GT }, { "SCMP_CMP_LE", SCMP_CMP_LE },
  { "SCMP_CMP_LT", SCMP_CMP_LT }, { "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
  { "SCMP_CMP_NE", SCMP_CMP_NE }, { NULL, 0 },
};

/* The values are seccomp(2)'s. */
const struct rcvmi_name rcvmi_seccomp_flags[] = {
  { "SECCOMP_FILTER_FLAG_LOG", 1 << 1 },
  { "SECCOMP_FILTER_FLAG_SPEC_ALLOW", 1 << 2 },
  { "SECCOMP_FILTER_FLAG_TSYNC", 1 << 0 },
  { "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 1 << 5 },
  { NULL, 0 },
};

const struct rcvmi_name rcvmi_seccomp_archs[] = {
  { "SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64 },
  { "SCMP_ARCH_ARM", SCMP_ARCH_ARM },
  { "SCMP_ARCH_MIPS", SCMP_ARCH_MIPS },
  { "SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64 },
  { "SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32 },
  { "SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL },
  { "SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64 },
  { "SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32 },
  { "SCMP_ARCH_PARISC", SCMP_ARCH_PARISC },
  { "SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64 },
  { "SCMP_ARCH_PPC", SCMP_ARCH_PPC },
  { "SCMP_ARCH_PPC64", SCMP_ARCH_PPC64 },
  { "SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE },
  { "SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64 },
  { "SCMP_ARCH_S390", SCMP_ARCH_S390 },
  { "SCMP_ARCH_S390X", SCMP_ARCH_S390X },
  { "SCMP_ARCH_X32", SCMP_ARCH_X32 },
  { "SCMP_ARCH_X86", SCMP_ARCH_X86 },
  { "SCMP_ARCH_X86_64", SCMP_ARCH_X86_64 },
  /* Known to the spec, not to every libseccomp: no guest is one of them. */
  { "SCMP_ARCH_LOONGARCH64", 0 },
  { "SCMP_ARCH_M68K", 0 },
  { "SCMP_ARCH_SH", 0 },
  { "SCMP_ARCH_SHEB", 0 },
  { NULL, 0 },
};

static void
release (scmp_filter_ctx *ctx)
{
  if (*ctx)
    seccomp_release (*ctx);
}

static int
fail_lib (rcvm_error **err, int rc, const char *what)
{
  if (rc == -ENOMEM)
    return rcvmi_fail_nomem (err);
  return rcvmi_fail (err, RCVM_E_SPEC, -rc, "config.json: 'linux.seccomp': cannot %.100s", what);
}

/* `where` is "defaultAction" or "syscalls[3].action". */
static int
parse_action (const char *where, const char *name, const struct rcvmi_spec_uint *errno_ret,
              uint32_t *action, rcvm_error **err)
{
  const struct rcvmi_name *a = rcvmi_plan_name (rcvmi_seccomp_actions, name);
  uint32_t number = errno_ret->set ? (uint32_t) errno_ret->value : EPERM;

  if (strcmp (name, "SCMP_ACT_NOTIFY") == 0)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "config.json: 'linux.seccomp.%s' is SCMP_ACT_NOTIFY, which cannot be "
                       "honoured: a listener on the host cannot look into a VM",
                       where);
  if (!a)
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "config.json: 'linux.seccomp.%s' is '%.40s', which is no action",
                       where, name);
  if (number > (a->value == SCMP_ACT_TRACE (0) ? TRACE_MAX : ERRNO_MAX))
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "config.json: 'linux.seccomp.%s' is %s with the errno %u, which is too "
                       "large", where,
                       name, number);
  if (a->value == SCMP_ACT_ERRNO (0))
    *action = SCMP_ACT_ERRNO (number);
  else if (a->value == SCMP_ACT_TRACE (0))
    *action = SCMP_ACT_TRACE (number);
  else if (errno_ret->set && errno_ret->value)
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "config.json: 'linux.seccomp.%s' is %s, which takes no errno", where, name);
  else if (a->value == SCMP_ACT_KILL_PROCESS)
    *action = SCMP_ACT_TRACE (TRACE_KILL_PROCESS);
  else if (a->value == SCMP_ACT_LOG)
    *action = SCMP_ACT_TRACE (TRACE_LOG);
  else
    *action = (uint32_t) a->value;
  return 0;
}

/* Which of the listed architectures a process can use besides the native one. */
static bool
is_compatible (uint64_t arch)
{
  switch (seccomp_arch_native ())
    {
    case SCMP_ARCH_X86_64:
      return arch == SCMP_ARCH_X86 || arch == SCMP_ARCH_X32;
    case SCMP_ARCH_AARCH64:
      return arch == SCMP_ARCH_ARM;
    default:
      return false;
    }
}

static int
add_architectures (scmp_filter_ctx ctx, char *const *names, rcvm_error **err)
{
  for (size_t i = 0; names && names[i]; i++)
    {
      const struct rcvmi_name *arch = rcvmi_plan_name (rcvmi_seccomp_archs, names[i]);
      int rc;

      if (!arch)
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "config.json: 'linux.seccomp.architectures[%zu]' is '%.40s', which is "
                           "no architecture",
                           i, names[i]);
      if (!is_compatible (arch->value))
        continue;
      rc = seccomp_arch_add (ctx, (uint32_t) arch->value);
      if (rc < 0 && rc != -EEXIST)
        return fail_lib (err, rc, "add an architecture");
    }
  return 0;
}

static int
add_rule (scmp_filter_ctx ctx, const char *name, uint32_t action, const struct scmp_arg_cmp *args,
          unsigned n_args, rcvm_error **err)
{
  int nr = seccomp_syscall_resolve_name (name);
  int rc;

  /* Profiles list calls of kernels and architectures to come. */
  if (nr == __NR_SCMP_ERROR)
    return 0;
  rc = seccomp_rule_add_array (ctx, action, nr, n_args, args);
  /* -EDOM: the call does not exist on one of the architectures. */
  if (rc < 0 && rc != -EEXIST && rc != -EDOM)
    return fail_lib (err, rc, "make a rule for a system call");
  return 0;
}

static int
add_syscall (scmp_filter_ctx ctx, const struct rcvmi_spec_syscall *s, size_t index,
             uint32_t default_action, rcvm_error **err)
{
  struct scmp_arg_cmp args[6 * 8];
  unsigned per_index[6] = { 0 };
  bool is_or = false;
  uint32_t action;
  char where[64];
  int rc;

  snprintf (where, sizeof where, "syscalls[%zu].action", index);
  rc = parse_action (where, s->action, &s->errno_ret, &action, err);
  if (rc < 0)
    return rc;
  if (!s->names)
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "config.json: 'linux.seccomp.syscalls[%zu].names' is empty",
                       index);
  if (s->n_args > sizeof args / sizeof args[0])
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "config.json: 'linux.seccomp.syscalls[%zu].args' has more than %zu entries",
                       index,
                       sizeof args / sizeof args[0]);
  for (size_t i = 0; i < s->n_args; i++)
    {
      const struct rcvmi_spec_syscall_arg *a = &s->args[i];
      const struct rcvmi_name *op = rcvmi_plan_name (rcvmi_seccomp_operators, a->op);

      if (!op)
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "config.json: 'linux.seccomp.syscalls[%zu].args[%zu].op' is '%.40s', "
                           "which is no comparison",
                           index, i, a->op);
      args[i] = (struct scmp_arg_cmp){ .arg = (unsigned) a->index.value,
                                       .op = (enum scmp_compare) op->value,
                                       .datum_a = a->value.value,
                                       .datum_b = a->value_two.value };
      is_or |= per_index[a->index.value]++ > 0;
    }
  /* It would change nothing, and libseccomp refuses it. */
  if (action == default_action)
    return 0;
  for (char **name = s->names; *name; name++)
    {
      /* Comparisons of one rule are joined by "and", which two of one argument cannot be meant to
         be: as other runtimes have it, they are alternatives then. */
      for (unsigned i = 0; rc == 0 && is_or && i < s->n_args; i++)
        rc = add_rule (ctx, *name, action, &args[i], 1, err);
      if (rc == 0 && !is_or)
        rc = add_rule (ctx, *name, action, args, (unsigned) s->n_args, err);
      if (rc < 0)
        return rc;
    }
  return 0;
}

static void
exchange_actions (struct sock_filter *program, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (program[i].code == (BPF_RET | BPF_K))
      {
        if (program[i].k == SCMP_ACT_TRACE (TRACE_KILL_PROCESS))
          program[i].k = SCMP_ACT_KILL_PROCESS;
        else if (program[i].k == SCMP_ACT_TRACE (TRACE_LOG))
          program[i].k = SCMP_ACT_LOG;
      }
}

static int
take_program (struct rcvmi_spec *spec, scmp_filter_ctx ctx, rcvm_error **err)
{
  autoclose int fd = memfd_create ("seccomp", MFD_CLOEXEC);
  off_t len;
  int rc;

  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a memory file for the seccomp program");
  rc = seccomp_export_bpf (ctx, fd);
  if (rc < 0)
    return fail_lib (err, rc, "be compiled");
  len = lseek (fd, 0, SEEK_END);
  if (len <= 0 || (size_t) len > BPF_MAXINSNS * sizeof (struct sock_filter))
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "config.json: 'linux.seccomp' makes a program of more than %d instructions",
                       BPF_MAXINSNS);
  spec->filter = rcvmi_arena_alloc (&spec->arena, 1, (size_t) len);
  if (!spec->filter)
    return rcvmi_fail_nomem (err);
  spec->filter_len = (size_t) len;
  if (pread (fd, spec->filter, spec->filter_len, 0) != len)
    return rcvmi_fail_errno (err, errno, "cannot read the seccomp program");
  exchange_actions (spec->filter, spec->filter_len / sizeof *spec->filter);
  return 0;
}

int
rcvmi_plan_seccomp (struct rcvmi_spec *spec, rcvm_error **err)
{
  const struct rcvmi_spec_seccomp *s = spec->lx ? spec->lx->seccomp : NULL;
  __attribute__ ((cleanup (release))) scmp_filter_ctx ctx = NULL;
  uint32_t default_action;
  size_t rules = 0, comparisons = 0;
  int rc;

  if (!s)
    return 0;
  rc = parse_action ("defaultAction", s->default_action, &s->default_errno_ret, &default_action,
                     err);
  if (rc < 0)
    return rc;
  for (char **f = s->flags; f && *f; f++)
    {
      const struct rcvmi_name *flag = rcvmi_plan_name (rcvmi_seccomp_flags, *f);

      if (!flag)
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "config.json: 'linux.seccomp.flags' has '%.60s', which is no flag", *f);
      spec->filter_flags |= (uint32_t) flag->value;
    }
  for (size_t i = 0; i < s->n_syscalls; i++)
    {
      rules += rcvmi_strv_length (s->syscalls[i].names);
      comparisons += rcvmi_strv_length (s->syscalls[i].names) * s->syscalls[i].n_args;
    }
  if (rules > RULES_MAX || comparisons > COMPARISONS_MAX)
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "config.json: 'linux.seccomp.syscalls' has %zu names and %zu comparisons, "
                       "and at most %d and %d are possible",
                       rules, comparisons, RULES_MAX, COMPARISONS_MAX);
  ctx = seccomp_init (default_action);
  if (!ctx)
    return rcvmi_fail (err, RCVM_E_SYSTEM, 0, "libseccomp cannot make a filter");
  /* A binary tree: a few comparisons for each call instead of hundreds. */
  seccomp_attr_set (ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  rc = add_architectures (ctx, s->architectures, err);
  for (size_t i = 0; rc == 0 && i < s->n_syscalls; i++)
    rc = add_syscall (ctx, &s->syscalls[i], i, default_action, err);
  return rc < 0 ? rc : take_program (spec, ctx, err);
}
