/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <string.h>

struct check_values
{
  const char *format;
};

static const struct option_spec options[] = {
  { "format", 'f', TEXT, offsetof (struct check_values, format), "FORMAT",
    "text (default) or json" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

static const char *const results[] = { "ok", "missing", "fatal" };

static void
print_line (const rcvm_host *host, size_t i)
{
  const char *advice = rcvm_host_get_advice (host, i);

  printf ("%-8s %-12s %s%s%s\n", results[rcvm_host_get_result (host, i)],
          rcvm_host_get_name (host, i), rcvm_host_get_detail (host, i), *advice ? ": " : "",
          advice);
}

static void
print_json (const rcvm_host *host, size_t i)
{
  printf ("%s\n  { \"name\": ", i ? "," : "");
  json_print_string (stdout, rcvm_host_get_name (host, i));
  printf (", \"result\": \"%s\", \"detail\": ", results[rcvm_host_get_result (host, i)]);
  json_print_string (stdout, rcvm_host_get_detail (host, i));
  fputs (", \"advice\": ", stdout);
  json_print_string (stdout, rcvm_host_get_advice (host, i));
  fputs (" }", stdout);
}

static int
check (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct check_values *v = values;
  int json = v->format && strcmp (v->format, "json") == 0, code = 0;
  rcvm_error *err = NULL;
  rcvm_host *host;

  (void) cli;
  if (argc > 0)
    return usage_error (&cmd_check, "'%s' is one argument too many", argv[0]);
  if (v->format && !json && strcmp (v->format, "text") != 0)
    return usage_error (&cmd_check, "'%s' is no format for --format: it is text or json",
                        v->format);
  host = rcvm_host_check (&err);
  if (!host)
    return fail_with (err, 1);
  if (json)
    putchar ('[');
  for (size_t i = 0; i < rcvm_host_count (host); i++)
    {
      (json ? print_json : print_line) (host, i);
      if (rcvm_host_get_result (host, i) == RCVM_CHECK_FATAL)
        code = 1;
    }
  if (json)
    puts ("\n]");
  rcvm_host_free (host);
  return finish_output (code);
}

const struct command cmd_check = {
  .name = "check",
  .usage = "[--format text|json]",
  .summary = "say what this host offers to VMs, and what it lacks",
  .details = "A line for each part: ok, missing (something works less well, or not at all) or\n"
             "fatal (no VM can start), what was found, and what to do.  Exits with 1 if a line is fatal.",
  .options = { options },
  .values_size = sizeof (struct check_values),
  .failure = 1,
  .run = check,
};
