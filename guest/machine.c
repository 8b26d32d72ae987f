/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <linux/random.h>

#include "cleanup.h"
#include "log.h"

enum
{
  LATE_USEC = 200000,
  LATE_ROUNDS = 50000
};

#define MEMORY_DRIVER "/sys/bus/virtio/drivers/virtio_mem"

static void
mount_or_die (const char *type, const char *place, unsigned long flags)
{
  if (mkdir (place, 0755) < 0 && errno != EEXIST)
    fatal ("cannot make %s: %s", place, strerror (errno));
  if (mount (type, place, type, flags, NULL) < 0 && errno != EBUSY)
    fatal ("cannot mount %s: %s", place, strerror (errno));
}

static void
write_setting (const char *path, const char *value)
{
  autoclose int fd = open (path, O_WRONLY | O_CLOEXEC);

  if (fd >= 0 && write (fd, value, strlen (value)) < 0)
    log_write (LOG_WARNING, "cannot set %s: %s", path, strerror (errno));
}

/* An emulated machine's one timer is measured by its kernel, which does without any where the host was too busy then (lib/run-vmm.c): it
   boots, and what waits in it waits for ever.  What tells is the clock, which goes on. */
void
machine_await_timer (void)
{
  struct itimerspec soon = { .it_value.tv_nsec = 1000000 };
  autoclose int fd = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  uint64_t began = machine_usec (CLOCK_MONOTONIC), n;

  if (fd < 0 || timerfd_settime (fd, 0, &soon, NULL) < 0)
    fatal ("cannot set a timer: %s", strerror (errno));
  /* Where the host has let the machine wait, its timer is late by some of these rounds. */
  for (unsigned late = 0; late < LATE_ROUNDS; late += machine_usec (CLOCK_MONOTONIC) - began > LATE_USEC)
    if (read (fd, &n, sizeof n) == sizeof n)
      return;
  /* On the console: the agent does not speak yet. */
  write_setting ("/dev/kmsg", "<3>rcvm-init: the kernel has no timer that works\n");
  for (;;)
    pause ();
}

void
machine_mount_early (void)
{
  struct rlimit files = { 1 << 20, 1 << 20 };
  int fd;

  mount_or_die ("devtmpfs", "/dev", MS_NOSUID);
  mount_or_die ("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
  mount_or_die ("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC);
  /* Nothing else may become fd 0 to 2. */
  do
    fd = open ("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= 2);
  if (fd < 0)
    fatal ("cannot open /dev/null: %s", strerror (errno));
  close (fd);
  /* The kernel asks for modules in the initial namespaces, where we are modprobe. */
  write_setting ("/proc/sys/kernel/modprobe", "/sbin/modprobe");
  /* Mounts, namespaces and cgroups wait for grace periods; with few CPUs the short ones cost nothing.
     It takes 10 ms off SETUP. */
  write_setting ("/sys/kernel/rcu_expedited", "1");
  setrlimit (RLIMIT_NOFILE, &files);
}

uint64_t
machine_usec (clockid_t clock)
{
  struct timespec t;

  clock_gettime (clock, &t);
  return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

void
machine_set_clock (uint64_t nsec)
{
  struct timespec t
      = { .tv_sec = (time_t) (nsec / 1000000000), .tv_nsec = (long) (nsec % 1000000000) };

  if (nsec && clock_settime (CLOCK_REALTIME, &t) < 0)
    log_write (LOG_WARNING, "cannot set the clock: %s", strerror (errno));
}

bool
machine_add_entropy (const unsigned char *data, size_t len)
{
  autofree struct rand_pool_info *info = NULL;
  autoclose int fd = -1;

  if (!len)
    return false;
  if (len > 4096)
    len = 4096;
  info = malloc (sizeof *info + len);
  fd = open ("/dev/urandom", O_RDWR | O_CLOEXEC);
  if (info && fd >= 0)
    {
      info->entropy_count = (int) len * 8;
      info->buf_size = (int) len;
      memcpy (info->buf, data, len);
      /* At once: a machine from a template has the generator's state of all others, and would go on with it for a minute. */
      if (ioctl (fd, RNDADDENTROPY, info) == 0 && ioctl (fd, RNDRESEEDCRNG, 0) == 0)
        return true;
    }
  log_write (LOG_WARNING, "cannot add entropy: %s", strerror (errno));
  return false;
}

void
machine_bring_up_loopback (void)
{
  struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
  autoclose int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  if (fd < 0 || ioctl (fd, SIOCSIFFLAGS, &r) < 0)
    log_write (LOG_WARNING, "cannot bring the loopback interface up: %s", strerror (errno));
}

int
machine_check_memory (struct failure *f)
{
  DIR *dir = opendir (MEMORY_DRIVER);
  struct dirent *entry;
  bool bound = false;

  /* The devices that it drives are links there. */
  while (dir && (entry = readdir (dir)))
    bound |= strncmp (entry->d_name, "virtio", 6) == 0;
  if (dir)
    closedir (dir);
  if (bound)
    return 0;
  return fail (f, "setup", ENODEV, "no memory can be added while the VM runs: its kernel %s",
               dir ? "does not know this device, and Linux 5.16 is the first that does" : "lacks a driver for virtio-mem (CONFIG_VIRTIO_MEM)");
}
