/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct update_values
{
  const char *resources, *l3_cache, *memory_bandwidth;
  const char *text[12]; /* of the table below */
};

#define RESOURCE(n) offsetof (struct update_values, text[n])

static const struct option_spec options[] = {
  { "resources", 'r', TEXT, offsetof (struct update_values, resources), "FILE",
    "an OCI resources object (JSON); '-' is stdin; other options then do not count" },
  { "memory", 0, TEXT, RESOURCE (0), "BYTES", "memory limit" },
  { "memory-reservation", 0, TEXT, RESOURCE (1), "BYTES", "what is kept for it" },
  { "memory-swap", 0, TEXT, RESOURCE (2), "BYTES", "memory and swap, -1: without end" },
  { "cpu-period", 0, TEXT, RESOURCE (3), "USEC", "the period of --cpu-quota" },
  { "cpu-quota", 0, TEXT, RESOURCE (4), "USEC", "time on CPUs in a period" },
  { "cpu-share", 0, TEXT, RESOURCE (5), "N", "relative weight" },
  { "cpu-rt-period", 0, TEXT, RESOURCE (6), "USEC", "as --cpu-period, for real-time processes" },
  { "cpu-rt-runtime", 0, TEXT, RESOURCE (7), "USEC", "as --cpu-quota, for real-time processes" },
  { "cpuset-cpus", 0, TEXT, RESOURCE (8), "CPUS", "CPUs of the host: 0-1,3" },
  { "cpuset-mems", 0, TEXT, RESOURCE (9), "NODES", "memory nodes of the host" },
  { "pids-limit", 0, TEXT, RESOURCE (10), "N", "processes at most" },
  { "blkio-weight", 0, TEXT, RESOURCE (11), "N", "10 to 1000" },
  { "l3-cache-schema", 0, TEXT, offsetof (struct update_values, l3_cache), "SCHEMA", "refused: the classes are the host's" },
  { "mem-bw-schema", 0, TEXT, offsetof (struct update_values, memory_bandwidth), "SCHEMA", "refused: the classes are the host's" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

/* Where each of them is in an OCI resources object, by section. */
static const struct
{
  const char *section, *member;
  int is_text, n;
} members[] = {
  { "memory", "limit", 0, 0 },          { "memory", "reservation", 0, 1 }, { "memory", "swap", 0, 2 },
  { "cpu", "period", 0, 3 },            { "cpu", "quota", 0, 4 },          { "cpu", "shares", 0, 5 },
  { "cpu", "realtimePeriod", 0, 6 },    { "cpu", "realtimeRuntime", 0, 7 }, { "cpu", "cpus", 1, 8 },
  { "cpu", "mems", 1, 9 },              { "pids", "limit", 0, 10 },        { "blockIO", "weight", 0, 11 },
};

enum
{
  N_MEMBERS = sizeof members / sizeof members[0]
};

/* 512M is taken, too, as runc takes it. */
static int
print_number (FILE *to, const char *text)
{
  uint64_t bytes;

  if (*text == '-')
    {
      char *end;
      long long value = strtoll (text, &end, 10);

      return *end || end == text + 1 ? -1 : fprintf (to, "%lld", value) < 0 ? -1 : 0;
    }
  if (parse_bytes (text, &bytes) < 0 || bytes > INT64_MAX)
    return -1;
  return fprintf (to, "%llu", (unsigned long long) bytes) < 0 ? -1 : 0;
}

/* An object of what the options say; NULL has been reported. */
static char *
compose (const struct update_values *v)
{
  const char *section = NULL;
  char *json = NULL;
  size_t size, wrong = N_MEMBERS;
  FILE *to = open_memstream (&json, &size);

  if (!to)
    {
      complain ("cli", "out of memory");
      return NULL;
    }
  fputc ('{', to);
  for (size_t i = 0; i < N_MEMBERS && wrong == N_MEMBERS; i++)
    {
      const char *text = v->text[members[i].n];

      if (!text)
        continue;
      if (section && strcmp (section, members[i].section) == 0)
        fputc (',', to);
      else
        fprintf (to, "%s\"%s\":{", section ? "}," : "", members[i].section);
      section = members[i].section;
      fprintf (to, "\"%s\":", members[i].member);
      if (members[i].is_text)
        json_print_string (to, text);
      else if (print_number (to, text) < 0)
        wrong = i;
    }
  fputs (section ? "}}" : "}", to);
  if (fclose (to) != 0)
    complain ("cli", "out of memory");
  else if (wrong < N_MEMBERS)
    usage_error (&cmd_update, "'%s' is no number", v->text[members[wrong].n]);
  else
    return json;
  free (json);
  return NULL;
}

static int
update (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct update_values *v = values;
  const char *file = v->resources && strcmp (v->resources, "-") == 0 ? "/dev/stdin" : v->resources;
  rcvm_error *err = NULL;
  char *json;
  rcvm_vm *vm;
  int code;

  if (check_one_id (&cmd_update, argc, argv) < 0)
    return cmd_update.failure;
  if (v->l3_cache || v->memory_bandwidth)
    return usage_error (&cmd_update, "--%s is not supported: the classes of cache and bandwidth are the host's",
                        v->l3_cache ? "l3-cache-schema" : "mem-bw-schema");
  json = file ? read_file (file) : compose (v);
  if (!json)
    {
      if (file)
        complain ("cli", "cannot read the resources from '%s': %s", v->resources, strerror (errno));
      return cmd_update.failure;
    }
  vm = rcvm_vm_open (cli->root, argv[0], &err);
  code = vm && rcvm_vm_update (vm, json, &err) == 0 ? 0 : fail_with (err, 1);
  rcvm_vm_free (vm);
  free (json);
  return code;
}

const struct command cmd_update = {
  .name = "update",
  .usage = "[OPTIONS] ID",
  .summary = "change the limits of a container that was created",
  .details = "What is not named, or 0, stays as it is.  A VM gets no more memory or CPUs than it was made with.",
  .examples = "  runcvm update --cpu-quota 50000 web\n"
              "  echo '{\"pids\":{\"limit\":100}}' | runcvm update --resources - web",
  .options = { options },
  .values_size = sizeof (struct update_values),
  .failure = 1,
  .run = update,
};
