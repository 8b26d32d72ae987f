/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a container's environment (RUNCVM_*) and annotations (org.runcvm.*) can say of its VM. */
#ifndef RCVM_LIB_PLAN_KEYS_H
#define RCVM_LIB_PLAN_KEYS_H

#include "plan-parts.h"

enum rcvmi_plan_key
{
  KEY_HYPERVISOR,
  KEY_MEM_SIZE,
  KEY_CPUS,
  KEY_KERNEL,
  KEY_INITRAMFS,
  KEY_KERNEL_ARGS,
  KEY_ROOTFS,
  KEY_FLUSH,
  KEY_ROOTFS_DISK,
  KEY_ROOTFS_SIZE,
  KEY_LOG_LEVEL,
  KEY_BINDS,
  KEY_VOLUME_TRANSPORT,
  KEY_VOLUME_SERVER,
  KEY_DISKS,
  KEY_NETWORK_MODE,
  KEY_ENABLE_BALLOON,
  KEY_DISK_BANDWIDTH,
  KEY_DISK_OPS,
  KEY_NET_BANDWIDTH,
  KEY_IO_ENGINE,
  KEY_HUGE_PAGES,
  KEY_CPU_TEMPLATE,
  KEY_HOTPLUG,
  KEY_MEMORY_MAX,
  KEY_TEMPLATE,
  KEY_TRACK_MEMORY,
  KEY_BREAK,
  N_KEYS
};

/* A value, and where it came from, for messages. */
struct rcvmi_plan_setting
{
  const char *value; /* NULL: nobody said anything */
  char from[RCVMI_PLAN_FROM];
};

void rcvmi_plan_from_option (struct rcvmi_plan_setting *s, const char *value, const char *option);
/* Where nobody has said anything yet.  An empty value asks for nothing. */
void rcvmi_plan_from_config (struct rcvmi_plan_setting *s, const struct rcvmi_plan *plan, enum rcvmi_plan_key key);
/* Its name: "org.runcvm.kernel". */
const char *rcvmi_plan_annotation (enum rcvmi_plan_key key);
bool rcvmi_plan_is_off (const char *value);
/* "512M"; `what` is for the message. */
int rcvmi_plan_take_size (const struct rcvmi_plan_setting *s, const char *what, uint64_t *size, rcvm_error **err);
/* Refuses what is not there yet, and warns of annotations that are probably misspelt. */
int rcvmi_plan_check_keys (struct rcvmi_plan *plan, rcvm_error **err);

#endif
