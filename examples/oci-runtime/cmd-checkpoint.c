/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `checkpoint` and `restore`: with runc's options, for those who call them, and the reason why not. */
#include "cli.h"

struct checkpoint_values
{
  const char *text;
  int flag;
};

#define ANY_TEXT(name) { name, 0, TEXT, offsetof (struct checkpoint_values, text), "VALUE", "as runc's" }
#define ANY_FLAG(name) { name, 0, FLAG, offsetof (struct checkpoint_values, flag), NULL, "as runc's" }

static const struct option_spec common_options[] = {
  ANY_TEXT ("image-path"), ANY_TEXT ("work-path"), ANY_FLAG ("tcp-established"), ANY_FLAG ("ext-unix-sk"),
  ANY_FLAG ("shell-job"), ANY_FLAG ("lazy-pages"), ANY_FLAG ("file-locks"), ANY_TEXT ("manage-cgroups-mode"),
  ANY_TEXT ("empty-ns"), ANY_FLAG ("auto-dedup"), { NULL, 0, FLAG, 0, NULL, NULL },
};

static const struct option_spec checkpoint_options[] = {
  ANY_TEXT ("parent-path"), ANY_FLAG ("leave-running"), ANY_TEXT ("status-fd"), ANY_TEXT ("page-server"),
  ANY_FLAG ("pre-dump"), { NULL, 0, FLAG, 0, NULL, NULL },
};

static const struct option_spec restore_options[] = {
  ANY_TEXT ("console-socket"), { "bundle", 'b', TEXT, offsetof (struct checkpoint_values, text), "DIR", "as runc's" },
  { "detach", 'd', FLAG, offsetof (struct checkpoint_values, flag), NULL, "as runc's" }, ANY_TEXT ("pid-file"),
  ANY_FLAG ("no-subreaper"), ANY_FLAG ("no-pivot"), ANY_TEXT ("lsm-profile"), ANY_TEXT ("lsm-mount-context"),
  { NULL, 0, FLAG, 0, NULL, NULL },
};

static int
checkpoint (const struct cli *cli, void *values, int argc, char **argv)
{
  (void) cli;
  (void) values;
  if (check_one_id (&cmd_checkpoint, argc, argv) < 0)
    return cmd_checkpoint.failure;
  complain ("cli", "checkpoints are not supported: none of the VMMs' drivers saves a VM with a container's streams, volumes and connections "
                   "yet; `runcvm pause %s` makes it stand still, and `runcvm template` saves machines before they have a container", argv[0]);
  return cmd_checkpoint.failure;
}

static int
restore (const struct cli *cli, void *values, int argc, char **argv)
{
  (void) cli;
  (void) values;
  if (check_one_id (&cmd_restore, argc, argv) < 0)
    return cmd_restore.failure;
  complain ("cli", "checkpoints are not supported: none of the VMMs' drivers makes a VM of one that was saved with its container yet, "
                   "and the images of CRIU are those of processes of the host");
  return cmd_restore.failure;
}

const struct command cmd_checkpoint = {
  .name = "checkpoint",
  .usage = "[OPTIONS] ID",
  .summary = "refused: VMs cannot be saved yet",
  .options = { common_options, checkpoint_options },
  .values_size = sizeof (struct checkpoint_values),
  .failure = 1,
  .run = checkpoint,
};

const struct command cmd_restore = {
  .name = "restore",
  .usage = "[OPTIONS] ID",
  .summary = "refused: VMs cannot be saved yet",
  .options = { common_options, restore_options },
  .values_size = sizeof (struct checkpoint_values),
  .failure = 1,
  .run = restore,
};
