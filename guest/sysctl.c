/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"

static int
apply (const struct setup_pair *p, struct failure *f)
{
  char path[PATH_MAX] = "/proc/sys/";
  size_t n = strlen (path);
  autoclose int fd = -1;

  if (strlen (p->name) >= sizeof path - n || strstr (p->name, "..") || strstr (p->name, "//"))
    return fail (f, "sysctl", EINVAL, "\"%.100s\" is no sysctl", p->name);
  strcpy (path + n, p->name);
  /* A slash stands for a dot within a name: "net.ipv4.conf.eth0/1.forwarding". */
  for (char *c = path + n; *c; c++)
    *c = *c == '.' ? '/' : *c == '/' ? '.' : *c;
  fd = open (path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write (fd, p->value, strlen (p->value)) < 0)
    return fail (f, "sysctl", errno, "cannot set %s to \"%s\"", p->name, p->value);
  return 0;
}

int
sysctl_apply (const struct setup *s, bool net, struct failure *f)
{
  for (size_t i = 0; i < s->n_sysctls; i++)
    {
      bool of_net = strncmp (s->sysctls[i].name, "net.", 4) == 0;

      if (of_net == net && apply (&s->sysctls[i], f) < 0)
        return -1;
    }
  return 0;
}
