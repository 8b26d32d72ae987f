/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

static void
print_overview (void)
{
  puts ("runcvm runs OCI containers, each in a small virtual machine of its own.\n"
        "\n"
        "Usage: runcvm [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]\n"
        "\n"
        "Examples:\n"
        "  runcvm check                                    what this host offers\n"
        "  runcvm run --rootfs /srv/alpine -- echo hello   a directory is enough\n"
        "  runcvm run --bundle /containers/web web         an OCI bundle\n"
        "  runcvm exec -t web sh                           a shell in it\n"
        "\n"
        "Commands:");
  for (const struct command *const *c = commands; *c; c++)
    printf ("  %-18s %s\n", (*c)->name, (*c)->summary);
  puts ("\nGlobal options:");
  print_options (stdout, global_tables);
  puts ("\n'runcvm COMMAND --help' has the options of a command, runcvm(1) the rest.");
}

int
print_command_help (const struct command *c)
{
  printf ("runcvm %s: %s\n\nUsage: runcvm %s%s%s\n", c->name, c->summary, c->name,
          *c->usage ? " " : "", c->usage);
  if (c->details)
    printf ("\n%s\n", c->details);
  if (c->examples)
    printf ("\nExamples:\n%s\n", c->examples);
  if (c->options[0])
    {
      puts ("\nOptions:");
      print_options (stdout, c->options);
    }
  return finish_output (0);
}

static int
help (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct command *c;
  int words;

  (void) cli;
  (void) values;
  if (argc > 0 && (c = find_command (argc, argv, &words)))
    return print_command_help (c);
  if (argc > 0)
    return usage_error (NULL, "'%s' is no command", argv[0]);
  print_overview ();
  return finish_output (0);
}

const struct command cmd_help = {
  .name = "help",
  .usage = "[COMMAND]",
  .summary = "explain a command",
  .failure = 1,
  .run = help,
};
