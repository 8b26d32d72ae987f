/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "transport.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "log.h"
#include "modules.h"
#include "uevent.h"

enum
{
  WAIT_MS = 30000,
  DEFAULT_VSOCK_PORT = 1024
};

#define PORTS "/sys/class/virtio-ports"

struct port
{
  const char *name;
  int fd;
};

static bool
has_mmio (void)
{
  return access ("/sys/bus/platform/drivers/virtio-mmio", F_OK) == 0;
}

/* Whether there is anything to be waited for: drivers find their devices when they are loaded, and that has been done. */
static bool
has_bus (void)
{
  DIR *dir = has_mmio () ? NULL : opendir ("/sys/bus/virtio/devices");
  struct dirent *entry;
  bool found = has_mmio ();

  while (dir && !found && (entry = readdir (dir)))
    found = entry->d_name[0] != '.';
  if (dir)
    closedir (dir);
  return found;
}

/* Why a device is not there. */
static const char *
reason (void)
{
  int saved = errno;

  if (!has_mmio ())
    return "this kernel has no driver for virtio over MMIO (CONFIG_VIRTIO_MMIO), neither built in nor in the initramfs";
  return strerror (saved);
}

/* Opens the port whose name file says so. */
static bool
find_port (void *data)
{
  struct port *p = data;
  struct dirent *entry;
  DIR *dir = opendir (PORTS);

  while (dir && p->fd < 0 && (entry = readdir (dir)))
    {
      char path[PATH_MAX], name[64];
      autoclose int file = -1;
      ssize_t n;

      if (entry->d_name[0] == '.')
        continue;
      snprintf (path, sizeof path, PORTS "/%s/name", entry->d_name);
      file = open (path, O_RDONLY | O_CLOEXEC);
      n = file < 0 ? -1 : read (file, name, sizeof name - 1);
      if (n <= 0)
        continue;
      name[n] = 0;
      name[strcspn (name, "\n")] = 0;
      if (strcmp (name, p->name) != 0)
        continue;
      snprintf (path, sizeof path, "/dev/%s", entry->d_name);
      p->fd = open (path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
  if (dir)
    closedir (dir);
  return p->fd >= 0;
}

static int
open_port (const char *name)
{
  struct port p = { name, -1 };

  if (!has_bus () || uevent_wait (find_port, &p, WAIT_MS) < 0)
    fatal ("there is no virtio-serial port %s: %s", name, reason ());
  return p.fd;
}

static bool
has_vsock_device (void *data)
{
  DIR *dir = opendir ("/sys/bus/virtio/drivers/vmw_vsock_virtio_transport");
  struct dirent *entry;
  bool found = false;

  (void) data;
  while (dir && !found && (entry = readdir (dir)))
    found = strncmp (entry->d_name, "virtio", 6) == 0;
  if (dir)
    closedir (dir);
  return found;
}

static int
open_vsock (unsigned port)
{
  struct sockaddr_vm address
      = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port };
  struct pollfd p = { .events = POLLOUT };
  int error = 0;
  socklen_t len = sizeof error;

  modules_load ("vmw_vsock_virtio_transport");
  if (!has_bus () || uevent_wait (has_vsock_device, NULL, WAIT_MS) < 0)
    fatal ("there is no virtio-vsock device: %s", reason ());
  p.fd = socket (AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (p.fd < 0)
    fatal ("cannot make a vsock socket: %s", strerror (errno));
  if (connect (p.fd, (struct sockaddr *) &address, sizeof address) < 0)
    {
      if (errno != EINPROGRESS || poll (&p, 1, WAIT_MS) <= 0
          || getsockopt (p.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno ? errno : ETIMEDOUT;
      if (error)
        fatal ("cannot connect to vsock port %u of the host: %s", port, strerror (error));
    }
  return p.fd;
}

bool
transport_is_of_template (void)
{
  char text[4096], *save = NULL;
  autoclose int fd = open ("/proc/cmdline", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read (fd, text, sizeof text - 1);

  text[n > 0 ? n : 0] = 0;
  for (char *word = strtok_r (text, " \n", &save); word; word = strtok_r (NULL, " \n", &save))
    if (strcmp (word, "rcvm.template") == 0)
      return true;
  return false;
}

int
transport_open (enum transport_stream stream)
{
  char text[4096], *save = NULL;
  autoclose int fd = open ("/proc/cmdline", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read (fd, text, sizeof text - 1);
  const char *value = "virtio";

  if (n > 0)
    {
      text[n] = 0;
      for (char *word = strtok_r (text, " \n", &save); word; word = strtok_r (NULL, " \n", &save))
        if (strncmp (word, "rcvm.agent=", 11) == 0)
          value = word + 11;
    }
  if (strcmp (value, "virtio") == 0)
    return open_port (stream == TRANSPORT_VOLUMES ? AGENT_VOLUMES_PORT_NAME : AGENT_PORT_NAME);
  if (strcmp (value, "vsock") == 0)
    return open_vsock (DEFAULT_VSOCK_PORT + stream);
  if (strncmp (value, "vsock:", 6) == 0)
    {
      char *end;
      unsigned long port = strtoul (value + 6, &end, 10);

      if (end != value + 6 && !*end && port > 0 && port < UINT32_MAX)
        return open_vsock ((unsigned) port + stream);
    }
  fatal ("rcvm.agent=%s on the kernel's command line is neither virtio nor vsock:PORT", value);
}
