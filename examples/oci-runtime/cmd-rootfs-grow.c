/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

static int
grow (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_error *err = NULL;
  uint64_t bytes;

  (void) cli;
  (void) values;
  if (argc < 2)
    return usage_error (&cmd_rootfs_grow, argc < 1 ? "IMAGE and SIZE are missing" : "SIZE is missing");
  if (argc > 2)
    return usage_error (&cmd_rootfs_grow, "'%s' is one argument too many", argv[2]);
  if (parse_bytes (argv[1], &bytes) < 0)
    return usage_error (&cmd_rootfs_grow, "'%s' is no size (512M, 2G)", argv[1]);
  return rcvm_rootfs_grow (argv[0], bytes, &err) < 0 ? fail_with (err, 1) : 0;
}

const struct command cmd_rootfs_grow = {
  .name = "rootfs grow",
  .usage = "IMAGE SIZE",
  .summary = "make an image that is not mounted larger",
  .details = "What is in it stays in place.  Images of other programs are left to resize2fs.",
  .examples = "  runcvm rootfs grow alpine.img 4G",
  .failure = 1,
  .run = grow,
};
