/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes that are disks: what the plan makes of them. */
#include "config.h"

#include "plan-testing.h"

#include <sys/mount.h>
#include <sys/stat.h>

#define VOLUMES(...) OPTIONS (.volumes = LIST (__VA_ARGS__))

static char *
plain (void)
{
  return config_text ("'mounts':[]", NULL, NULL);
}

static struct tlv_field
field (const struct rcvmi_plan *p, uint16_t tag, size_t n)
{
  struct tlv_field f;

  assert_true (find_field (p->setup.data, p->setup.len, tag, n, &f));
  return f;
}

static void
test_block (void **state)
{
  struct rcvmi_plan *p = plan_ok (plain (), VOLUMES ("/srv/a.img", "/data//x/../a", "type=block", "/dev/sdz", "/data/b",
                                                     "type=block,ro,fstype=squashfs", "/c.img", "/dev/disk",
                                                     "type=block,rw,fstype=raw"));
  struct tlv_field f;

  (void) state;
  assert_int_equal (p->n_disks, 3);
  assert_int_equal (p->n_volumes, 0);
  assert_string_equal (p->disks[0].source, "/srv/a.img");
  assert_null (p->disks[0].fstype);
  assert_false (p->disks[0].read_only);
  assert_true (p->disks[1].read_only);
  assert_false (p->disks[1].raw);
  assert_true (p->disks[2].raw);
  f = field (p, S_MOUNT, 0);
  assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), "/data/a");
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "auto");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "dev:vdc");
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), -1);
  f = field (p, S_MOUNT, 1);
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "squashfs");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "dev:vdd");
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), MS_RDONLY);
  assert_int_equal (count_fields (p->setup.data, p->setup.len, S_MOUNT), 2);
  f = field (p, S_DEVICE, 0);
  assert_string_equal (get_str (f.data, f.len, D_PATH, 0), "/dev/disk");
  assert_string_equal (get_str (f.data, f.len, D_DISK, 0), "dev:vde");
  assert_int_equal (get_number (f.data, f.len, D_TYPE, 0), S_IFBLK);
  rcvmi_plan_free (p);
}

/* Whatever else there is: the names are those that the kernel gives, in the order in which the VMM attaches them. */
static void
test_order (void **state)
{
  struct rcvmi_plan *p
      = plan_ok (config_text ("'mounts':[{'destination':'/x','type':'bind','source':'/s'}]", NULL, NULL),
                 OPTIONS (.binds = (char *) "copy", .volumes = LIST ("/i", "/y", "type=block")));
  struct tlv_field f;

  (void) state;
  assert_int_equal (p->n_disks, 2);
  assert_int_equal (p->disks[0].kind, RCVMI_PLAN_DISK_BINDS);
  f = field (p, S_MOUNT, 0);
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "dev:vdc");
  f = field (p, S_MOUNT, 2);
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "dev:vdd");
  rcvmi_plan_free (p);
  p = plan_ok (plain (), OPTIONS (.rootfs_disk = (char *) "single", .volumes = LIST ("/i", "/y", "type=block")));
  f = field (p, S_MOUNT, 0);
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "dev:vdb");
  rcvmi_plan_free (p);
}

static void
test_scratch (void **state)
{
  struct rcvmi_plan *p = plan_ok (plain (), VOLUMES ("", "/a", "type=scratch,size=64M", "/f", "/b", "type=scratch,size=0"));
  struct tlv_field f;

  (void) state;
  assert_int_equal (p->n_disks, 2);
  assert_int_equal (p->disks[0].kind, RCVMI_PLAN_DISK_SCRATCH);
  assert_null (p->disks[0].source);
  assert_int_equal (p->disks[0].size, 64 * MIB);
  assert_string_equal (p->disks[1].source, "/f");
  f = field (p, S_MOUNT, 0);
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "ext4");
  f = field (p, S_MOUNT, 1);
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "auto");
  rcvmi_plan_free (p);
  plan_fails (plain (), VOLUMES ("", "/a", "type=scratch"), RCVM_E_INVALID, "plan", "needs a size");
  plan_fails (plain (), VOLUMES ("f", "/a", "type=scratch,size=1G"), RCVM_E_INVALID, "plan", "needs an absolute path");
  plan_fails (plain (), VOLUMES ("", "/a", "type=scratch,size=much"), RCVM_E_INVALID, "plan", "no size like");
  plan_fails (plain (), VOLUMES ("", "/a", "type=scratch,size=1G,ro"), RCVM_E_INVALID, "plan", "has no option 'ro'");
}

/* All of them on one disk; with something over them where it is to be known what has changed. */
static void
test_copies (void **state)
{
  struct rcvmi_plan *p = plan_ok (plain (), VOLUMES ("/s", "/a", "type=copy", "/t", "/b", "type=copy,rw,write-back=exit", "/u",
                                                     "/c", "type=copy,ro,write-back=none"));
  static const char *const mounts[][3] = { { "stage:copies", "ext4", "dev:vdc" }, { "/a", "bind", "stage:copies/0" },
                                           { "stage:copy1", "overlay", "copy:1" }, { "/b", "bind", "stage:copy1" },
                                           { "/c", "bind", "stage:copies/2" } };

  (void) state;
  assert_int_equal (p->n_disks, 1);
  assert_int_equal (p->n_copy_volumes, 3);
  assert_true (rcvmi_plan_copies_go_back (p));
  assert_int_equal (p->copy_volumes[0].back, RCVMI_PLAN_COPY_NEVER);
  assert_int_equal (p->copy_volumes[1].back, RCVMI_PLAN_COPY_EXIT);
  for (size_t i = 0; i < 5; i++)
    {
      struct tlv_field f = field (p, S_MOUNT, i);

      assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), mounts[i][0]);
      assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), mounts[i][1]);
      assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), mounts[i][2]);
      if (i == 4)
        assert_true (get_number (f.data, f.len, M_FLAGS, 0) & MS_RDONLY);
    }
  rcvmi_plan_free (p);
  p = plan_ok (plain (), VOLUMES ("/s", "/a", "type=copy"));
  assert_false (rcvmi_plan_copies_go_back (p));
  rcvmi_plan_free (p);
  plan_fails (plain (), VOLUMES ("/s", "/a", "type=copy,write-back=exit:5"), RCVM_E_INVALID, "plan", "'exit:5' is no time");
  for (const char *const *text = (const char *const[]){ "periodic:", "periodic:0", "change:x", "change:86401", "periodic:1s", "change:-1", "periodic: 1",
                                                        "change:99999999999999999999", NULL };
       *text; text++)
    {
      char options[64];

      snprintf (options, sizeof options, "type=copy,write-back=%s", *text);
      plan_fails (plain (), VOLUMES ("/s", "/a", options), RCVM_E_INVALID, "plan", "a colon and 1 to 86400 seconds");
    }
  plan_fails (plain (), VOLUMES ("/s", "/a", "type=copy,write-back=often"), RCVM_E_INVALID, "plan", "'often' is no time");
  plan_fails (plain (), VOLUMES ("/s", "/a", "type=copy,ro,write-back=exit"), RCVM_E_INVALID, "plan", "nothing to write back");
  plan_fails (plain (), VOLUMES ("s", "/a", "type=copy"), RCVM_E_INVALID, "plan", "needs an absolute path");
}

/* The guest is told which of them the host will ask about, and wants to hear of. */
static void
test_live_copies (void **state)
{
  struct rcvmi_plan *p = plan_ok (plain (), VOLUMES ("/s", "/a", "type=copy,write-back=exit", "/t", "/b", "type=copy,write-back=periodic", "/u", "/c",
                                                     "type=copy,write-back=change", "/v", "/d", "type=copy,write-back=periodic:7", "/w", "/e",
                                                     "type=copy,write-back=change:86400"));
  static const struct rcvmi_plan_copy_volume wanted[]
      = { { NULL, RCVMI_PLAN_COPY_EXIT, 0 },       { NULL, RCVMI_PLAN_COPY_PERIODIC, 60 }, { NULL, RCVMI_PLAN_COPY_CHANGE, 2 },
          { NULL, RCVMI_PLAN_COPY_PERIODIC, 7 }, { NULL, RCVMI_PLAN_COPY_CHANGE, 86400 } };

  (void) state;
  assert_int_equal (p->n_copy_volumes, 5);
  assert_true (rcvmi_plan_copies_go_back (p));
  for (size_t i = 0; i < 5; i++)
    {
      assert_int_equal (p->copy_volumes[i].back, wanted[i].back);
      assert_int_equal (p->copy_volumes[i].seconds, wanted[i].seconds);
    }
  assert_int_equal (get_number (p->setup.data, p->setup.len, S_COPIES_LIVE, 0), 1);
  assert_int_equal (get_number (p->setup.data, p->setup.len, S_COPY_WATCHED, 0), 2);
  assert_int_equal (get_number (p->setup.data, p->setup.len, S_COPY_WATCHED, 1), 4);
  rcvmi_plan_free (p);
}

static void
test_shares (void **state)
{
  struct rcvmi_plan *p = plan_ok (plain (), VOLUMES ("/s", "/a", "type=virtiofs", "/t", "/b", "type=virtiofs,ro,cached=5"));
  char *many[3 * 9 + 1] = { NULL };
  struct tlv_field f;

  (void) state;
  assert_int_equal (p->hypervisor, RCVMI_HYPERVISOR_QEMU);
  assert_int_equal (p->n_shares, 2);
  assert_int_equal (p->shares[1].cached, 5);
  f = field (p, S_MOUNT, 1);
  assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), "/b");
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "virtiofs");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "volume1");
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), MS_RDONLY);
  rcvmi_plan_free (p);
  p = plan_ok (plain (), OPTIONS (.hypervisor = (char *) "firecracker", .volumes = LIST ("/s", "/a", "type=virtiofs")));
  assert_int_equal (p->hypervisor, RCVMI_HYPERVISOR_FIRECRACKER);
  rcvmi_plan_free (p);
  plan_fails (plain (), VOLUMES ("/s", "/a", "type=virtiofs,cached=x"), RCVM_E_INVALID, "plan", "cached for 'x' seconds");
  plan_fails (plain (), VOLUMES ("/s", "/a", "type=virtiofs,squash=1:1"), RCVM_E_INVALID, "plan", "has no option");
  for (size_t i = 0; i < 9; i++)
    {
      many[3 * i] = many[3 * i + 1] = (char *) "/s";
      many[3 * i + 2] = (char *) "type=virtiofs";
    }
  plan_fails (plain (), OPTIONS (.volumes = many), RCVM_E_SPEC, "plan", "8 directories by virtiofs at most");
}

static void
test_server (void **state)
{
  static const char bind[] = "'mounts':[{'destination':'/bound','type':'bind','source':'/s'}]";
  struct rcvmi_plan *p = plan_ok (plain (), VOLUMES ("/s", "/a", "ro", "/t", "/b", "server=unfsd"));

  (void) state;
  assert_true (p->unfsd);
  rcvmi_plan_free (p);
  p = plan_ok (plain (), VOLUMES ("/s", "/a", "server=own"));
  assert_false (p->unfsd);
  rcvmi_plan_free (p);
  p = plan_ok (config_text (bind, NULL, NULL), OPTIONS (.annotations = LIST ("org.runcvm.volume-server=unfsd")));
  assert_true (p->unfsd);
  rcvmi_plan_free (p);
  plan_fails (plain (), VOLUMES ("/s", "/a", "server=ganesha"), RCVM_E_INVALID, "plan", "has no option 'server=ganesha'");
  plan_fails (config_text (bind, NULL, NULL), OPTIONS (.annotations = LIST ("org.runcvm.volume-server=x")), RCVM_E_INVALID,
              "plan", "only own and unfsd are known");
  plan_fails (plain (), VOLUMES ("/s", "/a", "server=unfsd", "/t", "/b", "transport=tcp"), RCVM_E_UNSUPPORTED, "plan",
              "through the tunnel, and not by TCP");
  plan_fails (plain (), VOLUMES ("/s", "/a", "transport=tcp", "/t", "/b", "server=unfsd"), RCVM_E_UNSUPPORTED, "plan",
              "through the tunnel, and not by TCP");
}

static void
test_9p (void **state)
{
  struct rcvmi_plan *p = plan_ok (plain (), VOLUMES ("/s", "/a", "type=9p", "/t", "/b", "type=9p,ro"));
  char *many[3 * 9 + 1] = { NULL };
  struct tlv_field f;

  (void) state;
  assert_int_equal (p->hypervisor, RCVMI_HYPERVISOR_AUTO);
  assert_int_equal (p->n_diods, 2);
  assert_int_equal (p->n_volumes, 0);
  assert_string_equal (p->diods[1].source, "/t");
  assert_string_equal (p->diods[1].target, "/b");
  assert_false (p->diods[0].read_only);
  assert_true (p->diods[1].read_only);
  f = field (p, S_MOUNT, 1);
  assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), "/b");
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "9p");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "9p:1");
  assert_non_null (strstr (get_str (f.data, f.len, M_DATA, 0), "aname=/volume"));
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), MS_RDONLY);
  rcvmi_plan_free (p);
  plan_fails (plain (), VOLUMES ("/s", "/a", "type=9p,cached=1"), RCVM_E_INVALID, "plan", "has no option 'cached=1'");
  plan_fails (plain (), VOLUMES ("s", "/a", "type=9p"), RCVM_E_INVALID, "plan", "an absolute path");
  for (size_t i = 0; i < 9; i++)
    {
      many[3 * i] = many[3 * i + 1] = (char *) "/s";
      many[3 * i + 2] = (char *) "type=9p";
    }
  plan_fails (plain (), OPTIONS (.volumes = many), RCVM_E_SPEC, "plan", "8 directories by 9P at most");
}

static void
test_notify (void **state)
{
  struct rcvmi_plan *p = plan_ok (plain (), VOLUMES ("/s", "/a", "rw,notify", "/s", "/b", "rw"));

  (void) state;
  assert_true (p->volumes[0].notify);
  assert_false (p->volumes[1].notify);
  rcvmi_plan_free (p);
  plan_fails (plain (), VOLUMES ("/s", "/a", "ro,notify"), RCVM_E_INVALID, "plan", "cannot be touched");
}

/* Over the network: what the guest is told, and one range of ports for all. */
static void
test_transport (void **state)
{
  static const char bind[] = "'mounts':[{'destination':'/bound','type':'bind','source':'/s'}]";
  struct rcvmi_plan *p = plan_ok (plain (), VOLUMES ("/s", "/a", "rw,transport=tcp", "/s", "/b", "ro,transport=tcp:1000-1050",
                                                     "/s", "/c", "rw,transport=tunnel", "/s", "/d", "rw"));
  struct tlv_field f;

  (void) state;
  assert_true (p->volumes[0].tcp && p->volumes[1].tcp);
  assert_false (p->volumes[2].tcp || p->volumes[3].tcp);
  assert_int_equal (p->first_port, 1000);
  assert_int_equal (p->last_port, 1050);
  f = field (p, S_MOUNT, 2); /* each is followed by its bind */
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "tcp:/1");
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), MS_RDONLY);
  f = field (p, S_MOUNT, 4);
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "volume:/2");
  rcvmi_plan_free (p);
  p = plan_ok (config_text (bind, NULL, NULL),
               OPTIONS (.annotations = LIST ("org.runcvm.volume-transport=tcp:7-7"), .volumes = LIST ("/s", "/a", "rw")));
  assert_true (p->volumes[0].tcp);
  assert_false (p->volumes[1].tcp);
  assert_int_equal (p->first_port, 7);
  rcvmi_plan_free (p);
  plan_fails (config_text (bind, NULL, NULL), OPTIONS (.annotations = LIST ("org.runcvm.volume-transport=udp")),
              RCVM_E_INVALID, "plan", "says 'udp' of the way to volumes");
  p = plan_ok (plain (), VOLUMES ("/s", "/a", "rw,transport=link", "/s", "/b", "rw", "/s", "/c", "rw,transport=tcp"));
  assert_true (p->link && p->tcp);
  assert_false (p->tunnel);
  rcvmi_plan_free (p);
  p = plan_ok (config_text (bind, NULL, NULL), OPTIONS (.annotations = LIST ("org.runcvm.volume-transport=tunnel")));
  assert_true (p->tunnel);
  rcvmi_plan_free (p);
  plan_fails (plain (), VOLUMES ("/s", "/a", "rw,transport=link", "/s", "/b", "rw,transport=tunnel"), RCVM_E_INVALID, "plan",
              "through the tunnel or over the link, and not some of them so");
  plan_fails (plain (), VOLUMES ("/s", "/a", "rw,transport=link,server=unfsd"), RCVM_E_UNSUPPORTED, "plan", "and not by a link");
  plan_fails (plain (), VOLUMES ("/s", "/a", "rw,transport=tcp:1-2", "/s", "/b", "ro,transport=tcp:1-3"), RCVM_E_INVALID,
              "plan", "cannot be in both 1-2 and 1-3");
  static const char *const wrong[] = { "transport", "transport=", "transport=tcp:", "transport=tcp:1", "transport=tcp:0-5",
                                       "transport=tcp:5-4", "transport=tcp:1-65536", "transport=tcp:1-2x", "transport=tcpx",
                                       "transport=tcp:1-2-3", "transport=tunnel:1-2", "transport=links" };

  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    plan_fails (plain (), VOLUMES ("/s", "/a", (char *) wrong[i]), RCVM_E_INVALID, "plan", wrong[i]);
}

/* RunCVM's syntax; a file in a bind mount has a place on the host. */
static void
test_runcvm_disks (void **state)
{
  static const char binds[] = "'mounts':[{'destination':'/disks/','type':'bind','source':'/var/d'},"
                              "{'destination':'/disks/in','type':'tmpfs'},"
                              "{'destination':'/data','source':'/srv/x','options':['rbind']}]";
  struct rcvmi_plan *p
      = plan_ok (config_text (binds, NULL, NULL),
                 OPTIONS (.annotations = LIST ("org.runcvm.disks=/disks/a/b,/x,ext4,1G;/data/y,/y,ext4;;/disks/in/z,/z,ext4,2G")));
  (void) state;
  assert_int_equal (p->n_disks, 3);
  assert_string_equal (p->disks[0].store, "/var/d");
  assert_string_equal (p->disks[0].source, "a/b");
  assert_string_equal (p->disks[0].target, "/x");
  assert_int_equal (p->disks[0].size, 1024 * MIB);
  assert_string_equal (p->disks[1].store, "/srv/x");
  assert_string_equal (p->disks[1].source, "y");
  assert_int_equal (p->disks[1].size, 0);
  assert_null (p->disks[2].store);
  assert_null (p->disks[2].source);
  assert_int_equal (count_warnings (p->warnings, "lies in no volume"), 1);
  /* /disks itself is not for the VM. */
  assert_int_equal (p->n_volumes, 1);
  assert_string_equal (p->volumes[0].destination, "/data");
  rcvmi_plan_free (p);
}

static void
test_errors (void **state)
{
  char *many[3 * 24 + 1] = { NULL };

  (void) state;
  plan_fails (plain (), VOLUMES ("i", "/y", "type=block"), RCVM_E_INVALID, "plan", "needs an absolute path");
  plan_fails (plain (), VOLUMES ("/i", "y", "type=block"), RCVM_E_INVALID, "plan", "needs absolute paths");
  plan_fails (plain (), VOLUMES ("/i", "/..", "type=block"), RCVM_E_INVALID, "plan", "other than '/'");
  plan_fails (plain (), VOLUMES ("/i", "/y", "type=tape"), RCVM_E_INVALID, "plan", "no volume of type 'tape'");
  plan_fails (plain (), VOLUMES ("/i", "/y", "type="), RCVM_E_INVALID, "plan", "no volume of type ''");
  plan_fails (plain (), VOLUMES ("/i", "/y", "type=block,cached=3"), RCVM_E_INVALID, "plan",
              "'block' has no option 'cached=3'");
  plan_fails (plain (), VOLUMES ("/i", "/y", "type=block,fstype=../x"), RCVM_E_INVALID, "plan",
              "'../x' is no type of a file system");
  plan_fails (plain (), VOLUMES ("/i", "/y", "type=block,fstype=auto"), RCVM_E_INVALID, "plan",
              "'auto' is no type of a file system");
  for (size_t i = 0; i < 24; i++)
    {
      many[3 * i] = (char *) "/i";
      many[3 * i + 1] = (char *) "/y";
      many[3 * i + 2] = (char *) "type=block";
    }
  plan_fails (plain (), OPTIONS (.volumes = many), RCVM_E_SPEC, "plan", "24 disks at most");
  many[3 * 22] = NULL;
  rcvmi_plan_free (plan_ok (plain (), OPTIONS (.volumes = many)));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_block),
    cmocka_unit_test (test_order),
    cmocka_unit_test (test_scratch),
    cmocka_unit_test (test_live_copies), cmocka_unit_test (test_copies),
    cmocka_unit_test (test_shares),
    cmocka_unit_test (test_9p),
    cmocka_unit_test (test_server),
    cmocka_unit_test (test_notify), cmocka_unit_test (test_transport),
    cmocka_unit_test (test_runcvm_disks),
    cmocka_unit_test (test_errors),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
