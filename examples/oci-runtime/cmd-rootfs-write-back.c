/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

static int
write_back (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_error *err = NULL;

  (void) cli;
  (void) values;
  if (argc < 2)
    return usage_error (&cmd_rootfs_write_back,
                        argc < 1 ? "IMAGE and ROOTFS are missing" : "ROOTFS is missing");
  if (argc > 2)
    return usage_error (&cmd_rootfs_write_back, "'%s' is one argument too many", argv[2]);
  return rcvm_rootfs_write_back (argv[0], argv[1], &err) < 0 ? fail_with (err, 1) : 0;
}

const struct command cmd_rootfs_write_back = {
  .name = "rootfs write-back",
  .usage = "IMAGE ROOTFS",
  .summary = "apply the changes in a VM's upper image to the directory it was started from",
  .details = "The VM must have stopped.  What was interrupted is finished by the same command; until then there is "
             "a file\nIMAGE.write-back.",
  .examples = "  runcvm rootfs write-back upper.img /srv/web/rootfs",
  .failure = 1,
  .run = write_back,
};
