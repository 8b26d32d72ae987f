/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* runcvm cache: the images that the VMs of this host share. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct cache_values
{
  const char *dir, *format;
  struct list digests;
  uint64_t keep;
  int quiet, remove;
};

#define AT(field) offsetof (struct cache_values, field)
#define OPTION_DIR                                                                                \
  {                                                                                               \
    "dir", 0, TEXT, AT (dir), "DIR", "another cache than $RUNCVM_CACHE_DIR or the default one"    \
  }
#define OPTION_END                                                                                \
  {                                                                                               \
    NULL, 0, FLAG, 0, NULL, NULL                                                                  \
  }

static const struct option_spec list_options[] = {
  { "format", 'f', TEXT, AT (format), "FORMAT", "table (default) or json" },
  { "quiet", 'q', FLAG, AT (quiet), NULL, "keys only" },
  OPTION_DIR,
  OPTION_END,
};

static const struct option_spec prune_options[] = {
  { "keep", 'k', BYTES, AT (keep), "SIZE", "keep the images used last, up to SIZE on disk" },
  OPTION_DIR,
  OPTION_END,
};

static const struct option_spec verify_options[] = {
  { "remove", 0, FLAG, AT (remove), NULL, "remove the damaged ones that are not in use" },
  { "format", 'f', TEXT, AT (format), "FORMAT", "table (default) or json" },
  OPTION_DIR,
  OPTION_END,
};

static const struct option_spec add_options[] = {
  { "digest", 'd', LIST, AT (digests), "DIGEST",
    "what names the contents of ROOTFS (sha256:...), for each layer" },
  { "format", 'f', TEXT, AT (format), "FORMAT", "path (default) or json" },
  OPTION_DIR,
  OPTION_END,
};

static const struct option_spec path_options[] = { OPTION_DIR, OPTION_END };

enum
{
  MAX_COLUMNS = 6
};

/* `plain` is the format without JSON; -1 has been reported. */
static int
check_format (const struct command *command, const char *format, const char *plain)
{
  if (!format || strcmp (format, "json") == 0 || strcmp (format, plain) == 0)
    return 0;
  usage_error (command, "'%s' is no format for --format: it is %s or json", format, plain);
  return -1;
}

static int
is_json (const struct cache_values *v)
{
  return v->format && strcmp (v->format, "json") == 0;
}

/* A cache, unless an argument is one too many. */
static rcvm_cache *
open_cache (const struct command *command, const struct cache_values *v, int argc, char **argv,
            int max)
{
  rcvm_error *err = NULL;
  rcvm_cache *cache;

  if (argc > max)
    {
      usage_error (command, "'%s' is one argument too many", argv[max]);
      return NULL;
    }
  cache = rcvm_cache_open (v->dir, &err);
  if (!cache)
    fail_with (err, 1);
  return cache;
}

static char *
get (const char *document, const char *name)
{
  const char *const path[] = { name, NULL };

  return json_get (document, path);
}

static int
is_true (const char *document, const char *name)
{
  char *text = get (document, name);
  int result = text && strcmp (text, "true") == 0;

  free (text);
  return result;
}

static char *
size_of (const char *document, const char *name)
{
  char *text = get (document, name), *size = NULL;
  double value = text ? strtod (text, NULL) : 0;
  const char *unit = "KMGT";

  free (text);
  value /= 1024;
  while (value >= 1024 && unit[1])
    {
      value /= 1024;
      unit++;
    }
  return asprintf (&size, "%.1f %ciB", value, *unit) < 0 ? NULL : size;
}

static char *
date_of (const char *document, const char *name)
{
  char *text = get (document, name), date[64];
  time_t t = text ? (time_t) strtoll (text, NULL, 10) : 0;
  struct tm tm;

  free (text);
  if (t == 0 || !gmtime_r (&t, &tm) || strftime (date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
    return NULL;
  return strdup (date);
}

/* A key is long: its kind and twelve digits tell it from others. */
static char *
short_key (const char *document)
{
  char *key = get (document, "key"), *dash = key ? strchr (key, '-') : NULL;

  if (dash && strlen (dash) > 13)
    dash[13] = 0;
  return key;
}

/* Names are whatever somebody called a directory. */
static char *
printable (char *text)
{
  for (char *p = text; p && *p; p++)
    if ((unsigned char) *p < ' ' || *p == 127)
      *p = '?';
  return text;
}

static void
print_table (const char *const *titles, char **cells, int columns, size_t rows)
{
  int widths[MAX_COLUMNS];

  for (int c = 0; c < columns; c++)
    {
      widths[c] = (int) strlen (titles[c]);
      for (size_t r = 0; r < rows; r++)
        if (cells[r * (size_t) columns + (size_t) c]
            && (int) strlen (cells[r * (size_t) columns + (size_t) c]) > widths[c])
          widths[c] = (int) strlen (cells[r * (size_t) columns + (size_t) c]);
    }
  for (size_t r = 0; r <= rows; r++)
    for (int c = 0; c < columns; c++)
      {
        const char *text = r == 0 ? titles[c] : cells[(r - 1) * (size_t) columns + (size_t) c];

        printf ("%-*s%s", c + 1 < columns ? widths[c] : 0, text && *text ? text : "-",
                c + 1 < columns ? "  " : "\n");
      }
}

/* Prints each element of an array as a row that `fill` makes of it.  -1 has been reported. */
static int
print_elements (const char *document, const char *const *titles, int columns,
                void (*fill) (char **row, const char *element))
{
  size_t rows = 0, cap = 0;
  char **cells = NULL, *element;
  const char *at = document;
  int code = 0;

  while ((element = json_next (&at)))
    {
      if (rows == cap)
        {
          char **p;

          cap = cap * 2 + 16;
          p = reallocarray (cells, cap * (size_t) columns, sizeof *p);
          if (!p)
            {
              complain ("cli", "out of memory");
              free (element);
              code = -1;
              break;
            }
          cells = p;
        }
      fill (&cells[rows++ * (size_t) columns], element);
      free (element);
    }
  print_table (titles, cells, columns, rows);
  for (size_t i = 0; i < rows * (size_t) columns; i++)
    free (cells[i]);
  free (cells);
  return code;
}

static void
fill_image (char **row, const char *image)
{
  char *damage = get (image, "damaged");

  row[0] = short_key (image);
  row[1] = size_of (image, "size");
  row[2] = size_of (image, "allocated");
  row[3] = date_of (image, "lastUsed");
  row[4] = strdup (damage ? "damaged" : is_true (image, "inUse") ? "in use" : "unused");
  row[5] = printable (get (image, "source"));
  free (damage);
}

static int
list (const struct cli *cli, void *values, int argc, char **argv)
{
  static const char *const titles[] = { "KEY", "SIZE", "ON DISK", "LAST USED", "STATUS", "SOURCE" };
  const struct cache_values *v = values;
  rcvm_error *err = NULL;
  rcvm_cache *cache;
  char *text;
  int code = 0;

  (void) cli;
  if (check_format (&cmd_cache_list, v->format, "table") < 0)
    return 1;
  cache = open_cache (&cmd_cache_list, v, argc, argv, 0);
  if (!cache)
    return 1;
  text = rcvm_cache_list_json (cache, &err);
  rcvm_cache_free (cache);
  if (!text)
    return fail_with (err, 1);
  if (v->quiet)
    {
      const char *at = text;
      char *image;

      while ((image = json_next (&at)))
        {
          char *key = get (image, "key");

          puts (key ? key : "");
          free (key);
          free (image);
        }
    }
  else if (is_json (v))
    fputs (text, stdout);
  else if (print_elements (text, titles, 6, fill_image) < 0)
    code = 1;
  rcvm_free (text);
  return finish_output (code);
}

static int
prune (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct cache_values *v = values;
  rcvm_cache *cache = open_cache (&cmd_cache_prune, v, argc, argv, 0);
  rcvm_error *err = NULL;
  uint64_t freed = 0;
  int code;

  (void) cli;
  if (!cache)
    return 1;
  code = rcvm_cache_prune (cache, v->keep, &freed, &err);
  rcvm_cache_free (cache);
  printf ("freed %.1f MiB\n", (double) freed / (1 << 20));
  return code < 0 ? fail_with (err, 1) : finish_output (0);
}

static void
fill_result (char **row, const char *image)
{
  row[0] = short_key (image);
  row[1] = strdup (is_true (image, "good")      ? "good"
                   : is_true (image, "removed") ? "removed"
                                                : "damaged");
  row[2] = printable (get (image, "problem"));
}

static int
verify (const struct cli *cli, void *values, int argc, char **argv)
{
  static const char *const titles[] = { "KEY", "RESULT", "PROBLEM" };
  const struct cache_values *v = values;
  rcvm_error *err = NULL;
  rcvm_cache *cache;
  const char *at;
  char *text, *image;
  int code = 0;

  (void) cli;
  if (check_format (&cmd_cache_verify, v->format, "table") < 0)
    return 1;
  cache = open_cache (&cmd_cache_verify, v, argc, argv, 0);
  if (!cache)
    return 1;
  text = rcvm_cache_verify_json (cache, v->remove, &err);
  rcvm_cache_free (cache);
  if (!text)
    return fail_with (err, 1);
  at = text;
  while ((image = json_next (&at)))
    {
      if (!is_true (image, "good"))
        code = 1;
      free (image);
    }
  if (is_json (v))
    fputs (text, stdout);
  else if (print_elements (text, titles, 3, fill_result) < 0)
    code = 1;
  rcvm_free (text);
  return finish_output (code);
}

static int
path (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_cache *cache = open_cache (&cmd_cache_path, values, argc, argv, 0);

  (void) cli;
  if (!cache)
    return 1;
  puts (rcvm_cache_get_path (cache));
  rcvm_cache_free (cache);
  return finish_output (0);
}

static char *
add_image (rcvm_cache *cache, const struct cache_values *v, const char *rootfs, rcvm_error **err)
{
  char **digests = calloc (v->digests.n + 1, sizeof *digests), *text = NULL;
  size_t n = 0;

  while (digests && n < v->digests.n && (digests[n] = strdup (v->digests.items[n])))
    n++;
  if (!digests || n < v->digests.n)
    complain ("cli", "out of memory");
  else
    text = rcvm_cache_add_json (cache, rootfs, n ? digests : NULL, NULL, err);
  for (size_t i = 0; i < n; i++)
    free (digests[i]);
  free (digests);
  return text;
}

static int
add (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct cache_values *v = values;
  rcvm_error *err = NULL;
  rcvm_cache *cache;
  char *text, *found, *note;

  (void) cli;
  if (argc < 1)
    return usage_error (&cmd_cache_add, "ROOTFS is missing");
  if (check_format (&cmd_cache_add, v->format, "path") < 0)
    return 1;
  cache = open_cache (&cmd_cache_add, v, argc, argv, 1);
  if (!cache)
    return 1;
  text = add_image (cache, v, argv[0], &err);
  rcvm_cache_free (cache);
  if (!text)
    return err ? fail_with (err, 1) : 1;
  note = get (text, "note");
  if (note)
    message (RCVM_LOG_WARNING, "rootfs", note);
  free (note);
  found = get (text, "path");
  if (is_json (v))
    fputs (text, stdout);
  else
    puts (found ? found : "");
  free (found);
  rcvm_free (text);
  return finish_output (0);
}

const struct command cmd_cache_list = {
  .name = "cache list",
  .usage = "[--format table|json] [-q]",
  .summary = "list the images that VMs share",
  .options = { list_options },
  .values_size = sizeof (struct cache_values),
  .failure = 1,
  .run = list,
};

const struct command cmd_cache_prune = {
  .name = "cache prune",
  .usage = "[--keep SIZE]",
  .summary = "remove images that no VM uses, the oldest first",
  .examples = "  runcvm cache prune               all that are not in use\n"
              "  runcvm cache prune --keep 5G     the oldest, until 5 GiB are left",
  .options = { prune_options },
  .values_size = sizeof (struct cache_values),
  .failure = 1,
  .run = prune,
};

const struct command cmd_cache_verify = {
  .name = "cache verify",
  .usage = "[--remove] [--format table|json]",
  .summary = "read all metadata of all images; exits with 1 if something is wrong",
  .options = { verify_options },
  .values_size = sizeof (struct cache_values),
  .failure = 1,
  .run = verify,
};

const struct command cmd_cache_path = {
  .name = "cache path",
  .usage = "",
  .summary = "print the directory of the cache",
  .options = { path_options },
  .values_size = sizeof (struct cache_values),
  .failure = 1,
  .run = path,
};

const struct command cmd_cache_add = {
  .name = "cache add",
  .usage = "[--digest DIGEST]... ROOTFS",
  .summary = "build the image of a root directory beforehand",
  .details = "Prints where the image is.  It is there already if nothing has changed since it was built.",
  .options = { add_options },
  .values_size = sizeof (struct cache_values),
  .failure = 1,
  .run = add,
};
