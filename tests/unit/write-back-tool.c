/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* write-back-tool [--base IMAGE] [--exclude PATH]... [--delta DIR --since NANOSECONDS] [--repeated NANOSECONDS] IMAGE ROOTFS: rcvmi_writeback for tests/rootfs/write-back.sh.  It
   also looks whether anything was left: fds, children. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "writeback.h"

static int
count_fds (void)
{
  DIR *dir = opendir ("/proc/self/fd");
  int n = 0;

  while (dir && readdir (dir))
    n++;
  if (dir)
    closedir (dir);
  return n;
}

int
main (int argc, char **argv)
{
  const char *exclude[16];
  struct rcvmi_writeback_options o = { .exclude = exclude };
  int fds = count_fds (), code, i = 1;
  rcvm_error *err = NULL;

  for (; i + 2 < argc; i += 2)
    if (strcmp (argv[i], "--base") == 0)
      o.base = argv[i + 1];
    else if (strcmp (argv[i], "--exclude") == 0 && o.n_exclude < 16)
      exclude[o.n_exclude++] = argv[i + 1];
    else if (strcmp (argv[i], "--delta") == 0)
      o.deltas[0] = argv[i + 1];
    else if (strcmp (argv[i], "--since") == 0)
      o.since = (struct timespec){ atoll (argv[i + 1]) / 1000000000, atoll (argv[i + 1]) % 1000000000 };
    else if (strcmp (argv[i], "--repeated") == 0)
      {
        o.repeated = true;
        o.frozen = (struct timespec){ atoll (argv[i + 1]) / 1000000000, atoll (argv[i + 1]) % 1000000000 };
      }
    else
      break;
  if (argc - i != 2)
    {
      fprintf (stderr, "usage: %s [--base IMAGE] [--exclude PATH]... IMAGE ROOTFS\n", argv[0]);
      return 2;
    }
  code = rcvmi_writeback (argv[i], argv[i + 1], &o, &err);
  if (code < 0)
    printf ("%s: %s\n", rcvm_code_name (code), rcvm_error_get_message (err));
  if ((code < 0) != (err != NULL) || (err && rcvm_error_get_code (err) != code))
    return 70;
  rcvm_error_free (err);
  if (count_fds () != fds)
    return 71;
  if (waitpid (-1, NULL, WNOHANG) != -1 || errno != ECHILD)
    return 72;
  return code < 0 ? 1 : 0;
}
