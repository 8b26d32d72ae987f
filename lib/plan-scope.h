/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The unit of systemd's that a container's cgroup is. */
#ifndef RCVM_LIB_PLAN_SCOPE_H
#define RCVM_LIB_PLAN_SCOPE_H

#include <stdbool.h>

#include <runcvm/error.h>

struct rcvmi_scope
{
  char *unit;  /* "docker-ID.scope" */
  char *slice; /* "system.slice" */
  char *path;  /* "/system.slice/docker-ID.scope" */
};

/* From SLICE:PREFIX:NAME; NULL or "": system.slice:runcvm:ID. */
int rcvmi_plan_scope (struct rcvmi_scope *s, const char *cgroups_path, const char *id, rcvm_error **err);
void rcvmi_scope_clear (struct rcvmi_scope *s);

#endif
