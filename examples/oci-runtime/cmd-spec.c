/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct spec_values
{
  const char *bundle;
  int rootless;
};

static const struct option_spec options[] = {
  { "bundle", 'b', TEXT, offsetof (struct spec_values, bundle), "DIR",
    "where to write it (default: .)" },
  { "rootless", 0, FLAG, offsetof (struct spec_values, rootless), NULL, "refused: there is one way of running" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

/* A file of that name stays as it is; half a file does not stay. */
static int
write_new (const char *path, const char *text)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  size_t left = strlen (text);
  ssize_t n = 0;
  int e;

  if (fd < 0)
    return -1;
  for (; left > 0 && (n = write (fd, text, left)) >= 0; left -= (size_t) n)
    text += n;
  e = errno;
  if (close (fd) < 0 && n >= 0)
    {
      e = errno;
      n = -1;
    }
  if (n < 0)
    unlink (path);
  errno = e;
  return n < 0 ? -1 : 0;
}

static int
spec (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct spec_values *v = values;
  rcvm_error *err = NULL;
  char *path, *json;
  int code = 0;

  (void) cli;
  if (argc > 0)
    return usage_error (&cmd_spec, "'%s' is one argument too many", argv[0]);
  if (v->rootless)
    return usage_error (&cmd_spec, "--rootless is not supported: a user of a VM needs no mapping on the host; leave it out");
  json = rcvm_spec_default_json (&err);
  if (!json)
    return fail_with (err, 1);
  if (asprintf (&path, "%s/config.json", v->bundle ? v->bundle : ".") < 0)
    path = NULL;
  if (!path || write_new (path, json) < 0)
    {
      if (path && errno == EEXIST)
        complain ("cli", "'%s' is there already: remove it first", path);
      else
        complain ("cli", "cannot write '%s': %s", path ? path : "config.json", strerror (errno));
      code = 1;
    }
  free (path);
  rcvm_free (json);
  return code;
}

const struct command cmd_spec = {
  .name = "spec",
  .usage = "[--bundle DIR]",
  .summary = "write a config.json to start from",
  .details = "Its root file system is the directory rootfs beside it.",
  .examples = "  mkdir -p web/rootfs && runcvm spec --bundle web",
  .options = { options },
  .values_size = sizeof (struct spec_values),
  .failure = 1,
  .run = spec,
};
