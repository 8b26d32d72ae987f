/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "array.h"
#include "cleanup.h"

enum
{
  LINE_SIZE = 64 * 1024, /* a longer one is no entry */
  MAX_FIELDS = 7
};

/* The image's files are anything: a FIFO, a device, a file without end. */
static FILE *
open_database (const char *path)
{
  autoclose int fd = open (path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  struct stat st;
  FILE *file;

  if (fd < 0 || fstat (fd, &st) < 0 || !S_ISREG (st.st_mode))
    return NULL;
  file = fdopen (fd, "re");
  if (file)
    steal_fd (&fd);
  return file;
}

/* The next entry, split at its colons: the number of fields, 0 at the end. */
static int
next_entry (FILE *file, char *line, char *fields[MAX_FIELDS])
{
  while (fgets (line, LINE_SIZE, file))
    {
      size_t len = strlen (line);
      char *p = line;
      int n = 0;

      if (len == LINE_SIZE - 1 && line[len - 1] != '\n')
        {
          int c;

          while ((c = fgetc (file)) != EOF && c != '\n')
            ;
          continue;
        }
      line[strcspn (line, "\r\n")] = 0;
      if (!*line || *line == '#')
        continue;
      while (p && n < MAX_FIELDS)
        fields[n++] = strsep (&p, ":");
      return n;
    }
  return 0;
}

static bool
parse_id (const char *text, uint32_t *id)
{
  uint64_t value = 0;

  if (!*text)
    return false;
  for (; *text; text++)
    {
      if (*text < '0' || *text > '9')
        return false;
      value = value * 10 + (uint64_t) (*text - '0');
      if (value > 0xfffffffe) /* -1 means "leave it" to the kernel */
        return false;
    }
  *id = (uint32_t) value;
  return true;
}

/* Looks for the user by name, else by number.  *name becomes its name.  0: not found, -1: no
   memory. */
static int
find_user (const char *name_or_id, struct user *u, char *name, size_t size)
{
  autofclose FILE *file = open_database ("/etc/passwd");
  autofree char *line = malloc (LINE_SIZE);
  char *f[MAX_FIELDS];
  uint32_t wanted = 0, uid, gid;
  bool numeric = parse_id (name_or_id, &wanted), found = false;
  int n;

  if (!line)
    return -1;
  while (file && (n = next_entry (file, line, f)))
    {
      bool same_name = strcmp (f[0], name_or_id) == 0;

      if (n < 6 || !parse_id (f[2], &uid) || !parse_id (f[3], &gid)
          || !(same_name || (numeric && uid == wanted && !found)))
        continue;
      found = true;
      u->uid = uid;
      u->gid = gid;
      snprintf (u->home, sizeof u->home, "%s", *f[5] ? f[5] : "/");
      snprintf (name, size, "%s", f[0]);
      if (same_name)
        break;
    }
  return found;
}

static int
find_group (const char *name, gid_t *gid)
{
  autofclose FILE *file = open_database ("/etc/group");
  autofree char *line = malloc (LINE_SIZE);
  char *f[MAX_FIELDS];
  uint32_t id;
  int n;

  if (!line)
    return -1;
  while (file && (n = next_entry (file, line, f)))
    if (n >= 3 && strcmp (f[0], name) == 0 && parse_id (f[2], &id))
      {
        *gid = id;
        return 1;
      }
  return 0;
}

static bool
append_group (struct user *u, gid_t gid)
{
  gid_t *g;

  for (size_t i = 0; i < u->n_groups; i++)
    if (u->groups[i] == gid)
      return true;
  g = array_append (u->groups, u->n_groups);
  if (g)
    *g = gid;
  return g;
}

static bool
append_groups_of (struct user *u, const char *name)
{
  autofclose FILE *file = open_database ("/etc/group");
  autofree char *line = malloc (LINE_SIZE);
  char *f[MAX_FIELDS];
  int n;

  if (!line)
    return false;
  while (file && (n = next_entry (file, line, f)))
    {
      uint32_t gid;
      char *members = n >= 4 ? f[3] : NULL;

      if (!members || !parse_id (f[2], &gid))
        continue;
      while (members)
        if (strcmp (strsep (&members, ","), name) == 0 && !append_group (u, gid))
          return false;
    }
  return true;
}

static int
resolve_name (struct user *u, const char *spec, struct failure *f)
{
  autofree char *copy = strdup (spec);
  char name[256] = "", *group;
  uint32_t id;
  int found;

  if (!copy)
    return fail (f, "user", ENOMEM, "cannot look up the user");
  group = strchr (copy, ':');
  if (group)
    *group++ = 0;
  found = *copy ? find_user (copy, u, name, sizeof name) : 0;
  if (found < 0)
    return fail (f, "user", ENOMEM, "cannot look up the user");
  if (!found && *copy)
    {
      if (!parse_id (copy, &id))
        {
          fail (f, "user", 0, "the container has no user \"%s\" in its /etc/passwd", copy);
          f->exit_code = EXIT_NOT_RUNNABLE;
          return -1;
        }
      u->uid = id;
    }
  if (group && *group)
    {
      found = parse_id (group, &u->gid) ? 1 : find_group (group, &u->gid);
      if (found < 0)
        return fail (f, "user", ENOMEM, "cannot look up the group");
      if (!found)
        {
          fail (f, "user", 0, "the container has no group \"%s\" in its /etc/group", group);
          f->exit_code = EXIT_NOT_RUNNABLE;
          return -1;
        }
    }
  /* A group that is named stands alone, as with Docker. */
  if (*name && !(group && *group) && !append_groups_of (u, name))
    return fail (f, "user", ENOMEM, "cannot look up the user's groups");
  return 0;
}

int
user_resolve (struct user *u, const struct request *q, struct failure *f)
{
  char id[16], name[256];
  struct user by_id = { 0 };

  memset (u, 0, sizeof *u);
  strcpy (u->home, "/");
  for (size_t i = 0; i < q->n_groups; i++)
    if (!append_group (u, q->groups[i]))
      return fail (f, "user", ENOMEM, "cannot set the groups");
  if (q->user)
    return resolve_name (u, q->user, f);
  u->uid = q->uid;
  u->gid = q->gid;
  snprintf (id, sizeof id, "%u", (unsigned) q->uid);
  if (!request_env (q, "HOME") && find_user (id, &by_id, name, sizeof name) > 0)
    memcpy (u->home, by_id.home, sizeof u->home);
  return 0;
}
