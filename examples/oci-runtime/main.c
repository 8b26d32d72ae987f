/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line up to the command, and the table of commands. */
#include "cli.h"

#include <unistd.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

const struct command *const commands[] = {
  &cmd_run,
  &cmd_create,
  &cmd_start,
  &cmd_exec,
  &cmd_state,
  &cmd_list,
  &cmd_kill,
  &cmd_delete,
  &cmd_flush,
  &cmd_pause,
  &cmd_resume,
  &cmd_update,
  &cmd_ps,
  &cmd_events,
  &cmd_checkpoint,
  &cmd_restore,
  &cmd_spec,
  &cmd_check,
  &cmd_features,
  &cmd_rootfs_build,
  &cmd_rootfs_inspect,
  &cmd_rootfs_grow,
  &cmd_rootfs_verify,
  &cmd_rootfs_write_back,
  &cmd_cache_add,
  &cmd_cache_list,
  &cmd_cache_path,
  &cmd_cache_prune,
  &cmd_cache_verify,
  &cmd_template_create,
  &cmd_template_list,
  &cmd_template_remove,
  &cmd_metrics,
  &cmd_net,
  &cmd_volume_list,
  &cmd_volume_attach,
  &cmd_volume_detach,
  &cmd_install_docker,
  &cmd_help,
  NULL,
};

#define AT(field) offsetof (struct cli, field)

static const struct option_spec global_options[] = {
  { "root", 0, TEXT, AT (root), "DIR",
    "state of the VMs (default: $RUNCVM_ROOT, else /run/runcvm for root)" },
  { "log", 0, TEXT, AT (log), "FILE", "append messages to FILE" },
  { "log-format", 0, TEXT, AT (log_format), "FORMAT", "format of FILE: text (default) or json" },
  { "debug", 0, FLAG, AT (debug), NULL, "every message, the guest's console included" },
  { "systemd-cgroup", 0, FLAG, AT (systemd_cgroup), NULL,
    "cgroups are scopes that systemd makes: SLICE:PREFIX:NAME" },
  { "rootless", 0, TEXT, AT (rootless), "WHAT", "no effect: there is one way of running" },
  { "criu", 0, TEXT, AT (criu), "PROGRAM", "no effect: VMs are not saved by CRIU" },
  { "version", 'v', FLAG, AT (version), NULL, "print the versions" },
  { "help", 'h', FLAG, AT (help), NULL, "print this help" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

const struct option_spec *const global_tables[OPTION_TABLES] = { global_options };

const struct command *
find_command (int argc, char **argv, int *words)
{
  for (const struct command *const *c = commands; *c; c++)
    {
      const char *space = strchr ((*c)->name, ' ');
      size_t first = space ? (size_t) (space - (*c)->name) : strlen ((*c)->name);

      *words = space ? 2 : 1;
      if (argc >= *words && strncmp (argv[0], (*c)->name, first) == 0 && argv[0][first] == 0
          && (!space || strcmp (argv[1], space + 1) == 0))
        return *c;
    }
  return NULL;
}

/* As runc prints it, for those who parse that. */
static int
print_version (void)
{
  static const char *const path[] = { "ociVersionMax", NULL };
  rcvm_error *err = NULL;
  char *features = rcvm_features_json (&err), *spec;

  if (!features)
    return fail_with (err, 1);
  spec = json_get (features, path);
  rcvm_free (features);
  printf ("runcvm version %s\nspec: %s\nlibruncvm: %s\n", RCVM_VERSION_STRING,
          spec ? spec : "unknown", rcvm_version ());
  free (spec);
  return finish_output (0);
}

static int
unknown_command (int argc, char **argv)
{
  size_t n = strlen (argv[0]), used = 0;
  char known[200] = "";

  for (const struct command *const *c = commands; *c; c++)
    if (strncmp ((*c)->name, argv[0], n) == 0 && (*c)->name[n] == ' ' && used < sizeof known)
      used += (size_t) snprintf (known + used, sizeof known - used, "%s'%s'", used ? ", " : "", (*c)->name);
  if (used && argc > 1)
    return usage_error (NULL, "'%s %s' is no command; there are %s", argv[0], argv[1], known);
  if (used)
    return usage_error (NULL, "'%s' is no command; there are %s", argv[0], known);
  return usage_error (NULL, "'%s' is no command", argv[0]);
}

static int
run_command (const struct cli *cli, const struct command *c, int argc, char **argv)
{
  void *values = calloc (1, c->values_size ? c->values_size : sizeof (int));
  int code, first;

  if (!values)
    {
      complain ("cli", "out of memory");
      return c->failure;
    }
  first = parse_options (c->options, values, c->name, argc, argv);
  if (first >= 0
      && (c == &cmd_create ? pod_is_sandbox (values) : argc > first && pod_has_sandbox (cli, c, argv[first])))
    code = pod_hand_over (cli, argc, argv);
  else if (first >= 0)
    code = c->run (cli, values, argc - first, argv + first);
  else if (first == -2)
    code = print_command_help (c);
  else
    code = c->failure;
  free_options (c->options, values);
  free (values);
  return code;
}

/* Whoever starts this without a standard stream means /dev/null; no other file may take its number. */
static void
fill_standard_streams (void)
{
  int fd;

  do
    fd = open ("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd > STDERR_FILENO)
    close (fd);
}

int
main (int argc, char **argv)
{
  const struct command *command;
  struct cli cli = { 0 };
  int first, words, code;

  fill_standard_streams ();
  first = parse_options (global_tables, &cli, NULL, argc, argv);
  if (first < 0)
    return 1;
  if (cli.version)
    return print_version ();
  argc -= first;
  argv += first;
  if (cli.help || argc == 0)
    {
      code = cmd_help.run (&cli, NULL, 0, argv);
      return cli.help ? code : 1;
    }
  if (messages_open (&cli) < 0)
    return 1;
  command = find_command (argc, argv, &words);
  if (!command)
    code = unknown_command (argc, argv);
  else
    code = run_command (&cli, command, argc - words + 1, argv + words - 1);
  messages_close ();
  return code;
}
