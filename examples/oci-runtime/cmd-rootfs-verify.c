/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

static int
verify (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_error *err = NULL;

  (void) cli;
  (void) values;
  if (argc != 1)
    return argc < 1 ? usage_error (&cmd_rootfs_verify, "IMAGE is missing")
                    : usage_error (&cmd_rootfs_verify, "'%s' is one argument too many", argv[1]);
  return rcvm_rootfs_verify (argv[0], &err) < 0 ? fail_with (err, 1) : 0;
}

const struct command cmd_rootfs_verify = {
  .name = "rootfs verify",
  .usage = "IMAGE",
  .summary = "check the metadata of an ext4 image that is not mounted",
  .details = "Says nothing if all is well; else what is wrong, and exits with 1.  Contents of files have\n"
             "no checksums in ext4.",
  .failure = 1,
  .run = verify,
};
