/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "defaults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum
{
  /* Above what Debian, systemd and those who share out subordinate users take, and below what counts as negative. */
  FIRST_USER = 1900000000,
  USERS = 65536
};

static char *
join (const char *variable, const char *fallback, const char *name)
{
  const char *dir = secure_getenv (variable);
  char *path;

  return asprintf (&path, "%s/%s", dir && *dir ? dir : fallback, name) < 0 ? NULL : path;
}

char *
rcvmi_default_kernel (void)
{
  char *plain = join ("RUNCVM_GUEST_DIR", RCVMI_GUEST_DIR, "vmlinux");

  /* What needs no unpacking boots sooner. */
  if (!plain || access (plain, F_OK) == 0)
    return plain;
  free (plain);
  return join ("RUNCVM_GUEST_DIR", RCVMI_GUEST_DIR, "vmlinuz");
}

char *
rcvmi_default_initramfs (void)
{
  return join ("RUNCVM_GUEST_DIR", RCVMI_GUEST_DIR, "initramfs");
}

const char *
rcvmi_default_hypervisor (void)
{
  const char *name = secure_getenv ("RUNCVM_HYPERVISOR");

  return name && *name ? name : NULL;
}

const char *
rcvmi_default_confinement (void)
{
  const char *how = secure_getenv ("RUNCVM_CONFINE");

  return how && *how ? how : NULL;
}

const char *
rcvmi_default_template (void)
{
  const char *how = secure_getenv ("RUNCVM_TEMPLATE");

  return how && *how ? how : NULL;
}

int
rcvmi_default_users (uint32_t *first, uint32_t *n)
{
  const char *range = secure_getenv ("RUNCVM_USERS");
  unsigned long low = FIRST_USER, high = FIRST_USER + USERS - 1;
  char end;

  if (range && *range
      && (strspn (range, "0123456789-") != strlen (range) || sscanf (range, "%10lu-%10lu%c", &low, &high, &end) != 2))
    return -1;
  if (low == 0 || high < low || high >= UINT32_MAX)
    return -1;
  *first = (uint32_t) low;
  *n = (uint32_t) (high - low + 1);
  return 0;
}

char *
rcvmi_default_monitor (void)
{
  return join ("RUNCVM_LIBEXEC", RCVMI_LIBEXEC_DIR, "runcvm-monitor");
}

char *
rcvmi_default_volumes (void)
{
  return join ("RUNCVM_LIBEXEC", RCVMI_LIBEXEC_DIR, "runcvm-volumes");
}

char *
rcvmi_default_data_dir (void)
{
  const char *dir = secure_getenv ("RUNCVM_DATA_DIR"), *home;
  char *path;

  if (dir && *dir)
    return strdup (dir);
  /* XDG Base Directory Specification */
  if (geteuid () != 0 && (home = secure_getenv ("XDG_DATA_HOME")) && home[0] == '/')
    return asprintf (&path, "%s/runcvm", home) < 0 ? NULL : path;
  if (geteuid () != 0 && (home = secure_getenv ("HOME")) && home[0] == '/')
    return asprintf (&path, "%s/.local/share/runcvm", home) < 0 ? NULL : path;
  return strdup (RCVMI_DATA_DIR);
}

char *
rcvmi_default_cache_dir (void)
{
  const char *dir = secure_getenv ("RUNCVM_CACHE_DIR");
  char *data, *path;

  if (dir && *dir)
    return strdup (dir);
  data = rcvmi_default_data_dir ();
  if (!data || asprintf (&path, "%s/cache", data) < 0)
    path = NULL;
  free (data);
  return path;
}
