/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which hierarchies there are, and where this process is in them: proc(5), cgroups(7). */
#include "config.h"

#define RCVMI_STAGE "cgroup"
#include "cgroup.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  MAX_TEXT = 16 * 1024 * 1024
};

/* Those of version 1; other words of the mount's options are none. */
static const char *const known[] = { "cpu",     "cpuacct", "cpuset", "memory",     "devices",    "freezer", "net_cls",
                                     "net_prio", "blkio",   "pids",   "perf_event", "hugetlb",    "rdma",    "misc" };

static bool
is_known (const char *word, size_t len)
{
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (strlen (known[i]) == len && memcmp (known[i], word, len) == 0)
      return true;
  return len > 5 && memcmp (word, "name=", 5) == 0;
}

/* "rw,cpu,cpuacct" -> "cpu,cpuacct"; NULL if there is none. */
static char *
find_controllers (const char *options)
{
  char *out = calloc (1, strlen (options) + 2), *p = out;

  if (!out)
    return NULL;
  while (*options)
    {
      size_t len = strcspn (options, ",");

      if (is_known (options, len))
        p += sprintf (p, "%s%.*s", p > out ? "," : "", (int) len, options);
      options += len + (options[len] == ',');
    }
  return out;
}

/* mountinfo writes a blank as \040, and so on. */
static void
unescape (char *s)
{
  char *to = s;

  for (; *s; s++)
    if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7')
      {
        *to++ = (char) ((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
        s += 3;
      }
    else
      *to++ = *s;
  *to = 0;
}

/* The path that a line of /proc/self/cgroup has for this hierarchy: "4:cpu,cpuacct:/a/b", "0::/a/b". */
static char *
find_own (const char *cgroup, const char *controllers, bool v2)
{
  size_t first = strcspn (controllers, ",");

  while (*cgroup)
    {
      size_t len = strcspn (cgroup, "\n");
      const char *names = memchr (cgroup, ':', len), *path;

      path = names ? memchr (names + 1, ':', len - (size_t) (names + 1 - cgroup)) : NULL;
      if (path)
        {
          bool match = v2 ? cgroup[0] == '0' && path == names + 1 : false;

          for (const char *p = names + 1; !v2 && p < path;)
            {
              size_t n = strcspn (p, ",:");

              match |= n == first && memcmp (p, controllers, n) == 0;
              p += n + 1;
            }
          if (match)
            return strndup (path + 1, len - (size_t) (path + 1 - cgroup));
        }
      cgroup += len + (cgroup[len] == '\n');
    }
  return NULL;
}

/* The directory of a group: what is mounted is the hierarchy from `root` on. */
static char *
place (const char *mount, const char *root, const char *group)
{
  size_t len = strcmp (root, "/") == 0 ? 0 : strlen (root);
  char *path = NULL;

  if (strncmp (group, root, len) != 0 || (group[len] && group[len] != '/') || strncmp (group, "/..", 3) == 0)
    return NULL;
  group += len;
  if (asprintf (&path, "%s%s", mount, strcmp (group, "/") == 0 ? "" : group) < 0)
    return NULL;
  return path;
}

/* One line of mountinfo. */
static int
take_mount (struct rcvmi_cgroup *c, char *line, const char *cgroup, rcvm_error **err)
{
  struct rcvmi_cgroup_hierarchy *h = &c->list[c->n];
  char *fields[5] = { NULL }, *rest, *save = NULL, *type, *options;
  autofree char *group = NULL;

  rest = strstr (line, " - ");
  if (!rest)
    return 0;
  *rest = 0;
  type = strtok_r (rest + 3, " ", &save);
  if (!type || (strcmp (type, "cgroup") != 0 && strcmp (type, "cgroup2") != 0))
    return 0;
  strtok_r (NULL, " ", &save);
  options = strtok_r (NULL, " ", &save);
  save = NULL;
  for (int i = 0; i < 5; i++)
    fields[i] = strtok_r (i == 0 ? line : NULL, " ", &save);
  if (!options || !fields[4] || c->n == RCVMI_CGROUP_HIERARCHIES)
    return 0;
  unescape (fields[3]);
  unescape (fields[4]);
  h->v2 = type[6] == '2';
  h->controllers = h->v2 ? strdup ("") : find_controllers (options);
  h->mount = strdup (fields[4]);
  if (!h->controllers || !h->mount)
    goto no_memory;
  /* Another mount of what is there already, or one that has nothing. */
  for (size_t i = 0; i < c->n; i++)
    if (c->list[i].v2 == h->v2 && strcmp (c->list[i].controllers, h->controllers) == 0)
      goto skip;
  if (!h->v2 && !h->controllers[0])
    goto skip;
  group = find_own (cgroup, h->controllers, h->v2);
  h->own = group ? place (h->mount, fields[3], group) : NULL;
  c->n++;
  return 0;
skip:
  free (h->controllers);
  free (h->mount);
  *h = (struct rcvmi_cgroup_hierarchy){ 0 };
  return 0;
no_memory:
  c->n++; /* what is there of it is freed with the rest */
  return rcvmi_fail_nomem (err);
}

int
rcvmi_cgroup_parse (struct rcvmi_cgroup *c, const char *mountinfo, const char *cgroup, rcvm_error **err)
{
  autofree char *text = strdup (mountinfo);
  char *line, *save = NULL;
  int code = 0;

  *c = (struct rcvmi_cgroup){ 0 };
  if (!text)
    return rcvmi_fail_nomem (err);
  for (line = strtok_r (text, "\n", &save); line && code == 0; line = strtok_r (NULL, "\n", &save))
    code = take_mount (c, line, cgroup, err);
  if (code < 0)
    rcvmi_cgroup_clear (c);
  return code;
}

/* A file of /proc, which has no size. */
static char *
read_all (const char *path, rcvm_error **err)
{
  autoclose int fd = open (path, O_RDONLY | O_CLOEXEC);
  size_t len = 0, size = 16 * 1024;
  char *text = NULL;
  ssize_t n = 1;

  if (fd < 0)
    {
      rcvmi_fail_errno (err, errno, "cannot read '%s'", path);
      return NULL;
    }
  while (n > 0)
    {
      char *grown = size > MAX_TEXT ? NULL : realloc (text, size + 1);

      if (!grown)
        {
          free (text);
          rcvmi_fail_nomem (err);
          return NULL;
        }
      text = grown;
      while ((n = read (fd, text + len, size - len)) > 0)
        len += (size_t) n;
      if (len < size)
        break;
      size *= 2;
    }
  text[len] = 0;
  return text;
}

int
rcvmi_cgroup_find (struct rcvmi_cgroup *c, rcvm_error **err)
{
  autofree char *mountinfo = read_all ("/proc/self/mountinfo", err);
  autofree char *cgroup = mountinfo ? read_all ("/proc/self/cgroup", err) : NULL;

  *c = (struct rcvmi_cgroup){ 0 };
  return cgroup ? rcvmi_cgroup_parse (c, mountinfo, cgroup, err) : RCVM_E_SYSTEM;
}

void
rcvmi_cgroup_clear (struct rcvmi_cgroup *c)
{
  for (size_t i = 0; i < c->n; i++)
    {
      free (c->list[i].controllers);
      free (c->list[i].mount);
      free (c->list[i].own);
      free (c->list[i].path);
    }
  *c = (struct rcvmi_cgroup){ 0 };
}
