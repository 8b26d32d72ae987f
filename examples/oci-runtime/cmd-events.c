/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct events_values
{
  const char *interval;
  int stats;
};

#define AT(field) offsetof (struct events_values, field)

static const struct option_spec options[] = {
  { "interval", 0, TEXT, AT (interval), "TIME", "between statistics: 5s (default), 500ms, 1m30s" },
  { "stats", 0, FLAG, AT (stats), NULL, "the statistics once, and no more" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

/* Go's durations, as runc takes them.  Milliseconds, or -1. */
static int
parse_duration (const char *text)
{
  static const struct
  {
    const char *name;
    double ms;
  } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
  double total = 0;

  if (!*text)
    return -1;
  while (*text)
    {
      char *end;
      double value = strtod (text, &end);
      size_t i = 0, n = strspn (end, "msh");

      while (i < 4 && (strlen (units[i].name) != n || strncmp (end, units[i].name, n) != 0))
        i++;
      if (end == text || i == 4 || !isfinite (value) || value < 0)
        return -1;
      total += value * units[i].ms;
      text = end + n;
    }
  return total >= 1 && total < 1e9 ? (int) total : -1;
}

static int64_t
now_ms (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int
print_event (const char *id, const char *type, const char *data)
{
  size_t n = data ? strcspn (data, "\n") : 0;

  printf ("{\"type\":\"%s\",\"id\":", type);
  json_print_string (stdout, id);
  if (data)
    printf (",\"data\":%.*s", (int) n, data);
  puts ("}");
  return fflush (stdout) == 0 ? 0 : -1;
}

static int
print_stats (rcvm_vm *vm, const char *id, rcvm_error **err)
{
  char *data = rcvm_vm_stats (vm, err);
  int code = data ? print_event (id, "stats", data) : -1;

  rcvm_free (data);
  return code;
}

/* Until the container stops: that is no failure, whatever was asked for in that moment. */
static int
follow (rcvm_vm *vm, const char *id, int interval, rcvm_error **err)
{
  int64_t next = now_ms ();
  uint64_t seen = 0;
  int status;

  while ((status = rcvm_vm_dispatch (vm, err)) >= 0 && status != RCVM_STATUS_STOPPED)
    {
      struct pollfd p = { .fd = rcvm_vm_get_fd (vm), .events = POLLIN };
      uint64_t kills = rcvm_vm_get_oom_kills (vm);
      int64_t left = next - now_ms ();

      for (; seen < kills; seen++)
        if (print_event (id, "oom", NULL) < 0)
          return 0; /* nobody reads */
      if (left > 0)
        {
          poll (&p, 1, (int) left);
          continue;
        }
      next += interval;
      if (print_stats (vm, id, err) < 0)
        {
          if (*err && rcvm_error_get_code (*err) != RCVM_E_STATE)
            return -1;
          if (!*err)
            return 0;
          rcvm_error_free (*err);
          *err = NULL;
        }
    }
  return status < 0 ? -1 : 0;
}

static int
events (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct events_values *v = values;
  int interval = parse_duration (v->interval ? v->interval : "5s"), code = -1;
  rcvm_error *err = NULL;
  rcvm_vm *vm;

  if (check_one_id (&cmd_events, argc, argv) < 0)
    return cmd_events.failure;
  if (interval < 0)
    return usage_error (&cmd_events, "'%s' is no time for --interval (5s, 500ms)", v->interval);
  vm = rcvm_vm_open (cli->root, argv[0], &err);
  if (vm)
    code = v->stats ? print_stats (vm, argv[0], &err) : follow (vm, argv[0], interval, &err);
  rcvm_vm_free (vm);
  return err ? fail_with (err, 1) : finish_output (code < 0);
}

const struct command cmd_events = {
  .name = "events",
  .usage = "[--stats] [--interval TIME] ID",
  .summary = "print what a container uses, again and again, and when its memory was used up",
  .details = "A line of JSON for each, as runc prints it; ends when the container stops.",
  .options = { options },
  .values_size = sizeof (struct events_values),
  .failure = 1,
  .run = events,
};
