/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "spec"

#include <runcvm/spec.h>

#include <string.h>

#include "err.h"
#include "spec-types.h"
#include "visibility.h"

#define CAPABILITIES                                                                              \
  "        \"CAP_CHOWN\", \"CAP_DAC_OVERRIDE\", \"CAP_FSETID\", \"CAP_FOWNER\", \"CAP_MKNOD\",\n" \
  "        \"CAP_NET_RAW\", \"CAP_SETGID\", \"CAP_SETUID\", \"CAP_SETFCAP\", \"CAP_SETPCAP\",\n"  \
  "        \"CAP_NET_BIND_SERVICE\", \"CAP_SYS_CHROOT\", \"CAP_KILL\", \"CAP_AUDIT_WRITE\"\n"

/* The capabilities, masked and read-only paths are those that container engines give by default.
   The root is writable: what is written goes to the VM's own disk. */
const char rcvmi_spec_default[]
    = "{\n"
      "  \"ociVersion\": \"1.2.0\",\n"
      "  \"process\": {\n"
      "    \"terminal\": false,\n"
      "    \"user\": { \"uid\": 0, \"gid\": 0 },\n"
      "    \"args\": [ \"sh\" ],\n"
      "    \"env\": [\n"
      "      \"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\n"
      "      \"TERM=xterm\"\n"
      "    ],\n"
      "    \"cwd\": \"/\",\n"
      "    \"capabilities\": {\n"
      "      \"bounding\": [\n" CAPABILITIES "      ],\n"
      "      \"effective\": [\n" CAPABILITIES "      ],\n"
      "      \"permitted\": [\n" CAPABILITIES "      ]\n"
      "    },\n"
      "    \"rlimits\": [\n"
      "      { \"type\": \"RLIMIT_NOFILE\", \"soft\": 1024, \"hard\": 1048576 }\n"
      "    ],\n"
      "    \"noNewPrivileges\": false\n"
      "  },\n"
      "  \"root\": { \"path\": \"rootfs\", \"readonly\": false },\n"
      "  \"hostname\": \"runcvm\",\n"
      "  \"mounts\": [\n"
      "    { \"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\",\n"
      "      \"options\": [ \"nosuid\", \"noexec\", \"nodev\" ] },\n"
      "    { \"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\",\n"
      "      \"options\": [ \"nosuid\", \"strictatime\", \"mode=755\", \"size=65536k\" ] },\n"
      "    { \"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\",\n"
      "      \"options\": [ \"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\", "
      "\"mode=0620\",\n                   \"gid=5\" ] },\n"
      "    { \"destination\": \"/dev/shm\", \"type\": \"tmpfs\", \"source\": \"shm\",\n"
      "      \"options\": [ \"nosuid\", \"noexec\", \"nodev\", \"mode=1777\", \"size=65536k\" ] "
      "},\n    { \"destination\": \"/dev/mqueue\", \"type\": \"mqueue\", \"source\": \"mqueue\",\n"
      "      \"options\": [ \"nosuid\", \"noexec\", \"nodev\" ] },\n"
      "    { \"destination\": \"/sys\", \"type\": \"sysfs\", \"source\": \"sysfs\",\n"
      "      \"options\": [ \"nosuid\", \"noexec\", \"nodev\", \"ro\" ] },\n"
      "    { \"destination\": \"/sys/fs/cgroup\", \"type\": \"cgroup\", \"source\": \"cgroup\",\n"
      "      \"options\": [ \"nosuid\", \"noexec\", \"nodev\", \"relatime\", \"ro\" ] }\n"
      "  ],\n"
      "  \"linux\": {\n"
      "    \"namespaces\": [\n"
      "      { \"type\": \"pid\" }, { \"type\": \"network\" }, { \"type\": \"ipc\" },\n"
      "      { \"type\": \"uts\" }, { \"type\": \"mount\" }, { \"type\": \"cgroup\" }\n"
      "    ],\n"
      "    \"maskedPaths\": [\n"
      "      \"/proc/acpi\", \"/proc/asound\", \"/proc/kcore\", \"/proc/keys\", "
      "\"/proc/latency_stats\",\n      \"/proc/timer_list\", \"/proc/timer_stats\", "
      "\"/proc/sched_debug\", \"/proc/scsi\",\n      \"/sys/firmware\"\n"
      "    ],\n"
      "    \"readonlyPaths\": [\n"
      "      \"/proc/bus\", \"/proc/fs\", \"/proc/irq\", \"/proc/sys\", \"/proc/sysrq-trigger\"\n"
      "    ]\n"
      "  }\n"
      "}\n";

RCVM_PUBLIC char *
rcvm_spec_default_json (rcvm_error **err)
{
  char *json = strdup (rcvmi_spec_default);

  if (!json)
    rcvmi_fail_nomem (err);
  return json;
}
