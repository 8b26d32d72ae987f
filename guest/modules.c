/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "modules.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "cleanup.h"
#include "log.h"

#define MODULE_DIR "/lib/modules"
#define VIRTIO_DEVICES "/sys/bus/virtio/devices"

enum
{
  NAME_SIZE = 64,
  PARAMETERS_SIZE = 1024
};

/* The whole file as a string; NULL if it cannot be read. */
static char *
read_text (const char *path)
{
  autoclose int fd = open (path, O_RDONLY | O_CLOEXEC);
  autofree char *text = NULL;
  size_t len = 0, cap = 0;
  ssize_t n;

  if (fd < 0)
    return NULL;
  do
    {
      if (cap - len < 4096)
        {
          char *grown = realloc (text, cap += 65536);

          if (!grown)
            return NULL;
          text = grown;
        }
      n = read (fd, text + len, cap - len - 1);
      if (n < 0)
        return NULL;
      len += (size_t) n;
    }
  while (n > 0);
  text[len] = 0;
  return steal_ptr (text);
}

/* The index files are read once by each process that needs them. */
static char *
index_text (const char *path, char **cache)
{
  if (!*cache)
    *cache = read_text (path);
  return *cache;
}

/* The file name's spelling; false if it is too long to be a module. */
static bool
normalise (char out[NAME_SIZE], const char *name, size_t len)
{
  if (len == 0 || len >= NAME_SIZE || memchr (name, '/', len))
    return false;
  for (size_t i = 0; i < len; i++)
    out[i] = name[i] == '-' ? '_' : name[i];
  out[len] = 0;
  return true;
}

static void
parameters_of (const char *module, char *out, size_t size)
{
  static char *cmdline;
  size_t used = 0, n = strlen (module);
  const char *text = index_text ("/proc/cmdline", &cmdline);

  out[0] = 0;
  for (const char *p = text; p && *p;)
    {
      bool quoted = false;
      const char *start = p += strspn (p, " \n");
      char name[NAME_SIZE];
      const char *dot;

      while (*p && (quoted || (*p != ' ' && *p != '\n')))
        quoted ^= *p++ == '"';
      dot = memchr (start, '.', (size_t) (p - start));
      if (!dot || !normalise (name, start, (size_t) (dot - start)) || strcmp (name, module) != 0
          || strlen (name) != n || used + (size_t) (p - dot) + 1 > size)
        continue;
      if (used)
        out[used++] = ' ';
      memcpy (out + used, dot + 1, (size_t) (p - dot - 1));
      used += (size_t) (p - dot - 1);
      out[used] = 0;
    }
}

static int
insert (const char *module)
{
  char path[PATH_MAX], parameters[PARAMETERS_SIZE], loaded[PATH_MAX];
  autoclose int fd = -1;

  snprintf (loaded, sizeof loaded, "/sys/module/%s/initstate", module);
  if (access (loaded, F_OK) == 0)
    return 0;
  snprintf (path, sizeof path, MODULE_DIR "/%s.ko", module);
  fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT ? 0 : -1;
  parameters_of (module, parameters, sizeof parameters);
  if (syscall (SYS_finit_module, fd, parameters, 0) == 0 || errno == EEXIST || errno == ENODEV)
    return 0;
  log_write (LOG_WARNING, "the kernel refuses module %s: %s", module, strerror (errno));
  return -1;
}

/* Dependencies first. */
static int
load_module (const char *module)
{
  static char *deps;
  size_t n = strlen (module);

  for (const char *p = index_text (MODULE_DIR "/deps", &deps); p && *p;)
    {
      const char *end = strchrnul (p, '\n');

      if (strncmp (p, module, n) == 0 && (p[n] == ' ' || p[n] == '\n'))
        for (p += n; p < end;)
          {
            char name[NAME_SIZE];
            size_t len;

            p += strspn (p, " ");
            len = strcspn (p, " \n");
            if (normalise (name, p, len) && insert (name) < 0)
              return -1;
            p += len;
          }
      p = *end ? end + 1 : end;
    }
  return insert (module);
}

int
modules_load (const char *name_or_alias)
{
  static char *aliases;
  char module[NAME_SIZE], path[PATH_MAX];
  int result = 0;

  if (normalise (module, name_or_alias, strlen (name_or_alias)))
    {
      snprintf (path, sizeof path, MODULE_DIR "/%s.ko", module);
      if (access (path, F_OK) == 0)
        return load_module (module);
    }
  for (const char *p = index_text (MODULE_DIR "/aliases", &aliases); p && *p;)
    {
      const char *end = strchrnul (p, '\n'), *space = memchr (p, ' ', (size_t) (end - p));
      char pattern[256];

      if (space && (size_t) (space - p) < sizeof pattern)
        {
          memcpy (pattern, p, (size_t) (space - p));
          pattern[space - p] = 0;
          if (fnmatch (pattern, name_or_alias, 0) == 0
              && normalise (module, space + 1, (size_t) (end - space - 1))
              && load_module (module) < 0)
            result = -1;
        }
      p = *end ? end + 1 : end;
    }
  return result;
}

int
modules_load_fs (const char *type)
{
  char alias[NAME_SIZE];

  if (strlen (type) + sizeof "fs-" > sizeof alias)
    return 0;
  /* These hang on more than their own module: a transport, or a protocol version. */
  if (strcmp (type, "nfs") == 0 && modules_load ("nfsv3") < 0)
    return -1;
  if (strcmp (type, "9p") == 0 && (modules_load ("9pnet_fd") < 0 || modules_load ("9pnet_virtio") < 0))
    return -1;
  snprintf (alias, sizeof alias, "fs-%s", type);
  return modules_load (alias);
}

/* Drivers of the devices that are there. */
static void
load_drivers (void)
{
  DIR *dir = opendir (VIRTIO_DEVICES);
  struct dirent *entry;

  while (dir && (entry = readdir (dir)))
    {
      char path[PATH_MAX], alias[256];
      autoclose int fd = -1;
      ssize_t n;

      snprintf (path, sizeof path, VIRTIO_DEVICES "/%s/modalias", entry->d_name);
      fd = open (path, O_RDONLY | O_CLOEXEC);
      n = fd < 0 ? -1 : read (fd, alias, sizeof alias - 1);
      if (n <= 0)
        continue;
      alias[n] = 0;
      alias[strcspn (alias, "\n")] = 0;
      modules_load (alias);
    }
  if (dir)
    closedir (dir);
}

void
modules_load_boot (void)
{
  autofree char *text = read_text (MODULE_DIR "/boot");
  char *save = NULL;

  for (char *name = text ? strtok_r (text, " \n", &save) : NULL; name;
       name = strtok_r (NULL, " \n", &save))
    modules_load (name);
  load_drivers ();
}

void
modules_load_for_template (void)
{
  /* What nearly every container makes the agent load: its root, and its volumes. */
  static const char *const types[] = { "ext4", "overlay", "nfs" };

  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    modules_load_fs (types[i]);
}

int
modules_modprobe (char **argv)
{
  int status = 0;

  for (argv++; *argv; argv++)
    if ((*argv)[0] != '-' && modules_load (*argv) < 0)
      status = 1;
  return status;
}
