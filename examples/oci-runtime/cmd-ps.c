/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct ps_values
{
  const char *format;
};

static const struct option_spec options[] = {
  { "format", 'f', TEXT, offsetof (struct ps_values, format), "FORMAT", "table (default) or json" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

/* Whether the number at `at` is in the JSON array. */
static int
is_among (const char *pids, long pid)
{
  char *element, *position = NULL;
  int found = 0;

  while (!found && (element = json_next (&pids)))
    {
      found = strtol (element, &position, 10) == pid && position != element;
      free (element);
    }
  return found;
}

/* The column of the word PID in ps's title; -1 if there is none. */
static int
pid_column (const char *title)
{
  char *copy = strdup (title), *position = NULL;
  int column = 0;

  for (char *word = copy ? strtok_r (copy, " \t\n", &position) : NULL; word; word = strtok_r (NULL, " \t\n", &position))
    if (strcmp (word, "PID") == 0)
      {
        free (copy);
        return column;
      }
    else
      column++;
  free (copy);
  return -1;
}

static long
number_in_column (const char *line, int column)
{
  line += strspn (line, " \t");
  while (column-- > 0)
    {
      line += strcspn (line, " \t");
      line += strspn (line, " \t");
    }
  return strtol (line, NULL, 10);
}

static int
print_table (FILE *from, const char *pids)
{
  char *line = NULL;
  size_t size = 0;
  int column = -1, code = 0;

  if (getline (&line, &size, from) > 0 && (column = pid_column (line)) >= 0)
    {
      fputs (line, stdout);
      while (getline (&line, &size, from) > 0)
        if (is_among (pids, number_in_column (line, column)))
          fputs (line, stdout);
    }
  else
    {
      complain ("cli", "the options for ps have to leave it a title with a column PID");
      code = 1;
    }
  free (line);
  return code;
}

/* As runc: the host's ps, and of that what is the container's. */
static int
run_ps (int argc, char **argv, const char *pids)
{
  char **command = calloc ((size_t) argc + 3, sizeof *command);
  char name[] = "ps", all[] = "-ef";
  FILE *from = NULL;
  int ends[2], status = 0, code = 1;
  pid_t pid;

  if (!command || pipe2 (ends, 0) < 0)
    {
      complain ("cli", "cannot run ps: %s", strerror (errno));
      free (command);
      return 1;
    }
  command[0] = name;
  if (argc == 0)
    command[1] = all;
  for (int i = 0; i < argc; i++)
    command[1 + i] = argv[i];
  pid = fork ();
  if (pid == 0)
    {
      dup2 (ends[1], STDOUT_FILENO);
      close (ends[0]);
      close (ends[1]);
      execvp (name, command);
      complain ("cli", "cannot run ps: %s", strerror (errno));
      _exit (127);
    }
  close (ends[1]);
  if (pid > 0 && (from = fdopen (ends[0], "r")))
    code = print_table (from, pids);
  else
    complain ("cli", "cannot run ps: %s", strerror (errno));
  if (from)
    fclose (from);
  else
    close (ends[0]);
  while (pid > 0 && waitpid (pid, &status, 0) < 0 && errno == EINTR)
    ;
  free (command);
  return code;
}

static int
ps (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct ps_values *v = values;
  int json = v->format && strcmp (v->format, "json") == 0, code = 0;
  rcvm_error *err = NULL;
  char *pids = NULL;
  rcvm_vm *vm;

  if (argc < 1)
    return usage_error (&cmd_ps, "an ID is missing");
  if (v->format && !json && strcmp (v->format, "table") != 0)
    return usage_error (&cmd_ps, "'%s' is no format for --format: it is table or json", v->format);
  vm = rcvm_vm_open (cli->root, argv[0], &err);
  if (vm)
    pids = rcvm_vm_processes (vm, &err);
  rcvm_vm_free (vm);
  if (!pids)
    return fail_with (err, 1);
  if (json)
    printf ("%s\n", pids);
  else
    code = run_ps (argc - 1, argv + 1, pids);
  rcvm_free (pids);
  return finish_output (code);
}

const struct command cmd_ps = {
  .name = "ps",
  .usage = "[--format table|json] ID [PS-OPTION...]",
  .summary = "list the processes of a container's VM on the host",
  .details = "They are the monitor, the VMM and its helpers; what runs in the VM is shown by\n"
             "`runcvm exec ID ps`.  The table is that of ps, with its options (default: -ef).",
  .options = { options },
  .values_size = sizeof (struct ps_values),
  .failure = 1,
  .run = ps,
};
