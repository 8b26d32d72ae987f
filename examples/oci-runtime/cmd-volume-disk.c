/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks of a VM that runs: SOURCE:TARGET[:OPTION,...]. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* Options that commas separate; what is not known is told. */
static int
set_options (rcvm_volume_options *options, char *text, rcvm_error **err)
{
  char *save = NULL;

  for (char *o = strtok_r (text, ",", &save); o; o = strtok_r (NULL, ",", &save))
    if (strcmp (o, "ro") == 0 || strcmp (o, "readonly") == 0)
      {
        if (rcvm_volume_options_set_readonly (options, 1, err) < 0)
          return -1;
      }
    else if (strncmp (o, "fstype=", 7) == 0)
      {
        if (rcvm_volume_options_set_fstype (options, o + 7, err) < 0)
          return -1;
      }
    else if (strcmp (o, "raw") == 0)
      {
        if (rcvm_volume_options_set_fstype (options, "raw", err) < 0)
          return -1;
      }
    else if (strcmp (o, "rw") != 0)
      return usage_error (&cmd_volume_attach, "'%s' is no option of a disk, but ro, rw, raw and fstype=TYPE are", o);
  return 0;
}

/* Cuts SOURCE:TARGET[:OPTIONS] up; -1: it is no such text. */
static int
split (char *text, char **target, char **options)
{
  *target = strchr (text, ':');
  if (!*target || *target == text || (*target)[1] != '/')
    return -1;
  *(*target)++ = 0;
  *options = strchr (*target, ':');
  if (*options)
    *(*options)++ = 0;
  return 0;
}

static int
volume_attach (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_volume_options *options;
  rcvm_error *err = NULL;
  rcvm_vm *vm = NULL;
  char *copy, *target = NULL, *text = NULL;
  int code = -1;

  (void) values;
  if (argc != 2)
    return usage_error (&cmd_volume_attach, argc < 1   ? "an ID is missing"
                                            : argc < 2 ? "the disk is missing: SOURCE:TARGET[:ro,fstype=TYPE]"
                                                       : "'%s' is too much",
                        argc > 2 ? argv[2] : "");
  copy = strdup (argv[1]);
  options = rcvm_volume_options_new (&err);
  if (!copy || !options)
    complain ("cli", "out of memory");
  else if (split (copy, &target, &text) < 0)
    code = usage_error (&cmd_volume_attach, "a disk is SOURCE:/TARGET[:ro,fstype=TYPE], and not '%s'", argv[1]);
  else if (!text || (code = set_options (options, text, &err)) == 0)
    {
      vm = rcvm_vm_open (cli->root, argv[0], &err);
      code = vm ? rcvm_vm_attach_disk (vm, copy, target, options, &err) : -1;
    }
  rcvm_vm_free (vm);
  rcvm_volume_options_free (options);
  free (copy);
  return err ? fail_with (err, 1) : code;
}

static int
volume_detach (const struct cli *cli, void *values, int argc, char **argv)
{
  rcvm_error *err = NULL;
  rcvm_vm *vm;
  int code = -1;

  (void) values;
  if (argc != 2)
    return usage_error (&cmd_volume_detach, argc < 1   ? "an ID is missing"
                                            : argc < 2 ? "the path of the disk in the VM is missing"
                                                       : "'%s' is too much",
                        argc > 2 ? argv[2] : "");
  vm = rcvm_vm_open (cli->root, argv[0], &err);
  if (vm)
    code = rcvm_vm_detach_disk (vm, argv[1], &err);
  rcvm_vm_free (vm);
  return err ? fail_with (err, 1) : code;
}

const struct command cmd_volume_attach = {
  .name = "volume attach",
  .usage = "ID SOURCE:TARGET[:OPTION,...]",
  .summary = "give a VM that runs a block device or a disk image of the host",
  .details = "It is mounted at TARGET in the container.  Options: ro, fstype=TYPE (what is found on it), and raw: TARGET\n"
             "is its device node.  The VM has to have been started for it: with a network (QEMU), or with\n"
             "--annotation org.runcvm.hotplug=on.",
  .failure = 1,
  .run = volume_attach,
};

const struct command cmd_volume_detach = {
  .name = "volume detach",
  .usage = "ID TARGET",
  .summary = "take such a disk away again",
  .details = "Returns when it is unmounted and free for others; a disk that is in use stays.",
  .failure = 1,
  .run = volume_detach,
};
