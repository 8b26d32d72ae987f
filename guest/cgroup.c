/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "log.h"

static int
write_file (const char *dir, const char *name, const char *value)
{
  char path[PATH_MAX];
  autoclose int fd = -1;

  snprintf (path, sizeof path, "%s/%s", dir, name);
  fd = open (path, O_WRONLY | O_CLOEXEC);
  return fd < 0 || write (fd, value, strlen (value)) < 0 ? -1 : 0;
}

/* Each controller on its own: one that cannot be enabled takes no other with it. */
static void
enable_controllers (void)
{
  autoclose int fd = open (CGROUP_ROOT "/cgroup.controllers", O_RDONLY | O_CLOEXEC);
  char text[512], *save = NULL;
  ssize_t n = fd < 0 ? -1 : read (fd, text, sizeof text - 1);

  if (n < 0)
    return;
  text[n] = 0;
  for (char *name = strtok_r (text, " \n", &save); name; name = strtok_r (NULL, " \n", &save))
    {
      char change[64];

      snprintf (change, sizeof change, "+%s", name);
      if (write_file (CGROUP_ROOT, "cgroup.subtree_control", change) < 0)
        log_write (LOG_DEBUG, "the cgroup controller %s is not usable: %s", name, strerror (errno));
    }
}

int
cgroup_make (const struct setup *s, struct failure *f)
{
  if (mount ("cgroup2", CGROUP_ROOT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0
      && errno != EBUSY)
    return fail (f, "cgroup", errno, "cannot mount cgroup2");
  enable_controllers ();
  if (mkdir (CGROUP_CONTAINER, 0755) < 0 && errno != EEXIST)
    return fail (f, "cgroup", errno, "cannot make the container's cgroup");
  for (size_t i = 0; i < s->n_cgroup; i++)
    {
      const struct setup_pair *p = &s->cgroup[i];

      if (!*p->name || strchr (p->name, '/'))
        return fail (f, "cgroup", EINVAL, "\"%s\" is no file of a cgroup", p->name);
      if (write_file (CGROUP_CONTAINER, p->name, p->value) < 0)
        return fail (f, "cgroup", errno, "cannot set %s to \"%s\"", p->name, p->value);
    }
  return 0;
}

int
cgroup_join (pid_t init, struct failure *f)
{
  char path[64], text[PATH_MAX], dir[PATH_MAX + 32];
  autoclose int fd = -1;
  ssize_t n;

  if (write_file (CGROUP_CONTAINER, "cgroup.procs", "0") == 0)
    return 0;
  if (errno == EBUSY && init > 0)
    {
      snprintf (path, sizeof path, "/proc/%d/cgroup", (int) init);
      fd = open (path, O_RDONLY | O_CLOEXEC);
      n = fd < 0 ? -1 : read (fd, text, sizeof text - 1);
      if (n > 3)
        {
          text[n] = 0;
          text[strcspn (text, "\n")] = 0;
          snprintf (dir, sizeof dir, CGROUP_ROOT "%s", text + 3); /* "0::/container/..." */
          if (write_file (dir, "cgroup.procs", "0") == 0)
            return 0;
        }
    }
  return fail (f, "cgroup", errno, "cannot enter the container's cgroup");
}
