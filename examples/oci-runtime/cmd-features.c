/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

static int
features (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_error *err = NULL;
  char *json;

  (void) cli;
  (void) values;
  if (argc > 0)
    return usage_error (&cmd_features, "'%s' is one argument too many", argv[0]);
  json = rcvm_features_json (&err);
  if (!json)
    return fail_with (err, 1);
  fputs (json, stdout);
  rcvm_free (json);
  return finish_output (0);
}

const struct command cmd_features = {
  .name = "features",
  .usage = "",
  .summary = "print what a config.json may ask for, as JSON",
  .failure = 1,
  .run = features,
};
