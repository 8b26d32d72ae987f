/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Resources: the size of the machine, and the cgroup within it. */
#include "config.h"

#include "plan-testing.h"

static void
test_resources (void **state)
{
  static const struct
  {
    const char *resources;
    uint64_t memory; /* MiB; 0: 512 */
    unsigned cpus;   /* 0: 1 */
  } cases[] = {
    { "", 0, 0 },
    { "'memory':{'limit':-1}", 0, 0 },
    { "'memory':{'limit':0}", 0, 0 },
    { "'memory':{'limit':9223372036854771712}", 0, 0 },
    { "'memory':{'limit':1}", 128, 0 },
    { "'memory':{'limit':134217729}", 129, 0 },
    { "'memory':{'limit':1073741824}", 1024, 0 },
    { "'cpu':{'quota':1}", 0, 1 },
    { "'cpu':{'quota':100000}", 0, 1 },
    { "'cpu':{'quota':100001}", 0, 2 },
    { "'cpu':{'quota':100000,'period':50000}", 0, 2 },
    { "'cpu':{'quota':-1,'period':50000}", 0, 1 },
    { "'cpu':{'quota':0,'period':0}", 0, 1 },
    { "'cpu':{'quota':9223372036854775807}", 0, 256 },
    { "'cpu':{'cpus':'0-3,7'}", 0, 5 },
    { "'cpu':{'cpus':'2'}", 0, 1 },
    { "'cpu':{'cpus':'0-3','quota':150000}", 0, 2 },
    { "'cpu':{'cpus':'0','quota':350000}", 0, 1 },
    { "'cpu':{'cpus':'0-1000'}", 0, 256 },
  };
  static const char *const bad[] = { "a", "1-", "-1", "3-1", "1,", ",1", "1,,2", "0-99999", "1 ",
                                     "0-60000,0-60000" };
  char lx[256];

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      struct rcvmi_plan *p;

      snprintf (lx, sizeof lx, "'resources':{%s}", cases[i].resources);
      p = plan_ok (config_text (NULL, NULL, lx), NO_OPTIONS);
      if (p->memory != (cases[i].memory ? cases[i].memory : 512) * MIB
          || p->cpus != (cases[i].cpus ? cases[i].cpus : 1))
        fail_msg ("%s: %llu, %u", cases[i].resources, (unsigned long long) p->memory, p->cpus);
      rcvmi_plan_free (p);
    }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      snprintf (lx, sizeof lx, "'resources':{'cpu':{'cpus':'%s'}}", bad[i]);
      plan_fails (config_text (NULL, NULL, lx), NO_OPTIONS, RCVM_E_SPEC, "plan",
                  "'linux.resources.cpu.cpus'");
    }
  {
    struct rcvmi_plan *p
        = plan_ok (config_text (NULL, NULL, "'resources':{'cpu':{'cpus':'0-1'}}"), NO_OPTIONS);

    assert_null (p->warnings);
    rcvmi_plan_free (p);
    p = plan_ok (config_text (NULL, NULL, "'resources':{'cpu':{'quota':99999999}}"), NO_OPTIONS);
    assert_int_equal (count_warnings (p->warnings, "more than the 256 CPUs"), 1);
    rcvmi_plan_free (p);
  }
}

static void
test_cgroup (void **state)
{
  struct rcvmi_plan *p;

  (void) state;
  p = plan_ok (config_text (NULL, NULL,
                            "'resources':{'memory':{'limit':67108864,'reservation':1000,'swap':134217728},"
                            "'cpu':{'quota':150000,'period':100000,'burst':20000},'pids':{'limit':50},"
                            "'unified':{'memory.high':'60000000','pids.max':'40','a.B_c-1':''}}"),
               NO_OPTIONS);
  assert_string_equal (cgroup_value (p, "memory.max"), "67108864");
  assert_string_equal (cgroup_value (p, "memory.low"), "1000");
  /* That is the host's, or the run's to add. */
  assert_null (cgroup_value (p, "cpu.max"));
  assert_string_equal (cgroup_value (p, "memory.high"), "60000000");
  assert_string_equal (cgroup_value (p, "pids.max"), "40");
  assert_null (p->warnings);
  rcvmi_plan_free (p);

  /* The VM's size says it already. */
  p = plan_ok (config_text (NULL, NULL,
                            "'resources':{'memory':{'limit':268435456},'cpu':{'quota':200000},"
                            "'pids':{'limit':-1}}"),
               NO_OPTIONS);
  assert_null (cgroup_value (p, "memory.max"));
  assert_null (cgroup_value (p, "cpu.max"));
  assert_string_equal (cgroup_value (p, "pids.max"), "max");
  rcvmi_plan_free (p);

  /* A bigger VM by option does not lift the container's limits. */
  p = plan_ok (config_text (NULL, NULL,
                            "'resources':{'memory':{'limit':268435456},'cpu':{'quota':200000},"
                            "'pids':{'limit':0}}"),
               OPTIONS (.memory = 1024 * MIB, .cpus = 4));
  assert_string_equal (cgroup_value (p, "memory.max"), "268435456");
  assert_string_equal (cgroup_value (p, "pids.max"), "0");
  rcvmi_plan_free (p);

  plan_fails (config_text (NULL, NULL, "'resources':{'unified':{'../x.y':'1'}}"), NO_OPTIONS,
              RCVM_E_SPEC,
              "plan", "'linux.resources.unified' has '../x.y'");
  plan_fails (config_text (NULL, NULL, "'resources':{'unified':{'x':'1'}}"), NO_OPTIONS,
              RCVM_E_SPEC, "plan",
              "'linux.resources.unified' has 'x'");
  plan_fails (config_text (NULL, NULL, "'resources':{'unified':{'.x':'1'}}"), NO_OPTIONS,
              RCVM_E_SPEC, "plan",
              "'linux.resources.unified'");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_resources),
    cmocka_unit_test (test_cgroup),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
