/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The root: of which kind its disk is, how large, what becomes of its changes; and what bind mounts become. */
#include "config.h"

#define RCVMI_STAGE "plan"
#include "plan-keys.h"

#include <string.h>
#include <strings.h>
#include <sys/statvfs.h>

#include "err.h"

static int
plan_rootfs_size (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  struct rcvmi_plan_setting s = { 0 };

  plan->rootfs_size = options->rootfs_size;
  if (plan->rootfs_size)
    return 0;
  rcvmi_plan_from_config (&s, plan, KEY_ROOTFS_SIZE);
  return s.value ? rcvmi_plan_take_size (&s, "root disk size", &plan->rootfs_size, err) : 0;
}

/* How the guest reaches live bind mounts, and who serves them. */
static int
plan_transport (struct rcvmi_plan *plan, rcvm_error **err)
{
  struct rcvmi_volume_flags flags = { 0 };
  struct rcvmi_plan_setting s = { 0 };

  rcvmi_plan_from_config (&s, plan, KEY_VOLUME_TRANSPORT);
  if (s.value && !rcvmi_plan_parse_transport (s.value, &flags))
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s says '%.40s' of the way to volumes, and only link, tunnel, tcp and tcp:FIRST-LAST (two ports) are known",
                       s.from, s.value);
  plan->binds_transport = flags.transport;
  s = (struct rcvmi_plan_setting){ 0 };
  rcvmi_plan_from_config (&s, plan, KEY_VOLUME_SERVER);
  if (s.value && !rcvmi_plan_parse_server (s.value, &plan->unfsd))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s says '%.40s' of the server of volumes, and only own and unfsd are known",
                       s.from, s.value);
  return rcvmi_plan_take_ports (plan, &flags, err);
}

/* What bind mounts become: the host's directories themselves, or copies. */
static int
plan_binds (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  struct rcvmi_plan_setting s = { 0 };

  rcvmi_plan_from_option (&s, options->binds, "binds");
  rcvmi_plan_from_config (&s, plan, KEY_BINDS);
  plan->binds_are_live = s.value ? strcmp (s.value, "live") == 0 : plan->root_disk == RCVMI_ROOT_OVERLAY;
  if (!s.value || plan->binds_are_live || strcmp (s.value, "copy") == 0)
    return 0;
  return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s says '%.40s' of bind mounts, and only live and copy are known", s.from,
                     s.value);
}

static int
plan_root_disk (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  struct rcvmi_plan_setting disk = { 0 }, changes = { 0 };

  rcvmi_plan_from_option (&disk, options->rootfs_disk, "rootfs_disk");
  rcvmi_plan_from_config (&disk, plan, KEY_ROOTFS_DISK);
  rcvmi_plan_from_option (&changes, options->rootfs_changes, "rootfs_changes");
  rcvmi_plan_from_config (&changes, plan, KEY_ROOTFS);
  if (disk.value && strcmp (disk.value, "single") == 0)
    plan->root_disk = RCVMI_ROOT_SINGLE;
  else if (disk.value && strcmp (disk.value, "overlay") != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s names the root disk '%.40s', and only overlay and single are known",
                       disk.from, disk.value);
  plan->changes = plan->root_disk == RCVMI_ROOT_SINGLE || options->rootfs_digests
                      ? RCVMI_CHANGES_DISCARD
                      : RCVMI_CHANGES_WRITE_BACK;
  if (!changes.value)
    return 0;
  if (strcmp (changes.value, "writeback") == 0)
    plan->changes = RCVMI_CHANGES_WRITE_BACK;
  else if (strcmp (changes.value, "discard") == 0)
    plan->changes = RCVMI_CHANGES_DISCARD;
  else if (strcmp (changes.value, "keep") == 0)
    plan->changes = RCVMI_CHANGES_KEEP;
  else
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s says '%.40s' of the root's changes, and only writeback, discard and "
                       "keep are known",
                       changes.from, changes.value);
  if (plan->root_disk == RCVMI_ROOT_SINGLE && plan->changes != RCVMI_CHANGES_DISCARD)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s asks for the root's changes, which a single root disk cannot tell from "
                       "the rest: use an overlay, or discard them",
                       changes.from);
  if (options->rootfs_digests && plan->changes == RCVMI_CHANGES_WRITE_BACK)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s asks to write the root's changes back, and the root is named by digests, "
                       "which would no longer be true: discard or keep them",
                       changes.from);
  return 0;
}

static int
plan_flush (struct rcvmi_plan *plan, rcvm_error **err)
{
  static const char *const words[] = { "look", "pause", "asked" };
  struct rcvmi_plan_setting s = { 0 };

  rcvmi_plan_from_config (&s, plan, KEY_FLUSH);
  if (!s.value)
    return 0;
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (strcmp (s.value, words[i]) == 0)
      {
        plan->flush = (enum rcvmi_flush) i;
        return 0;
      }
  return rcvmi_fail (err, RCVM_E_INVALID, 0,
                     "%s says '%.40s' of when the root's changes are written back, and only look, pause and asked are known",
                     s.from, s.value);
}

/* As with runc: what is mounted read-only on the host is read-only in the container. */
static void
plan_readonly_root (struct rcvmi_plan *plan)
{
  struct statvfs fs;

  if (plan->changes != RCVMI_CHANGES_WRITE_BACK || statvfs (plan->rootfs, &fs) < 0 || !(fs.f_flag & ST_RDONLY))
    return;
  plan->root_is_readonly = true;
  plan->changes = RCVMI_CHANGES_DISCARD;
}

static int
plan_digests (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  if (!options->rootfs_digests)
    return 0;
  plan->digests = rcvmi_strv_copy (options->rootfs_digests);
  return plan->digests ? 0 : rcvmi_fail_nomem (err);
}

int
rcvmi_plan_root (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  int rc = plan_rootfs_size (plan, options, err);

  if (rc == 0)
    rc = plan_root_disk (plan, options, err);
  if (rc == 0)
    rc = plan_flush (plan, err);
  if (rc == 0)
    rc = plan_binds (plan, options, err);
  if (rc == 0)
    rc = plan_transport (plan, err);
  if (rc == 0)
    plan_readonly_root (plan);
  return rc == 0 ? plan_digests (plan, options, err) : rc;
}
