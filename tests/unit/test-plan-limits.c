/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What becomes of linux.resources: both spellings for the host, and the guest's share. */
#include "config.h"

#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent-wire.h"
#include "plan-limits.h"
#include "spec-types.h"

#define MIB (1024 * (uint64_t) 1024)

static const struct rcvmi_limits_vm vm = { .memory = 256 * MIB, .overhead = 100 * MIB, .threads = 70 };

static struct rcvmi_spec *
parse (const char *text)
{
  char *json = strdup (text);
  rcvm_error *err = NULL;
  struct rcvmi_spec *s;

  for (char *c = json; *c; c++)
    if (*c == '\'')
      *c = '"';
  s = rcvmi_spec_parse_resources (json, &err);
  check_ok (0, err);
  free (json);
  return s;
}

/* "1 cpu.shares=512" and so on, sorted as they come; late ones have a '+'. */
static char *
list (const char *resources, bool update)
{
  struct rcvmi_spec *s = parse (resources);
  struct rcvmi_limits limits;
  rcvm_error *err = NULL;
  char *text = NULL;
  size_t size;
  FILE *f = open_memstream (&text, &size);

  assert_int_equal (rcvmi_plan_limits (&limits, s->lx->resources, &vm, update, &err), 0);
  check_ok (0, err);
  for (size_t i = 0; i < limits.n; i++)
    {
      const struct rcvmi_limit *l = &limits.list[i];

      fprintf (f, "%s%s%s %s=%s", i ? "; " : "", l->v2 ? "2" : "1", l->late ? "+" : "", l->file, l->value);
      if (l->other_file)
        fprintf (f, "|%s=%s", l->other_file, l->other_value);
    }
  fclose (f);
  rcvmi_limits_clear (&limits);
  assert_int_equal (limits.n, 0);
  rcvmi_spec_free (s);
  return text;
}

static void
test_host (void **state)
{
  static const struct
  {
    const char *resources, *wanted;
  } cases[] = {
    { "{}", "" },
    { "{'memory':{'limit':0,'swap':0,'reservation':0},'cpu':{'shares':0,'quota':0,'period':0},'pids':{'limit':0},"
      "'blockIO':{'weight':0}}", "" },
    { "{'memory':{'limit':-1,'swap':-1}}", "" },
    { "{'memory':{'limit':268435456}}", "1 memory.limit_in_bytes=373293056; 2 memory.max=373293056" },
    { "{'memory':{'limit':268435456,'swap':268435457}}",
      "1 memory.limit_in_bytes=373293056; 2 memory.max=373293056; 1 memory.memsw.limit_in_bytes=373293057; 2 memory.swap.max=1" },
    { "{'memory':{'reservation':5,'swappiness':7}}", "1 memory.soft_limit_in_bytes=5; 2 memory.low=5; 1 memory.swappiness=7" },
    { "{'cpu':{'shares':1024}}", "1 cpu.shares=1024; 2 cpu.weight=39" },
    { "{'cpu':{'shares':1}}", "1 cpu.shares=1; 2 cpu.weight=1" },
    { "{'cpu':{'shares':18446744073709551615}}", "1 cpu.shares=18446744073709551615; 2 cpu.weight=10000" },
    { "{'cpu':{'quota':50000,'period':100000}}",
      "1+ cpu.cfs_period_us=100000; 1+ cpu.cfs_quota_us=50000; 2+ cpu.max=50000 100000; 2+ cpu.max=50000 100000" },
    { "{'cpu':{'quota':50000}}", "1+ cpu.cfs_quota_us=50000; 2+ cpu.max=50000" },
    { "{'cpu':{'quota':-1}}", "1+ cpu.cfs_quota_us=-1; 2+ cpu.max=max" },
    { "{'cpu':{'cpus':'0-1','mems':'0','idle':1}}",
      "1 cpu.idle=1; 2 cpu.idle=1; 1 cpuset.cpus=0-1; 2 cpuset.cpus=0-1; 1 cpuset.mems=0; 2 cpuset.mems=0" },
    { "{'cpu':{'realtimePeriod':1000,'realtimeRuntime':-5}}", "1 cpu.rt_period_us=1000; 1 cpu.rt_runtime_us=-5" },
    { "{'pids':{'limit':30}}", "1 pids.max=100; 2 pids.max=100" },
    { "{'pids':{'limit':-1}}", "1 pids.max=max; 2 pids.max=max" },
    { "{'blockIO':{'weight':500}}", "1 blkio.weight=500|blkio.bfq.weight=500; 2 io.bfq.weight=500|io.weight=4950" },
    { "{'blockIO':{'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':9}],'throttleWriteIOPSDevice':[{'major':8,'minor':1,'rate':0}]}}",
      "1 blkio.throttle.read_bps_device=8:0 9; 2 io.max=8:0 rbps=9; 1 blkio.throttle.write_iops_device=8:1 0; 2 io.max=8:1 wiops=max" },
    { "{'hugepageLimits':[{'pageSize':'2MB','limit':4096}]}",
      "1 hugetlb.2MB.limit_in_bytes=4096; 2 hugetlb.2MB.max=4096" },
    { "{'unified':{'cpu.weight':'7','io.weight':'8','memory.high':'9','pids.max':'10','cpuidle.x':'1'}}",
      "2+ cpu.weight=7; 2 io.weight=8" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      char *got = list (cases[i].resources, false);

      assert_string_equal (got, cases[i].wanted);
      free (got);
    }
}

static void
test_update_leaves_memory (void **state)
{
  char *got = list ("{'memory':{'limit':1,'swap':2,'reservation':3},'pids':{'limit':30}}", true);

  (void) state;
  assert_string_equal (got, "1 memory.soft_limit_in_bytes=3; 2 memory.low=3; 1 pids.max=100; 2 pids.max=100");
  free (got);
}

static void
test_refused (void **state)
{
  static const char *const bad[] = { "{'hugepageLimits':[{'pageSize':'../x','limit':1}]}", "{'hugepageLimits':[{'pageSize':'','limit':1}]}",
                                     "{'unified':{'../cpu.max':'1'}}", "{'unified':{'cpu':'1'}}", "{'unified':{'.a':'1'}}",
                                     "{'unified':{'cpu.x/y':'1'}}" };

  (void) state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      struct rcvmi_spec *s = parse (bad[i]);
      struct rcvmi_limits limits;
      rcvm_error *err = NULL;

      assert_int_equal (rcvmi_plan_limits (&limits, s->lx->resources, &vm, false, &err), RCVM_E_SPEC);
      check_error (&err, RCVM_E_SPEC, "plan", "linux.resources");
      assert_int_equal (limits.n, 0);
      rcvmi_spec_free (s);
    }
}

/* "pids.max=30; ..." */
static char *
guest (const char *resources, uint64_t memory, uint64_t more, unsigned cpus, bool update, int wanted)
{
  struct rcvmi_spec *s = parse (resources);
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *err = NULL;
  struct tlv_reader r;
  struct tlv_field f;
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream (&text, &size);

  assert_int_equal (rcvmi_plan_guest_limits (&w, s->lx->resources, memory, memory + more, update, &err), wanted);
  if (wanted == 0)
    rcvmi_plan_guest_cpu (&w, s->lx->resources, cpus, update);
  rcvm_error_free (err);
  assert_false (w.failed);
  tlv_reader_init (&r, w.data, w.len);
  while (tlv_next (&r, &f))
    fprintf (out, f.tag == K_NAME ? "%s=" : "%s;", tlv_get_str (&r, &f));
  fclose (out);
  tlv_writer_free (&w);
  rcvmi_spec_free (s);
  return text;
}

static void
test_guest (void **state)
{
  static const struct
  {
    const char *resources;
    uint64_t memory;
    unsigned cpus;
    bool update;
    int code;
    const char *wanted;
  } cases[] = {
    { "{'memory':{'limit':268435456}}", 256 * MIB, 1, false, 0, "" },
    { "{'memory':{'limit':268435456}}", 257 * MIB, 1, false, 0, "memory.max=268435456;" },
    { "{'memory':{'limit':268435456}}", 256 * MIB, 1, true, 0, "memory.max=max;" },
    { "{'memory':{'limit':-1}}", 256 * MIB, 1, true, 0, "memory.max=max;" },
    { "{'memory':{'limit':1000}}", 256 * MIB, 1, true, 0, "memory.max=1000;" },
    { "{'memory':{'limit':268435457}}", 256 * MIB, 1, true, RCVM_E_UNSUPPORTED, "" },
    { "{'pids':{'limit':0}}", MIB, 1, true, 0, "" },
    { "{'pids':{'limit':-1}}", MIB, 1, true, 0, "pids.max=max;" },
    { "{'cpu':{'quota':150000,'burst':5}}", MIB, 2, false, 0, "cpu.max=150000 100000;cpu.max.burst=5;" },
    { "{'cpu':{'quota':200000}}", MIB, 2, false, 0, "" },
    { "{'cpu':{'quota':200000}}", MIB, 2, true, 0, "cpu.max=max;" },
    { "{'cpu':{'quota':-1}}", MIB, 2, true, 0, "cpu.max=max;" },
    { "{'cpu':{'quota':9223372036854775807,'period':9223372036854775807}}", MIB, 2, false, 0,
      "cpu.max=9223372036854775807 9223372036854775807;" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      char *got = guest (cases[i].resources, cases[i].memory, 0, cases[i].cpus, cases[i].update, cases[i].code);

      if (strcmp (got, cases[i].wanted) != 0)
        fail_msg ("%s: %s", cases[i].resources, got);
      free (got);
    }
}

/* A VM that may grow. */
static void
test_growth (void **state)
{
  char *got = guest ("{'memory':{'limit':268435456}}", 128 * MIB, 128 * MIB, 1, true, 0);

  (void) state;
  assert_string_equal (got, "memory.max=max;");
  free (got);
  free (guest ("{'memory':{'limit':268435457}}", 128 * MIB, 128 * MIB, 1, true, RCVM_E_UNSUPPORTED));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_host),
    cmocka_unit_test (test_update_leaves_memory),
    cmocka_unit_test (test_refused),
    cmocka_unit_test (test_guest),
    cmocka_unit_test (test_growth),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
