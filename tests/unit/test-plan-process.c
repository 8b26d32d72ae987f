/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "plan-testing.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

#include <linux/capability.h>
#include <linux/filter.h>

static void
test_process (void **state)
{
  struct rcvmi_plan *p;
  struct tlv_field f;

  (void) state;
  p = plan_ok (config_text (NULL,
                            "'terminal':true,'consoleSize':{'height':25,'width':80},"
                            "'user':{'uid':1000,'gid':1001,'umask':18,'additionalGids':[7,8]},"
                            "'env':['A=1','B=2','A=3','C='],'noNewPrivileges':true,'oomScoreAdj':-7,"
                            "'capabilities':{'bounding':['CAP_CHOWN','CAP_CHECKPOINT_RESTORE'],"
                            "'effective':['CAP_CHOWN','CAP_NEW_ONE'],'permitted':['CAP_KILL']},"
                            "'rlimits':[{'type':'RLIMIT_NOFILE','soft':10,'hard':20},"
                            "{'type':'RLIMIT_CORE','soft':0,'hard':18446744073709551615}],"
                            "'ioPriority':{'class':'IOPRIO_CLASS_IDLE','priority':3},"
                            "'scheduler':{'policy':'SCHED_RR','nice':-5,'priority':10,"
                            "'flags':['SCHED_FLAG_RESET_ON_FORK','SCHED_FLAG_UTIL_CLAMP_MAX']}",
                            NULL),
               NO_OPTIONS);
  assert_true (p->terminal);
  assert_int_equal (exec_number (p, E_TERMINAL), 1);
  assert_int_equal (exec_number (p, E_ROWS), 25);
  assert_int_equal (exec_number (p, E_COLS), 80);
  assert_int_equal (exec_number (p, E_UID), 1000);
  assert_int_equal (exec_number (p, E_GID), 1001);
  assert_int_equal (exec_number (p, E_UMASK), 022);
  assert_int_equal (get_number (p->exec.data, p->exec.len, E_GROUP, 0), 7);
  assert_int_equal (get_number (p->exec.data, p->exec.len, E_GROUP, 1), 8);
  assert_string_equal (exec_str (p, E_ENV, 0), "A=3");
  assert_string_equal (exec_str (p, E_ENV, 1), "B=2");
  assert_string_equal (exec_str (p, E_ENV, 2), "C=");
  assert_null (exec_str (p, E_ENV, 3));
  assert_int_equal (exec_number (p, E_NO_NEW_PRIVS), 1);
  assert_int_equal ((int32_t) exec_number (p, E_OOM_SCORE_ADJ), -7);
  assert_true (exec_number (p, E_CAP_BOUNDING) == (1 << CAP_CHOWN | INT64_C (1) << 40));
  assert_true (exec_number (p, E_CAP_EFFECTIVE) == 1 << CAP_CHOWN);
  assert_true (exec_number (p, E_CAP_PERMITTED) == 1 << CAP_KILL);
  assert_int_equal (exec_number (p, E_CAP_INHERITABLE), 0);
  assert_int_equal (exec_number (p, E_CAP_AMBIENT), 0);
  assert_int_equal (rcvmi_strv_length (p->warnings), 1);
  assert_int_equal (count_warnings (p->warnings, "'process.capabilities.effective[1]'"), 1);
  assert_int_equal (count_warnings (p->warnings, "'CAP_NEW_ONE'"), 1);
  assert_true (find_field (p->exec.data, p->exec.len, E_RLIMIT, 0, &f));
  assert_int_equal (get_number (f.data, f.len, R_TYPE, 0), RLIMIT_NOFILE);
  assert_int_equal (get_number (f.data, f.len, R_SOFT, 0), 10);
  assert_int_equal (get_number (f.data, f.len, R_HARD, 0), 20);
  assert_true (find_field (p->exec.data, p->exec.len, E_RLIMIT, 1, &f));
  assert_int_equal (get_number (f.data, f.len, R_TYPE, 0), RLIMIT_CORE);
  assert_true ((uint64_t) get_number (f.data, f.len, R_HARD, 0) == UINT64_MAX);
  assert_int_equal (exec_number (p, E_IOPRIO), 3 << 13 | 3);
  assert_true (find_field (p->exec.data, p->exec.len, E_SCHEDULER, 0, &f));
  assert_int_equal (get_number (f.data, f.len, P_POLICY, 0), 2);
  assert_int_equal ((int32_t) get_number (f.data, f.len, P_NICE, 0), -5);
  assert_int_equal (get_number (f.data, f.len, P_PRIORITY, 0), 10);
  assert_int_equal (get_number (f.data, f.len, P_FLAGS, 0), 0x41);
  rcvmi_plan_free (p);

  p = plan_ok (config_text (NULL,
                            "'scheduler':{'policy':'SCHED_DEADLINE','runtime':1,'deadline':2,'period':3},"
                            "'consoleSize':{'height':25,'width':80}",
                            NULL),
               NO_OPTIONS);
  assert_true (find_field (p->exec.data, p->exec.len, E_SCHEDULER, 0, &f));
  assert_int_equal (get_number (f.data, f.len, P_POLICY, 0), 6);
  assert_int_equal (get_number (f.data, f.len, P_RUNTIME, 0), 1);
  assert_int_equal (get_number (f.data, f.len, P_DEADLINE, 0), 2);
  assert_int_equal (get_number (f.data, f.len, P_PERIOD, 0), 3);
  /* Without a terminal its size means nothing. */
  assert_int_equal (exec_number (p, E_ROWS), -1);
  rcvmi_plan_free (p);
}

static void
test_process_errors (void **state)
{
  static const struct
  {
    const char *process;
    const char *needle;
  } cases[] = {
    { "'rlimits':[{'type':'NOFILE','soft':1,'hard':1}]", "'process.rlimits[0].type' is 'NOFILE'" },
    { "'rlimits':[{'type':'RLIMIT_CPU','soft':1,'hard':1},{'type':'RLIMIT_CPU','soft':1,'hard':1}]",
      "'process.rlimits' has RLIMIT_CPU twice" },
    { "'rlimits':[{'type':'RLIMIT_CPU','soft':2,'hard':1}]",
      "'process.rlimits[0].soft' of RLIMIT_CPU" },
    { "'scheduler':{'policy':'SCHED_ISO'}", "'process.scheduler.policy' is 'SCHED_ISO'" },
    { "'scheduler':{'policy':'SCHED_OTHER','flags':['X']}", "'process.scheduler.flags' has 'X'" },
    { "'scheduler':{'policy':'SCHED_FIFO'}",
      "'process.scheduler.priority' must be 1 to 99 for SCHED_FIFO" },
    { "'scheduler':{'policy':'SCHED_BATCH','priority':1}",
      "'process.scheduler.priority' must be 0 for SCHED_BATCH" },
    { "'scheduler':{'policy':'SCHED_OTHER','deadline':1}",
      "'process.scheduler.deadline' is for SCHED_DEADLINE" },
    { "'ioPriority':{'class':'IOPRIO_CLASS_NONE','priority':0}", "'process.ioPriority.class'" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    plan_fails (config_text (NULL, cases[i].process, NULL), NO_OPTIONS, RCVM_E_SPEC, "plan",
                cases[i].needle);
}

static void
test_overrides (void **state)
{
  static const char process[] = "'user':{'uid':1,'gid':2,'umask':7,'additionalGids':[3]},'env':['A=1','B=2'],"
                                "'consoleSize':{'height':1,'width':2}";
  struct rcvmi_plan *p;

  (void) state;
  p = plan_ok (config_text (NULL, process, NULL),
               OPTIONS (.args = LIST ("ls", "-l", ""), .env = LIST ("B=x", "C=y=z", "C=last"),
                        .cwd = (char *) "/w", .user = (char *) "5:6", .terminal = 1, .rows = 30,
                        .cols = 90));
  assert_string_equal (exec_str (p, E_ARG, 0), "ls");
  assert_string_equal (exec_str (p, E_ARG, 2), "");
  assert_null (exec_str (p, E_ARG, 3));
  assert_string_equal (exec_str (p, E_ENV, 0), "A=1");
  assert_string_equal (exec_str (p, E_ENV, 1), "B=x");
  assert_string_equal (exec_str (p, E_ENV, 2), "C=last");
  assert_null (exec_str (p, E_ENV, 3));
  assert_string_equal (exec_str (p, E_CWD, 0), "/w");
  assert_int_equal (exec_number (p, E_UID), 5);
  assert_int_equal (exec_number (p, E_GID), 6);
  assert_int_equal (exec_number (p, E_GROUP), -1);
  assert_int_equal (exec_number (p, E_UMASK), 7);
  assert_null (exec_str (p, E_USER_NAME, 0));
  assert_int_equal (exec_number (p, E_ROWS), 30);
  assert_int_equal (exec_number (p, E_COLS), 90);
  rcvmi_plan_free (p);

  p = plan_ok (config_text (NULL, "'terminal':true", NULL), OPTIONS (.terminal = 0));
  assert_false (p->terminal);
  assert_int_equal (exec_number (p, E_TERMINAL), -1);
  rcvmi_plan_free (p);
}

static void
test_users (void **state)
{
  static const char *const names[] = { "www-data", "www-data:adm", "1000", "1000:adm", "www:0",
                                       "u.s_e-r" };
  static const char *const bad[]
      = { "", ":", "a:", ":b", "a:b:c", "a b", "a\n", "a/b", "4294967295", "4294967295:0",
          "0:4294967295",
          "99999999999", "1:99999999999" };

  (void) state;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    {
      struct rcvmi_plan *p = plan_ok (config_text (NULL, NULL, NULL),
                                      OPTIONS (.user = (char *) names[i]));

      assert_string_equal (exec_str (p, E_USER_NAME, 0), names[i]);
      assert_int_equal (exec_number (p, E_UID), -1);
      assert_int_equal (exec_number (p, E_GID), -1);
      rcvmi_plan_free (p);
    }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.user = (char *) bad[i]), RCVM_E_INVALID,
                "plan",
                "the option 'user' is '");
}

static void
test_override_errors (void **state)
{
  char *big = malloc (9 << 20);

  (void) state;
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.args = (char *[]){ NULL }), RCVM_E_INVALID,
              "plan",
              "the option 'args' must name a program");
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.args = LIST ("")), RCVM_E_INVALID, "plan",
              "the option 'args' must name a program");
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.env = LIST ("A=1", "SECRET")),
              RCVM_E_INVALID, "plan",
              "entry 1 of the option 'env'");
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.env = LIST ("=1")), RCVM_E_INVALID, "plan",
              "entry 0 of the option 'env'");
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.cwd = (char *) "tmp"), RCVM_E_INVALID,
              "plan",
              "the option 'cwd' is 'tmp'");
  memset (big, 'x', (9 << 20) - 1);
  big[(9 << 20) - 1] = 0;
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.args = LIST ("a", big)), RCVM_E_SPEC,
              "plan",
              "take up more than 8 MiB");
  free (big);
}

/* An environment of any size is merged in a reasonable time. */
static void
test_large_env (void **state)
{
  size_t n = 200000, len = 0;
  char *process = malloc (n * 16 + 16);
  struct rcvmi_plan *p;

  (void) state;
  len += (size_t) sprintf (process + len, "'env':[");
  for (size_t i = 0; i < n; i++)
    len += (size_t) sprintf (process + len, "%s'v%zu=%zu'", i ? "," : "", i % 150000, i);
  sprintf (process + len, "]");
  p = plan_ok (config_text (NULL, process, NULL), NO_OPTIONS);
  assert_string_equal (exec_str (p, E_ENV, 0), "v0=150000");
  assert_int_equal (rcvmi_strv_length (p->spec->process->env), 150000);
  rcvmi_plan_free (p);
  free (process);
}

static void
test_exec (void **state)
{
  struct rcvmi_plan *p
      = plan_ok (config_text (NULL,
                              "'terminal':true,'consoleSize':{'height':25,'width':80},'env':['A=1','B=2'],"
                              "'user':{'uid':9,'gid':8,'umask':18,'additionalGids':[7]},'noNewPrivileges':true,"
                              "'capabilities':{'bounding':['CAP_CHOWN']},'oomScoreAdj':5,"
                              "'rlimits':[{'type':'RLIMIT_NOFILE','soft':10,'hard':20}]",
                              "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['ptrace'],"
                              "'action':'SCMP_ACT_ERRNO'}]}"),
                 OPTIONS (.env = LIST ("B=x"), .cwd = (char *) "/w"));
  struct rcvmi_exec_options o = RCVMI_EXEC_OPTIONS_INIT;
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *err = NULL;
  bool terminal = true;
  char *json;

  (void) state;
  /* As the container's process, with the caller's changes of then. */
  o.args = LIST ("id");
  assert_int_equal (rcvmi_plan_exec (p, &o, &w, &terminal, &err), 0);
  assert_false (terminal);
  assert_string_equal (get_str (w.data, w.len, E_ARG, 0), "id");
  assert_null (get_str (w.data, w.len, E_ARG, 1));
  assert_string_equal (get_str (w.data, w.len, E_ENV, 0), "A=1");
  assert_string_equal (get_str (w.data, w.len, E_ENV, 1), "B=x");
  assert_string_equal (get_str (w.data, w.len, E_CWD, 0), "/w");
  assert_int_equal (get_number (w.data, w.len, E_UID, 0), 9);
  assert_int_equal (get_number (w.data, w.len, E_GID, 0), 8);
  assert_int_equal (get_number (w.data, w.len, E_GROUP, 0), 7);
  assert_int_equal (get_number (w.data, w.len, E_UMASK, 0), 022);
  assert_int_equal (get_number (w.data, w.len, E_NO_NEW_PRIVS, 0), 1);
  assert_int_equal (get_number (w.data, w.len, E_OOM_SCORE_ADJ, 0), 5);
  assert_int_equal (get_number (w.data, w.len, E_CAP_BOUNDING, 0), 1);
  assert_int_equal (count_fields (w.data, w.len, E_RLIMIT), 1);
  assert_int_equal (count_fields (w.data, w.len, E_SECCOMP), 1);
  assert_int_equal (get_number (w.data, w.len, E_TERMINAL, 0), -1);
  assert_int_equal (get_number (w.data, w.len, E_ROWS, 0), -1);
  tlv_writer_free (&w);

  /* With changes of its own. */
  o.env = LIST ("A=y", "C=z");
  o.user = (char *) "root";
  o.cwd = (char *) "/";
  o.terminal = 1;
  o.rows = 11;
  o.cols = 12;
  assert_int_equal (rcvmi_plan_exec (p, &o, &w, &terminal, &err), 0);
  assert_true (terminal);
  assert_string_equal (get_str (w.data, w.len, E_ENV, 0), "A=y");
  assert_string_equal (get_str (w.data, w.len, E_ENV, 2), "C=z");
  assert_string_equal (get_str (w.data, w.len, E_USER_NAME, 0), "root");
  assert_int_equal (get_number (w.data, w.len, E_UID, 0), -1);
  assert_string_equal (get_str (w.data, w.len, E_CWD, 0), "/");
  assert_int_equal (get_number (w.data, w.len, E_TERMINAL, 0), 1);
  assert_int_equal (get_number (w.data, w.len, E_ROWS, 0), 11);
  assert_int_equal (get_number (w.data, w.len, E_COLS, 0), 12);
  tlv_writer_free (&w);

  /* A process object stands alone, but for the filter. */
  o = RCVMI_EXEC_OPTIONS_INIT;
  json = quotes (strdup ("{'args':['top'],'cwd':'/x','terminal':true,'consoleSize':{'height':3,'width':4},"
                         "'user':{'uid':55,'gid':66},'env':['Z=1']}"));
  o.process_json = json;
  terminal = false;
  assert_int_equal (rcvmi_plan_exec (p, &o, &w, &terminal, &err), 0);
  assert_true (terminal);
  assert_string_equal (get_str (w.data, w.len, E_ARG, 0), "top");
  assert_string_equal (get_str (w.data, w.len, E_ENV, 0), "Z=1");
  assert_null (get_str (w.data, w.len, E_ENV, 1));
  assert_string_equal (get_str (w.data, w.len, E_CWD, 0), "/x");
  assert_int_equal (get_number (w.data, w.len, E_UID, 0), 55);
  assert_int_equal (get_number (w.data, w.len, E_UMASK, 0), -1);
  assert_int_equal (get_number (w.data, w.len, E_CAP_BOUNDING, 0), -1);
  assert_int_equal (get_number (w.data, w.len, E_ROWS, 0), 3);
  assert_int_equal (count_fields (w.data, w.len, E_RLIMIT), 0);
  assert_int_equal (count_fields (w.data, w.len, E_SECCOMP), 1);
  tlv_writer_free (&w);
  free (json);

  /* The plan is as it was. */
  assert_string_equal (exec_str (p, E_ARG, 0), "sh");
  assert_string_equal (p->spec->process->args[0], "sh");
  assert_null (p->spec->process->user_name);

  o = RCVMI_EXEC_OPTIONS_INIT;
  assert_int_equal (rcvmi_plan_exec (p, &o, &w, &terminal, &err), RCVM_E_INVALID);
  assert_error (&err, RCVM_E_INVALID, "plan", "has no arguments");
  assert_int_equal (rcvmi_plan_exec (p, &o, &w, &terminal, NULL), RCVM_E_INVALID);
  o.process_json = (char *) "{";
  assert_int_equal (rcvmi_plan_exec (p, &o, &w, &terminal, NULL), RCVM_E_SPEC);
  assert_int_equal (rcvmi_plan_exec (p, &o, &w, &terminal, &err), RCVM_E_SPEC);
  assert_error (&err, RCVM_E_SPEC, "spec", "the process object is cut short");
  o.process_json = NULL;
  o.args = LIST ("id");
  o.user = (char *) "a:";
  assert_int_equal (rcvmi_plan_exec (p, &o, &w, &terminal, &err), RCVM_E_INVALID);
  assert_error (&err, RCVM_E_INVALID, "plan", "'user'");
  tlv_writer_free (&w);
  rcvmi_plan_free (p);
}

static void
seccomp_fails (const char *seccomp, int code, const char *needle)
{
  char lx[512];

  snprintf (lx, sizeof lx, "'seccomp':%s", seccomp);
  plan_fails (config_text (NULL, NULL, lx), NO_OPTIONS, code, "plan", needle);
}

/* What the program returns for a call, by interpreting the few instructions that filters consist
   of. */
static uint32_t
run_filter (const struct sock_filter *prog, size_t n, const void *data)
{
  uint32_t a = 0;

  for (size_t pc = 0; pc < n; pc++)
    switch (prog[pc].code)
      {
      case BPF_LD | BPF_W | BPF_ABS:
        memcpy (&a, (const char *) data + prog[pc].k, 4);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= prog[pc].k;
        break;
      case BPF_JMP | BPF_JA:
        pc += prog[pc].k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        pc += a == prog[pc].k ? prog[pc].jt : prog[pc].jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        pc += a > prog[pc].k ? prog[pc].jt : prog[pc].jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        pc += a >= prog[pc].k ? prog[pc].jt : prog[pc].jf;
        break;
      case BPF_RET | BPF_K:
        return prog[pc].k;
      default:
        fail_msg ("instruction 0x%x", prog[pc].code);
      }
  fail_msg ("the program has no end");
  return 0;
}

#if defined __x86_64__
#include <linux/audit.h>
#include <linux/seccomp.h>

static uint32_t
filter_of (const struct rcvmi_plan *p, uint32_t arch, int nr, uint64_t arg0)
{
  struct seccomp_data data = { .nr = nr, .arch = arch, .args = { arg0 } };
  struct sock_filter prog[4096];
  struct tlv_field f;

  assert_true (find_field (p->exec.data, p->exec.len, E_SECCOMP, 0, &f));
  assert_int_equal (f.len % sizeof prog[0], 0);
  assert_true (f.len <= sizeof prog);
  memcpy (prog, f.data, f.len);
  return run_filter (prog, f.len / sizeof prog[0], &data);
}

static void
test_seccomp (void **state)
{
  char *json = read_source_file ("tests/fixtures/docker-config.json");
  struct rcvmi_plan *p = plan_ok (json, NO_OPTIONS);

  (void) state;
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 0 /* read */, 0), SECCOMP_RET_ALLOW);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 101 /* ptrace */, 0), SECCOMP_RET_ERRNO | 1);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 435 /* clone3 */, 0), SECCOMP_RET_ERRNO | 38);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 135 /* personality */, 0), SECCOMP_RET_ALLOW);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 135, 8), SECCOMP_RET_ALLOW);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 135, 9), SECCOMP_RET_ERRNO | 1);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 56 /* clone */, CLONE_NEWUSER),
                    SECCOMP_RET_ERRNO | 1);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 56, SIGCHLD), SECCOMP_RET_ALLOW);
  /* 32-bit processes. */
  assert_int_equal (filter_of (p, AUDIT_ARCH_I386, 3 /* read */, 0), SECCOMP_RET_ALLOW);
  assert_int_equal (filter_of (p, AUDIT_ARCH_I386, 26 /* ptrace */, 0), SECCOMP_RET_ERRNO | 1);
  assert_int_equal (filter_of (p, AUDIT_ARCH_AARCH64, 63 /* read */, 0), SECCOMP_RET_KILL_THREAD);
  rcvmi_plan_free (p);

  p = plan_ok (config_text (NULL, NULL,
                            "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','flags':['SECCOMP_FILTER_FLAG_LOG',"
                            "'SECCOMP_FILTER_FLAG_SPEC_ALLOW'],'listenerPath':'/x','architectures':"
                            "['SCMP_ARCH_AARCH64','SCMP_ARCH_LOONGARCH64','SCMP_ARCH_X86_64'],'syscalls':["
                            "{'names':['read'],'action':'SCMP_ACT_KILL_PROCESS'},"
                            "{'names':['write'],'action':'SCMP_ACT_TRACE','errnoRet':7},"
                            "{'names':['open'],'action':'SCMP_ACT_ALLOW'},"
                            "{'names':['close'],'action':'SCMP_ACT_TRAP'},"
                            "{'names':['mmap'],'action':'SCMP_ACT_LOG'},"
                            "{'names':['dup'],'action':'SCMP_ACT_ERRNO','args':["
                            "{'index':0,'value':5,'op':'SCMP_CMP_EQ'},{'index':0,'value':6,'op':'SCMP_CMP_EQ'}]},"
                            "{'names':['dup2'],'action':'SCMP_ACT_ERRNO','args':["
                            "{'index':0,'value':5,'op':'SCMP_CMP_GT'},{'index':1,'value':6,'op':'SCMP_CMP_NE'}]}]}"),
               NO_OPTIONS);
  assert_int_equal (exec_number (p, E_SECCOMP_FLAGS), 6);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 0, 0), SECCOMP_RET_KILL_PROCESS);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 1, 0), SECCOMP_RET_TRACE | 7);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 2, 0), SECCOMP_RET_ALLOW);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 3, 0), SECCOMP_RET_TRAP);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 9, 0), SECCOMP_RET_LOG);
  /* Two comparisons of one argument are alternatives; of two, both must hold. */
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 32, 5), SECCOMP_RET_ERRNO | 1);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 32, 6), SECCOMP_RET_ERRNO | 1);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 32, 7), SECCOMP_RET_ALLOW);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 33, 6), SECCOMP_RET_ERRNO | 1);
  assert_int_equal (filter_of (p, AUDIT_ARCH_X86_64, 33, 5), SECCOMP_RET_ALLOW);
  rcvmi_plan_free (p);
}
#endif

/* libseccomp's time grows with the square of these. */
static void
test_seccomp_limits (void **state)
{
  static const char tail[] = "],'action':'SCMP_ACT_ERRNO','args':[{'index':0,'value':1,'op':'SCMP_CMP_EQ'}]}]}";
  char *lx = malloc (65536);
  size_t len = (size_t) sprintf (lx,
                                 "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['read'");

  (void) state;
  for (int i = 0; i < 999; i++)
    len += (size_t) sprintf (lx + len, ",'read'");
  strcpy (lx + len, tail);
  rcvmi_plan_free (plan_ok (config_text (NULL, NULL, lx), NO_OPTIONS));
  len += (size_t) sprintf (lx + len, ",'read'");
  strcpy (lx + len, tail);
  plan_fails (config_text (NULL, NULL, lx), NO_OPTIONS, RCVM_E_SPEC, "plan",
              "'linux.seccomp.syscalls' has 1001 names and 1001 comparisons");
  for (int i = 0; i < 3000; i++)
    len += (size_t) sprintf (lx + len, ",'read'");
  strcpy (lx + len, "],'action':'SCMP_ACT_ERRNO'}]}");
  plan_fails (config_text (NULL, NULL, lx), NO_OPTIONS, RCVM_E_SPEC, "plan",
              "'linux.seccomp.syscalls' has 4001 names and 0 comparisons");
  free (lx);
}

static void
test_seccomp_errors (void **state)
{
  (void) state;
  seccomp_fails ("{'defaultAction':'ALLOW'}", RCVM_E_SPEC,
                 "'linux.seccomp.defaultAction' is 'ALLOW'");
  seccomp_fails ("{'defaultAction':'SCMP_ACT_NOTIFY'}", RCVM_E_UNSUPPORTED,
                 "'linux.seccomp.defaultAction' is SCMP_ACT_NOTIFY");
  seccomp_fails ("{'defaultAction':'SCMP_ACT_ALLOW','defaultErrnoRet':5}", RCVM_E_SPEC,
                 "takes no errno");
  seccomp_fails ("{'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':4095}", RCVM_E_SPEC,
                 "too large");
  seccomp_fails ("{'defaultAction':'SCMP_ACT_TRACE','defaultErrnoRet':65534}", RCVM_E_SPEC,
                 "too large");
  seccomp_fails ("{'defaultAction':'SCMP_ACT_ALLOW','flags':['X']}", RCVM_E_SPEC,
                 "'linux.seccomp.flags' has 'X'");
  seccomp_fails ("{'defaultAction':'SCMP_ACT_ALLOW','architectures':['X']}", RCVM_E_SPEC,
                 "'linux.seccomp.architectures[0]' is 'X'");
  seccomp_fails ("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':[],'action':'SCMP_ACT_LOG'}]}",
                 RCVM_E_SPEC, "'linux.seccomp.syscalls[0].names' is empty");
  seccomp_fails ("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['a'],'action':'X'}]}",
                 RCVM_E_SPEC,
                 "'linux.seccomp.syscalls[0].action' is 'X'");
  seccomp_fails ("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['a'],'action':'SCMP_ACT_NOTIFY'}]}",
                 RCVM_E_UNSUPPORTED, "'linux.seccomp.syscalls[0].action' is SCMP_ACT_NOTIFY");
  seccomp_fails ("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['a'],'action':'SCMP_ACT_KILL',"
                 "'errnoRet':5}]}",
                 RCVM_E_SPEC, "takes no errno");
  seccomp_fails ("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['read'],'action':'SCMP_ACT_KILL',"
                 "'args':[{'index':0,'value':0,'op':'EQ'}]}]}",
                 RCVM_E_SPEC, "'linux.seccomp.syscalls[0].args[0].op' is 'EQ'");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_process),
    cmocka_unit_test (test_process_errors),
    cmocka_unit_test (test_overrides),
    cmocka_unit_test (test_users),
    cmocka_unit_test (test_override_errors),
    cmocka_unit_test (test_large_env),
    cmocka_unit_test (test_exec),
#if defined __x86_64__
    cmocka_unit_test (test_seccomp),
#endif
    cmocka_unit_test (test_seccomp_limits),
    cmocka_unit_test (test_seccomp_errors),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
