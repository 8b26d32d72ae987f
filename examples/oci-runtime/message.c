/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages: errors to stderr and to the log, all else to the log if there is one, and to stderr
 * otherwise.  (Under Docker the stderr of `create` is the container's own.)
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = { "error", "warning", "info", "debug" };
static int max_level = RCVM_LOG_WARNING;
static FILE *log_file;
static int log_json;

int
messages_open (const struct cli *cli)
{
  int fd;

  if (cli->debug)
    max_level = RCVM_LOG_DEBUG;
  if (cli->log_format && strcmp (cli->log_format, "json") != 0
      && strcmp (cli->log_format, "text") != 0)
    {
      complain ("cli", "'%s' is no format for --log-format: it is text or json", cli->log_format);
      return -1;
    }
  log_json = cli->log_format && strcmp (cli->log_format, "json") == 0;
  if (!cli->log || !*cli->log)
    return 0;
  fd = open (cli->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  log_file = fd < 0 ? NULL : fdopen (fd, "a");
  if (log_file)
    return 0;
  complain ("cli", "cannot open the log '%s': %s", cli->log, strerror (errno));
  if (fd >= 0)
    close (fd);
  return -1;
}

void
messages_close (void)
{
  if (log_file)
    fclose (log_file);
  log_file = NULL;
}

int
messages_level (void)
{
  return max_level;
}

int
messages_fd (void)
{
  return log_file ? fileno (log_file) : -1;
}

int
messages_set_level (const char *name)
{
  for (int i = 0; i < (int) (sizeof level_names / sizeof level_names[0]); i++)
    if (strcmp (name, level_names[i]) == 0)
      {
        max_level = i;
        return 0;
      }
  return -1;
}

static void
write_log (const char *level, const char *text)
{
  char when[64] = "";
  time_t now = time (NULL);
  struct tm tm;

  if (gmtime_r (&now, &tm))
    strftime (when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
  if (log_json)
    {
      fprintf (log_file, "{\"level\":\"%s\",\"msg\":", level);
      json_print_string (log_file, text);
      fprintf (log_file, ",\"time\":\"%s\"}\n", when);
    }
  else
    {
      fprintf (log_file, "time=\"%s\" level=%s msg=", when, level);
      json_print_string (log_file, text);
      fputc ('\n', log_file);
    }
  fflush (log_file);
}

/* One line, whatever the text holds: a guest's console is in it, and file names. */
static void
write_stderr (const char *text)
{
  flockfile (stderr);
  for (; *text; text++)
    fputc ((unsigned char) *text < ' ' || *text == 127 ? '?' : *text, stderr);
  fputs (terminal_newline (), stderr);
  fflush (stderr);
  funlockfile (stderr);
}

void
message (int level, const char *stage, const char *text)
{
  char *line = NULL, *tagged = NULL;

  if (level > max_level || level < RCVM_LOG_ERROR)
    return;
  if (asprintf (&line, "%s%s%s", stage, *stage ? ": " : "", text) < 0)
    line = NULL;
  if (line && log_file)
    write_log (level_names[level], line);
  if (line && (level == RCVM_LOG_ERROR || !log_file))
    {
      if (level == RCVM_LOG_ERROR
              ? asprintf (&tagged, "runcvm: %s", line) < 0
              : asprintf (&tagged, "runcvm: %s: %s", level_names[level], line) < 0)
        tagged = NULL;
      if (tagged)
        write_stderr (tagged);
    }
  if (!line || (level == RCVM_LOG_ERROR && !tagged))
    write_stderr ("runcvm: cli: out of memory");
  free (tagged);
  free (line);
}

static void
complain_va (const char *stage, const char *hint, const char *fmt, va_list ap)
{
  char *text = NULL, *full = NULL;

  if (vasprintf (&text, fmt, ap) < 0)
    text = NULL;
  if (text && asprintf (&full, "%s%s", text, hint) < 0)
    full = NULL;
  message (RCVM_LOG_ERROR, stage, full ? full : "out of memory");
  free (full);
  free (text);
}

void
complain (const char *stage, const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  complain_va (stage, "", fmt, ap);
  va_end (ap);
}

int
usage_error (const struct command *command, const char *fmt, ...)
{
  char hint[64];
  va_list ap;

  snprintf (hint, sizeof hint, ": see 'runcvm %s%s--help'", command ? command->name : "",
            command ? " " : "");
  va_start (ap, fmt);
  complain_va ("cli", hint, fmt, ap);
  va_end (ap);
  return command ? command->failure : 1;
}

int
check_one_id (const struct command *command, int argc, char **argv)
{
  if (argc == 1)
    return 0;
  if (argc < 1)
    usage_error (command, "an ID is missing");
  else
    usage_error (command, "'%s' is one argument too many", argv[1]);
  return -1;
}

int
fail_with (rcvm_error *err, int exit_code)
{
  const char *stage = rcvm_error_get_stage (err), *text = rcvm_error_get_message (err);

  /* containerd and others know that by runc's words. */
  if (rcvm_error_get_code (err) == RCVM_E_NOT_FOUND && strcmp (stage, "state") == 0)
    complain (stage, "%s (container does not exist)", text);
  /* Docker and Podman make their exit codes of these words. */
  else if (rcvm_error_get_code (err) == RCVM_E_PROCESS && rcvm_error_get_exit_code (err) == 127)
    complain (stage, "%s (executable file not found in $PATH)", text);
  else if (rcvm_error_get_code (err) == RCVM_E_PROCESS && rcvm_error_get_errno (err) == EACCES)
    complain (stage, "%s (permission denied)", text);
  else
    message (RCVM_LOG_ERROR, stage, text);
  if (exit_code == 0)
    exit_code = rcvm_error_get_exit_code (err);
  rcvm_error_free (err);
  return exit_code;
}

int
finish_output (int exit_code)
{
  if (fflush (stdout) == 0 && !ferror (stdout))
    return exit_code;
  complain ("cli", "cannot write to the standard output: %s", strerror (errno));
  return exit_code ? exit_code : 1;
}

void
on_log (void *user, int level, const char *stage, const char *text)
{
  (void) user;
  message (level, stage, text);
}
