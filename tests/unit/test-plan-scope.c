/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The unit that a container's cgroup is, by what engines write into config.json. */
#include "config.h"

#include "support.h"

#include <string.h>

#include "plan-scope.h"

TEST (test_scopes)
{
  static const struct
  {
    const char *path, *unit, *slice, *group;
  } cases[] = {
    { "system.slice:docker:0ab", "docker-0ab.scope", "system.slice", "/system.slice/docker-0ab.scope" },
    { ":libpod:1", "libpod-1.scope", "system.slice", "/system.slice/libpod-1.scope" },
    { "kubepods-burstable-pod1.slice:cri-containerd:c", "cri-containerd-c.scope", "kubepods-burstable-pod1.slice",
      "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-c.scope" },
    { "-.slice:a:b", "a-b.scope", "-.slice", "/a-b.scope" },
    { NULL, "runcvm-box.scope", "system.slice", "/system.slice/runcvm-box.scope" },
    { "", "runcvm-box.scope", "system.slice", "/system.slice/runcvm-box.scope" },
  };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      struct rcvmi_scope s;
      rcvm_error *e = NULL;

      check_ok (rcvmi_plan_scope (&s, cases[i].path, "box", &e), e);
      assert_string_equal (s.unit, cases[i].unit);
      assert_string_equal (s.slice, cases[i].slice);
      assert_string_equal (s.path, cases[i].group);
      rcvmi_scope_clear (&s);
      assert_null (s.unit);
    }
}

TEST (test_what_is_none)
{
  static const struct
  {
    const char *path, *part;
    int code;
  } cases[] = {
    { "/docker/x", "SLICE:PREFIX:NAME", RCVM_E_SPEC },
    { "a:b", "SLICE:PREFIX:NAME", RCVM_E_SPEC },
    { "a.slice:b:c:d", "SLICE:PREFIX:NAME", RCVM_E_SPEC },
    { "system:b:c", "no name of a slice", RCVM_E_SPEC },
    { ".slice:b:c", "no name of a slice", RCVM_E_SPEC },
    { "a--b.slice:b:c", "no name of a slice", RCVM_E_SPEC },
    { "-a.slice:b:c", "no name of a slice", RCVM_E_SPEC },
    { "a-.slice:b:c", "no name of a slice", RCVM_E_SPEC },
    { "../a.slice:b:c", "no name of a slice", RCVM_E_SPEC },
    { "a.slice:b:", "no name for systemd", RCVM_E_SPEC },
    { "a.slice:b:../c", "no name for systemd", RCVM_E_SPEC },
    { "a.slice:b c:d", "no name for systemd", RCVM_E_SPEC },
    { "a.slice:b:c.slice", "need a scope", RCVM_E_UNSUPPORTED },
  };
  char text[400] = "a.slice:b:";
  struct rcvmi_scope s;
  rcvm_error *e = NULL;

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      assert_int_equal (rcvmi_plan_scope (&s, cases[i].path, "box", &e), cases[i].code);
      check_error (&e, cases[i].code, "plan", cases[i].part);
      assert_null (s.unit);
    }
  memset (text + strlen (text), 'x', 300);
  assert_int_equal (rcvmi_plan_scope (&s, text, "box", &e), RCVM_E_SPEC);
  check_error (&e, RCVM_E_SPEC, "plan", "no name for systemd");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_scopes),
    cmocka_unit_test (test_what_is_none),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
