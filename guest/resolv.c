/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "resolv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "kernel.h"
#include "log.h"
#include "mounts.h"
#include "path.h"

#define DIRECTORY "/run/net"
#define FILE_PATH DIRECTORY "/resolv.conf"

enum
{
  SERVERS = 3 /* C libraries look no further */
};

static int
write_file (const char *text)
{
  autoclose int fd = open (FILE_PATH, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  size_t len = strlen (text);

  return fd < 0 || write (fd, text, len) != (ssize_t) len ? -1 : 0;
}

/* Who is root in the container. */
static uid_t
mapped_root (const struct setup_idmap *map, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (map[i].container == 0 && map[i].size)
      return map[i].host;
  return 0;
}

int
resolv_prepare (const struct setup *s, struct failure *f)
{
  if (!s->resolv)
    return 0;
  if ((mkdir ("/run", 0755) < 0 && errno != EEXIST) || (mkdir (DIRECTORY, 0755) < 0 && errno != EEXIST)
      || write_file (s->resolv) < 0
      || chown (FILE_PATH, mapped_root (s->uid_map, s->n_uid_map), mapped_root (s->gid_map, s->n_gid_map)) < 0)
    return fail (f, "net", errno, "cannot write the container's resolv.conf");
  return 0;
}

void
resolv_attach (const struct setup *s, int root)
{
  autoclose int from = -1, tree = -1, to = -1;

  if (!s->resolv)
    return;
  from = open (FILE_PATH, O_PATH | O_CLOEXEC);
  tree = from < 0 ? -1 : mount_clone (from, MS_NOSUID | MS_NODEV | MS_NOEXEC);
  to = tree < 0 ? -1 : path_make_file (root, "/etc/resolv.conf");
  if (to < 0 || k_move_mount (tree, to) < 0)
    log_write (LOG_WARNING, "the container's /etc/resolv.conf stays as it is: %s", strerror (errno));
}

void
resolv_write (const struct dhcp_answer *const *leases, size_t n)
{
  char text[2 * DHCP_TEXT];
  size_t used = 0, servers = 0;
  bool searched = false;

  text[0] = 0;
  for (size_t i = 0; i < n && !searched; i++)
    {
      const char *names = *leases[i]->search ? leases[i]->search : leases[i]->domain;

      searched = *names;
      if (searched)
        used = (size_t) snprintf (text, sizeof text, "search %s\n", names);
    }
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < leases[i]->n_dns && servers < SERVERS; k++, servers++)
      {
        const uint8_t *a = leases[i]->dns[k];

        used += (size_t) snprintf (text + used, sizeof text - used, "nameserver %u.%u.%u.%u\n", a[0], a[1],
                                   a[2], a[3]);
      }
  if (write_file (text) < 0)
    log_write (LOG_WARNING, "cannot write the container's resolv.conf: %s", strerror (errno));
}
