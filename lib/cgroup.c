/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "cgroup"
#include "cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

/* Files. */

static int
write_file (const char *dir, const char *file, const char *value)
{
  char path[PATH_MAX];
  autoclose int fd = -1;

  if (snprintf (path, sizeof path, "%s/%s", dir, file) >= (int) sizeof path)
    {
      errno = ENAMETOOLONG;
      return -1;
    }
  fd = open (path, O_WRONLY | O_CLOEXEC);
  return fd < 0 || write (fd, value, strlen (value)) < 0 ? -1 : 0;
}

static int
read_file (const char *dir, const char *file, char *buf, size_t size)
{
  char path[PATH_MAX];
  autoclose int fd = -1;
  size_t len = 0;
  ssize_t n = 1;

  if (snprintf (path, sizeof path, "%s/%s", dir, file) >= (int) sizeof path)
    return -1;
  fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  while (n > 0 && len < size - 1)
    {
      n = read (fd, buf + len, size - 1 - len);
      if (n < 0 && errno != EINTR)
        return -1;
      if (n > 0)
        len += (size_t) n;
    }
  buf[len] = 0;
  return 0;
}

int
rcvmi_cgroup_read (const struct rcvmi_cgroup_hierarchy *h, const char *file, char *buf, size_t size)
{
  return h && h->path ? read_file (h->path, file, buf, size) : -1;
}

static bool
has_controller (const struct rcvmi_cgroup_hierarchy *h, const char *controller)
{
  size_t n = strlen (controller);

  for (const char *p = h->controllers; *p;)
    {
      size_t len = strcspn (p, ", \n");

      if (len == n && memcmp (p, controller, n) == 0)
        return true;
      p += len + (p[len] != 0);
    }
  return false;
}

/* Making it. */

/* A new group of the cpuset controller of version 1 has no CPUs, and so no room for a process. */
static void
inherit_cpuset (const char *dir, const char *parent)
{
  static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
  char value[4096];

  for (int i = 0; i < 2; i++)
    if (read_file (dir, files[i], value, sizeof value) == 0 && (!value[0] || value[0] == '\n')
        && read_file (parent, files[i], value, sizeof value) == 0)
      write_file (dir, files[i], value);
}

/* Each on its own: one that is in use elsewhere takes no other with it. */
static void
enable_controllers (const char *dir)
{
  char text[1024], change[64], *save = NULL;

  if (read_file (dir, "cgroup.controllers", text, sizeof text) < 0)
    return;
  for (char *name = strtok_r (text, " \n", &save); name; name = strtok_r (NULL, " \n", &save))
    {
      snprintf (change, sizeof change, "+%s", name);
      write_file (dir, "cgroup.subtree_control", change);
    }
}

/* Below h->mount, level by level; *made: the last was not there before. */
static int
make_levels (struct rcvmi_cgroup_hierarchy *h, bool managed, bool *made, rcvm_error **err)
{
  size_t start = strlen (h->mount);
  bool is_cpuset = has_controller (h, "cpuset");
  char *p = h->path + start;

  while (*p)
    {
      char c;

      if (h->v2 && !managed)
        {
          *p = 0;
          enable_controllers (h->path);
          *p = '/';
        }
      p += 1 + strcspn (p + 1, "/");
      c = *p;
      *p = 0;
      *made = mkdir (h->path, 0755) == 0;
      if (!*made && errno != EEXIST)
        return rcvmi_fail_errno (err, errno, "cannot make the cgroup '%s'", h->path);
      if (is_cpuset && !h->v2)
        {
          autofree char *parent = strdup (h->path);

          if (!parent)
            return rcvmi_fail_nomem (err);
          *strrchr (parent, '/') = 0;
          inherit_cpuset (h->path, parent);
        }
      *p = c;
    }
  return 0;
}

/* Where the container's group lies in this hierarchy. */
static int
choose_path (struct rcvmi_cgroup_hierarchy *h, const char *path, rcvm_error **err)
{
  autofree char *base = strdup (path[0] == '/' || !h->own ? h->mount : h->own);

  if (!base)
    return rcvmi_fail_nomem (err);
  /* A group of version 2 that has processes can have no groups with controllers below it. */
  if (path[0] != '/' && h->v2 && strlen (base) > strlen (h->mount))
    *strrchr (base, '/') = 0;
  while (*path == '/')
    path++;
  if (asprintf (&h->path, "%s/%s", base, path) < 0)
    {
      h->path = NULL;
      return rcvmi_fail_nomem (err);
    }
  for (size_t n = strlen (h->path); n > 1 && h->path[n - 1] == '/'; n--)
    h->path[n - 1] = 0;
  return 0;
}

static int
check_path (const char *path, rcvm_error **err)
{
  size_t names = 0;

  for (const char *p = path; *p;)
    {
      size_t len = strcspn (p, "/");

      if ((len == 2 && p[0] == '.' && p[1] == '.') || (len == 1 && p[0] == '.'))
        return rcvmi_fail (err, RCVM_E_SPEC, 0, "the cgroup's path '%.200s' has the name '%.*s' in it", path, (int) len, p);
      names += len > 0;
      p += len + (p[len] == '/');
    }
  for (const char *p = path; *p; p++)
    if ((unsigned char) *p < 0x20 || *p == 0x7f)
      return rcvmi_fail (err, RCVM_E_SPEC, 0, "the cgroup's path has a control character in it");
  if (names == 0)
    return rcvmi_fail (err, RCVM_E_SPEC, 0, "the cgroup's path '%.200s' is that of all processes", path);
  return 0;
}

/* What cgroup.procs says where this process is alone. */
static bool
is_only_own (const char *processes)
{
  char *end;

  return strtoll (processes, &end, 10) == getpid () && strcmp (end, "\n") == 0;
}

static int
make_one (struct rcvmi_cgroup_hierarchy *h, const char *path, bool managed, rcvm_error **err)
{
  char first[32];
  bool made = false;
  struct stat st;
  int code = choose_path (h, path, err);

  if (code == 0)
    code = make_levels (h, managed, &made, err);
  if (code < 0)
    {
      free (steal_ptr (h->path));
      return code;
    }
  /* Its processes die with the VM, so it must be the VM's own. */
  if (!made && read_file (h->path, "cgroup.procs", first, sizeof first) == 0 && first[0]
      && !(managed && is_only_own (first)))
    {
      code = rcvmi_fail (err, RCVM_E_STATE, 0, "there are processes in the cgroup '%s' already", h->path);
      free (steal_ptr (h->path));
      return code;
    }
  if (stat (h->path, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot look at the cgroup '%s'", h->path);
  h->inode = st.st_ino;
  h->managed = managed && (h->v2 || has_controller (h, "name=systemd"));
  if (h->v2)
    {
      char text[1024] = "";

      read_file (h->path, "cgroup.controllers", text, sizeof text);
      free (h->controllers);
      h->controllers = strdup (text);
      if (!h->controllers)
        return rcvmi_fail_nomem (err);
    }
  return 0;
}

int
rcvmi_cgroup_make (struct rcvmi_cgroup *c, const char *path, rcvm_error **err)
{
  int code = check_path (path, err);

  for (size_t i = 0; i < c->n && code == 0; i++)
    code = make_one (&c->list[i], path, c->managed, err);
  for (size_t i = 0; i < c->n && code < 0; i++)
    if (c->list[i].path)
      {
        if (c->list[i].inode)
          rmdir (c->list[i].path);
        free (steal_ptr (c->list[i].path));
      }
  return code;
}

int
rcvmi_cgroup_enter (struct rcvmi_cgroup *c, rcvm_error **err)
{
  for (size_t i = 0; i < c->n; i++)
    if (c->list[i].path && write_file (c->list[i].path, "cgroup.procs", "0") < 0)
      {
        int code = rcvmi_fail_errno (err, errno, "cannot enter the cgroup '%s'", c->list[i].path);

        rcvmi_cgroup_leave (c);
        return code;
      }
  c->entered = true;
  return 0;
}

void
rcvmi_cgroup_leave (struct rcvmi_cgroup *c)
{
  /* Where it came from may be gone, or may take no processes any more; the root of what is mounted is there. */
  for (size_t i = 0; i < c->n; i++)
    if (c->list[i].path && (!c->list[i].own || write_file (c->list[i].own, "cgroup.procs", "0") < 0))
      write_file (c->list[i].mount, "cgroup.procs", "0");
  c->entered = false;
}

/* Limits. */

const struct rcvmi_cgroup_hierarchy *
rcvmi_cgroup_of (const struct rcvmi_cgroup *c, const char *controller)
{
  for (size_t i = 0; i < c->n; i++)
    if (c->list[i].path && has_controller (&c->list[i], controller))
      return &c->list[i];
  return NULL;
}

static const struct rcvmi_cgroup_hierarchy *
taker (const struct rcvmi_cgroup *c, const struct rcvmi_limit *l)
{
  const struct rcvmi_cgroup_hierarchy *h = rcvmi_cgroup_of (c, l->controller);

  return h && h->v2 == l->v2 ? h : NULL;
}

bool
rcvmi_cgroup_takes (const struct rcvmi_cgroup *c, const struct rcvmi_limits *l, const char *what)
{
  for (size_t i = 0; i < l->n; i++)
    if (strcmp (l->list[i].what, what) == 0 && taker (c, &l->list[i]))
      return true;
  return false;
}

static int
write_limit (const struct rcvmi_cgroup_hierarchy *h, const struct rcvmi_limit *l)
{
  int r = write_file (h->path, l->file, l->value);

  if (r < 0 && errno == ENOENT && l->other_file)
    r = write_file (h->path, l->other_file, l->other_value);
  return r < 0 && errno == ENOENT && l->optional ? 0 : r;
}

int
rcvmi_cgroup_apply (const struct rcvmi_cgroup *c, const struct rcvmi_limits *l, bool late, rcvm_error **err)
{
  autofree bool *waits = calloc (l->n + 1, 1);

  if (!waits)
    return rcvmi_fail_nomem (err);
  /* One may have to wait for another (a quota for its period, as a parent's allows): a second round. */
  for (int round = 0; round < 2; round++)
    for (size_t i = 0; i < l->n; i++)
      {
        const struct rcvmi_limit *limit = &l->list[i];
        const struct rcvmi_cgroup_hierarchy *h = limit->late == late ? taker (c, limit) : NULL;

        if (!h || (round == 1 && !waits[i]) || write_limit (h, limit) == 0)
          continue;
        if (round == 0 && errno == EINVAL)
          waits[i] = true;
        else
          return rcvmi_fail_errno (err, errno, "'linux.resources.%s': cannot write '%s' to '%s/%s'", limit->what, limit->value,
                                   h->path, limit->file);
      }
  return 0;
}

/* What is in it. */

/* The one that knows all of its processes: version 2's, or any. */
static const struct rcvmi_cgroup_hierarchy *
any (const struct rcvmi_cgroup *c)
{
  const struct rcvmi_cgroup_hierarchy *found = NULL;

  for (size_t i = 0; i < c->n; i++)
    if (c->list[i].path && (!found || c->list[i].v2))
      found = &c->list[i];
  return found;
}

pid_t *
rcvmi_cgroup_processes (const struct rcvmi_cgroup *c, rcvm_error **err)
{
  const struct rcvmi_cgroup_hierarchy *h = any (c);
  autofree char *path = NULL;
  autofclose FILE *f = NULL;
  pid_t *list = NULL, pid;
  size_t n = 0, size = 0;

  if (h && asprintf (&path, "%s/cgroup.procs", h->path) < 0)
    path = NULL;
  f = path ? fopen (path, "re") : NULL;
  if (h && !f)
    {
      rcvmi_fail_errno (err, errno, "cannot read the processes of the cgroup '%s'", h->path);
      return NULL;
    }
  for (;;)
    {
      bool more = f && fscanf (f, "%d", &pid) == 1;

      if (n == size)
        {
          pid_t *grown = reallocarray (list, size + 64, sizeof *list);

          if (!grown)
            {
              free (list);
              rcvmi_fail_nomem (err);
              return NULL;
            }
          list = grown;
          size += 64;
        }
      list[n] = more ? pid : -1;
      if (!more)
        return list;
      n++;
    }
}

uint64_t
rcvmi_cgroup_oom_kills (const struct rcvmi_cgroup *c)
{
  const struct rcvmi_cgroup_hierarchy *h = rcvmi_cgroup_of (c, "memory");
  char text[1024];
  const char *p;

  if (rcvmi_cgroup_read (h, h && h->v2 ? "memory.events" : "memory.oom_control", text, sizeof text) < 0)
    return 0;
  p = strstr (text, "\noom_kill ");
  return p ? strtoull (p + 10, NULL, 10) : 0;
}
