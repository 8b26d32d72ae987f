/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "config-text.h"

#include "spec-types.h"

static struct rcvmi_spec *
parse_ok (char *json)
{
  rcvm_error *err = NULL;
  struct rcvmi_spec *spec = rcvmi_spec_parse (json, strlen (json), &err);

  assert_no_error (err);
  assert_non_null (spec);
  free (json);
  return spec;
}

static void
parse_fails (char *json, int code, const char *needle)
{
  rcvm_error *err = NULL;
  struct rcvmi_spec *spec = rcvmi_spec_parse (json, strlen (json), &err);

  if (spec)
    fail_msg ("taken: %s", json);
  assert_error (&err, code, "spec", needle);
  free (json);
}

static void
test_minimal (void **state)
{
  struct rcvmi_spec *spec = parse_ok (config_text (NULL, NULL, NULL));

  (void) state;
  assert_string_equal (rcvmi_spec_get_oci_version (spec), "1.2.0");
  assert_string_equal (spec->root->path, "/srv/root");
  assert_false (spec->root->readonly);
  assert_string_equal (spec->process->args[0], "sh");
  assert_null (spec->process->args[1]);
  assert_string_equal (spec->process->cwd, "/");
  assert_null (spec->process->env);
  assert_null (spec->process->capabilities);
  assert_false (spec->process->oom_score_adj.set);
  assert_int_equal (spec->n_mounts, 0);
  assert_null (spec->warnings);
  rcvmi_spec_free (spec);
  rcvmi_spec_free (NULL);
}

/* Each member, once, with a value that cannot be mistaken for another's. */
static void
test_all_members (void **state)
{
  struct rcvmi_spec *s = parse_ok (text (
      "{'ociVersion':'1.0.2-dev','root':{'path':'r','readonly':true},'hostname':'h','domainname':'d',"
      "'process':{'terminal':true,'consoleSize':{'height':25,'width':80},"
      " 'user':{'uid':1,'gid':2,'umask':18,'additionalGids':[3,4]},'args':['a','b'],'env':['X=1'],"
      " "
      "'cwd':'/w','capabilities':{'bounding':['B'],'effective':['E'],'inheritable':['I'],'permitted':['P'],"
      " 'ambient':['A']},'rlimits':[{'type':'RLIMIT_CORE','soft':1,'hard':18446744073709551615}],"
      " 'noNewPrivileges':true,'apparmorProfile':'aa','selinuxLabel':'se','oomScoreAdj':-500,"
      " "
      "'scheduler':{'policy':'SCHED_FIFO','nice':-3,'priority':9,'flags':['F'],'runtime':1,'deadline':2,"
      " 'period':3},'ioPriority':{'class':'IOPRIO_CLASS_BE','priority':4},"
      " 'execCPUAffinity':{'initial':'0','final':'1'}},"
      "'mounts':[{'destination':'/m','type':'tmpfs','source':'s','options':['o1','o2'],"
      " "
      "'uidMappings':[{'containerID':1,'hostID':2,'size':3}],'gidMappings':[{'containerID':4,'hostID':5,"
      " 'size':4294967295}]}],"
      "'hooks':{'prestart':[{'path':'/1','args':['x'],'env':['Y=2'],'timeout':7}],'createRuntime':[{'path':'/2'}],"
      " "
      "'createContainer':[{'path':'/3'}],'startContainer':[{'path':'/4'}],'poststart':[{'path':'/5'}],"
      " 'poststop':[{'path':'/6'},{'path':'/7'}]},"
      "'annotations':{'k1':'v1','k2':''},"
      "'vm':{'kernel':{'path':'/k','parameters':['p1','p2'],'initrd':'/i'},'hwConfig':{'vcpus':3,'memory':999}},"
      "'linux':{'uidMappings':[{'containerID':0,'hostID':1000,'size':1}],"
      " "
      "'gidMappings':[{'containerID':0,'hostID':1001,'size':1}],'sysctl':{'net.x':'1'},'cgroupsPath':'/cg',"
      " 'namespaces':[{'type':'network','path':'/run/netns/n'},{'type':'pid'}],"
      " "
      "'devices':[{'type':'c','path':'/dev/fuse','major':10,'minor':229,'fileMode':438,'uid':1,'gid':2}],"
      " "
      "'resources':{'memory':{'limit':1,'reservation':2,'swap':3},'cpu':{'shares':4,'quota':5,'burst':6,"
      " 'period':7,'cpus':'0-1','idle':0},'pids':{'limit':8},'unified':{'io.max':'u'}},"
      " "
      "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','defaultErrnoRet':1,'architectures':['a1'],'flags':['f1'],"
      " "
      "'listenerPath':'lp','listenerMetadata':'lm','syscalls':[{'names':['n1','n2'],'action':'SCMP_ACT_ERRNO',"
      " "
      "'errnoRet':38,'args':[{'index':5,'value':18446744073709551615,'valueTwo':2,'op':'SCMP_CMP_EQ'}]}]},"
      " 'rootfsPropagation':'slave','maskedPaths':['/mp'],'readonlyPaths':['/rp'],"
      " 'personality':{'domain':'LINUX'},'timeOffsets':{'monotonic':{'secs':0,'nanosecs':0}}}}"));
  const struct rcvmi_spec_process *p = s->process;
  const struct rcvmi_spec_lx *lx = s->lx;

  (void) state;
  assert_string_equal (s->root->path, "r");
  assert_true (s->root->readonly);
  assert_string_equal (s->hostname, "h");
  assert_string_equal (s->domainname, "d");
  assert_true (p->terminal);
  assert_int_equal (p->console_size->height.value, 25);
  assert_int_equal (p->console_size->width.value, 80);
  assert_int_equal (p->user->uid.value, 1);
  assert_int_equal (p->user->gid.value, 2);
  assert_int_equal (p->user->umask.value, 022);
  assert_int_equal (p->user->n_additional_gids, 2);
  assert_int_equal (p->user->additional_gids[1], 4);
  assert_string_equal (p->args[1], "b");
  assert_string_equal (p->env[0], "X=1");
  assert_string_equal (p->cwd, "/w");
  assert_string_equal (p->capabilities->bounding[0], "B");
  assert_string_equal (p->capabilities->effective[0], "E");
  assert_string_equal (p->capabilities->inheritable[0], "I");
  assert_string_equal (p->capabilities->permitted[0], "P");
  assert_string_equal (p->capabilities->ambient[0], "A");
  assert_int_equal (p->n_rlimits, 1);
  assert_int_equal (p->rlimits[0].soft.value, 1);
  assert_true (p->rlimits[0].hard.value == UINT64_MAX);
  assert_true (p->no_new_privileges);
  assert_string_equal (p->apparmor_profile, "aa");
  assert_string_equal (p->selinux_label, "se");
  assert_int_equal (p->oom_score_adj.value, -500);
  assert_string_equal (p->scheduler->policy, "SCHED_FIFO");
  assert_int_equal (p->scheduler->nice.value, -3);
  assert_int_equal (p->scheduler->priority.value, 9);
  assert_string_equal (p->scheduler->flags[0], "F");
  assert_int_equal (p->scheduler->runtime.value, 1);
  assert_int_equal (p->scheduler->deadline.value, 2);
  assert_int_equal (p->scheduler->period.value, 3);
  assert_int_equal (p->io_priority->priority.value, 4);
  assert_string_equal (p->exec_cpu_affinity->final, "1");
  assert_string_equal (s->mounts[0].destination, "/m");
  assert_string_equal (s->mounts[0].type, "tmpfs");
  assert_string_equal (s->mounts[0].source, "s");
  assert_string_equal (s->mounts[0].options[1], "o2");
  assert_int_equal (s->mounts[0].uid_mappings[0].host_id.value, 2);
  assert_true (s->mounts[0].gid_mappings[0].size.value == UINT32_MAX);
  assert_string_equal (s->hooks->prestart[0].path, "/1");
  assert_string_equal (s->hooks->prestart[0].args[0], "x");
  assert_string_equal (s->hooks->prestart[0].env[0], "Y=2");
  assert_int_equal (s->hooks->prestart[0].timeout.value, 7);
  assert_string_equal (s->hooks->create_runtime[0].path, "/2");
  assert_string_equal (s->hooks->create_container[0].path, "/3");
  assert_string_equal (s->hooks->start_container[0].path, "/4");
  assert_string_equal (s->hooks->poststart[0].path, "/5");
  assert_int_equal (s->hooks->n_poststop, 2);
  assert_string_equal (s->hooks->poststop[1].path, "/7");
  assert_int_equal (s->n_annotations, 2);
  assert_string_equal (s->annotations[0].name, "k1");
  assert_string_equal (s->annotations[0].value, "v1");
  assert_string_equal (s->annotations[1].value, "");
  assert_string_equal (s->vm->kernel->path, "/k");
  assert_string_equal (s->vm->kernel->parameters[1], "p2");
  assert_string_equal (s->vm->kernel->initrd, "/i");
  assert_int_equal (s->vm->hardware->vcpus.value, 3);
  assert_int_equal (s->vm->hardware->memory.value, 999);
  assert_int_equal (lx->uid_mappings[0].host_id.value, 1000);
  assert_int_equal (lx->gid_mappings[0].host_id.value, 1001);
  assert_string_equal (lx->sysctl[0].name, "net.x");
  assert_string_equal (lx->cgroups_path, "/cg");
  assert_string_equal (lx->namespaces[0].path, "/run/netns/n");
  assert_string_equal (lx->namespaces[1].type, "pid");
  assert_string_equal (lx->devices[0].path, "/dev/fuse");
  assert_int_equal (lx->devices[0].minor.value, 229);
  assert_int_equal (lx->devices[0].file_mode.value, 0666);
  assert_int_equal (lx->devices[0].gid.value, 2);
  assert_int_equal (lx->resources->memory->limit.value, 1);
  assert_int_equal (lx->resources->memory->reservation.value, 2);
  assert_int_equal (lx->resources->memory->swap.value, 3);
  assert_int_equal (lx->resources->cpu->shares.value, 4);
  assert_int_equal (lx->resources->cpu->quota.value, 5);
  assert_int_equal (lx->resources->cpu->burst.value, 6);
  assert_int_equal (lx->resources->cpu->period.value, 7);
  assert_string_equal (lx->resources->cpu->cpus, "0-1");
  assert_int_equal (lx->resources->pids->limit.value, 8);
  assert_string_equal (lx->resources->unified[0].value, "u");
  assert_int_equal (lx->seccomp->default_errno_ret.value, 1);
  assert_string_equal (lx->seccomp->architectures[0], "a1");
  assert_string_equal (lx->seccomp->flags[0], "f1");
  assert_string_equal (lx->seccomp->listener_path, "lp");
  assert_string_equal (lx->seccomp->listener_metadata, "lm");
  assert_string_equal (lx->seccomp->syscalls[0].names[1], "n2");
  assert_int_equal (lx->seccomp->syscalls[0].errno_ret.value, 38);
  assert_int_equal (lx->seccomp->syscalls[0].args[0].index.value, 5);
  assert_true (lx->seccomp->syscalls[0].args[0].value.value == UINT64_MAX);
  assert_int_equal (lx->seccomp->syscalls[0].args[0].value_two.value, 2);
  assert_string_equal (lx->rootfs_propagation, "slave");
  assert_string_equal (lx->masked_paths[0], "/mp");
  assert_string_equal (lx->readonly_paths[0], "/rp");
  assert_string_equal (lx->personality->domain, "LINUX");
  assert_int_equal (lx->n_time_offsets, 1);
  assert_string_equal (lx->time_offsets[0].clock, "monotonic");
  rcvmi_spec_free (s);
}

static void
test_text (void **state)
{
  static const struct
  {
    const char *json;
    const char *needle;
  } cases[] = {
    { "", "cut short" },
    { "   ", "cut short" },
    { "{", "cut short: it ends inside a value in line 1 (byte 1)" },
    { "{\n'ociVersion':'1.0.0',\n'root':{'pa", "in line 3 (byte 35)" },
    { "{'ociVersion':'1.0.0'\n'root':1}", "is not JSON" },
    { "{'ociVersion':'1.0.0',\n\n'root':}", "in line 3" },
    { "{} {}", "is not JSON" },
    { "{'a':1,}", "is not JSON" },
    { "/* x */{}", "is not JSON" },
    { "[]", "must be an object" },
    { "null", "cut short" },
    { "1", "cut short" },
    { "{'a':99999999999999999999999}", "a number too large for 64 bits in line 1 (byte 5)" },
    { "{'a':-9223372036854775809}", "a number too large for 64 bits" },
    { "{'a':18446744073709551616}", "a number too large for 64 bits" },
    { "{'a':111111111111111111111111111111111111111111}", "a number too large" },
    { "{'a':'x\\u0000y'}", "a NUL character" },
    { "{'a\\u0000b':1}", "a NUL character" },
    { "{'a':'x\ny'}", "a control character" },
    { "{'a':NaN}", "not finite" },
    { "{'a':-Infinity}", "not finite" },
    { "{'a':Infinity}", "not finite" },
    { "{'hostname':'a',\n'hostname':'b'}", "'hostname' is there twice, again in line 2 (byte 18)" },
    { "{'x':[{'b':1,'b':1}]}", "'b' is there twice" },
    { "{'ab':1,'\\u0061b':1}", "two properties of one name" },
    { "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
      "nested more than 64" },
    { "{'a':'\xff\xfe'}", "is not JSON" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    parse_fails (text (cases[i].json), RCVM_E_SPEC, cases[i].needle);
  parse_fails (strdup ("{'a':1}"), RCVM_E_SPEC, "single quotes");
  {
    rcvm_error *err = NULL;

    assert_null (rcvmi_spec_parse ("{\0}", 3, &err));
    assert_error (&err, RCVM_E_SPEC, "spec", "a NUL byte");
  }
  /* Names may come again in other objects, and numbers with exponents are numbers. */
  rcvmi_spec_free (parse_ok (config_text ("'x':{'a':1,'b':{'a':1}},'y':[{'a':1},{'a':1e3}]", NULL,
                                          NULL)));
}

static void
test_types (void **state)
{
  static const struct
  {
    const char *top, *process, *lx;
    const char *needle;
  } cases[] = {
    { "'hostname':1", 0, 0, "'hostname' must be a string, not a number" },
    { "'hostname':['a']", 0, 0, "'hostname' must be a string, not an array" },
    { "'mounts':{}", 0, 0, "'mounts' must be an array of objects, not an object" },
    { "'mounts':[null]", 0, 0, "'mounts[0]' must be an object, not null" },
    { "'mounts':[{'destination':'/a'},{'destination':'/a','options':'ro'}]", 0, 0,
      "'mounts[1].options' must be an array of strings, not a string" },
    { "'mounts':[{'destination':'/a','options':['ro',2]}]", 0, 0,
      "'mounts[0].options[1]' must be a string, not a number" },
    { "'mounts':[{}]", 0, 0, "'mounts[0].destination' is missing" },
    { "'mounts':[{'destination':''}]", 0, 0, "'mounts[0].destination' is empty" },
    { "'mounts':[{'destination':'/a','uidMappings':[{'containerID':0,'hostID':0}]}]", 0, 0,
      "'mounts[0].uidMappings[0].size' is missing" },
    { "'annotations':[]", 0, 0, "'annotations' must be an object, not an array" },
    { "'annotations':{'k':1}", 0, 0, "'annotations.k' must be a string, not a number" },
    { "'annotations':{'':'x'}", 0, 0, "'annotations.' has a property without a name" },
    { "'annotations':{'a=b':'x'}", 0, 0, "'a=b' has a '='" },
    { "'hooks':{'prestart':[{}]}", 0, 0, "'hooks.prestart[0].path' is missing" },
    { "'hooks':{'prestart':[{'path':'rel'}]}", 0, 0, "'hooks.prestart[0].path' is 'rel'" },
    { "'hooks':{'createRuntime':[{'path':'rel'}]}", 0, 0, "'hooks.createRuntime[0].path'" },
    { "'hooks':{'createContainer':[{'path':'rel'}]}", 0, 0, "'hooks.createContainer[0].path'" },
    { "'hooks':{'startContainer':[{'path':'rel'}]}", 0, 0, "'hooks.startContainer[0].path'" },
    { "'hooks':{'poststart':[{'path':'rel'}]}", 0, 0, "'hooks.poststart[0].path'" },
    { "'hooks':{'poststop':[{'path':'/a','timeout':0}]}", 0, 0,
      "'hooks.poststop[0].timeout' is 0 and must be between 1 and" },
    { "'hooks':{'poststop':[{'path':'/a','env':['x']}]}", 0, 0,
      "'hooks.poststop[0].env[0]' is not of the form" },
    { "'hostname':'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'", 0, 0,
      "'hostname' is longer than 64 bytes" },
    { "'domainname':'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'", 0, 0,
      "'domainname' is longer than 64 bytes" },
    { 0, "'terminal':'yes'", 0, "'process.terminal' must be true or false, not a string" },
    { 0, "'env':['A=1','B']", 0, "'process.env[1]' is not of the form NAME=VALUE" },
    { 0, "'env':['=1']", 0, "'process.env[0]' is not of the form NAME=VALUE" },
    { 0, "'consoleSize':{'height':1}", 0, "'process.consoleSize.width' is missing" },
    { 0, "'consoleSize':{'height':1,'width':65536}", 0, "'process.consoleSize.width' is 65536" },
    { 0, "'user':{'uid':-1}", 0, "'process.user.uid' is -1 and must be between 0 and 4294967294" },
    { 0, "'user':{'uid':4294967295}", 0, "'process.user.uid' is 4294967295" },
    { 0, "'user':{'gid':1.5}", 0,
      "'process.user.gid' must be a whole number, not a number with a fraction" },
    { 0, "'user':{'gid':1e3}", 0, "'process.user.gid' must be a whole number" },
    { 0, "'user':{'umask':512}", 0, "'process.user.umask' is 512 and must be between 0 and 511" },
    { 0, "'user':{'additionalGids':[1,'2']}", 0,
      "'process.user.additionalGids[1]' must be a whole number" },
    { 0, "'user':{'additionalGids':5}", 0,
      "'process.user.additionalGids' must be an array of numbers" },
    { 0, "'oomScoreAdj':1001", 0,
      "'process.oomScoreAdj' is 1001 and must be between -1000 and 1000" },
    { 0, "'oomScoreAdj':18446744073709551615", 0, "'process.oomScoreAdj' is 18446744073709551615" },
    { 0, "'rlimits':[{'type':'RLIMIT_CORE','soft':1}]", 0, "'process.rlimits[0].hard' is missing" },
    { 0, "'rlimits':[{'type':'RLIMIT_CORE','soft':-1,'hard':1}]", 0,
      "'process.rlimits[0].soft' is -1" },
    { 0, "'scheduler':{'nice':1}", 0, "'process.scheduler.policy' is missing" },
    { 0, "'scheduler':{'policy':'SCHED_OTHER','nice':20}", 0, "'process.scheduler.nice' is 20" },
    { 0, "'scheduler':{'policy':'SCHED_RR','priority':100}", 0,
      "'process.scheduler.priority' is 100" },
    { 0, "'ioPriority':{'class':'IOPRIO_CLASS_BE'}", 0,
      "'process.ioPriority.priority' is missing" },
    { 0, "'ioPriority':{'class':'IOPRIO_CLASS_BE','priority':8}", 0,
      "'process.ioPriority.priority' is 8" },
    { 0, "'capabilities':{'bounding':'CAP_KILL'}", 0,
      "'process.capabilities.bounding' must be an array" },
    { 0, 0, "'devices':[{'type':'c','path':'dev/x','major':1,'minor':3}]",
      "'linux.devices[0].path' is 'dev/x' and must be an absolute path" },
    { 0, 0, "'devices':[{'type':'x','path':'/dev/x','major':1,'minor':3}]",
      "'linux.devices[0].type' is 'x'" },
    { 0, 0, "'devices':[{'type':'','path':'/dev/x','major':1,'minor':3}]",
      "'linux.devices[0].type' is ''" },
    { 0, 0, "'devices':[{'type':'c','path':'/dev/x','major':1}]",
      "'linux.devices[0].minor' is missing" },
    { 0, 0, "'devices':[{'type':'c','path':'/dev/x'}]", "'linux.devices[0].major' is missing" },
    { 0, 0, "'devices':[{'type':'c','path':'/dev/x','major':-1,'minor':3}]",
      "'linux.devices[0].major' is -1" },
    { 0, 0, "'maskedPaths':['/a','b']",
      "'linux.maskedPaths[1]' is 'b' and must be an absolute path" },
    { 0, 0, "'readonlyPaths':['b']",
      "'linux.readonlyPaths[0]' is 'b' and must be an absolute path" },
    { 0, 0, "'sysctl':{'a.b':1}", "'linux.sysctl.a.b' must be a string" },
    { 0, 0, "'resources':{'memory':{'limit':'1G'}}",
      "'linux.resources.memory.limit' must be a whole number" },
    { 0, 0, "'resources':{'devices':[{'allow':1}]}",
      "'linux.resources.devices[0].allow' must be true or false" },
    { 0, 0, "'resources':{'blockIO':{'weight':65536}}",
      "'linux.resources.blockIO.weight' is 65536" },
    { 0, 0, "'resources':{'rdma':{'mlx':{'hcaHandles':-1}}}",
      "'linux.resources.rdma.mlx.hcaHandles' is -1" },
    { 0, 0, "'uidMappings':[{'containerID':0,'hostID':4294967296,'size':1}]",
      "'linux.uidMappings[0].hostID' is 4294967296" },
    { 0, 0, "'timeOffsets':{'boottime':{'nanosecs':1000000000}}",
      "'linux.timeOffsets.boottime.nanosecs'" },
    { 0, 0, "'seccomp':{}", "'linux.seccomp.defaultAction' is missing" },
    { 0, 0, "'seccomp':{'defaultAction':'A','syscalls':[{'names':['a'],'action':'B','args':[{'index':6,'value':0,"
            "'op':'C'}]}]}",
      "'linux.seccomp.syscalls[0].args[0].index' is 6" },
    { 0, 0, "'personality':{}", "'linux.personality.domain' is missing" },
    { 0, 0, "'memoryPolicy':{}", "'linux.memoryPolicy.mode' is missing" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    parse_fails (config_text (cases[i].top, cases[i].process, cases[i].lx), RCVM_E_SPEC,
                 cases[i].needle);
}

static void
test_required (void **state)
{
  static const struct
  {
    const char *json;
    const char *needle;
  } cases[] = {
    { "{}", "'ociVersion' is missing" },
    { "{'ociVersion':null}", "'ociVersion' is missing" },
    { "{'ociVersion':'1.0.0','root':{'path':'/'}}", "'process' is missing" },
    { "{'ociVersion':'1.0.0','process':{'args':['a'],'cwd':'/'}}", "'root' is missing" },
    { "{'ociVersion':'1.0.0','root':{},'process':{'args':['a'],'cwd':'/'}}",
      "'root.path' is missing" },
    { "{'ociVersion':'1.0.0','root':{'path':''},'process':{'args':['a'],'cwd':'/'}}",
      "'root.path' is empty" },
    { "{'ociVersion':'1.0.0','root':{'path':'/'},'process':{'cwd':'/'}}",
      "'process.args' is empty" },
    { "{'ociVersion':'1.0.0','root':{'path':'/'},'process':{'args':[],'cwd':'/'}}",
      "'process.args' is empty" },
    { "{'ociVersion':'1.0.0','root':{'path':'/'},'process':{'args':[''],'cwd':'/'}}",
      "'process.args[0]' is empty" },
    { "{'ociVersion':'1.0.0','root':{'path':'/'},'process':{'args':['a']}}",
      "'process.cwd' is missing" },
    { "{'ociVersion':'1.0.0','root':{'path':'/'},'process':{'args':['a'],'cwd':''}}",
      "'process.cwd' is ''" },
    { "{'ociVersion':'1.0.0','root':{'path':'/'},'process':{'args':['a'],'cwd':'tmp'}}",
      "'process.cwd' is 'tmp' and must be an absolute path" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    parse_fails (text (cases[i].json), RCVM_E_SPEC, cases[i].needle);
}

static void
test_versions (void **state)
{
  static const char *const good[] = { "1.0.0", "1.0.2-dev", "1.0.0-rc5", "1.1.0", "1.2.1",
                                      "1.3.0+dev", "1.3.0-rc.1" };
  static const char *const bad[]
      = { "", "1", "1.0", "one", "1.0.x", "1.0.0x", "v1.0.0", "1.0.0 ", "-1.0.0", "1.-1.0",
          "1. 1.0", "99999999999.0.0", "1..0" };
  char json[256];

  (void) state;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    {
      struct rcvmi_spec *s;

      snprintf (json, sizeof json,
                "{'ociVersion':'%s','root':{'path':'/'},'process':{'args':['a'],'cwd':'/'}}",
                good[i]);
      s = parse_ok (text (json));
      assert_null (s->warnings);
      rcvmi_spec_free (s);
    }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      snprintf (json, sizeof json,
                "{'ociVersion':'%s','root':{'path':'/'},'process':{'args':['a'],'cwd':'/'}}",
                bad[i]);
      parse_fails (text (json), RCVM_E_SPEC, "'ociVersion'");
    }
  parse_fails (text ("{'ociVersion':'2.0.0','root':{'path':'/'},'process':{'args':['a'],'cwd':'/'}}"),
               RCVM_E_UNSUPPORTED, "'ociVersion' is 2.0.0");
  parse_fails (text ("{'ociVersion':'0.9.0','root':{'path':'/'},'process':{'args':['a'],'cwd':'/'}}"),
               RCVM_E_UNSUPPORTED, "'ociVersion' is 0.9.0");
  {
    struct rcvmi_spec *s
        = parse_ok (text ("{'ociVersion':'1.9.0','root':{'path':'/'},'process':{'args':['a'],'cwd':'/'}}"));

    assert_int_equal (count_warnings (s->warnings, "1.9.0"), 1);
    rcvmi_spec_free (s);
  }
}

static void
test_refused (void **state)
{
  static const struct
  {
    const char *top, *lx;
    const char *needle;
  } cases[] = {
    { 0, "'intelRdt':{'closID':'x'}", "'linux.intelRdt' cannot be honoured" },
    { 0, "'personality':{'domain':'LINUX32'}", "'linux.personality.domain' is 'LINUX32'" },
    { 0, "'personality':{'domain':'LINUX','flags':['X']}", "'linux.personality.flags' has 'X'" },
    { 0, "'netDevices':{'eth0':{'name':'x'}}", "'linux.netDevices.eth0' cannot be honoured" },
    { 0, "'timeOffsets':{'boottime':{'secs':1}}",
      "'linux.timeOffsets.boottime' cannot be honoured" },
    { 0, "'devices':[{'type':'b','path':'/dev/sda','major':8,'minor':0}]",
      "'linux.devices[0]' (/dev/sda)" },
    { "'vm':{'hypervisor':{'path':'/x'}}", 0, "'vm.hypervisor.path' cannot be honoured" },
    { "'vm':{'hypervisor':{'parameters':['x']}}", 0,
      "'vm.hypervisor.parameters' cannot be honoured" },
    { "'vm':{'image':{'path':'/x','format':'raw'}}", 0, "'vm.image.path' cannot be honoured" },
    { "'vm':{'hwConfig':{'deviceTree':'/x'}}", 0, "'vm.hwConfig.deviceTree' cannot be honoured" },
    { "'vm':{'hwConfig':{'dtdevs':['x']}}", 0, "'vm.hwConfig.dtdevs' cannot be honoured" },
    { "'vm':{'hwConfig':{'irqs':[1]}}", 0, "'vm.hwConfig.irqs' cannot be honoured" },
    { "'vm':{'hwConfig':{'iomems':[{'firstMFN':1}]}}", 0,
      "'vm.hwConfig.iomems' cannot be honoured" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    parse_fails (config_text (cases[i].top, NULL, cases[i].lx), RCVM_E_UNSUPPORTED,
                 cases[i].needle);
  /* The same properties, asking for nothing. */
  rcvmi_spec_free (parse_ok (config_text (
      "'vm':{'hypervisor':{'path':'','parameters':[]},'image':{},'hwconfig':{'irqs':[],'vcpus':2}}",
      NULL,
      "'intelRdt':{},'personality':{'domain':'LINUX'},'netDevices':{},'timeOffsets':{'boottime':{'secs':0}},"
      "'devices':[{'type':'b','path':'/dev/loop0','major':7,'minor':0},{'type':'p','path':'/dev/fifo'}]")));
}

static void
test_namespaces (void **state)
{
  static const char *const joined[] = { "pid", "mount", "ipc", "uts", "user", "cgroup", "time" };
  static const char head[] = "{'ociVersion':'1.0.0','root':{'path':'/'},'process':{'args':['a'],'cwd':'/'},'linux':";
  char json[512];

  (void) state;
  for (size_t i = 0; i < sizeof joined / sizeof joined[0]; i++)
    {
      char needle[64];

      snprintf (json, sizeof json, "%s{'namespaces':[{'type':'%s','path':'/proc/1/ns/x'}]}}", head,
                joined[i]);
      snprintf (needle, sizeof needle, "join the %s namespace", joined[i]);
      parse_fails (text (json), RCVM_E_UNSUPPORTED, needle);
      snprintf (json, sizeof json, "%s{'namespaces':[{'type':'%s','path':''}]}}", head, joined[i]);
      rcvmi_spec_free (parse_ok (text (json)));
    }
  snprintf (json, sizeof json, "%s{'namespaces':[{'type':'network','path':'/run/netns/x'}]}}",
            head);
  rcvmi_spec_free (parse_ok (text (json)));
  snprintf (json, sizeof json, "%s{'namespaces':[{'type':'network','path':'x'}]}}", head);
  parse_fails (text (json), RCVM_E_SPEC, "'linux.namespaces[0].path' is 'x'");
  snprintf (json, sizeof json, "%s{'namespaces':[{'type':'net'}]}}", head);
  parse_fails (text (json), RCVM_E_SPEC, "'linux.namespaces[0].type' is 'net'");
  snprintf (json, sizeof json, "%s{'namespaces':[{'type':'pid'},{'type':'uts'},{'type':'pid'}]}}",
            head);
  parse_fails (text (json), RCVM_E_SPEC, "'linux.namespaces' has 'pid' twice");
  snprintf (json, sizeof json, "%s{'namespaces':[{'path':'/x'}]}}", head);
  parse_fails (text (json), RCVM_E_SPEC, "'linux.namespaces[0].type' is missing");
}

/* What containers of a pod are told to join. */
static void
test_pods (void **state)
{
  static const char *const roles[] = { "'io.kubernetes.cri.container-type':'container'", "'io.kubernetes.cri-o.ContainerType':'container'",
                                       "'io.kubernetes.cri.container-type':'sandbox'", "'x':'container'" };
  static const char *const types[] = { "pid", "ipc", "uts", "mount" };
  char json[512], needle[80];

  (void) state;
  for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
    for (size_t r = 0; r < sizeof roles / sizeof roles[0]; r++)
      {
        struct rcvmi_spec *s;

        snprintf (json, sizeof json,
                  "{'ociVersion':'1.2.0','root':{'path':'/srv/root'},'process':{'args':['sh'],'cwd':'/'},'annotations':{%s},"
                  "'linux':{'namespaces':[{'type':'%s','path':'/proc/1/ns/x'},{'type':'network','path':'/n'}]}}", roles[r], types[t]);
        if (t == 3 || r >= 2)
          {
            snprintf (needle, sizeof needle, "a VM cannot join the %s namespace of other processes", types[t]);
            parse_fails (text (json), RCVM_E_UNSUPPORTED, needle);
            continue;
          }
        snprintf (needle, sizeof needle, "a VM cannot join the %s namespace of its pod", types[t]);
        s = parse_ok (text (json));
        assert_int_equal (rcvmi_strv_length (s->warnings), 1);
        assert_non_null (strstr (s->warnings[0], needle));
        rcvmi_spec_free (s);
      }
}

static void
test_warnings (void **state)
{
  static const struct
  {
    const char *top, *process, *lx;
    const char *needle;
  } cases[] = {
    { "'fooBar':{'x':1}", 0, 0, "'fooBar' is no property" },
    { "'windows':{'x':1}", 0, 0, "'windows' has no effect" },
    { "'solaris':{'x':1}", 0, 0, "'solaris' has no effect" },
    { "'zos':{'x':1}", 0, 0, "'zos' has no effect" },
    { "'freebsd':{'x':1}", 0, 0, "'freebsd' has no effect" },
    { 0, "'apparmorProfile':'p'", 0, "'process.apparmorProfile' has no effect" },
    { 0, "'selinuxLabel':'p'", 0, "'process.selinuxLabel' has no effect" },
    { 0, "'commandLine':'p'", 0, "'process.commandLine' has no effect" },
    { 0, "'user':{'username':'p'}", 0, "'process.user.username' has no effect" },
    { 0, "'execCPUAffinity':{'initial':'0'}", 0, "'process.execCPUAffinity' has no effect" },
    { 0, "'x\\ty':1", 0, "'process.x?y' is no property" },
    { 0, 0, "'mountLabel':'x'", "'linux.mountLabel' has no effect" },
    { 0, 0, "'memoryPolicy':{'mode':'MPOL_BIND'}", "'linux.memoryPolicy' has no effect" },
    { 0, 0, "'resources':{'memory':{'kernel':5}}",
      "'linux.resources.memory.kernel' has no effect" },
    { 0, 0, "'resources':{'memory':{'kernelTCP':5}}",
      "'linux.resources.memory.kernelTCP' has no effect" },
    { 0, 0, "'resources':{'memory':{'disableOOMKiller':true}}", "disableOOMKiller' has no effect" },
    { 0, 0, "'resources':{'blockIO':{'leafWeight':5}}", "leafWeight' has no effect" },
    { 0, 0, "'resources':{'network':{'classID':5}}",
      "'linux.resources.network.classID' has no effect" },
    { 0, 0, "'resources':{'network':{'priorities':[{'name':'e','priority':1}]}}",
      "priorities' has no effect" },
    { 0, 0, "'resources':{'rdma':{'mlx':{'hcaHandles':1}}}",
      "'linux.resources.rdma' has no effect" },
  };
  struct rcvmi_spec *s;

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      s = parse_ok (config_text (cases[i].top, cases[i].process, cases[i].lx));
      if (rcvmi_strv_length (s->warnings) != 1 || !strstr (s->warnings[0], cases[i].needle))
        fail_msg ("%zu warnings, \"%s\", where one with \"%s\" was due",
                  rcvmi_strv_length (s->warnings),
                  s->warnings ? s->warnings[0] : "", cases[i].needle);
      rcvmi_spec_free (s);
    }
  /* What engines write without meaning it, and what is rightly quiet. */
  s = parse_ok (config_text (
      "'windows':null,'hooks':null",
      "'apparmorProfile':'','user':{'additionalGids':null},'commandLine':''",
      "'mountLabel':'','resources':{'devices':[{'allow':false,'access':'rwm'}],'memory':{'limit':5,'swap':-1,"
      "'kernel':0,'disableOOMKiller':false,'swappiness':null,'useHierarchy':true},'cpu':{'shares':0,'cpus':'',"
      "'mems':'','realtimePeriod':0,'idle':0},'blockIO':{'weight':0,'weightDevice':[]},'network':{},"
      "'hugepageLimits':[],'rdma':{}}"));
  assert_null (s->warnings);
  rcvmi_spec_free (s);
}

/* A config.json cannot flood the log. */
static void
test_many_warnings (void **state)
{
  char *top = calloc (1, 1 << 20), *json;
  struct rcvmi_spec *s;

  (void) state;
  for (int i = 0; i < 5000; i++)
    sprintf (top + strlen (top), "%s'x%d':0", i ? "," : "", i);
  json = config_text (top, NULL, NULL);
  s = parse_ok (json);
  assert_int_equal (rcvmi_strv_length (s->warnings), 101);
  assert_string_equal (s->warnings[100], "further warnings are left out");
  rcvmi_spec_free (s);
  free (top);
}

static void
test_process_object (void **state)
{
  rcvm_error *err = NULL;
  char *json = text ("{'args':['id'],'cwd':'/tmp','user':{'uid':5}}");
  struct rcvmi_spec *s = rcvmi_spec_parse_process (json, &(struct rcvmi_spec_given){ 0 }, &err);

  (void) state;
  assert_no_error (err);
  assert_int_equal (s->process->user->uid.value, 5);
  rcvmi_spec_free (s);
  free (json);
  json = text ("{'args':['id'],'cwd':5}");
  assert_null (rcvmi_spec_parse_process (json, &(struct rcvmi_spec_given){ 0 }, &err));
  assert_error (&err, RCVM_E_SPEC, "spec", "the process object: 'cwd' must be a string");
  free (json);
  json = text ("{'cwd':'/'}");
  assert_null (rcvmi_spec_parse_process (json, &(struct rcvmi_spec_given){ 0 }, &err));
  assert_error (&err, RCVM_E_SPEC, "spec", "'process.args' is empty");
  s = rcvmi_spec_parse_process (json, &(struct rcvmi_spec_given){ .args = true }, &err);
  assert_non_null (s);
  rcvmi_spec_free (s);
  free (json);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_minimal),
    cmocka_unit_test (test_all_members),
    cmocka_unit_test (test_text),
    cmocka_unit_test (test_types),
    cmocka_unit_test (test_required),
    cmocka_unit_test (test_versions),
    cmocka_unit_test (test_refused),
    cmocka_unit_test (test_namespaces),
    cmocka_unit_test (test_pods),
    cmocka_unit_test (test_warnings),
    cmocka_unit_test (test_many_warnings),
    cmocka_unit_test (test_process_object),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
