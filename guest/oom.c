/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * There is no swap here.  When anonymous memory has taken nearly everything, the kernel goes on dropping the few pages of
 * programs that are left, and everyone reads them from the disk again: it calls that progress, for minutes, and does not end
 * anyone.  So we ask to be told when all tasks wait for memory most of the time (PSI), and if then next to nothing is left
 * but what cannot be dropped, we have the kernel choose whom to end, which is counted as any other such end.
 */
#include "oom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "loop.h"

/* Half a second of each second. */
static const char pressure_trigger[] = "full 500000 1000000";

/* The value of "NAME:   N kB", in KiB. */
static unsigned long
value (const char *text, const char *name)
{
  const char *at = strstr (text, name);

  return at ? strtoul (at + strlen (name), NULL, 10) : 0;
}

static ssize_t
read_text (const char *path, char *text, size_t size)
{
  autoclose int fd = open (path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read (fd, text, size - 1);

  text[n > 0 ? n : 0] = 0;
  return n;
}

/* Pages that could be given to someone are less than a 32nd of the memory. */
static bool
starved (void)
{
  char text[2048];

  return read_text ("/proc/meminfo", text, sizeof text) > 0
         && value (text, "MemFree:") + value (text, "Active(file):") + value (text, "Inactive(file):")
              < value (text, "MemTotal:") / 32;
}

/* Someone has been ended since this was asked last, and may still be on the way out. */
static bool
helped (void)
{
  static unsigned long kills;
  char text[16384];
  unsigned long now = read_text ("/proc/vmstat", text, sizeof text) > 0 ? value (text, "\noom_kill ") : kills;
  bool more = now != kills;

  kills = now;
  return more;
}

static void
pressed (struct watch *w, uint32_t events)
{
  autoclose int fd = -1;

  (void) w;
  /* What the request below chooses is in addition to what the kernel has chosen by itself. */
  if (events & EPOLLERR || !starved () || helped ())
    return;
  fd = open ("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write (fd, "f", 1) < 0)
    log_write (LOG_WARNING, "out of memory, and cannot have the kernel end a process: %s", strerror (errno));
}

void
oom_watch_pressure (void)
{
  static struct watch w = { .fd = -1, .ready = pressed };
  int fd = open ("/proc/pressure/memory", O_RDWR | O_CLOEXEC | O_NONBLOCK);

  if (fd >= 0 && write (fd, pressure_trigger, sizeof pressure_trigger) > 0 && loop_add (&w, fd, EPOLLPRI) == 0)
    return;
  log_write (LOG_INFO, "cannot watch for memory pressure: %s", strerror (errno));
  if (fd >= 0)
    close (fd);
}
