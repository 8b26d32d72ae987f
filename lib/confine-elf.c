/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which libraries a program loads, found as the dynamic loader would: DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH, the loader's
 * cache, the usual directories.  The loader itself could be asked (ld.so --list), but it takes 20 ms, and 2 are enough.
 *
 * The program is the host's, and about to be run; a file that is broken is an error all the same, and no more than that.
 */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "confine.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  MAX_OBJECTS = 512,
  MAX_SEGMENTS = 64,
  MAX_DYNAMIC = 1024, /* entries */
  MAX_NAME = 1024,
  MAX_CACHE = 16 * 1024 * 1024
};

/* The cache of ldconfig: glibc's elf/cache.c has the format. */
#define CACHE_FILE "/etc/ld.so.cache"
#define CACHE_MAGIC "glibc-ld.so.cache1.1"

struct cache_header
{
  char magic[sizeof CACHE_MAGIC - 1];
  uint32_t entries;
  uint32_t rest[6];
};

struct cache_entry
{
  int32_t flags;
  uint32_t name, path; /* offsets of strings in the file */
  uint32_t os_version;
  uint64_t hwcap;
};

static const char *const usual[] = {
#ifdef __x86_64__
  "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu",
#elif defined __aarch64__
  "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
#endif
  "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib",
};

/* A file as far as it has been read: what of it says how it is linked. */
struct object
{
  int fd;
  const char *path;
  uint16_t machine;
  Elf64_Phdr segments[MAX_SEGMENTS];
  size_t n_segments;
  Elf64_Dyn dynamic[MAX_DYNAMIC];
  size_t n_dynamic;
};

struct search
{
  char *paths[MAX_OBJECTS]; /* found so far */
  char *names[MAX_OBJECTS]; /* and by which names */
  size_t n;
  uint16_t machine; /* of the program */
  char *rpath;      /* of the program, for all that it loads */
  char *cache;      /* contents of the loader's */
  size_t cache_size;
  const char *program;
};

static int
broken (const char *path, rcvm_error **err)
{
  return rcvmi_fail (err, RCVM_E_HOST, 0, "'%.200s' is no program of this machine, or it is damaged", path);
}

static bool
read_at (int fd, void *buf, size_t size, uint64_t at)
{
  return at <= INT64_MAX - size && pread (fd, buf, size, (off_t) at) == (ssize_t) size;
}

/* A string that lies in a segment, at an offset of it that the file gives. */
static char *
read_string (int fd, uint64_t at)
{
  char buf[MAX_NAME];
  ssize_t n = at < INT64_MAX ? pread (fd, buf, sizeof buf, (off_t) at) : -1;

  return n > 0 && memchr (buf, 0, (size_t) n) ? strdup (buf) : NULL;
}

static bool
is_for (int fd, uint16_t machine)
{
  Elf64_Ehdr h;

  return read_at (fd, &h, sizeof h, 0) && memcmp (h.e_ident, ELFMAG, SELFMAG) == 0 && h.e_ident[EI_CLASS] == ELFCLASS64
         && (machine == EM_NONE || h.e_machine == machine);
}

static int
open_object (struct object *o, const char *path, rcvm_error **err)
{
  Elf64_Ehdr h;

  *o = (struct object){ .path = path, .fd = open (path, O_RDONLY | O_CLOEXEC) };
  if (o->fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%.200s'", path);
  if (!is_for (o->fd, EM_NONE) || !read_at (o->fd, &h, sizeof h, 0) || h.e_phentsize != sizeof o->segments[0]
      || h.e_phnum > MAX_SEGMENTS || !read_at (o->fd, o->segments, h.e_phnum * sizeof o->segments[0], h.e_phoff))
    return broken (path, err);
  o->machine = h.e_machine;
  o->n_segments = h.e_phnum;
  for (size_t i = 0; i < o->n_segments; i++)
    if (o->segments[i].p_type == PT_DYNAMIC)
      {
        o->n_dynamic = o->segments[i].p_filesz / sizeof o->dynamic[0];
        if (o->n_dynamic > MAX_DYNAMIC || !read_at (o->fd, o->dynamic, o->n_dynamic * sizeof o->dynamic[0], o->segments[i].p_offset))
          return broken (path, err);
        for (size_t k = 0; k < o->n_dynamic; k++)
          if (o->dynamic[k].d_tag == DT_NULL)
            o->n_dynamic = k;
      }
  return 0;
}

/* The string that a dynamic entry names; NULL if it is not there. */
static char *
dynamic_string (const struct object *o, uint64_t offset)
{
  uint64_t table = 0;

  for (size_t i = 0; i < o->n_dynamic; i++)
    if (o->dynamic[i].d_tag == DT_STRTAB)
      table = o->dynamic[i].d_un.d_ptr;
  for (size_t i = 0; i < o->n_segments; i++)
    {
      const Elf64_Phdr *s = &o->segments[i];

      if (s->p_type == PT_LOAD && table >= s->p_vaddr && table - s->p_vaddr < s->p_filesz
          && offset < s->p_filesz - (table - s->p_vaddr))
        return read_string (o->fd, s->p_offset + (table - s->p_vaddr) + offset);
    }
  return NULL;
}

static char *
find_dynamic (const struct object *o, int64_t tag)
{
  for (size_t i = 0; i < o->n_dynamic; i++)
    if (o->dynamic[i].d_tag == tag)
      return dynamic_string (o, o->dynamic[i].d_un.d_val);
  return NULL;
}

static bool
is_library (const char *path, uint16_t machine)
{
  autoclose int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

  return fd >= 0 && is_for (fd, machine);
}

/* Tries a list of directories with colons between; $ORIGIN is that of whoever has the list. */
static char *
try_list (const struct search *s, const char *list, const char *owner, const char *name)
{
  const char *slash = owner ? strrchr (owner, '/') : NULL;

  for (; list && *list; list += strspn (list, ":"))
    {
      size_t len = strcspn (list, ":"), skip = 0;
      char path[4096];

      if (strncmp (list, "$ORIGIN", 7) == 0)
        skip = 7;
      else if (strncmp (list, "${ORIGIN}", 9) == 0)
        skip = 9;
      if (len && (!skip || slash)
          && (size_t) snprintf (path, sizeof path, "%.*s%.*s/%s", skip ? (int) (slash - owner) : 0, skip ? owner : "",
                                (int) (len - skip), list + skip, name)
                 < sizeof path
          && is_library (path, s->machine))
        return strdup (path);
      list += len;
    }
  return NULL;
}

static char *
try_cache (const struct search *s, const char *name)
{
  struct cache_header h;

  if (s->cache_size < sizeof h)
    return NULL;
  memcpy (&h, s->cache, sizeof h);
  for (uint32_t i = 0; i < h.entries && sizeof h + (i + 1) * sizeof (struct cache_entry) <= s->cache_size; i++)
    {
      struct cache_entry e;

      memcpy (&e, s->cache + sizeof h + i * sizeof e, sizeof e);
      /* The last byte of what was read is a NUL.  Variants for some CPUs alone are not needed. */
      if (e.name < s->cache_size && e.path < s->cache_size && e.hwcap == 0 && strcmp (s->cache + e.name, name) == 0
          && is_library (s->cache + e.path, s->machine))
        return strdup (s->cache + e.path);
    }
  return NULL;
}

static char *
find_library (const struct search *s, const struct object *by, const char *name)
{
  autofree char *runpath = find_dynamic (by, DT_RUNPATH), *rpath = runpath ? NULL : find_dynamic (by, DT_RPATH);
  char *found = NULL;

  if (strchr (name, '/'))
    return strdup (name);
  if (!runpath && !(found = try_list (s, rpath, by->path, name)))
    found = try_list (s, s->rpath, s->program, name);
  if (!found)
    found = try_list (s, secure_getenv ("LD_LIBRARY_PATH"), NULL, name);
  if (!found)
    found = try_list (s, runpath, by->path, name);
  if (!found)
    found = try_cache (s, name);
  for (size_t i = 0; !found && i < sizeof usual / sizeof usual[0]; i++)
    found = try_list (s, usual[i], NULL, name);
  return found;
}

static int
take (struct search *s, char *path, const char *name, rcvm_error **err)
{
  char *copy = path ? strdup (name) : NULL;

  if (s->n < MAX_OBJECTS && copy)
    {
      s->paths[s->n] = path;
      s->names[s->n] = copy;
      s->n++;
      return 0;
    }
  free (path);
  free (copy);
  return s->n == MAX_OBJECTS
             ? rcvmi_fail (err, RCVM_E_HOST, 0, "'%.200s' loads more than %d libraries", s->program, MAX_OBJECTS)
             : rcvmi_fail_nomem (err);
}

static int
take_interpreter (struct search *s, const struct object *o, rcvm_error **err)
{
  for (size_t i = 0; i < o->n_segments; i++)
    if (o->segments[i].p_type == PT_INTERP)
      {
        autofree char *path = read_string (o->fd, o->segments[i].p_offset);
        const char *slash = path ? strrchr (path, '/') : NULL;

        return slash ? take (s, strdup (path), slash + 1, err) : broken (o->path, err);
      }
  return 0;
}

static int
take_needed (struct search *s, const struct object *o, rcvm_error **err)
{
  int code = 0;

  for (size_t i = 0; code == 0 && i < o->n_dynamic; i++)
    {
      autofree char *name = NULL;
      bool known = false;
      char *path;

      if (o->dynamic[i].d_tag != DT_NEEDED)
        continue;
      name = dynamic_string (o, o->dynamic[i].d_un.d_val);
      if (!name)
        return broken (o->path, err);
      for (size_t k = 0; k < s->n; k++)
        known |= strcmp (s->names[k], name) == 0;
      if (known)
        continue;
      path = find_library (s, o, name);
      if (!path)
        return rcvmi_fail (err, RCVM_E_HOST, 0, "the library '%.100s', which '%.200s' needs, is not there", name, o->path);
      code = take (s, path, name, err);
    }
  return code;
}

static int
look_at (struct search *s, const char *path, rcvm_error **err)
{
  struct object *o = malloc (sizeof *o);
  int code;

  if (!o)
    return rcvmi_fail_nomem (err);
  code = open_object (o, path, err);
  if (code == 0 && path == s->program)
    {
      s->machine = o->machine;
      s->rpath = find_dynamic (o, DT_RUNPATH) ? NULL : find_dynamic (o, DT_RPATH);
      code = take_interpreter (s, o, err);
    }
  if (code == 0)
    code = take_needed (s, o, err);
  cleanup_close (&o->fd);
  free (o);
  return code;
}

/* Whoever has none does without. */
static void
read_cache (struct search *s)
{
  autoclose int fd = open (CACHE_FILE, O_RDONLY | O_CLOEXEC);
  struct stat st;
  ssize_t n;

  if (fd < 0 || fstat (fd, &st) < 0 || st.st_size < (off_t) sizeof (struct cache_header) || st.st_size > MAX_CACHE
      || !(s->cache = malloc ((size_t) st.st_size + 1)))
    return;
  n = pread (fd, s->cache, (size_t) st.st_size, 0);
  if (n <= 0 || memcmp (s->cache, CACHE_MAGIC, sizeof CACHE_MAGIC - 1) != 0)
    return;
  s->cache[n] = 0;
  s->cache_size = (size_t) n;
}

int
rcvmi_confine_elf (const char *program, int (*add) (void *user, const char *path, rcvm_error **err), void *user, rcvm_error **err)
{
  struct search *s = calloc (1, sizeof *s);
  int code;

  if (!s)
    return rcvmi_fail_nomem (err);
  s->program = program;
  read_cache (s);
  code = look_at (s, program, err);
  for (size_t i = 0; code == 0 && i < s->n; i++)
    code = look_at (s, s->paths[i], err);
  for (size_t i = 0; code == 0 && i < s->n; i++)
    code = add (user, s->paths[i], err);
  for (size_t i = 0; i < s->n; i++)
    {
      free (s->paths[i]);
      free (s->names[i]);
    }
  free (s->rpath);
  free (s->cache);
  free (s);
  return code;
}
