/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hotplug.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"

#define DEVICES "/sys/bus/pci/devices"
#define RESCAN "/sys/bus/pci/rescan"

/* Configuration space, of a PCI bridge and of its PCI Express capability. */
enum
{
  STATUS = 0x06,
  STATUS_CAPABILITIES = 0x10,
  HEADER_TYPE = 0x0e,
  BRIDGE = 1,
  CAPABILITIES = 0x34,
  EXPRESS = 0x10,
  FLAGS = 0x02,
  FLAGS_SLOT = 0x0100,
  SLOT_CAPABILITIES = 0x14,
  HAS_POWER_SWITCH = 0x02,
  SLOT_CONTROL = 0x18,
  POWER_LED = 0x0300,
  POWER_LED_ON = 0x0100,
  POWER_OFF = 0x0400,
  SLOT_STATUS = 0x1a,
  IS_PRESENT = 0x40
};

static unsigned
get16 (const uint8_t *p)
{
  return p[0] | (unsigned) p[1] << 8;
}

/* Where the bridge's PCI Express capability is; 0: it is no bridge, or has no slot that can be switched. */
static unsigned
find_slot (const uint8_t config[256])
{
  unsigned at = get16 (config + STATUS) & STATUS_CAPABILITIES ? config[CAPABILITIES] & ~3U : 0;

  if ((config[HEADER_TYPE] & 0x7f) != BRIDGE)
    return 0;
  for (int hops = 0; at >= 0x40 && at <= 256 - 0x20 && hops < 48; hops++)
    {
      if (config[at] == EXPRESS)
        return (get16 (config + at + FLAGS) & FLAGS_SLOT) && (config[at + SLOT_CAPABILITIES] & HAS_POWER_SWITCH)
                   ? at
                   : 0;
      at = config[at + 1] & ~3U;
    }
  return 0;
}

/* Switches the slot of a bridge, as far as it has one.  On: only if something is in it. */
static void
switch_slot (const char *bridge, bool on)
{
  char path[PATH_MAX];
  uint8_t config[256], value[2];
  unsigned at, control;
  autoclose int fd = -1;

  snprintf (path, sizeof path, "%s/config", bridge);
  fd = open (path, O_RDWR | O_CLOEXEC);
  if (fd < 0 || pread (fd, config, sizeof config, 0) != sizeof config || !(at = find_slot (config)))
    return;
  control = get16 (config + at + SLOT_CONTROL);
  if (on == !(control & POWER_OFF) || (on && !(config[at + SLOT_STATUS] & IS_PRESENT)))
    return;
  control &= ~(unsigned) (POWER_LED | POWER_OFF);
  control |= on ? POWER_LED_ON : POWER_LED | POWER_OFF;
  value[0] = (uint8_t) control;
  value[1] = (uint8_t) (control >> 8);
  (void) !pwrite (fd, value, sizeof value, at + SLOT_CONTROL);
}

/* 0 or an errno. */
static int
write_text (const char *path, const char *text)
{
  autoclose int fd = open (path, O_WRONLY | O_CLOEXEC);

  return fd < 0 || write (fd, text, strlen (text)) < 0 ? errno : 0;
}

int
hotplug_rescan_now (void)
{
  DIR *dir = opendir (DEVICES);
  struct dirent *entry;

  while (dir && (entry = readdir (dir)))
    {
      char path[PATH_MAX];

      snprintf (path, sizeof path, DEVICES "/%s", entry->d_name);
      if (entry->d_name[0] != '.')
        switch_slot (path, true);
    }
  if (dir)
    closedir (dir);
  return write_text (RESCAN, "1");
}

void
hotplug_rescan (void)
{
  pid_t pid;

  if (access (RESCAN, W_OK) < 0)
    return;
  pid = fork ();
  if (pid == 0)
    _exit (hotplug_rescan_now ());
  if (pid < 0)
    log_write (LOG_WARNING, "cannot look for new PCI devices: %s", strerror (errno));
}

/* A device on the root bus itself, as Firecracker's are: there, addresses are never given back, and an address that is free here
   would be the next device's, which cannot have it.  So this one keeps its own, without a driver. */
static bool
is_on_root_bus (const char *device)
{
  const char *bus = strchr (device + sizeof "/sys/devices/pci", '/');

  return bus && !strchr (bus + 1, '/');
}

/* The PCI device behind what sysfs links to as "device": 1, or 0 where it is none.  -1 and errno. */
static int
find_device (const char *link, char device[PATH_MAX])
{
  char *slash;

  if (!realpath (link, device))
    return errno == ENOENT ? 0 : -1;
  /* /sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/virtio3 */
  slash = strrchr (device, '/');
  if (!slash || strncmp (device, "/sys/devices/pci", 16) != 0)
    return 0;
  *slash = 0;
  return 1;
}

/* 0 or an errno. */
static int
take_out (char *device)
{
  char path[PATH_MAX + 16];
  int error;

  snprintf (path, sizeof path, "%s/remove", device);
  error = write_text (path, "1");
  *strrchr (device, '/') = 0;
  if (!error)
    switch_slot (device, false);
  return error;
}

int
hotplug_remove_disk (const char *disk)
{
  char link[64], device[PATH_MAX];
  int is_pci;

  snprintf (link, sizeof link, "/sys/block/%.32s/device", disk);
  is_pci = find_device (link, device);
  return is_pci < 0 ? errno : is_pci && !is_on_root_bus (device) ? take_out (device) : 0;
}

pid_t
hotplug_remove (const char *interface)
{
  char link[64], device[PATH_MAX], path[PATH_MAX + 16];
  int is_pci;
  pid_t pid;
  bool unbind;

  snprintf (link, sizeof link, "/sys/class/net/%s/device", interface);
  is_pci = find_device (link, device);
  if (is_pci <= 0)
    return is_pci;
  unbind = is_on_root_bus (device);
  snprintf (path, sizeof path, unbind ? "%s/driver/unbind" : "%s/remove", device);
  if (access (path, W_OK) < 0)
    return 0;
  pid = fork ();
  if (pid == 0)
    _exit (unbind ? write_text (path, strrchr (device, '/') + 1) : take_out (device));
  return pid;
}
