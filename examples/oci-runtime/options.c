/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables of options: parsed by getopt_long, and printed for the help. */
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum
{
  MAX_OPTIONS = 64,
  HELP_ID = 1000,
  COLUMN = 28
};

static int
collect (const struct option_spec *const *tables, const struct option_spec **found)
{
  int n = 0;

  for (int t = 0; t < OPTION_TABLES && tables[t]; t++)
    for (const struct option_spec *o = tables[t]; o->name && n < MAX_OPTIONS; o++)
      found[n++] = o;
  return n;
}

static void
mistake (const char *who, const char *what, const char *option)
{
  complain ("cli", "option '%s' %s: see 'runcvm %s%s--help'", option, what, who ? who : "",
            who ? " " : "");
}

static int
store (const struct option_spec *o, void *values, const char *text, const char *who)
{
  void *at = (char *) values + o->offset;
  struct list *list = at;
  const char **items;
  char *end;
  unsigned long number;

  switch (o->kind)
    {
    case FLAG:
      *(int *) at = 1;
      return 0;
    case TEXT:
      *(const char **) at = text;
      return 0;
    case BYTES:
      if (parse_bytes (text, at) == 0)
        return 0;
      complain ("cli", "'%s' is no size for --%s (512M, 2G): see 'runcvm %s --help'", text, o->name,
                who);
      return -1;
    case NUMBER:
      errno = 0;
      number = strtoul (text, &end, 10);
      if (!errno && end != text && !*end && text[0] != '-' && number >= 1 && number <= 1000000)
        {
          *(unsigned *) at = (unsigned) number;
          return 0;
        }
      complain ("cli", "'%s' is no number for --%s: see 'runcvm %s --help'", text, o->name, who);
      return -1;
    case LIST:
      items = realloc (list->items, (list->n + 1) * sizeof *items);
      if (!items)
        {
          complain ("cli", "out of memory");
          return -1;
        }
      list->items = items;
      items[list->n++] = text;
      return 0;
    }
  return -1;
}

/* runc takes long options with one dash, too, and containerd's client for it has one of these ("-no-subreaper"). */
static void
add_dash (char **argv, int at, const struct option *longs)
{
  const char *word = argv[at];
  size_t len = word && word[0] == '-' ? strcspn (word + 1, "=") : 0;
  char *whole;

  if (len < 2 || word[1] == '-')
    return;
  for (const struct option *o = longs; o->name; o++)
    if (strlen (o->name) == len && strncmp (o->name, word + 1, len) == 0)
      {
        if (asprintf (&whole, "-%s", word) >= 0)
          argv[at] = whole;
        return;
      }
}

int
parse_options (const struct option_spec *const *tables, void *values, const char *who, int argc,
               char **argv)
{
  const struct option_spec *found[MAX_OPTIONS];
  struct option longs[MAX_OPTIONS + 2];
  char shorts[2 * MAX_OPTIONS + 4] = "+:", *s = shorts + 2;
  int n = collect (tables, found), c, help = 0;

  for (int i = 0; i < n; i++)
    {
      int has_value = found[i]->kind != FLAG;

      longs[i] = (struct option){ found[i]->name, has_value ? required_argument : no_argument, NULL,
                                  HELP_ID + 1 + i };
      if (found[i]->letter)
        *s++ = found[i]->letter;
      if (found[i]->letter && has_value)
        *s++ = ':';
    }
  longs[n] = who ? (struct option){ "help", no_argument, NULL, HELP_ID } : (struct option){ 0 };
  longs[n + 1] = (struct option){ 0 };
  if (who)
    *s++ = 'h';
  *s = 0;

  opterr = 0;
  optind = 0;
  while (add_dash (argv, optind ? optind : 1, longs), (c = getopt_long (argc, argv, shorts, longs, NULL)) != -1)
    {
      const struct option_spec *o = NULL;
      char letter[3] = { '-', (char) optopt, 0 };
      /* For a long option optopt is 0 or its number, and the option is the argument just read. */
      const char *shown = optopt > 0 && optopt < HELP_ID ? letter : argv[optind - 1];

      if (c == ':')
        return mistake (who, "needs a value", shown), -1;
      if (c == '?')
        return mistake (who, optopt >= HELP_ID ? "takes no value" : "is not known", shown), -1;
      if (c == HELP_ID || (who && c == 'h'))
        {
          help = 1;
          continue;
        }
      for (int i = 0; i < n && !o; i++)
        if (c == HELP_ID + 1 + i || c == found[i]->letter)
          o = found[i];
      if (!o || store (o, values, optarg, who) < 0)
        return -1;
    }
  return help ? -2 : optind;
}

void
free_options (const struct option_spec *const *tables, void *values)
{
  const struct option_spec *found[MAX_OPTIONS];
  int n = collect (tables, found);

  for (int i = 0; i < n; i++)
    if (found[i]->kind == LIST)
      free (((struct list *) (void *) ((char *) values + found[i]->offset))->items);
}

void
print_options (FILE *to, const struct option_spec *const *tables)
{
  const struct option_spec *found[MAX_OPTIONS];
  int n = collect (tables, found);

  for (int i = 0; i < n; i++)
    {
      const struct option_spec *o = found[i];
      char letter[5] = "    ", name[64];
      int width;

      if (o->letter)
        snprintf (letter, sizeof letter, "-%c, ", o->letter);
      width = snprintf (name, sizeof name, "  %s--%s%s%s", letter, o->name, o->value ? " " : "",
                        o->value ? o->value : "");
      if (width > COLUMN)
        fprintf (to, "%s\n%*s  %s\n", name, COLUMN, "", o->help);
      else
        fprintf (to, "%-*s  %s\n", COLUMN, name, o->help);
    }
}
