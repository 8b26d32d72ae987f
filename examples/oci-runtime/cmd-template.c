/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* runcvm template: machines that have booted, from which VMs of their shape start. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PREFIX "template-"

struct template_values
{
  const char *format;
  int quiet, all;
};

#define AT(field) offsetof (struct template_values, field)

static const struct option_spec list_options[] = {
  { "format", 'f', TEXT, AT (format), "FORMAT", "table (default) or json" },
  { "quiet", 'q', FLAG, AT (quiet), NULL, "keys only" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

static const struct option_spec remove_options[] = {
  { "all", 'a', FLAG, AT (all), NULL, "all that no VM uses" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

static char *
get (const char *document, const char *name)
{
  const char *const path[] = { name, NULL };

  return json_get (document, path);
}

/* As a container that is never started: what a run would take, it takes, and it makes. */
static int
create (const struct cli *cli, void *values, int argc, char **argv)
{
  static const char *const path[] = { "org.runcvm", "template", NULL };
  const struct container *c = values;
  char *state = NULL, *key = NULL;
  rcvm_error *err = NULL;
  rcvm_vm *vm;
  int code = 0;

  vm = container_new (cli, &cmd_template_create, c, argc, argv, 0, &code);
  if (!vm)
    return code;
  code = 0;
  if (rcvm_vm_set_annotation (vm, "org.runcvm.template", "on", &err) < 0 || rcvm_vm_set_stdio (vm, -1, -1, -1, &err) < 0
      || rcvm_vm_create (vm, &err) < 0 || !(state = rcvm_vm_state (vm, &err)))
    code = fail_with (err, 1);
  else if (!(key = json_get (state, path)))
    {
      complain ("cli", "the VM did not start from a template");
      code = 1;
    }
  else
    puts (key);
  err = NULL;
  if (state && rcvm_vm_delete (vm, 1, &err) < 0)
    code = fail_with (err, 1);
  free (key);
  rcvm_free (state);
  rcvm_vm_free (vm);
  return finish_output (code);
}

static void
print_row (const char *element, const char *key)
{
  char *size = get (element, "size"), *allocated = get (element, "allocated"), *used = get (element, "lastUsed"),
       *in_use = get (element, "inUse"), *damaged = get (element, "damaged"), date[64] = "-";
  time_t t = used ? (time_t) strtoll (used, NULL, 10) : 0;
  struct tm tm;

  if (t == 0 || !gmtime_r (&t, &tm) || strftime (date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
    strcpy (date, "-");
  printf ("%-74s %6llu MiB %6llu MiB  %-20s  %s\n", key, size ? strtoull (size, NULL, 10) >> 20 : 0,
          allocated ? strtoull (allocated, NULL, 10) >> 20 : 0, date,
          damaged                                  ? damaged
          : in_use && strcmp (in_use, "true") == 0 ? "in use"
                                                   : "unused");
  free (size);
  free (allocated);
  free (used);
  free (in_use);
  free (damaged);
}

static int
list (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct template_values *v = values;
  int json = v->format && strcmp (v->format, "json") == 0, first = 1;
  rcvm_error *err = NULL;
  rcvm_cache *cache;
  char *text, *element;
  const char *at;

  (void) cli;
  if (argc > 0)
    return usage_error (&cmd_template_list, "'%s' is one argument too many", argv[0]);
  if (v->format && !json && strcmp (v->format, "table") != 0)
    return usage_error (&cmd_template_list, "'%s' is no format for --format: it is table or json", v->format);
  cache = rcvm_cache_open (NULL, &err);
  text = cache ? rcvm_cache_list_json (cache, &err) : NULL;
  rcvm_cache_free (cache);
  if (!text)
    return fail_with (err, 1);
  if (json)
    printf ("[");
  else if (!v->quiet)
    printf ("%-74s %10s %10s  %-20s  %s\n", "KEY", "MEMORY", "ON DISK", "LAST USED", "STATUS");
  at = text;
  while ((element = json_next (&at)))
    {
      char *key = get (element, "key");

      if (key && strncmp (key, PREFIX, strlen (PREFIX)) == 0)
        {
          if (json)
            printf ("%s%s", first ? "" : ", ", element);
          else if (v->quiet)
            puts (key);
          else
            print_row (element, key);
          first = 0;
        }
      free (key);
      free (element);
    }
  if (json)
    printf ("]\n");
  rcvm_free (text);
  return finish_output (0);
}

static int
remove_all (rcvm_cache *cache)
{
  rcvm_error *err = NULL;
  char *text = rcvm_cache_list_json (cache, &err), *element;
  const char *at = text;
  int code = 0;

  if (!text)
    return fail_with (err, 1);
  while ((element = json_next (&at)))
    {
      char *key = get (element, "key"), *in_use = get (element, "inUse");

      if (key && strncmp (key, PREFIX, strlen (PREFIX)) == 0 && (!in_use || strcmp (in_use, "true") != 0)
          && rcvm_cache_remove (cache, key, &err) < 0)
        {
          code = fail_with (err, 1);
          err = NULL;
        }
      free (key);
      free (in_use);
      free (element);
    }
  rcvm_free (text);
  return code;
}

static int
remove_some (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct template_values *v = values;
  rcvm_error *err = NULL;
  rcvm_cache *cache;
  int code = 0;

  (void) cli;
  if (argc == 0 && !v->all)
    return usage_error (&cmd_template_remove, "KEY is missing, or --all");
  for (int i = 0; i < argc; i++)
    if (strncmp (argv[i], PREFIX, strlen (PREFIX)) != 0)
      return usage_error (&cmd_template_remove, "'%s' is no key of a template", argv[i]);
  cache = rcvm_cache_open (NULL, &err);
  if (!cache)
    return fail_with (err, 1);
  if (v->all)
    code = remove_all (cache);
  for (int i = 0; i < argc; i++)
    if (rcvm_cache_remove (cache, argv[i], &err) < 0)
      {
        code = fail_with (err, 1);
        err = NULL;
      }
  rcvm_cache_free (cache);
  return code;
}

const struct command cmd_template_create = {
  .name = "template create",
  .usage = "[OPTIONS] [-- COMMAND [ARG...]]",
  .summary = "make the template that a container of these options would start from, and print its key",
  .details = "It is made once for each shape of a VM: kernel, initramfs, memory, CPUs, number and kinds of disks, number of\n"
             "interfaces.  `run --template on` makes it as well, where there is none.",
  .examples = "  runcvm template create --memory 256M --rootfs /images/web -- true",
  .options = { container_options },
  .values_size = sizeof (struct container),
  .failure = 1,
  .run = create,
};

const struct command cmd_template_list = {
  .name = "template list",
  .usage = "[--format table|json] [-q]",
  .summary = "list the templates, the one used last first",
  .options = { list_options },
  .values_size = sizeof (struct template_values),
  .failure = 1,
  .run = list,
};

const struct command cmd_template_remove = {
  .name = "template remove",
  .usage = "KEY...|--all",
  .summary = "remove templates that no VM uses",
  .options = { remove_options },
  .values_size = sizeof (struct template_values),
  .failure = 1,
  .run = remove_some,
};
