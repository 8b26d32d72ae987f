/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "plan-testing.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <linux/capability.h>

#include <runcvm/vm.h>

static void
test_minimal (void **state)
{
  struct rcvmi_plan *p = plan_ok (config_text (NULL, NULL, NULL), NO_OPTIONS);

  (void) state;
  assert_string_equal (p->id, "test");
  assert_null (p->bundle);
  assert_string_equal (p->rootfs, "/srv/root");
  assert_null (p->annotations[0]);
  assert_int_equal (p->hypervisor, RCVMI_HYPERVISOR_AUTO);
  assert_string_equal (p->kernel, "/usr/lib/k");
  assert_string_equal (p->initramfs, "/usr/lib/i");
  assert_null (p->kernel_args);
  assert_true (p->memory == 512 * MIB);
  assert_int_equal (p->cpus, 1);
  assert_true (p->rootfs_size == 0);
  assert_int_equal (p->root_disk, RCVMI_ROOT_OVERLAY);
  assert_int_equal (p->changes, RCVMI_CHANGES_WRITE_BACK);
  assert_null (p->digests);
  assert_int_equal (p->n_copies, 0);
  assert_false (p->terminal);
  assert_null (p->warnings);
  assert_int_equal (p->net.mode, RCVMI_PLAN_NET_OWN);
  assert_int_equal (p->log_level, RCVM_LOG_WARNING);
  assert_string_equal (setup_str (p, S_HOSTNAME, 0), "test");
  assert_null (setup_str (p, S_DOMAINNAME, 0));
  assert_string_equal (setup_str (p, S_ROOT_DISK, 0), RCVMI_PLAN_ROOT_DISK);
  assert_string_equal (setup_str (p, S_ROOT_FSTYPE, 0), "ext4");
  assert_int_equal (setup_number (p, S_ROOT_DISK_RO), 1);
  assert_string_equal (setup_str (p, S_UPPER_DISK, 0), RCVMI_PLAN_UPPER_DISK);
  assert_int_equal (setup_number (p, S_ROOT_READONLY), -1);
  assert_int_equal (setup_number (p, S_ROOT_PROPAGATION), -1);
  assert_int_equal (setup_number (p, S_NAMESPACES), CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS);
  assert_int_equal (setup_number (p, S_LOG_LEVEL), RCVM_LOG_WARNING);
  assert_int_equal (count_fields (p->setup.data, p->setup.len, S_MOUNT), 0);
  assert_int_equal (count_fields (p->setup.data, p->setup.len, S_CGROUP), 0);
  assert_int_equal (count_fields (p->setup.data, p->setup.len, S_CLOCK_NSEC), 0);
  assert_string_equal (exec_str (p, E_ARG, 0), "sh");
  assert_null (exec_str (p, E_ARG, 1));
  assert_null (exec_str (p, E_ENV, 0));
  assert_string_equal (exec_str (p, E_CWD, 0), "/");
  assert_int_equal (exec_number (p, E_UID), 0);
  assert_int_equal (exec_number (p, E_GID), 0);
  assert_int_equal (exec_number (p, E_UMASK), -1);
  assert_int_equal (exec_number (p, E_TERMINAL), -1);
  assert_int_equal (exec_number (p, E_CAP_BOUNDING), -1);
  assert_int_equal (exec_number (p, E_NO_NEW_PRIVS), -1);
  assert_int_equal (exec_number (p, E_OOM_SCORE_ADJ), -1);
  assert_int_equal (count_fields (p->exec.data, p->exec.len, E_SECCOMP), 0);
  rcvmi_plan_free (p);
  rcvmi_plan_free (NULL);
}

static void
test_id (void **state)
{
  static const char *const good[] = { "a", "A-z_0+9.x", "...", ".a", "-" };
  static const char *const bad[] = { "", ".", "..", "a/b", "a b", "a\n", "\xc3\xa4", "a:b" };
  char id[130];
  rcvm_error *err = NULL;

  (void) state;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    assert_int_equal (rcvmi_plan_check_id (good[i], &err), 0);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      assert_int_equal (rcvmi_plan_check_id (bad[i], &err), RCVM_E_INVALID);
      assert_error (&err, RCVM_E_INVALID, "plan", "must be 1 to 128 characters");
    }
  memset (id, 'x', sizeof id);
  id[128] = 0;
  assert_int_equal (rcvmi_plan_check_id (id, &err), 0);
  id[128] = 'x';
  id[129] = 0;
  assert_int_equal (rcvmi_plan_check_id (id, &err), RCVM_E_INVALID);
  rcvm_error_free (err);
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.id = (char *) "a/b"), RCVM_E_INVALID,
              "plan",
              "the id 'a/b'");
}

static void
test_sizes (void **state)
{
  static const struct
  {
    const char *text;
    uint64_t size;
  } cases[] = {
    { "1", 1 },
    { "1073741824", UINT64_C (1) << 30 },
    { "512M", 512 * MIB },
    { "512m", 512 * MIB },
    { "512MB", 512 * MIB },
    { "512MiB", 512 * MIB },
    { "512mib", 512 * MIB },
    { "2G", 2048 * MIB },
    { "1K", 1024 },
    { "3T", 3 * MIB * MIB },
    { "5b", 5 },
    { "18446744073709551615", UINT64_MAX },
    { "18446744073709551616", 0 },
    { "99999999999T", 0 },
    { "", 0 },
    { "0", 0 },
    { "M", 0 },
    { "-1", 0 },
    { "+1", 0 },
    { " 1", 0 },
    { "1 ", 0 },
    { "1.5G", 0 },
    { "1MM", 0 },
    { "1Mi", 0 },
    { "1P", 0 },
    { "1iB", 0 },
    { "0x10", 0 },
    { "ten", 0 },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    if (rcvmi_plan_parse_size (cases[i].text) != cases[i].size)
      fail_msg ("'%s' is %llu", cases[i].text,
                (unsigned long long) rcvmi_plan_parse_size (cases[i].text));
}

/* Each source gives way to the one before it. */
static void
test_precedence (void **state)
{
  static const char lx[] = "'resources':{'memory':{'limit':209715200},'cpu':{'quota':250000,'period':100000}}";
  static const char vm[] = "'vm':{'kernel':{'path':'/vm/k','parameters':['a','b=c'],'initrd':'/vm/i'},"
                           "'hwConfig':{'vcpus':4,'memory':314572800}}";
  static const char env[] = "'env':['RUNCVM_MEM_SIZE=400M','RUNCVM_CPUS=5','RUNCVM_KERNEL=/env/k',"
                            "'RUNCVM_KERNEL_ARGS=env','RUNCVM_HYPERVISOR=qemu','RUNCVM_ROOTFS_SIZE=1G',"
                            "'RUNCVM_LOG_LEVEL=info','RUNCVM_INITRAMFS=/env/i']";
  static const char annotations[]
      = "'annotations':{'org.runcvm.mem-size':'500M','org.runcvm.cpus':'6','org.runcvm.kernel':'/an/k',"
        "'org.runcvm.kernel-args':'an','org.runcvm.hypervisor':'firecracker','org.runcvm.rootfs-size':'2G',"
        "'org.runcvm.log-level':'DEBUG','org.runcvm.initramfs':'/an/i'}";
  char both[1024];
  struct rcvmi_plan *p;

  (void) state;
  p = plan_ok (config_text (NULL, NULL, lx), NO_OPTIONS);
  assert_true (p->memory == 200 * MIB);
  assert_int_equal (p->cpus, 3);
  rcvmi_plan_free (p);

  p = plan_ok (config_text (vm, NULL, lx), NO_OPTIONS);
  assert_true (p->memory == 300 * MIB);
  assert_int_equal (p->cpus, 4);
  assert_string_equal (p->kernel, "/vm/k");
  assert_string_equal (p->initramfs, "/vm/i");
  assert_string_equal (p->kernel_args, "a b=c");
  rcvmi_plan_free (p);

  p = plan_ok (config_text (vm, env, lx), NO_OPTIONS);
  assert_true (p->memory == 400 * MIB);
  assert_int_equal (p->cpus, 5);
  assert_string_equal (p->kernel, "/env/k");
  assert_string_equal (p->initramfs, "/env/i");
  assert_string_equal (p->kernel_args, "env");
  assert_int_equal (p->hypervisor, RCVMI_HYPERVISOR_QEMU);
  assert_true (p->rootfs_size == 1024 * MIB);
  assert_int_equal (p->log_level, RCVM_LOG_INFO);
  assert_int_equal (setup_number (p, S_LOG_LEVEL), RCVM_LOG_INFO);
  /* The container sees them too. */
  assert_string_equal (exec_str (p, E_ENV, 0), "RUNCVM_MEM_SIZE=400M");
  rcvmi_plan_free (p);

  snprintf (both, sizeof both, "%s,%s", vm, annotations);
  p = plan_ok (config_text (both, env, lx), NO_OPTIONS);
  assert_true (p->memory == 500 * MIB);
  assert_int_equal (p->cpus, 6);
  assert_string_equal (p->kernel, "/an/k");
  assert_string_equal (p->initramfs, "/an/i");
  assert_string_equal (p->kernel_args, "an");
  assert_int_equal (p->hypervisor, RCVMI_HYPERVISOR_FIRECRACKER);
  assert_true (p->rootfs_size == 2048 * MIB);
  assert_int_equal (p->log_level, RCVM_LOG_DEBUG);
  rcvmi_plan_free (p);

  /* An annotation of the caller's wins over config.json's. */
  p = plan_ok (config_text (both, env, lx),
               OPTIONS (.annotations = LIST ("org.runcvm.cpus=7", "x=y=z",
                                             "org.runcvm.kernel-args=")));
  assert_int_equal (p->cpus, 7);
  assert_string_equal (p->kernel_args, "env");
  assert_true (count_warnings (p->annotations, "x=y=z"));
  assert_true (count_warnings (p->annotations, "org.runcvm.mem-size=500M"));
  assert_int_equal (count_warnings (p->annotations, "org.runcvm.cpus"), 1);
  rcvmi_plan_free (p);

  /* So does a variable of the caller's. */
  p = plan_ok (config_text (NULL, env, NULL), OPTIONS (.env = LIST ("RUNCVM_CPUS=8")));
  assert_int_equal (p->cpus, 8);
  rcvmi_plan_free (p);

  p = plan_ok (config_text (both, env, lx),
               OPTIONS (.memory = 600 * MIB, .cpus = 9, .kernel = (char *) "/op/k",
                        .initramfs = (char *) "/op/i", .kernel_args = (char *) "op",
                        .hypervisor = (char *) "auto", .rootfs_size = 5, .log_level = 0));
  assert_true (p->memory == 600 * MIB);
  assert_int_equal (p->cpus, 9);
  assert_string_equal (p->kernel, "/op/k");
  assert_string_equal (p->initramfs, "/op/i");
  assert_string_equal (p->kernel_args, "op");
  assert_int_equal (p->hypervisor, RCVMI_HYPERVISOR_AUTO);
  assert_true (p->rootfs_size == 5);
  assert_int_equal (p->log_level, RCVM_LOG_ERROR);
  rcvmi_plan_free (p);
}

static void
test_root_disk (void **state)
{
  struct rcvmi_plan *p
      = plan_ok (config_text (NULL, NULL, NULL), OPTIONS (.rootfs_disk = (char *) "single"));

  (void) state;
  assert_int_equal (p->root_disk, RCVMI_ROOT_SINGLE);
  assert_int_equal (p->changes, RCVMI_CHANGES_DISCARD);
  assert_int_equal (setup_number (p, S_ROOT_DISK_RO), -1);
  assert_null (setup_str (p, S_UPPER_DISK, 0));
  rcvmi_plan_free (p);
  p = plan_ok (config_text (NULL, NULL, NULL),
               OPTIONS (.annotations = LIST ("org.runcvm.rootfs=keep"), .env = LIST ("RUNCVM_ROOTFS=discard")));
  assert_int_equal (p->changes, RCVMI_CHANGES_KEEP);
  rcvmi_plan_free (p);
  p = plan_ok (config_text (NULL, NULL, NULL),
               OPTIONS (.env = LIST ("RUNCVM_ROOTFS=discard", "RUNCVM_ROOTFS_DISK=overlay")));
  assert_int_equal (p->changes, RCVMI_CHANGES_DISCARD);
  rcvmi_plan_free (p);
  p = plan_ok (config_text (NULL, NULL, NULL), OPTIONS (.rootfs_digests = LIST ("sha256:a", "sha256:b")));
  assert_int_equal (p->changes, RCVMI_CHANGES_DISCARD);
  assert_string_equal (p->digests[1], "sha256:b");
  rcvmi_plan_free (p);
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.rootfs_disk = (char *) "raid"), RCVM_E_INVALID, "plan",
              "names the root disk 'raid'");
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.rootfs_changes = (char *) "burn"), RCVM_E_INVALID, "plan",
              "says 'burn' of the root's changes");
  plan_fails (config_text (NULL, NULL, NULL),
              OPTIONS (.rootfs_changes = (char *) "writeback", .rootfs_disk = (char *) "single"), RCVM_E_INVALID,
              "plan", "a single root disk cannot tell");
  plan_fails (config_text (NULL, NULL, NULL),
              OPTIONS (.rootfs_changes = (char *) "writeback", .rootfs_digests = LIST ("sha256:a")), RCVM_E_INVALID,
              "plan", "named by digests");
}

static void
test_machine_errors (void **state)
{
  static const struct
  {
    const char *annotation, *variable;
    int code;
    const char *needle;
  } cases[] = {
    { "'org.runcvm.hypervisor':'xen'", 0, RCVM_E_INVALID,
      "the annotation org.runcvm.hypervisor names the hypervisor 'xen'" },
    { 0, "RUNCVM_HYPERVISOR=QEMU", RCVM_E_INVALID,
      "RUNCVM_HYPERVISOR of the container's environment names the hypervisor 'QEMU'" },
    { "'org.runcvm.mem-size':'lots'", 0, RCVM_E_INVALID,
      "the annotation org.runcvm.mem-size gives the memory size 'lots'" },
    { 0, "RUNCVM_MEM_SIZE=-1", RCVM_E_INVALID, "RUNCVM_MEM_SIZE of the container's environment" },
    { 0, "RUNCVM_MEM_SIZE=1M", RCVM_E_INVALID, "must be between 64 MiB and 16 TiB" },
    { 0, "RUNCVM_MEM_SIZE=17T", RCVM_E_INVALID, "must be between 64 MiB and 16 TiB" },
    { "'org.runcvm.cpus':'0'", 0, RCVM_E_INVALID,
      "the annotation org.runcvm.cpus gives the VM '0' CPUs" },
    { 0, "RUNCVM_CPUS=-2", RCVM_E_INVALID,
      "RUNCVM_CPUS of the container's environment gives the VM '-2' CPUs" },
    { 0, "RUNCVM_CPUS=2x", RCVM_E_INVALID, "'2x' CPUs" },
    { 0, "RUNCVM_CPUS= 2", RCVM_E_INVALID, "' 2' CPUs" },
    { 0, "RUNCVM_CPUS=257", RCVM_E_INVALID, "a VM has at most 256" },
    { 0, "RUNCVM_CPUS=99999999999999999999999", RCVM_E_INVALID, "CPUs" },
    { 0, "RUNCVM_KERNEL=debian", RCVM_E_INVALID,
      "RUNCVM_KERNEL of the container's environment gives the kernel 'debian'; only absolute "
      "paths are known" },
    { "'org.runcvm.initramfs':'x/y'", 0, RCVM_E_INVALID, "the annotation org.runcvm.initramfs" },
    { "'org.runcvm.kernel-args':'a\\nb'", 0, RCVM_E_INVALID, "with a control character" },
    { "'org.runcvm.rootfs-size':'0'", 0, RCVM_E_INVALID, "gives the root disk size '0'" },
    { 0, "RUNCVM_LOG_LEVEL=loud", RCVM_E_INVALID, "names the log level 'loud'" },
    { "'org.runcvm.disks':'/disk,ext4,1G'", 0, RCVM_E_INVALID,
      "the annotation org.runcvm.disks has a disk '/disk' that is not of the form" },
    { 0, "RUNCVM_DISKS=/disk", RCVM_E_INVALID, "RUNCVM_DISKS of the container's environment" },
    { 0, "RUNCVM_NETWORK_MODE=wifi", RCVM_E_INVALID, "RUNCVM_NETWORK_MODE" },
    { "'org.runcvm.network-mode':'x'", 0, RCVM_E_INVALID, "org.runcvm.network-mode" },
    { 0, "RUNCVM_ENABLE_BALLOON=big", RCVM_E_INVALID, "RUNCVM_ENABLE_BALLOON" },
    { 0, "RUNCVM_DISK_BANDWIDTH=fast", RCVM_E_INVALID, "the limit 'fast', which is no number of bytes a second" },
    { 0, "RUNCVM_IO_ENGINE=aio", RCVM_E_INVALID, "only sync and async" },
    { "'org.runcvm.memory-max':'17T'", 0, RCVM_E_INVALID, "org.runcvm.memory-max gives the memory '17T', which is no size up to 16 TiB" },
    { "'org.runcvm.hotplug':'maybe'", 0, RCVM_E_INVALID, "org.runcvm.hotplug is 'maybe', and only auto, on and off" },
    { "'org.runcvm.huge-pages':'1G'", 0, RCVM_E_INVALID, "org.runcvm.huge-pages is '1G'" },
    { 0, "RUNCVM_BREAK=prenet", RCVM_E_UNSUPPORTED, "RUNCVM_BREAK" },
    { "'org.runcvm.break':'x'", 0, RCVM_E_UNSUPPORTED, "org.runcvm.break" },
  };
  struct rcvmi_plan *p;
  char *long_args = calloc (1, 1026), *json;

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      char top[256], process[256];

      snprintf (top, sizeof top, "'annotations':{%s}",
                cases[i].annotation ? cases[i].annotation : "");
      snprintf (process, sizeof process, "'env':['%s']",
                cases[i].variable ? cases[i].variable : "A=");
      plan_fails (config_text (top, process, NULL), NO_OPTIONS, cases[i].code, "plan",
                  cases[i].needle);
    }
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.hypervisor = (char *) ""), RCVM_E_INVALID,
              "plan",
              "the option 'hypervisor' names the hypervisor ''");
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.memory = 5), RCVM_E_INVALID, "plan",
              "the option 'memory' gives the VM 5 bytes");
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.memory = UINT64_MAX), RCVM_E_INVALID,
              "plan",
              "the option 'memory'");
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.cpus = 1000), RCVM_E_INVALID, "plan",
              "the option 'cpus' gives the VM 1000 CPUs");
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.kernel = (char *) "vmlinuz"),
              RCVM_E_INVALID,
              "plan", "the option 'kernel'");
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.annotations = LIST ("novalue")),
              RCVM_E_INVALID,
              "plan", "the annotation 'novalue'");
  plan_fails (config_text ("'vm':{'hwConfig':{'memory':5}}", NULL, NULL), NO_OPTIONS,
              RCVM_E_INVALID,
              "plan", "'vm.hwConfig.memory' of config.json");
  plan_fails (config_text ("'vm':{'hwConfig':{'vcpus':500}}", NULL, NULL), NO_OPTIONS,
              RCVM_E_INVALID,
              "plan", "'vm.hwConfig.vcpus' of config.json");
  plan_fails (config_text ("'vm':{'kernel':{'path':'k'}}", NULL, NULL), NO_OPTIONS, RCVM_E_INVALID,
              "plan",
              "'vm.kernel.path' of config.json");
  memset (long_args, 'a', 1025);
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.kernel_args = long_args), RCVM_E_INVALID,
              "plan",
              "the option 'kernel_args' gives kernel arguments of more than 1024 bytes");
  long_args[1024] = 0;
  rcvmi_plan_free (plan_ok (config_text (NULL, NULL, NULL), OPTIONS (.kernel_args = long_args)));
  free (long_args);
  /* What is off, or empty, is not asked for. */
  p = plan_ok (config_text ("'annotations':{'org.runcvm.cpus':'','org.runcvm.break':'off'}",
                            "'env':['RUNCVM_DISKS=','RUNCVM_ENABLE_BALLOON=0','RUNCVM_BREAK=no']",
                            NULL),
               NO_OPTIONS);
  assert_null (p->warnings);
  assert_false (p->balloon);
  rcvmi_plan_free (p);
  p = plan_ok (config_text ("'annotations':{'org.runcvm.enable-balloon':'on'}", "'env':['RUNCVM_ENABLE_BALLOON=no']", NULL),
               NO_OPTIONS);
  assert_true (p->balloon);
  rcvmi_plan_free (p);
  p = plan_ok (config_text ("'annotations':{'org.runcvm.memsize':'1G','org.runcvmx':''}", NULL,
                            NULL),
               NO_OPTIONS);
  assert_int_equal (rcvmi_strv_length (p->warnings), 1);
  assert_int_equal (count_warnings (p->warnings, "'org.runcvm.memsize' is not known"), 1);
  rcvmi_plan_free (p);
  /* A host without a kernel; a plan that nobody carries out needs none. */
  {
    struct rcvmi_options o = OPTIONS (.id = (char *) "x");
    rcvm_error *err = NULL;

    json = config_text (NULL, NULL, NULL);
    o.config_json = json;
    assert_null (rcvmi_plan_new (rcvmi_spec_load (&o, NULL), &o,
                                 &(struct rcvmi_defaults){ .initramfs = "/i" }, &err));
    assert_error (&err, RCVM_E_HOST, "plan", "no guest kernel");
    assert_null (rcvmi_plan_new (rcvmi_spec_load (&o, NULL), &o,
                                 &(struct rcvmi_defaults){ .kernel = "/k" }, &err));
    assert_error (&err, RCVM_E_HOST, "plan", "no guest initramfs");
    p = rcvmi_plan_new (rcvmi_spec_load (&o, NULL), &o, NULL, &err);
    assert_non_null (p);
    assert_null (p->kernel);
    rcvmi_plan_free (p);
    /* The environment's hypervisor counts where nobody else names one. */
    p = rcvmi_plan_new (rcvmi_spec_load (&o, NULL), &o,
                        &(struct rcvmi_defaults){ .kernel = "/k", .initramfs = "/i", .hypervisor = "qemu" }, &err);
    assert_non_null (p);
    assert_int_equal (p->hypervisor, RCVMI_HYPERVISOR_QEMU);
    rcvmi_plan_free (p);
    assert_null (rcvmi_plan_new (rcvmi_spec_load (&o, NULL), &o,
                                 &(struct rcvmi_defaults){ .kernel = "/k", .initramfs = "/i", .hypervisor = "xen" }, &err));
    assert_error (&err, RCVM_E_INVALID, "plan", "RUNCVM_HYPERVISOR of the environment names the hypervisor 'xen'");
    o.hypervisor = (char *) "auto";
    p = rcvmi_plan_new (rcvmi_spec_load (&o, NULL), &o,
                        &(struct rcvmi_defaults){ .kernel = "/k", .initramfs = "/i", .hypervisor = "qemu" }, &err);
    assert_non_null (p);
    assert_int_equal (p->hypervisor, RCVMI_HYPERVISOR_AUTO);
    assert_int_equal (p->confinement, RCVMI_CONFINEMENT_AUTO);
    rcvmi_plan_free (p);
    /* So does its confinement, which no container has a say in. */
    p = rcvmi_plan_new (rcvmi_spec_load (&o, NULL), &o,
                        &(struct rcvmi_defaults){ .kernel = "/k", .initramfs = "/i", .confinement = "off" }, &err);
    assert_non_null (p);
    assert_int_equal (p->confinement, RCVMI_CONFINEMENT_OFF);
    rcvmi_plan_free (p);
    assert_null (rcvmi_plan_new (rcvmi_spec_load (&o, NULL), &o,
                                 &(struct rcvmi_defaults){ .kernel = "/k", .initramfs = "/i", .confinement = "none" }, &err));
    assert_error (&err, RCVM_E_INVALID, "plan", "RUNCVM_CONFINE of the environment is 'none', and only auto, own, jailer and off");
    /* Whether it starts from a template the container says first. */
    p = rcvmi_plan_new (rcvmi_spec_load (&o, NULL), &o,
                        &(struct rcvmi_defaults){ .kernel = "/k", .initramfs = "/i", .from_template = "on" }, &err);
    assert_non_null (p);
    assert_int_equal (p->from_template, RCVMI_PLAN_TEMPLATE_ON);
    rcvmi_plan_free (p);
    assert_int_equal (rcvmi_strv_append (&o.annotations, "org.runcvm.template=auto"), 0);
    p = rcvmi_plan_new (rcvmi_spec_load (&o, NULL), &o,
                        &(struct rcvmi_defaults){ .kernel = "/k", .initramfs = "/i", .from_template = "on" }, &err);
    assert_non_null (p);
    assert_int_equal (p->from_template, RCVMI_PLAN_TEMPLATE_AUTO);
    rcvmi_plan_free (p);
    rcvmi_strv_free (o.annotations);
    o.annotations = NULL;
    assert_null (rcvmi_plan_new (rcvmi_spec_load (&o, NULL), &o,
                                 &(struct rcvmi_defaults){ .kernel = "/k", .initramfs = "/i", .from_template = "once" }, &err));
    assert_error (&err, RCVM_E_INVALID, "plan", "RUNCVM_TEMPLATE of the environment says 'once' of templates, and only off, auto and on");
    o.confinement = (char *) "own";
    p = rcvmi_plan_new (rcvmi_spec_load (&o, NULL), &o,
                        &(struct rcvmi_defaults){ .kernel = "/k", .initramfs = "/i", .confinement = "off" }, &err);
    assert_non_null (p);
    assert_int_equal (p->confinement, RCVMI_CONFINEMENT_OWN);
    rcvmi_plan_free (p);
    free (json);
  }
}

static void
test_rootfs (void **state)
{
  static const char config[]
      = "{'ociVersion':'1.0.0','root':{'path':'%s'},'process':{'args':['a'],'cwd':'/'}}";
  static const struct
  {
    const char *root, *bundle, *option, *want;
  } cases[] = {
    { "rootfs", "/b", 0, "/b/rootfs" },
    { ".", "/b", 0, "/b/." },
    { "/abs", "/b", 0, "/abs" },
    { "/abs", 0, 0, "/abs" },
    { "rootfs", "/b", "/opt", "/opt" },
    { "rootfs", 0, "/opt", "/opt" },
  };
  char *json;

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      struct rcvmi_plan *p;

      assert_true (asprintf (&json, config, cases[i].root) > 0);
      p = plan_ok (quotes (json), OPTIONS (.bundle = (char *) cases[i].bundle,
                                           .rootfs = (char *) cases[i].option));
      assert_string_equal (p->rootfs, cases[i].want);
      if (cases[i].bundle)
        assert_string_equal (p->bundle, cases[i].bundle);
      else
        assert_null (p->bundle);
      rcvmi_plan_free (p);
    }
  assert_true (asprintf (&json, config, "rootfs") > 0);
  plan_fails (quotes (json), NO_OPTIONS, RCVM_E_SPEC, "plan",
              "'root.path' is 'rootfs', which is relative");
  plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.rootfs = (char *) "x"), RCVM_E_INVALID,
              "plan",
              "the root file system 'x' must be an absolute path");
}

static void
test_bare_rootfs (void **state)
{
  struct rcvmi_options o = OPTIONS (.id = (char *) "bare", .rootfs = (char *) "/srv/tree",
                                    .args = LIST ("id", "-u"), .user = (char *) "nobody");
  rcvm_error *err = NULL;
  struct rcvmi_plan *p = rcvmi_plan_new (rcvmi_spec_load (&o, &err), &o, &defaults, &err);

  (void) state;
  assert_no_error (err);
  assert_string_equal (p->rootfs, "/srv/tree");
  assert_string_equal (exec_str (p, E_ARG, 0), "id");
  assert_string_equal (exec_str (p, E_ARG, 1), "-u");
  assert_null (exec_str (p, E_ARG, 2));
  assert_string_equal (exec_str (p, E_USER_NAME, 0), "nobody");
  assert_int_equal (exec_number (p, E_UID), -1);
  assert_int_equal (count_fields (p->setup.data, p->setup.len, S_MOUNT), 7);
  assert_null (p->warnings);
  rcvmi_plan_free (p);
}

static void
test_setup (void **state)
{
  struct rcvmi_plan *p;
  struct tlv_field f;

  (void) state;
  p = plan_ok (config_text ("'hostname':'web','domainname':'example.org'", NULL,
                            "'rootfsPropagation':'rslave','maskedPaths':['/proc/kcore','/x'],"
                            "'readonlyPaths':['/proc/sys'],'sysctl':{'net.ipv4.ip_forward':'1',"
                            "'net/ipv4/conf/eth0.1/forwarding':'0','net.ipv4.conf.eth0/2.forwarding':'0'},"
                            "'devices':[{'type':'c','path':'/dev/fuse','major':10,'minor':229,'fileMode':33206,"
                            "'uid':5,'gid':6},{'type':'p','path':'/run/fifo'},"
                            "{'type':'b','path':'/dev/loop0','major':7,'minor':0},"
                            "{'type':'u','path':'/dev/nvidia0','major':195,'minor':0},"
                            "{'type':'c','path':'/dev/kvm','major':10,'minor':232}]"),
               OPTIONS (.readonly_rootfs = 1));
  assert_string_equal (setup_str (p, S_HOSTNAME, 0), "web");
  assert_string_equal (setup_str (p, S_DOMAINNAME, 0), "example.org");
  assert_int_equal (setup_number (p, S_ROOT_READONLY), 1);
  assert_int_equal (setup_number (p, S_ROOT_PROPAGATION), MS_SLAVE | MS_REC);
  assert_string_equal (setup_str (p, S_MASKED_PATH, 0), "/proc/kcore");
  assert_string_equal (setup_str (p, S_MASKED_PATH, 1), "/x");
  assert_string_equal (setup_str (p, S_READONLY_PATH, 0), "/proc/sys");
  assert_true (find_field (p->setup.data, p->setup.len, S_SYSCTL, 0, &f));
  assert_string_equal (get_str (f.data, f.len, K_NAME, 0), "net.ipv4.ip_forward");
  assert_string_equal (get_str (f.data, f.len, K_VALUE, 0), "1");
  assert_true (find_field (p->setup.data, p->setup.len, S_SYSCTL, 1, &f));
  assert_string_equal (get_str (f.data, f.len, K_NAME, 0), "net/ipv4/conf/eth0.1/forwarding");
  assert_true (find_field (p->setup.data, p->setup.len, S_SYSCTL, 2, &f));
  assert_string_equal (get_str (f.data, f.len, K_NAME, 0), "net/ipv4/conf/eth0.2/forwarding");
  assert_true (find_field (p->setup.data, p->setup.len, S_DEVICE, 0, &f));
  assert_string_equal (get_str (f.data, f.len, D_PATH, 0), "/dev/fuse");
  assert_int_equal (get_number (f.data, f.len, D_TYPE, 0), S_IFCHR);
  assert_int_equal (get_number (f.data, f.len, D_MAJOR, 0), 10);
  assert_int_equal (get_number (f.data, f.len, D_MINOR, 0), 229);
  assert_int_equal (get_number (f.data, f.len, D_MODE, 0), 0666); /* 33206 is 0100666 */
  assert_int_equal (get_number (f.data, f.len, D_UID, 0), 5);
  assert_int_equal (get_number (f.data, f.len, D_GID, 0), 6);
  assert_true (find_field (p->setup.data, p->setup.len, S_DEVICE, 1, &f));
  assert_int_equal (get_number (f.data, f.len, D_TYPE, 0), S_IFIFO);
  assert_int_equal (get_number (f.data, f.len, D_MODE, 0), 0666);
  assert_true (find_field (p->setup.data, p->setup.len, S_DEVICE, 2, &f));
  assert_int_equal (get_number (f.data, f.len, D_TYPE, 0), S_IFBLK);
  assert_int_equal (rcvmi_strv_length (p->warnings), 2);
  assert_int_equal (count_warnings (p->warnings, "/dev/nvidia0"), 1);
  assert_int_equal (count_warnings (p->warnings, "/dev/kvm"), 1);
  rcvmi_plan_free (p);

  p = plan_ok (config_text ("'hostname':'web'", NULL, NULL), OPTIONS (.hostname = (char *) "mine"));
  assert_string_equal (setup_str (p, S_HOSTNAME, 0), "mine");
  rcvmi_plan_free (p);
  {
    char id[129], host[66];

    memset (id, 'i', 128);
    id[128] = 0;
    p = plan_ok (config_text (NULL, NULL, NULL), OPTIONS (.id = id));
    assert_int_equal (strlen (setup_str (p, S_HOSTNAME, 0)), 64);
    rcvmi_plan_free (p);
    memset (host, 'h', 65);
    host[65] = 0;
    plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.hostname = host), RCVM_E_INVALID, "plan",
                "the option 'hostname'");
    plan_fails (config_text (NULL, NULL, NULL), OPTIONS (.hostname = (char *) ""), RCVM_E_INVALID,
                "plan",
                "the option 'hostname'");
  }
  plan_fails (config_text (NULL, NULL, "'rootfsPropagation':'up'"), NO_OPTIONS, RCVM_E_SPEC, "plan",
              "'linux.rootfsPropagation' is 'up'");
}

static void
test_readonly_option (void **state)
{
  static const char json[]
      = "{'ociVersion':'1.0.0','root':{'path':'/r','readonly':true},'process':{'args':['a'],'cwd':'/'}}";
  struct rcvmi_plan *p = plan_ok (quotes (strdup (json)), NO_OPTIONS);

  (void) state;
  assert_int_equal (setup_number (p, S_ROOT_READONLY), 1);
  rcvmi_plan_free (p);
  p = plan_ok (quotes (strdup (json)), OPTIONS (.readonly_rootfs = 0));
  assert_int_equal (setup_number (p, S_ROOT_READONLY), -1);
  rcvmi_plan_free (p);
}

static void
test_sysctl_names (void **state)
{
  static const char *const bad[]
      = { "x", ".a.b", "a.b.", "a..b", "/a/b", "a/../b", "a/b/", "a//b", "a b.c", "a.\\u00e4",
          "a./b" };
  char lx[128];

  (void) state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      snprintf (lx, sizeof lx, "'sysctl':{'%s':'1'}", bad[i]);
      plan_fails (config_text (NULL, NULL, lx), NO_OPTIONS, RCVM_E_SPEC, "plan",
                  "'linux.sysctl' has '");
    }
}

static void
test_namespaces (void **state)
{
  static const char head[] = "{'ociVersion':'1.0.0','root':{'path':'/'},'process':{'args':['a'],'cwd':'/'},'linux':";
  static const char maps[] = "'uidMappings':[{'containerID':0,'hostID':1000,'size':65536},{'containerID':70000,"
                             "'hostID':5,'size':1}],'gidMappings':[{'containerID':0,'hostID':2000,'size':65536}]";
  struct rcvmi_plan *p;
  struct tlv_field f;
  char json[1024];

  (void) state;
  snprintf (json, sizeof json,
            "%s{'namespaces':[{'type':'pid'},{'type':'network'},{'type':'mount'},{'type':'ipc'},{'type':'uts'},"
            "{'type':'user'},{'type':'cgroup'},{'type':'time'}],%s}}",
            head, maps);
  p = plan_ok (quotes (strdup (json)), NO_OPTIONS);
  assert_int_equal (setup_number (p, S_NAMESPACES),
                    CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS
                                                        | CLONE_NEWUSER | CLONE_NEWCGROUP);
  assert_true (find_field (p->setup.data, p->setup.len, S_UID_MAP, 1, &f));
  assert_int_equal (get_number (f.data, f.len, I_CONTAINER, 0), 70000);
  assert_int_equal (get_number (f.data, f.len, I_HOST, 0), 5);
  assert_int_equal (get_number (f.data, f.len, I_SIZE, 0), 1);
  assert_true (find_field (p->setup.data, p->setup.len, S_GID_MAP, 0, &f));
  assert_int_equal (get_number (f.data, f.len, I_HOST, 0), 2000);
  assert_null (p->warnings);
  assert_int_equal (p->net.mode, RCVMI_PLAN_NET_OWN);
  rcvmi_plan_free (p);

  /* None at all: the host's network. */
  snprintf (json, sizeof json, "%s{}}", head);
  p = plan_ok (quotes (strdup (json)), NO_OPTIONS);
  assert_int_equal (setup_number (p, S_NAMESPACES), CLONE_NEWPID | CLONE_NEWNS);
  assert_int_equal (p->net.mode, RCVMI_PLAN_NET_HOST);
  assert_null (p->warnings);
  rcvmi_plan_free (p);

  snprintf (json, sizeof json, "%s{'namespaces':[{'type':'network','path':'/run/netns/x'}]}}",
            head);
  p = plan_ok (quotes (strdup (json)), NO_OPTIONS);
  assert_int_equal (p->net.mode, RCVMI_PLAN_NET_NETNS);
  assert_string_equal (p->net.path, "/run/netns/x");
  assert_null (p->warnings);
  rcvmi_plan_free (p);

  plan_fails (config_text (NULL, NULL, maps), NO_OPTIONS, RCVM_E_SPEC, "plan",
              "'linux.uidMappings' needs a user namespace");
  snprintf (json, sizeof json, "%s{'namespaces':[{'type':'user'}]}}", head);
  plan_fails (quotes (strdup (json)), NO_OPTIONS, RCVM_E_SPEC, "plan",
              "'linux.uidMappings' is empty");
  snprintf (json, sizeof json,
            "%s{'namespaces':[{'type':'user'}],'uidMappings':[{'containerID':0,'hostID':0,'size':1}]}}", head);
  plan_fails (quotes (strdup (json)), NO_OPTIONS, RCVM_E_SPEC, "plan",
              "'linux.gidMappings' is empty");
}

static void
test_docker (void **state)
{
  char *json = read_source_file ("tests/fixtures/docker-config.json");
  struct rcvmi_plan *p = plan_ok (json, OPTIONS (.bundle = (char *) "/run/docker/b"));
  struct tlv_field f;

  (void) state;
  assert_string_equal (p->rootfs, "/var/lib/docker/overlay2/8c1f0b/merged");
  assert_true (p->memory == 768 * MIB);
  assert_int_equal (p->cpus, 2);
  assert_true (p->terminal);
  assert_int_equal (p->n_volumes, 5);
  assert_string_equal (p->volumes[0].source, "/usr/bin/docker-init");
  assert_string_equal (p->volumes[4].destination, "/etc/hosts");
  /* The seven file systems, five volumes and what is bound of them. */
  assert_int_equal (count_fields (p->setup.data, p->setup.len, S_MOUNT), 17);
  assert_true (find_field (p->setup.data, p->setup.len, S_MOUNT, 4, &f));
  assert_string_equal (get_str (f.data, f.len, M_TYPE, 0), "cgroup2");
  assert_string_equal (cgroup_value (p, "pids.max"), "50");
  assert_int_equal (count_fields (p->setup.data, p->setup.len, S_SYSCTL), 2);
  assert_int_equal (rcvmi_strv_length (p->warnings), 1);
  assert_int_equal (count_warnings (p->warnings, "apparmorProfile"), 1);
  rcvmi_plan_free (p);
}

static void
test_engine_spec (void **state)
{
  char *json = read_source_file ("tests/fixtures/engine-spec-config.json");
  struct rcvmi_plan *p = plan_ok (json, OPTIONS (.bundle = (char *) "/b"));

  (void) state;
  assert_string_equal (p->rootfs, "/b/rootfs");
  assert_int_equal (setup_number (p, S_ROOT_READONLY), 1);
  assert_int_equal (exec_number (p, E_NO_NEW_PRIVS), 1);
  assert_true (exec_number (p, E_CAP_AMBIENT)
               == (1 << CAP_AUDIT_WRITE | 1 << CAP_KILL | 1 << CAP_NET_BIND_SERVICE));
  assert_null (p->warnings);
  rcvmi_plan_free (p);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_minimal),
    cmocka_unit_test (test_id),
    cmocka_unit_test (test_sizes),
    cmocka_unit_test (test_precedence),
    cmocka_unit_test (test_root_disk),
    cmocka_unit_test (test_machine_errors),
    cmocka_unit_test (test_rootfs),
    cmocka_unit_test (test_bare_rootfs),
    cmocka_unit_test (test_setup),
    cmocka_unit_test (test_readonly_option),
    cmocka_unit_test (test_sysctl_names),
    cmocka_unit_test (test_namespaces),
    cmocka_unit_test (test_docker),
    cmocka_unit_test (test_engine_spec),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
