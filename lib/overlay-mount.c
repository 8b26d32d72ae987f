/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "overlay-mount.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "cleanup.h"
#include "err.h"
#include "options.h"

void
rcvmi_overlay_mount_clear (struct rcvmi_overlay_mount *o)
{
  rcvmi_strv_free (o->lower);
  free (o->upper);
  free (o->init);
  *o = (struct rcvmi_overlay_mount){ 0 };
}

/* In place: mountinfo writes blanks and backslashes as \ooo. */
static void
unescape_octal (char *s)
{
  char *to = s;

  for (; *s; s++)
    if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7')
      {
        *to++ = (char) ((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
        s += 3;
      }
    else
      *to++ = *s;
  *to = 0;
}

/* In place: cuts the next name off a list in which '\' takes the meaning from what follows. */
static char *
next_name (char **list, char separator)
{
  char *name = *list, *to = name, *s = name;

  if (!s)
    return NULL;
  for (; *s && *s != separator; s++)
    {
      if (*s == '\\' && s[1])
        s++;
      *to++ = *s;
    }
  *list = *s ? s + 1 : NULL;
  *to = 0;
  return name;
}

/* The next option, still escaped. */
static char *
next_option (char **list)
{
  char *option = *list, *s = option;

  if (!s)
    return NULL;
  for (; *s && *s != ','; s++)
    if (*s == '\\' && s[1])
      s++;
  *list = *s ? s + 1 : NULL;
  *s = 0;
  return option;
}

/* Long option strings have names relative to where Docker was when it mounted: two levels above the mount. */
static char *
absolute (const char *name, const char *base)
{
  char *path;

  if (name[0] == '/')
    return strdup (name);
  return asprintf (&path, "%s/%s", base, name) < 0 ? NULL : path;
}

static int
add_lower (struct rcvmi_overlay_mount *o, const char *name, const char *base)
{
  autofree char *path = absolute (name, base);

  return path ? rcvmi_strv_append (&o->lower, path) : -1;
}

static void
reverse (char **list)
{
  size_t n = rcvmi_strv_length (list);

  for (size_t i = 0; i < n / 2; i++)
    {
      char *s = list[i];

      list[i] = list[n - 1 - i];
      list[n - 1 - i] = s;
    }
}

/* Data-only lower directories ("::") and the like are left to the kernel: such a mount is taken as a tree. */
static int
parse_options (char *options, const char *base, struct rcvmi_overlay_mount *out, rcvm_error **err)
{
  bool plain = true;

  for (char *option; (option = next_option (&options));)
    {
      char *value = strchr (option, '=');

      /* Its marks are other attributes, which the guest's overlay does not look at. */
      if (strcmp (option, "userxattr") == 0)
        plain = false;
      if (!value)
        continue;
      *value++ = 0;
      if (strcmp (option, "lowerdir") == 0)
        for (char *name; plain && (name = next_name (&value, ':'));)
          {
            plain = *name != 0;
            if (plain && add_lower (out, name, base) < 0)
              return rcvmi_fail_nomem (err);
          }
      else if (strcmp (option, "lowerdir+") == 0 && add_lower (out, next_name (&value, 0), base) < 0)
        return rcvmi_fail_nomem (err);
      else if (strcmp (option, "upperdir") == 0 && !out->upper
               && !(out->upper = absolute (next_name (&value, 0), base)))
        return rcvmi_fail_nomem (err);
      else if (strcmp (option, "datadir+") == 0
               || (strcmp (option, "redirect_dir") == 0 && strcmp (value, "on") == 0)
               || (strcmp (option, "metacopy") == 0 && strcmp (value, "on") == 0))
        plain = false;
    }
  if (!plain || !out->lower)
    rcvmi_overlay_mount_clear (out);
  else
    reverse (out->lower);
  return 0;
}

/* ID PARENT DEV ROOT PLACE FLAGS [FIELD...] - TYPE SOURCE OPTIONS (proc_pid_mountinfo(5)) */
int
rcvmi_overlay_mount_parse (const char *line, const char *place, const char *base, struct rcvmi_overlay_mount *out,
                     rcvm_error **err)
{
  autofree char *copy = strdup (line);
  char *fields[5], *rest = copy, *type, *options, *end;
  int r;

  if (!copy)
    return rcvmi_fail_nomem (err);
  for (size_t i = 0; i < 5; i++)
    if (!(fields[i] = strsep (&rest, " ")))
      return 0;
  if (!rest || !(rest = strstr (rest, " - ")))
    return 0;
  rest += 3;
  type = strsep (&rest, " ");
  if (!rest || strcmp (type, "overlay") != 0 || !strsep (&rest, " ") || !rest)
    return 0;
  options = rest;
  end = options + strcspn (options, " \n");
  *end = 0;
  unescape_octal (fields[3]);
  unescape_octal (fields[4]);
  if (strcmp (fields[4], place) != 0)
    return 0;
  rcvmi_overlay_mount_clear (out);
  /* A part of one, bound there. */
  if (strcmp (fields[3], "/") != 0)
    return 1;
  unescape_octal (options);
  r = parse_options (options, base, out, err);
  return r < 0 ? r : 1;
}

static bool
all_there (const struct rcvmi_overlay_mount *o)
{
  struct stat st;

  for (char **l = o->lower; l && *l; l++)
    if (stat (*l, &st) < 0 || !S_ISDIR (st.st_mode))
      return false;
  return !o->upper || (stat (o->upper, &st) == 0 && S_ISDIR (st.st_mode));
}

/* overlay2 of Docker: "ID/diff" over "ID-init/diff" over the image's layers. */
static int
part_from_init (struct rcvmi_overlay_mount *o, rcvm_error **err)
{
  static const char suffix[] = "-init/diff";
  size_t n = rcvmi_strv_length (o->lower), len;
  char *real;

  if (!o->upper || n < 2)
    return 0;
  real = realpath (o->lower[n - 1], NULL);
  len = real ? strlen (real) : 0;
  if (!real && errno == ENOMEM)
    return rcvmi_fail_nomem (err);
  if (len <= strlen (suffix) || strcmp (real + len - strlen (suffix), suffix) != 0)
    {
      free (real);
      return 0;
    }
  o->init = real;
  free (o->lower[n - 1]);
  o->lower[n - 1] = NULL;
  return 0;
}

static char *
two_levels_up (const char *path)
{
  char *base = strdup (path);

  for (int i = 0; base && i < 2; i++)
    {
      char *slash = strrchr (base, '/');

      if (slash)
        *slash = 0;
    }
  return base;
}

int
rcvmi_overlay_mount_find (const char *rootfs, struct rcvmi_overlay_mount *out, rcvm_error **err)
{
  autofree char *real = realpath (rootfs, NULL), *base = real ? two_levels_up (real) : NULL, *line = NULL;
  FILE *mounts;
  struct statfs fs;
  size_t size = 0;
  int r = 0;

  *out = (struct rcvmi_overlay_mount){ 0 };
  if (!real || statfs (real, &fs) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the root file system '%s'", rootfs);
  if (!base)
    return rcvmi_fail_nomem (err);
  if (fs.f_type != OVERLAYFS_SUPER_MAGIC)
    return 0;
  mounts = fopen ("/proc/self/mountinfo", "re");
  if (!mounts)
    return 0;
  /* The last one at a place is the one that is seen. */
  while (r >= 0 && getline (&line, &size, mounts) > 0)
    r = rcvmi_overlay_mount_parse (line, real, base, out, err);
  fclose (mounts);
  if (r >= 0 && all_there (out))
    r = part_from_init (out, err);
  else
    rcvmi_overlay_mount_clear (out);
  if (r < 0)
    rcvmi_overlay_mount_clear (out);
  return r < 0 ? r : 0;
}
