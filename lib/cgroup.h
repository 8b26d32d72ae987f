/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The container's cgroup on the host: a directory of one name in each hierarchy that is mounted (version 1, version 2,
 * or both at once).  The monitor enters it before it has children, so all of the VM is in there.
 *
 * What is to be set comes as a list of files and values of both versions; each hierarchy takes what is its own.
 */
#ifndef RCVM_LIB_CGROUP_H
#define RCVM_LIB_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <runcvm/error.h>

#include "plan-limits.h"

enum
{
  RCVMI_CGROUP_HIERARCHIES = 24
};

/* One hierarchy, as this process sees it. */
struct rcvmi_cgroup_hierarchy
{
  bool v2;
  char *controllers; /* "cpu,cpuacct"; of version 2: of the group, once it is made */
  char *mount;       /* where it is mounted */
  char *own;         /* the directory of this process's group; NULL: it lies outside of what is mounted */
  char *path;        /* that of the container's, once it is made */
  ino_t inode;
  bool managed; /* systemd removes it, when it is empty */
};

struct rcvmi_cgroup
{
  struct rcvmi_cgroup_hierarchy list[RCVMI_CGROUP_HIERARCHIES];
  size_t n;
  bool entered;
  bool managed; /* systemd has made it, where it manages a hierarchy, and has put this process there */
};

/* What is mounted, by the texts of /proc/self/mountinfo and /proc/self/cgroup. */
int rcvmi_cgroup_parse (struct rcvmi_cgroup *c, const char *mountinfo, const char *cgroup, rcvm_error **err);
/* The same of this process. */
int rcvmi_cgroup_find (struct rcvmi_cgroup *c, rcvm_error **err);
void rcvmi_cgroup_clear (struct rcvmi_cgroup *c);

/* Makes the directories: `path` below each root; where that is relative, below (version 2: beside) the group of this
   process.  RCVM_E_STATE where there are processes in one already.  What was made is removed after a failure. */
int rcvmi_cgroup_make (struct rcvmi_cgroup *c, const char *path, rcvm_error **err);
/* Moves this process into it, and back to where it came from. */
int rcvmi_cgroup_enter (struct rcvmi_cgroup *c, rcvm_error **err);
void rcvmi_cgroup_leave (struct rcvmi_cgroup *c);

/* Whether some hierarchy can take a limit. */
bool rcvmi_cgroup_takes (const struct rcvmi_cgroup *c, const struct rcvmi_limits *l, const char *what);
/* Writes those whose `late` is as given, and that some hierarchy takes. */
int rcvmi_cgroup_apply (const struct rcvmi_cgroup *c, const struct rcvmi_limits *l, bool late, rcvm_error **err);

/* The directory of a controller, or NULL. */
const struct rcvmi_cgroup_hierarchy *rcvmi_cgroup_of (const struct rcvmi_cgroup *c, const char *controller);
/* A file of the group, at most `size` - 1 bytes and a NUL; -1 where there is none. */
int rcvmi_cgroup_read (const struct rcvmi_cgroup_hierarchy *h, const char *file, char *buf, size_t size);
/* The processes in it, -1 at the end; to be freed. */
pid_t *rcvmi_cgroup_processes (const struct rcvmi_cgroup *c, rcvm_error **err);
/* How often its memory limit killed a process. */
uint64_t rcvmi_cgroup_oom_kills (const struct rcvmi_cgroup *c);

/* A text by which another process removes the group; to be freed. */
char *rcvmi_cgroup_to_record (const struct rcvmi_cgroup *c, rcvm_error **err);
/* Kills what is left in the group (but not the caller), and removes it, or waits until systemd has.  Nothing where another of its
   name is there now. */
int rcvmi_cgroup_remove_record (const char *record, rcvm_error **err);

#endif
