/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

struct list_values
{
  const char *format;
  int quiet;
};

#define AT(field) offsetof (struct list_values, field)

static const struct option_spec options[] = {
  { "format", 'f', TEXT, AT (format), "FORMAT", "table (default) or json" },
  { "quiet", 'q', FLAG, AT (quiet), NULL, "IDs only" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

enum
{
  COLUMNS = 6,
  /* As runc's: wide enough, and never touching. */
  WIDTH = 12,
  GAP = 3
};

static void
fill_row (char *row[COLUMNS], const char *state)
{
  static const char *const paths[COLUMNS][2] = { { "id" }, { "pid" }, { "status" }, { "bundle" }, { "created" }, { "owner" } };

  for (int c = 0; c < COLUMNS; c++)
    row[c] = json_get (state, paths[c]);
}

static void
print_rows (char *(*rows)[COLUMNS], size_t n)
{
  static const char *const titles[COLUMNS] = { "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER" };
  int widths[COLUMNS];

  for (int c = 0; c < COLUMNS; c++)
    {
      widths[c] = (int) strlen (titles[c]) + GAP;
      for (size_t r = 0; r < n; r++)
        if (rows[r][c] && (int) strlen (rows[r][c]) + GAP > widths[c])
          widths[c] = (int) strlen (rows[r][c]) + GAP;
      if (widths[c] < WIDTH)
        widths[c] = WIDTH;
    }
  for (size_t r = 0; r <= n; r++)
    for (int c = 0; c < COLUMNS; c++)
      {
        const char *text = r == 0 ? titles[c] : rows[r - 1][c];

        if (!text || !*text)
          text = "-";
        printf ("%-*s%s", c + 1 < COLUMNS ? widths[c] : 0, text, c + 1 < COLUMNS ? "" : "\n");
      }
}

/* One that was deleted since its name was read is no error: NULL with *code as it was. */
static char *
get_state (const char *root, const char *id, int *code)
{
  rcvm_error *err = NULL;
  rcvm_vm *vm = rcvm_vm_open (root, id, &err);
  char *state = vm ? rcvm_vm_state (vm, &err) : NULL, *text = state ? state_as_runc (state, 0) : NULL;

  rcvm_vm_free (vm);
  rcvm_free (state);
  if (!state && rcvm_error_get_code (err) != RCVM_E_NOT_FOUND)
    *code = fail_with (err, 1);
  else
    rcvm_error_free (err);
  return text;
}

static size_t
count_lines (const char *text)
{
  size_t n = 0;

  while ((text = strchr (text, '\n')))
    n++, text++;
  return n;
}

static int
print_list (const struct cli *cli, const struct list_values *v, char *ids)
{
  size_t n = 0, max = count_lines (ids);
  char *(*rows)[COLUMNS] = calloc (max + 1, sizeof *rows), *position = NULL;
  int json = v->format && strcmp (v->format, "json") == 0, code = 0;

  if (!rows)
    {
      complain ("cli", "out of memory");
      return 1;
    }
  if (json)
    putchar ('[');
  for (char *id = strtok_r (ids, "\n", &position); id; id = strtok_r (NULL, "\n", &position))
    {
      char *state = get_state (cli->root, id, &code);

      if (!state)
        continue;
      if (json)
        printf ("%s%s", n ? "," : "", state);
      else
        fill_row (rows[n], state);
      free (state);
      n++;
    }
  if (json)
    puts ("]");
  else
    print_rows (rows, n);
  for (size_t r = 0; r < n; r++)
    for (int c = 0; c < COLUMNS; c++)
      free (rows[r][c]);
  free (rows);
  return finish_output (code);
}

static int
list (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct list_values *v = values;
  rcvm_error *err = NULL;
  char *ids;
  int code;

  if (argc > 0)
    return usage_error (&cmd_list, "'%s' is one argument too many", argv[0]);
  if (v->format && strcmp (v->format, "json") != 0 && strcmp (v->format, "table") != 0)
    return usage_error (&cmd_list, "'%s' is no format for --format: it is table or json",
                        v->format);
  ids = rcvm_vm_list (cli->root, &err);
  if (!ids)
    return fail_with (err, 1);
  if (v->quiet)
    {
      fputs (ids, stdout);
      code = finish_output (0);
    }
  else
    code = print_list (cli, v, ids);
  rcvm_free (ids);
  return code;
}

const struct command cmd_list = {
  .name = "list",
  .usage = "[--format table|json] [-q]",
  .summary = "list the containers",
  .options = { options },
  .values_size = sizeof (struct list_values),
  .failure = 1,
  .run = list,
};
