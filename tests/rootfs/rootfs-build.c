/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* rcvm_rootfs_build for scripts: what the tests and benchmarks of root disks run. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <runcvm/rootfs.h>

enum
{
  MAX_LAYERS = 1000
};

static const char *layers[MAX_LAYERS + 1];
static int n_layers;
static unsigned long long grow;

static int
usage (void)
{
  fputs ("rootfs-build [--size=BYTES] [--headroom=PERCENT] [--no-journal] [--no-sync]\n"
         "             [--copy=SOURCE:DESTINATION]... [--usage] SOURCE IMAGE\n"
         "rootfs-build [OPTIONS] --layer=FILE... IMAGE\n"
         "rootfs-build --grow=BYTES IMAGE\n",
         stderr);
  return 2;
}

static int
add_copy (rcvm_rootfs_options *o, char *text, rcvm_error **err)
{
  char *colon = strchr (text, ':');

  if (!colon)
    return usage ();
  *colon = 0;
  return rcvm_rootfs_options_add_copy (o, text, colon + 1, err);
}

static int
option (rcvm_rootfs_options *o, char *arg, rcvm_error **err)
{
  if (strncmp (arg, "--size=", 7) == 0)
    return rcvm_rootfs_options_set_size (o, strtoull (arg + 7, NULL, 0), err);
  if (strncmp (arg, "--headroom=", 11) == 0)
    return rcvm_rootfs_options_set_headroom (o, (unsigned) strtoul (arg + 11, NULL, 0), err);
  if (strcmp (arg, "--no-journal") == 0)
    return rcvm_rootfs_options_set_journal (o, 0, err);
  if (strcmp (arg, "--no-sync") == 0)
    return rcvm_rootfs_options_set_sync (o, 0, err);
  if (strncmp (arg, "--grow=", 7) == 0)
    {
      grow = strtoull (arg + 7, NULL, 0);
      return 0;
    }
  if (strncmp (arg, "--layer=", 8) == 0 && n_layers < MAX_LAYERS)
    {
      layers[n_layers++] = arg + 8;
      return 0;
    }
  if (strncmp (arg, "--copy=", 7) == 0)
    return add_copy (o, arg + 7, err);
  return usage ();
}

int
main (int argc, char **argv)
{
  rcvm_error *err = NULL;
  rcvm_rootfs_options *o = rcvm_rootfs_options_new (&err);
  struct rusage use;
  int i, show = 0, r = 0;

  for (i = 1; i < argc && argv[i][0] == '-' && o && r == 0; i++)
    if (strcmp (argv[i], "--usage") == 0)
      show = 1;
    else
      r = option (o, argv[i], &err);
  if (o && r == 0 && argc - i != (n_layers || grow ? 1 : 2))
    return usage ();
  if (o && r == 0)
    r = grow       ? rcvm_rootfs_grow (argv[i], grow, &err)
        : n_layers ? rcvm_rootfs_build_layers (layers, argv[i], o, &err)
                   : rcvm_rootfs_build (argv[i], argv[i + 1], o, &err);
  rcvm_rootfs_options_free (o);
  if (!o || r != 0)
    {
      fprintf (stderr, "%s: %s\n", rcvm_code_name (rcvm_error_get_code (err)),
               rcvm_error_get_message (err));
      rcvm_error_free (err);
      return 1;
    }
  if (show && getrusage (RUSAGE_SELF, &use) == 0)
    printf ("user %ld.%03ld system %ld.%03ld peak %ld KiB\n", (long) use.ru_utime.tv_sec,
            (long) use.ru_utime.tv_usec / 1000, (long) use.ru_stime.tv_sec,
            (long) use.ru_stime.tv_usec / 1000, use.ru_maxrss);
  return 0;
}
