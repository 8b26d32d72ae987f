/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "plan-testing.h"

#include <sys/mount.h>

#include "plan-parts.h"

/* A plan with these mounts: "{...},{...}". */
static char *
mounts (const char *list)
{
  char *top, *json;

  assert_true (asprintf (&top, "'mounts':[%s]", list) > 0);
  json = config_text (top, NULL, NULL);
  free (top);
  return json;
}

static bool
find_mount (const struct rcvmi_plan *p, size_t n, struct tlv_field *f)
{
  return find_field (p->setup.data, p->setup.len, S_MOUNT, n, f);
}

static size_t
count_mounts (const struct rcvmi_plan *p)
{
  return count_fields (p->setup.data, p->setup.len, S_MOUNT);
}

/* Each option alone: what is set, what it clears of what was set before, and that it is no data. */
static void
test_flags (void **state)
{
  static const struct
  {
    const char *option, *opposite;
    uint64_t flag;
  } cases[] = {
    { "ro", "rw", MS_RDONLY },
    { "nosuid", "suid", MS_NOSUID },
    { "nodev", "dev", MS_NODEV },
    { "noexec", "exec", MS_NOEXEC },
    { "sync", "async", MS_SYNCHRONOUS },
    { "mand", "nomand", MS_MANDLOCK },
    { "noatime", "atime", MS_NOATIME },
    { "nodiratime", "diratime", MS_NODIRATIME },
    { "relatime", "norelatime", MS_RELATIME },
    { "strictatime", "nostrictatime", MS_STRICTATIME },
    { "lazytime", "nolazytime", 1 << 25 },
    { "iversion", "noiversion", MS_I_VERSION },
    { "silent", "loud", MS_SILENT },
    { "acl", "noacl", MS_POSIXACL },
    { "nosymfollow", "symfollow", 256 },
    { "dirsync", NULL, MS_DIRSYNC },
    { "remount", NULL, MS_REMOUNT },
    { "rro", "rrw", MS_RDONLY },
    { "rnosuid", "rsuid", MS_NOSUID },
    { "rnodev", "rdev", MS_NODEV },
    { "rnoexec", "rexec", MS_NOEXEC },
    { "rnoatime", "ratime", MS_NOATIME },
    { "rnodiratime", "rdiratime", MS_NODIRATIME },
    { "rrelatime", "rnorelatime", MS_RELATIME },
    { "rstrictatime", "rnostrictatime", MS_STRICTATIME },
    { "rnosymfollow", "rsymfollow", 256 },
    { "defaults", NULL, 0 },
  };
  char list[256];
  size_t known = 0;

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      struct rcvmi_plan *p;
      struct tlv_field f;
      int64_t want = cases[i].flag ? (int64_t) cases[i].flag : -1;

      snprintf (list, sizeof list, "{'destination':'/a','type':'tmpfs','options':['%s']}",
                cases[i].option);
      p = plan_ok (mounts (list), NO_OPTIONS);
      assert_true (find_mount (p, 0, &f));
      if (get_number (f.data, f.len, M_FLAGS, 0) != want || get_str (f.data, f.len, M_DATA,
                                                                     0) || p->warnings)
        fail_msg ("%s", cases[i].option);
      rcvmi_plan_free (p);
      known++;
      if (!cases[i].opposite)
        continue;
      snprintf (list, sizeof list, "{'destination':'/a','type':'tmpfs','options':['%s','%s']}",
                cases[i].option,
                cases[i].opposite);
      p = plan_ok (mounts (list), NO_OPTIONS);
      assert_true (find_mount (p, 0, &f));
      if (get_number (f.data, f.len, M_FLAGS, 0) != -1 || get_str (f.data, f.len, M_DATA, 0))
        fail_msg ("%s", cases[i].opposite);
      rcvmi_plan_free (p);
      known++;
    }
  /* None is left out above. */
  for (const struct rcvmi_mount_option *o = rcvmi_mount_options; o->name; o++)
    known -= o->special == RCVMI_MOUNT_PLAIN && strcmp (o->name, "bind") != 0 && strcmp (o->name,
                                                                                         "rbind") != 0;
  assert_int_equal (known, 0);
}

static void
test_propagation (void **state)
{
  static const struct
  {
    const char *option;
    int64_t flags;
  } cases[] = {
    { "private", MS_PRIVATE },
    { "rprivate", MS_PRIVATE | MS_REC },
    { "shared", MS_SHARED },
    { "rshared", MS_SHARED | MS_REC },
    { "slave", MS_SLAVE },
    { "rslave", MS_SLAVE | MS_REC },
    { "unbindable", MS_UNBINDABLE },
    { "runbindable", MS_UNBINDABLE | MS_REC },
  };
  char list[256];

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      struct rcvmi_plan *p;
      struct tlv_field f;

      snprintf (list, sizeof list, "{'destination':'/a','type':'tmpfs','options':['ro','%s']}",
                cases[i].option);
      p = plan_ok (mounts (list), NO_OPTIONS);
      assert_true (find_mount (p, 0, &f));
      assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), MS_RDONLY);
      assert_int_equal (get_number (f.data, f.len, M_PROPAGATION, 0), cases[i].flags);
      assert_null (get_str (f.data, f.len, M_DATA, 0));
      rcvmi_plan_free (p);
    }
}

static void
test_data (void **state)
{
  struct rcvmi_plan *p;
  struct tlv_field f;
  char list[8192], data[4200];

  (void) state;
  p = plan_ok (mounts ("{'destination':'/dev/pts','type':'devpts','source':'devpts','options':['nosuid','noexec',"
                       "'newinstance','ptmxmode=0666','','gid=5']},"
                       "{'destination':'/t','type':'tmpfs','options':['tmpcopyup','nofail','size=5']},"
                       "{'destination':'/q','type':'mqueue'}"),
               NO_OPTIONS);
  assert_true (find_mount (p, 0, &f));
  assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), "/dev/pts");
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "devpts");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "devpts");
  assert_string_equal (get_str (f.data, f.len, M_DATA, 0), "newinstance,ptmxmode=0666,gid=5");
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), MS_NOSUID | MS_NOEXEC);
  assert_int_equal (get_number (f.data, f.len, M_OPTIONAL, 0), -1);
  assert_int_equal (get_number (f.data, f.len, M_COPY_UP, 0), -1);
  assert_true (find_mount (p, 1, &f));
  assert_int_equal (get_number (f.data, f.len, M_OPTIONAL, 0), 1);
  assert_int_equal (get_number (f.data, f.len, M_COPY_UP, 0), 1);
  assert_string_equal (get_str (f.data, f.len, M_DATA, 0), "size=5");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "tmpfs");
  assert_true (find_mount (p, 2, &f));
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), -1);
  assert_null (get_str (f.data, f.len, M_DATA, 0));
  assert_null (p->warnings);
  rcvmi_plan_free (p);

  /* Up to the page that the kernel takes, and not a byte more. */
  memset (data, 'x', sizeof data);
  data[4093] = 0;
  snprintf (list, sizeof list, "{'destination':'/t','type':'tmpfs','options':['%s','y']}", data);
  p = plan_ok (mounts (list), NO_OPTIONS);
  assert_true (find_mount (p, 0, &f));
  assert_int_equal (strlen (get_str (f.data, f.len, M_DATA, 0)), 4095);
  rcvmi_plan_free (p);
  snprintf (list, sizeof list, "{'destination':'/t','type':'tmpfs','options':['%s','yy']}", data);
  plan_fails (mounts (list), NO_OPTIONS, RCVM_E_SPEC, "plan",
              "the options of 'mounts[0]' (/t) are longer than 4095 bytes");
}

static void
test_ignored_options (void **state)
{
  static const char *const ignored[]
      = { "_netdev", "auto", "noauto", "user", "nouser", "users", "owner", "group", "x-mount.mkdir",
          "X-foo" };

  (void) state;
  for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
    {
      struct rcvmi_plan *p;
      struct tlv_field f;
      char list[128], needle[64];

      snprintf (list, sizeof list, "{'destination':'/a','type':'tmpfs','options':['%s']}",
                ignored[i]);
      snprintf (needle, sizeof needle, "the option '%s' of 'mounts[0]' (/a) has no effect",
                ignored[i]);
      p = plan_ok (mounts (list), NO_OPTIONS);
      assert_int_equal (count_warnings (p->warnings, needle), 1);
      assert_true (find_mount (p, 0, &f));
      assert_null (get_str (f.data, f.len, M_DATA, 0));
      rcvmi_plan_free (p);
    }
}

static void
test_types (void **state)
{
  static const char *const good[]
      = { "proc",  "sysfs",   "tmpfs",   "ramfs", "devpts",   "mqueue",     "cgroup2", "hugetlbfs",
          "debugfs", "tracefs", "bpf", "configfs", "securityfs", "fusectl", "pstore",
          "binfmt_misc" };
  static const char *const bad[] = { "ext4", "nfs", "9p", "overlay", "fuse", "none", "xfs" };
  char list[128], needle[64];
  struct rcvmi_plan *p;
  struct tlv_field f;

  (void) state;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    {
      snprintf (list, sizeof list, "{'destination':'/a','type':'%s'}", good[i]);
      p = plan_ok (mounts (list), NO_OPTIONS);
      assert_true (find_mount (p, 0, &f));
      assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), good[i]);
      rcvmi_plan_free (p);
    }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      snprintf (list, sizeof list, "{'destination':'/a','type':'%s','source':'/dev/sdb'}", bad[i]);
      snprintf (needle, sizeof needle, "'mounts[0]' (/a) is a file system of type '%s'", bad[i]);
      plan_fails (mounts (list), NO_OPTIONS, RCVM_E_UNSUPPORTED, "plan", needle);
    }
  plan_fails (mounts ("{'destination':'/a'}"), NO_OPTIONS, RCVM_E_SPEC, "plan",
              "'mounts[0].type' is missing");
  plan_fails (mounts ("{'destination':'/a','type':''}"), NO_OPTIONS, RCVM_E_SPEC, "plan",
              "'mounts[0].type' is missing");
  plan_fails (mounts ("{'destination':'/a','type':'proc','options':['tmpcopyup']}"), NO_OPTIONS,
              RCVM_E_SPEC,
              "plan", "'tmpcopyup' of 'mounts[0]' (/a) is for tmpfs alone");

  /* cgroup v1 becomes v2, without its options. */
  p = plan_ok (mounts ("{'destination':'/sys/fs/cgroup','type':'cgroup','source':'cgroup','options':['ro','cpuset']}"),
               NO_OPTIONS);
  assert_true (find_mount (p, 0, &f));
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "cgroup2");
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), MS_RDONLY);
  assert_null (get_str (f.data, f.len, M_DATA, 0));
  assert_int_equal (count_warnings (p->warnings, "'cpuset' of 'mounts[0]'"), 1);
  rcvmi_plan_free (p);
}

static void
test_destinations (void **state)
{
  static const struct
  {
    const char *given, *clean;
  } cases[] = {
    { "/a/b", "/a/b" },   { "/a//b/", "/a/b" },          { "/a/./b", "/a/b" }, { "/a/../b", "/b" },
    { "/../../b", "/b" }, { "/a/b/../../c/../d", "/d" }, { "/...", "/..." },   { "/a..b/.c",
                                                                                 "/a..b/.c" },
  };
  char list[128];
  struct rcvmi_plan *p;
  struct tlv_field f;

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      snprintf (list, sizeof list, "{'destination':'%s','type':'tmpfs'}", cases[i].given);
      p = plan_ok (mounts (list), NO_OPTIONS);
      assert_true (find_mount (p, 0, &f));
      assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), cases[i].clean);
      assert_null (p->warnings);
      rcvmi_plan_free (p);
    }
  p = plan_ok (mounts ("{'destination':'a/b','type':'tmpfs'}"), NO_OPTIONS);
  assert_true (find_mount (p, 0, &f));
  assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), "/a/b");
  assert_int_equal (count_warnings (p->warnings, "'mounts[0].destination' is relative"), 1);
  rcvmi_plan_free (p);
  plan_fails (mounts ("{'destination':'/','type':'tmpfs'}"), NO_OPTIONS, RCVM_E_UNSUPPORTED, "plan",
              "'mounts[0].destination' is '/'");
  plan_fails (mounts ("{'destination':'/a/..','type':'bind','source':'/b'}"), NO_OPTIONS,
              RCVM_E_UNSUPPORTED,
              "plan", "'mounts[0].destination' is '/'");
}

#define SINGLE .rootfs_disk = (char *) "single"
#define COPY .binds = (char *) "copy"

/* Copies lie on a disk of their own, and are bound from there. */
static void
test_binds (void **state)
{
  struct rcvmi_plan *p;
  struct tlv_field f;

  (void) state;
  p = plan_ok (mounts ("{'destination':'/data','type':'none','source':'/srv/data','options':['rbind','rprivate']},"
                       "{'destination':'/proc','type':'proc'},"
                       "{'destination':'/conf','type':'bind','source':'sub/conf','options':['bind','ro','nosuid']}"),
               OPTIONS (.bundle = (char *) "/b", COPY));
  assert_int_equal (p->n_copies, 2);
  assert_string_equal (p->copies[0].source, "/srv/data");
  assert_string_equal (p->copies[0].destination, "/0");
  assert_string_equal (p->copies[1].source, "/b/sub/conf");
  assert_string_equal (p->copies[1].destination, "/1");
  assert_int_equal (count_warnings (p->warnings, "not live"), 2);
  assert_int_equal (count_mounts (p), 4);
  assert_true (find_mount (p, 0, &f));
  assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), "stage:binds");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "dev:vdc");
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "ext4");
  assert_true (find_mount (p, 1, &f));
  assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), "/data");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "stage:binds/0");
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "bind");
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), MS_BIND | MS_REC);
  assert_int_equal (get_number (f.data, f.len, M_PROPAGATION, 0), -1);
  assert_true (find_mount (p, 3, &f));
  assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), "/conf");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "stage:binds/1");
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0),
                    MS_BIND | MS_REC | MS_RDONLY | MS_NOSUID);
  rcvmi_plan_free (p);

  /* What an earlier mount covers is no obstacle then. */
  p = plan_ok (mounts ("{'destination':'/dev','type':'tmpfs'},"
                       "{'destination':'/dev/log','type':'bind','source':'/s'}"),
               OPTIONS (COPY));
  assert_int_equal (count_mounts (p), 3);
  rcvmi_plan_free (p);
}

/* They are volumes, mounted out of sight and bound from there. */
static void
test_live_binds (void **state)
{
  struct rcvmi_plan *p;
  struct tlv_field f;

  (void) state;
  p = plan_ok (mounts ("{'destination':'/data','type':'none','source':'/srv/data','options':['rbind','rprivate']},"
                       "{'destination':'/proc','type':'proc'},"
                       "{'destination':'/conf','type':'bind','source':'sub/conf','options':['bind','ro','nosuid']}"),
               OPTIONS (.bundle = (char *) "/b"));
  assert_int_equal (p->n_copies, 0);
  assert_null (p->warnings);
  assert_int_equal (p->n_volumes, 2);
  assert_string_equal (p->volumes[0].source, "/srv/data");
  assert_string_equal (p->volumes[0].destination, "/data");
  assert_false (p->volumes[0].read_only);
  assert_string_equal (p->volumes[1].source, "/b/sub/conf");
  assert_true (p->volumes[1].read_only);
  assert_int_equal (count_mounts (p), 5);
  assert_true (find_mount (p, 0, &f));
  assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), "stage:volume0");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "volume:/0");
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "nfs");
  assert_non_null (strstr (get_str (f.data, f.len, M_DATA, 0), "actimeo=0,lookupcache=none"));
  assert_true (find_mount (p, 1, &f));
  assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), "/data");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "stage:volume0");
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), MS_BIND | MS_REC);
  assert_true (find_mount (p, 3, &f));
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), MS_RDONLY);
  assert_true (find_mount (p, 4, &f));
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), MS_BIND | MS_REC | MS_RDONLY | MS_NOSUID);
  rcvmi_plan_free (p);

  plan_fails (mounts ("{'destination':'/d','type':'bind','source':'/s'}"), OPTIONS (.binds = (char *) "dead"),
              RCVM_E_INVALID, "plan", "'dead' of bind mounts, and only live and copy are known");
}

/* What the caller attaches comes after config.json's mounts, by depth. */
static void
test_volumes (void **state)
{
  static char *const list[] = { "/srv/a", "/a//b/", "", "/srv/c", "/c", "ro,squash=1000:100,cached=7", "", "/tmp",
                                "mode=1777,size=4096", NULL };
  static char *const odd[] = { "/a", "/b", NULL }, *const root[] = { "/a", "/", "", NULL },
                     *const relative[] = { "a", "/b", "", NULL };
  static const char *const bad[] = { "rx", "squash=1", "squash=1:", "squash=-1:0", "squash=4294967295:0", "cached=",
                                     "cached=86401", "ro,x" };
  struct rcvmi_plan *p = plan_ok (mounts ("{'destination':'/proc','type':'proc'}"), OPTIONS (.volumes = (char **) list));
  struct tlv_field f;

  (void) state;
  assert_int_equal (p->n_volumes, 2);
  assert_string_equal (p->volumes[1].destination, "/a/b");
  assert_false (p->volumes[1].squash);
  assert_true (p->volumes[0].squash && p->volumes[0].read_only);
  assert_int_equal (p->volumes[0].uid, 1000);
  assert_int_equal (p->volumes[0].gid, 100);
  assert_int_equal (p->volumes[0].cached, 7);
  assert_int_equal (count_mounts (p), 6);
  assert_true (find_mount (p, 1, &f));
  assert_non_null (strstr (get_str (f.data, f.len, M_DATA, 0), "actimeo=7"));
  assert_null (strstr (get_str (f.data, f.len, M_DATA, 0), "lookupcache"));
  assert_true (find_mount (p, 3, &f));
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "tmpfs");
  assert_string_equal (get_str (f.data, f.len, M_DATA, 0), "mode=1777,size=4096");
  assert_true (find_mount (p, 5, &f));
  assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), "/a/b");
  rcvmi_plan_free (p);

  plan_fails (mounts (""), OPTIONS (.volumes = (char **) odd), RCVM_E_INVALID, "plan", "source, target and options");
  plan_fails (mounts (""), OPTIONS (.volumes = (char **) root), RCVM_E_INVALID, "plan", "absolute paths");
  plan_fails (mounts (""), OPTIONS (.volumes = (char **) relative), RCVM_E_INVALID, "plan", "absolute paths");
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      char *const one[] = { "/a", "/b", (char *) bad[i], NULL };

      plan_fails (mounts (""), OPTIONS (.volumes = (char **) one), RCVM_E_INVALID, "plan", "a volume has no option");
    }
}

static void
test_binds_of_a_single_disk (void **state)
{
  struct rcvmi_plan *p;
  struct tlv_field f;

  (void) state;
  p = plan_ok (mounts ("{'destination':'/data','type':'none','source':'/srv/data','options':['rbind','rprivate']},"
                       "{'destination':'/conf','type':'bind','source':'sub/conf','options':['bind','ro','nosuid']},"
                       "{'destination':'/x/../y','type':'bind','source':'/dev/shm/seg'}"),
               OPTIONS (.bundle = (char *) "/b", SINGLE));
  assert_int_equal (p->n_copies, 3);
  assert_string_equal (p->copies[0].source, "/srv/data");
  assert_string_equal (p->copies[0].destination, "/data");
  assert_string_equal (p->copies[1].source, "/b/sub/conf");
  assert_string_equal (p->copies[1].destination, "/conf");
  assert_string_equal (p->copies[2].source, "/dev/shm/seg");
  assert_string_equal (p->copies[2].destination, "/y");
  assert_int_equal (rcvmi_strv_length (p->warnings), 3);
  assert_int_equal (count_warnings (p->warnings, "not live"), 3);
  assert_int_equal (count_warnings (p->warnings, "'mounts[1]': 'sub/conf' is copied to '/conf'"),
                    1);
  /* The one with flags is bound onto itself. */
  assert_int_equal (count_mounts (p), 1);
  assert_true (find_mount (p, 0, &f));
  assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), "/conf");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "/conf");
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "bind");
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0),
                    MS_BIND | MS_REC | MS_RDONLY | MS_NOSUID);
  assert_int_equal (get_number (f.data, f.len, M_PROPAGATION, 0), -1);
  rcvmi_plan_free (p);

  /* In a read-only root, all of them: the copies stay writable. */
  p = plan_ok (mounts ("{'destination':'/data','source':'/srv/data','options':['bind']}"),
               OPTIONS (.readonly_rootfs = 1, SINGLE));
  assert_int_equal (count_mounts (p), 1);
  assert_true (find_mount (p, 0, &f));
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0), MS_BIND | MS_REC);
  rcvmi_plan_free (p);

  p = plan_ok (mounts ("{'destination':'/d','source':'/s','options':['bind','rshared','z','x-y']}"),
               OPTIONS (COPY));
  assert_int_equal (count_warnings (p->warnings,
                                    "the option 'shared' of 'mounts[0]' (/d) has no effect"), 1);
  assert_int_equal (count_warnings (p->warnings,
                                    "the option 'z' of 'mounts[0]' (/d) has no effect"), 1);
  assert_int_equal (rcvmi_strv_length (p->warnings), 4);
  rcvmi_plan_free (p);
  p = plan_ok (mounts ("{'destination':'/d','source':'/s','options':['bind','slave']}"),
               NO_OPTIONS);
  assert_int_equal (count_warnings (p->warnings, "the option 'slave' of 'mounts[0]'"), 1);
  rcvmi_plan_free (p);
}

static void
test_bind_errors (void **state)
{
  static const char *const special[]
      = { "/dev", "/dev/kvm", "/proc", "/proc/1/ns", "/sys", "/sys/fs/cgroup", "/x/../dev/sda",
          "/dev/shm",
          "//proc//", "/dev/mqueue", "/", "/.." };
  char list[128];

  (void) state;
  for (size_t i = 0; i < sizeof special / sizeof special[0]; i++)
    {
      snprintf (list, sizeof list, "{'destination':'/d','type':'bind','source':'%s'}", special[i]);
      plan_fails (mounts (list), NO_OPTIONS, RCVM_E_UNSUPPORTED, "plan", "'mounts[0]' binds '");
    }
  rcvmi_plan_free (plan_ok (mounts ("{'destination':'/d','type':'bind','source':'/device'}"),
                            NO_OPTIONS));
  plan_fails (mounts ("{'destination':'/d','type':'bind'}"), NO_OPTIONS, RCVM_E_SPEC, "plan",
              "'mounts[0].source' is missing");
  plan_fails (mounts ("{'destination':'/d','source':'','options':['rbind']}"), NO_OPTIONS,
              RCVM_E_SPEC, "plan",
              "'mounts[0].source' is missing");
  plan_fails (mounts ("{'destination':'/d','source':'rel','options':['rbind']}"), NO_OPTIONS,
              RCVM_E_SPEC, "plan",
              "'mounts[0].source' is 'rel', which is relative");
  plan_fails (mounts ("{'destination':'/d','source':'/s','options':['bind','remount','ro']}"),
              NO_OPTIONS,
              RCVM_E_UNSUPPORTED, "plan", "a bind mount cannot be remounted");
  plan_fails (mounts ("{'destination':'/d','source':'/s','options':['bind','idmap']}"), NO_OPTIONS,
              RCVM_E_UNSUPPORTED, "plan",
              "the option 'idmap' of 'mounts[0]' (/d) cannot be honoured");
  plan_fails (mounts ("{'destination':'/d','source':'/s','options':['bind','ridmap']}"), NO_OPTIONS,
              RCVM_E_UNSUPPORTED, "plan", "the option 'ridmap' of 'mounts[0]'");
  plan_fails (mounts ("{'destination':'/d','source':'/s','options':['bind'],'uidMappings':[{'containerID':0,"
                      "'hostID':1,'size':1}]}"),
              NO_OPTIONS, RCVM_E_UNSUPPORTED, "plan", "'mounts[0].uidMappings' cannot be honoured");
  plan_fails (mounts ("{'destination':'/d','source':'/s','options':['bind'],'gidMappings':[{'containerID':0,"
                      "'hostID':1,'size':1}]}"),
              NO_OPTIONS, RCVM_E_UNSUPPORTED, "plan", "'mounts[0].gidMappings' cannot be honoured");
}

/* A copy must not end up below what an earlier mount covers. */
static void
test_hidden_copies (void **state)
{
  struct rcvmi_plan *p;

  (void) state;
  plan_fails (mounts ("{'destination':'/dev','type':'tmpfs'},{'destination':'/dev/log','type':'bind','source':'/s'}"),
              OPTIONS (SINGLE), RCVM_E_UNSUPPORTED, "plan",
              "'mounts[1]' binds '/s' to '/dev/log', which a VM cannot have: it would be copied "
              "below");
  plan_fails (mounts ("{'destination':'/run','type':'tmpfs'},{'destination':'/run','type':'bind','source':'/s'}"),
              OPTIONS (SINGLE), RCVM_E_UNSUPPORTED, "plan", "copied below");
  p = plan_ok (mounts ("{'destination':'/run','type':'tmpfs'},{'destination':'/running','type':'bind','source':'/s'},"
                       "{'destination':'/var','type':'tmpfs','options':['tmpcopyup']},"
                       "{'destination':'/var/x','type':'bind','source':'/s'},"
                       "{'destination':'/late/x','type':'bind','source':'/s'},{'destination':'/late','type':'tmpfs'},"
                       "{'destination':'/re','type':'tmpfs','options':['remount','ro']},"
                       "{'destination':'/re/x','type':'bind','source':'/s'}"),
               OPTIONS (SINGLE));
  assert_int_equal (p->n_copies, 4);
  rcvmi_plan_free (p);
}

static void
test_ipc_binds (void **state)
{
  struct rcvmi_plan *p;
  struct tlv_field f;

  (void) state;
  p = plan_ok (mounts ("{'destination':'/dev','type':'tmpfs'},"
                       "{'destination':'/dev/shm','type':'bind','source':'/var/lib/x/shm','options':['rbind','ro']},"
                       "{'destination':'/dev/mqueue','type':'bind','source':'/dev/mqueue','options':['rbind']}"),
               NO_OPTIONS);
  assert_int_equal (p->n_copies, 0);
  assert_int_equal (count_mounts (p), 3);
  assert_true (find_mount (p, 1, &f));
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "tmpfs");
  assert_string_equal (get_str (f.data, f.len, M_SOURCE, 0), "shm");
  assert_string_equal (get_str (f.data, f.len, M_DATA, 0), "mode=1777,size=65536k");
  assert_int_equal (get_number (f.data, f.len, M_FLAGS, 0),
                    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
  assert_true (find_mount (p, 2, &f));
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "mqueue");
  assert_int_equal (count_warnings (p->warnings, "'mounts[1]' (/dev/shm) becomes a new tmpfs"), 1);
  assert_int_equal (count_warnings (p->warnings, "'mounts[2]' (/dev/mqueue) becomes a new mqueue"),
                    1);
  rcvmi_plan_free (p);
}

/* The order is config.json's. */
static void
test_order (void **state)
{
  struct rcvmi_plan *p = plan_ok (
      mounts ("{'destination':'/1','type':'tmpfs'},{'destination':'/2','type':'bind','source':'/s','options':['ro']},"
              "{'destination':'/3','type':'proc'},{'destination':'/4','type':'bind','source':'/t','options':['ro']}"),
      OPTIONS (SINGLE));
  struct tlv_field f;
  char name[8];

  (void) state;
  for (size_t i = 0; i < 4; i++)
    {
      snprintf (name, sizeof name, "/%zu", i + 1);
      assert_true (find_mount (p, i, &f));
      assert_string_equal (get_str (f.data, f.len, M_DESTINATION, 0), name);
    }
  rcvmi_plan_free (p);
}

static void
test_many (void **state)
{
  size_t n = 10001, len = 0;
  char *list = malloc (n * 64);
  struct rcvmi_plan *p;

  (void) state;
  for (size_t i = 0; i < n; i++)
    len += (size_t) sprintf (list + len, "%s{'destination':'/m%zu','type':'bind','source':'/s'}",
                             i ? "," : "", i);
  plan_fails (mounts (list), NO_OPTIONS, RCVM_E_SPEC, "plan",
              "'mounts' has more than 10000 entries");
  list[len - strlen (",{'destination':'/m10000','type':'bind','source':'/s'}")] = 0;
  plan_fails (mounts (list), NO_OPTIONS, RCVM_E_SPEC, "plan", "a VM can have 256 volumes");
  p = plan_ok (mounts (list), OPTIONS (COPY));
  assert_int_equal (p->n_copies, 10000);
  rcvmi_plan_free (p);
  free (list);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_flags),
    cmocka_unit_test (test_propagation),
    cmocka_unit_test (test_data),
    cmocka_unit_test (test_ignored_options),
    cmocka_unit_test (test_types),
    cmocka_unit_test (test_destinations),
    cmocka_unit_test (test_binds),
    cmocka_unit_test (test_live_binds),
    cmocka_unit_test (test_volumes),
    cmocka_unit_test (test_binds_of_a_single_disk),
    cmocka_unit_test (test_bind_errors),
    cmocka_unit_test (test_hidden_copies),
    cmocka_unit_test (test_ipc_binds),
    cmocka_unit_test (test_order),
    cmocka_unit_test (test_many),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
