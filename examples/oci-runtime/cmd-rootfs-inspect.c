/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

struct inspect_values
{
  const char *format;
};

static const struct option_spec options[] = {
  { "format", 'f', TEXT, offsetof (struct inspect_values, format), "FORMAT",
    "text (default) or json" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

/* In the order of the lines; what an image of another kind does not have is left out. */
static const struct
{
  const char *key, *shown, *unit;
} fields[] = {
  { "type", "type", "" },          { "usage", "usage", "" },
  { "uuid", "uuid", "" },          { "label", "label", "" },
  { "size", "size", " bytes" },    { "free", "free", " bytes" },
  { "blockSize", "block size", " bytes" }, { "inodes", "inodes", "" },
  { "freeInodes", "free inodes", "" },     { "journal", "journal", "" },
  { "checksums", "checksums", "" },        { "clean", "clean", "" },
};

static void
print_field (const char *json, size_t i)
{
  const char *const path[] = { fields[i].key, NULL };
  char *value = json_get (json, path);

  if (value && *value)
    {
      /* A label may hold anything, and this may be a terminal. */
      for (char *p = value; *p; p++)
        if ((unsigned char) *p < ' ' || *p == 127)
          *p = '?';
      printf ("%-12s %s%s\n", fields[i].shown, value, fields[i].unit);
    }
  free (value);
}

static int
inspect (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct inspect_values *v = values;
  int as_json = v->format && strcmp (v->format, "json") == 0;
  rcvm_error *err = NULL;
  char *json;

  (void) cli;
  if (argc != 1)
    return argc < 1 ? usage_error (&cmd_rootfs_inspect, "IMAGE is missing")
                    : usage_error (&cmd_rootfs_inspect, "'%s' is one argument too many", argv[1]);
  if (v->format && !as_json && strcmp (v->format, "text") != 0)
    return usage_error (&cmd_rootfs_inspect, "'%s' is no format for --format: it is text or json",
                        v->format);
  json = rcvm_rootfs_inspect_json (argv[0], &err);
  if (!json)
    return fail_with (err, 1);
  if (as_json)
    puts (json);
  else
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
      print_field (json, i);
  rcvm_free (json);
  return finish_output (0);
}

const struct command cmd_rootfs_inspect = {
  .name = "rootfs inspect",
  .usage = "[--format text|json] IMAGE",
  .summary = "say what file system an image holds",
  .details = "IMAGE may be a block device.  Nothing is mounted.",
  .options = { options },
  .values_size = sizeof (struct inspect_values),
  .failure = 1,
  .run = inspect,
};
