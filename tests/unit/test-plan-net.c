/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whose network a VM has, by whom that is said. */
#include "config.h"

#include "support.h"

#include "plan-testing.h"

static char *
with_network (const char *network)
{
  char json[512];

  snprintf (json, sizeof json,
            "{'ociVersion':'1.0.0','root':{'path':'/'},'process':{'args':['a'],'cwd':'/'},'linux':{'namespaces':[%s]}}",
            network);
  return quotes (strdup (json));
}

TEST (test_words)
{
  static const struct
  {
    const char *word;
    int mode;
    const char *path;
    int pid;
    bool bridge;
  } cases[] = {
    { "none", RCVMI_PLAN_NET_NONE, NULL, 0, false },
    { "host", RCVMI_PLAN_NET_HOST, NULL, 0, false },
    { "netns", RCVMI_PLAN_NET_OWN, NULL, 0, false },
    { "tc", RCVMI_PLAN_NET_OWN, NULL, 0, false },
    { "bridge", RCVMI_PLAN_NET_OWN, NULL, 0, true },
    { "/run/netns/a", RCVMI_PLAN_NET_NETNS, "/run/netns/a", 0, false },
    { "netns:/run/netns/a", RCVMI_PLAN_NET_NETNS, "/run/netns/a", 0, false },
    { "pid:77", RCVMI_PLAN_NET_NETNS, NULL, 77, false },
  };
  static const char *const bad[] = { "wifi", "netns:", "netns:a", "pid:", "pid:0", "pid:-1", "pid:1x", "pid:99999999999", "None" };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      struct rcvmi_plan *p
          = plan_ok (with_network ("{'type':'network'}"), OPTIONS (.network = (char *) cases[i].word));

      assert_int_equal (p->net.mode, cases[i].mode);
      assert_int_equal (p->net.pid, cases[i].pid);
      assert_int_equal (p->net.bridge, cases[i].bridge);
      assert_true (p->net.asked);
      if (cases[i].path)
        assert_string_equal (p->net.path, cases[i].path);
      else
        assert_null (p->net.path);
      rcvmi_plan_free (p);
    }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    plan_fails (with_network (""), OPTIONS (.network = (char *) bad[i]), RCVM_E_INVALID, "plan", "the option 'network'");
}

TEST (test_order)
{
  static const char path[] = "{'type':'network','path':'/run/netns/x'}";
  struct rcvmi_plan *p = plan_ok (with_network (path), OPTIONS (.network = (char *) "none"));

  assert_int_equal (p->net.mode, RCVMI_PLAN_NET_NONE);
  rcvmi_plan_free (p);
  /* A way to join leaves the namespace of config.json. */
  p = plan_ok (with_network (path), OPTIONS (.network = (char *) "bridge"));
  assert_int_equal (p->net.mode, RCVMI_PLAN_NET_NETNS);
  assert_string_equal (p->net.path, "/run/netns/x");
  assert_true (p->net.bridge);
  rcvmi_plan_free (p);
  p = plan_ok (with_network (path), OPTIONS (.network_join = (char *) "bridge", .tap_name = (char *) "b9fc_1", .dhcp = 9));
  assert_false (p->net.asked);
  assert_true (p->net.bridge);
  assert_string_equal (p->net.tap_name, "b9fc_1");
  assert_int_equal (p->net.dhcp, 9);
  assert_true (p->net.resolv);
  rcvmi_plan_free (p);
}

TEST (test_what_does_not_fit)
{
  char *nics[] = { (char *) "eth0", NULL }, *ports[] = { (char *) "1:2", NULL };

  plan_fails (with_network ("{'type':'network'}"), OPTIONS (.dhcp = 5), RCVM_E_INVALID, "plan", "DHCP");
  plan_fails (with_network (""), OPTIONS (.network = (char *) "/x", .dhcp = 601), RCVM_E_INVALID, "plan", "'dhcp'");
  plan_fails (with_network ("{'type':'network'}"), OPTIONS (.nics = nics), RCVM_E_INVALID, "plan", "'nic'");
  plan_fails (with_network (""), OPTIONS (.tap_name = (char *) "t"), RCVM_E_INVALID, "plan", "'tap_name'");
  plan_fails (with_network ("{'type':'network'}"), OPTIONS (.ports = ports), RCVM_E_INVALID, "plan", "'host' alone");
  plan_fails (with_network (""), OPTIONS (.network_join = (char *) "glue"), RCVM_E_INVALID, "plan", "'network_join'");
}

/* A mount over /etc/resolv.conf, or over a directory above it, keeps the file from being ours. */
TEST (test_resolv)
{
  static const struct
  {
    const char *destination;
    bool ours;
  } cases[] = { { "/etc/resolv.conf", false }, { "/etc", false }, { "/etc/", false }, { "/etc/hosts", true },
                { "/etc/resolv.conf.d", true }, { "/et", true } };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      char json[512];
      struct rcvmi_plan *p;

      snprintf (json, sizeof json,
                "{'ociVersion':'1.0.0','root':{'path':'/'},'process':{'args':['a'],'cwd':'/'},'linux':{'namespaces':["
                "{'type':'network'}]},'mounts':[{'destination':'%s','type':'tmpfs','source':'tmpfs'}]}",
                cases[i].destination);
      p = plan_ok (quotes (strdup (json)), NO_OPTIONS);
      assert_int_equal (p->net.resolv, cases[i].ours);
      rcvmi_plan_free (p);
    }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_words),
    cmocka_unit_test (test_order),
    cmocka_unit_test (test_what_does_not_fit),
    cmocka_unit_test (test_resolv),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
