/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What bench/volumes.sh runs in the VM.
 *
 *   volumes-guest speed DIR MIB FILES   figures of the file system at DIR, one a line
 *   volumes-guest see FILE SEEN         writes each new content of FILE (a number) into SEEN, a file of the same volume, once it sees
 *                                       it: past the page cache, so that it is one call of the server's
 *   volumes-guest write SEEN COUNT      microseconds that such a write takes, one a line
 */
#define _GNU_SOURCE 1
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double
now (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static _Noreturn void
die (const char *what)
{
  perror (what);
  exit (1);
}

static void
say (const char *what, double amount, double since)
{
  printf ("%s %.1f\n", what, amount / (now () - since));
  fflush (stdout);
}

static void
speed_of_data (size_t mib)
{
  static char block[1 << 20];
  double start = now ();
  int fd = open ("big", O_RDWR | O_CREAT | O_TRUNC, 0600);

  memset (block, 'x', sizeof block);
  for (size_t i = 0; i < mib; i++)
    if (write (fd, block, sizeof block) != sizeof block)
      die ("write");
  if (fsync (fd) < 0)
    die ("fsync");
  say ("write-MiB/s", (double) mib, start);
  posix_fadvise (fd, 0, 0, POSIX_FADV_DONTNEED);
  start = now ();
  for (size_t i = 0; i < mib; i++)
    if (pread (fd, block, sizeof block, (off_t) (i * sizeof block)) != sizeof block)
      die ("read");
  say ("read-MiB/s", (double) mib, start);
  start = now ();
  for (size_t i = 0; i < 50; i++)
    if (pwrite (fd, block, 4096, (off_t) (rand () % (int) (mib * 256)) * 4096) != 4096 || fdatasync (fd) < 0)
      die ("fdatasync");
  say ("4k-write+fdatasync/s", 50, start);
  close (fd);
  unlink ("big");
}

static void
speed_of_names (int files)
{
  char name[32];
  struct stat st;
  double start = now ();

  for (int i = 0; i < files; i++)
    {
      int fd;

      snprintf (name, sizeof name, "file%d", i);
      fd = open (name, O_WRONLY | O_CREAT | O_EXCL, 0600);
      if (fd < 0 || write (fd, "x", 1) != 1 || close (fd) < 0)
        die (name);
    }
  say ("create+write/s", files, start);
  start = now ();
  for (int i = 0; i < files; i++)
    {
      snprintf (name, sizeof name, "file%d", i);
      if (stat (name, &st) < 0)
        die (name);
    }
  say ("stat/s", files, start);
  start = now ();
  for (int i = 0; i < files; i++)
    {
      snprintf (name, sizeof name, "file%d", i);
      if (unlink (name) < 0)
        die (name);
    }
  say ("unlink/s", files, start);
}

enum
{
  BLOCK = 4096
};

static int
open_seen (const char *file)
{
  int fd = open (file, O_WRONLY | O_CREAT | O_DIRECT, 0600);

  if (fd < 0)
    die (file);
  return fd;
}

static void
tell (int fd, const char *text)
{
  static char block[BLOCK] __attribute__ ((aligned (BLOCK)));

  memset (block, 0, sizeof block);
  strcpy (block, text);
  if (pwrite (fd, block, sizeof block, 0) != sizeof block)
    die ("pwrite");
}

static _Noreturn void
see (const char *file, const char *seen)
{
  char last[32] = "", text[32];
  int out = open_seen (seen);

  for (;;)
    {
      int fd = open (file, O_RDONLY);
      ssize_t n = fd < 0 ? 0 : read (fd, text, sizeof text - 1);

      close (fd);
      if (n <= 0)
        continue;
      text[n] = 0;
      if (strcmp (text, last) != 0 && text[n - 1] == '\n')
        {
          strcpy (last, text);
          tell (out, text);
        }
    }
}

static void
time_writes (const char *seen, int count)
{
  int out = open_seen (seen);

  for (int i = 0; i < count; i++)
    {
      double start = now ();

      tell (out, "0\n");
      printf ("%.0f\n", 1e6 * (now () - start));
    }
}

int
main (int argc, char **argv)
{
  if (argc == 4 && strcmp (argv[1], "see") == 0)
    see (argv[2], argv[3]);
  if (argc == 4 && strcmp (argv[1], "write") == 0)
    {
      time_writes (argv[2], atoi (argv[3]));
      return 0;
    }
  if (argc != 5 || strcmp (argv[1], "speed") != 0 || chdir (argv[2]) < 0)
    die ("usage: volumes-guest speed DIR MIB FILES | see FILE SEEN | write SEEN COUNT");
  speed_of_data ((size_t) atoi (argv[3]));
  speed_of_names (atoi (argv[4]));
  return 0;
}
