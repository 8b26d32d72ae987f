/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes of other kinds than live directories and tmpfs: what the guest is told of them. */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent-wire.h"
#include "err.h"

enum
{
  TYPE_MAX = 32
};

struct attachment
{
  const char *source, *target;
  char *fstype;
  bool read_only;
  uint64_t size;
  const char *back;
  uint32_t cached;
};

static void
put_mount (struct rcvmi_plan *plan, const struct attachment *a, const char *type, const char *source)
{
  struct tlv_writer *w = &plan->setup;
  size_t mark = tlv_begin (w, S_MOUNT);

  tlv_put_str (w, M_DESTINATION, a->target);
  tlv_put_str (w, M_TYPE, type);
  tlv_put_str (w, M_SOURCE, source);
  if (a->read_only)
    tlv_put_u64 (w, M_FLAGS, MS_RDONLY);
  tlv_end (w, mark);
}

/* The rights are those that a disk has on most hosts. */
static void
put_node (struct rcvmi_plan *plan, const struct attachment *a, const char *locator)
{
  struct tlv_writer *w = &plan->setup;
  size_t mark = tlv_begin (w, S_DEVICE);

  tlv_put_str (w, D_PATH, a->target);
  tlv_put_u32 (w, D_TYPE, S_IFBLK);
  tlv_put_u32 (w, D_MODE, 0660);
  tlv_put_str (w, D_DISK, locator);
  tlv_end (w, mark);
}

/* As file systems are named; it becomes part of a module's name in the guest. */
bool
rcvmi_plan_is_fstype (const char *text)
{
  size_t n = strspn (text, "abcdefghijklmnopqrstuvwxyz0123456789_");

  return n > 0 && n < TYPE_MAX && !text[n] && strcmp (text, "auto") != 0;
}

static int
plan_block (struct rcvmi_plan *plan, const struct attachment *a, rcvm_error **err)
{
  struct rcvmi_plan_disk disk = { .kind = RCVMI_PLAN_DISK_BLOCK,
                                  .source = (char *) a->source,
                                  .target = (char *) a->target,
                                  .fstype = a->fstype,
                                  .read_only = a->read_only };
  char locator[16];
  int rc;

  if (a->fstype && !rcvmi_plan_is_fstype (a->fstype))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.60s' is no type of a file system, for the disk '%.200s'", a->fstype,
                       a->source);
  disk.raw = a->fstype && strcmp (a->fstype, "raw") == 0;
  rc = rcvmi_plan_add_disk (plan, &disk, locator, err);
  if (rc < 0)
    return rc;
  if (disk.raw)
    put_node (plan, a, locator);
  else
    put_mount (plan, a, a->fstype ? a->fstype : "auto", locator);
  return 0;
}

static int
plan_scratch (struct rcvmi_plan *plan, const struct attachment *a, rcvm_error **err)
{
  struct rcvmi_plan_disk disk = { .kind = RCVMI_PLAN_DISK_SCRATCH,
                                  .source = *a->source ? (char *) a->source : NULL,
                                  .target = (char *) a->target,
                                  .size = a->size };

  return rcvmi_plan_add_scratch (plan, &disk, err);
}

int
rcvmi_plan_add_scratch (struct rcvmi_plan *plan, const struct rcvmi_plan_disk *disk, rcvm_error **err)
{
  struct attachment a = { .target = disk->target };
  char locator[16];
  int rc;

  if (!disk->source && !disk->size)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the scratch disk for '%.200s' needs a size", disk->target);
  rc = rcvmi_plan_add_disk (plan, disk, locator, err);
  if (rc == 0)
    put_mount (plan, &a, disk->source ? "auto" : "ext4", locator);
  return rc;
}

static int
plan_copy (struct rcvmi_plan *plan, const struct attachment *a, rcvm_error **err)
{
  return rcvmi_plan_add_copy_volume (plan, a->source, a->target, a->read_only, a->back, err);
}

static int
plan_virtiofs (struct rcvmi_plan *plan, const struct attachment *a, rcvm_error **err)
{
  struct rcvmi_plan_share share = { .source = (char *) a->source,
                                    .target = (char *) a->target,
                                    .read_only = a->read_only,
                                    .cached = a->cached };

  return rcvmi_plan_add_share (plan, &share, err);
}

static int
plan_9p (struct rcvmi_plan *plan, const struct attachment *a, rcvm_error **err)
{
  return rcvmi_plan_add_diod (plan, a->source, a->target, a->read_only, err);
}

static const struct kind
{
  const char *name;
  int (*plan) (struct rcvmi_plan *plan, const struct attachment *a, rcvm_error **err);
  bool has_source;
} kinds[] = {
  { "9p", plan_9p, true },
  { "block", plan_block, true },
  { "copy", plan_copy, true },
  { "scratch", plan_scratch, false },
  { "virtiofs", plan_virtiofs, true },
};

static int
parse_option (struct attachment *a, const struct kind *k, char *o, rcvm_error **err)
{
  if (strcmp (o, "ro") == 0 && k->plan != plan_scratch)
    a->read_only = true;
  else if (strncmp (o, "fstype=", 7) == 0 && k->plan == plan_block)
    a->fstype = o + 7;
  else if (strncmp (o, "cached=", 7) == 0 && k->plan == plan_virtiofs)
    return rcvmi_plan_parse_cached (o + 7, &a->cached, err);
  else if (strncmp (o, "write-back=", 11) == 0 && k->plan == plan_copy)
    a->back = o + 11;
  else if (strncmp (o, "size=", 5) == 0 && k->plan == plan_scratch)
    {
      a->size = rcvmi_plan_parse_size (o + 5);
      if (a->size == 0 && strcmp (o, "size=0") != 0)
        return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.60s' is no size like 512M or 2G", o + 5);
    }
  else if (strcmp (o, "rw") != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a volume of type '%s' has no option '%.60s'", k->name, o);
  return 0;
}

int
rcvmi_plan_attach (struct rcvmi_plan *plan, const char *source, const char *target, const char *options,
                   rcvm_error **err)
{
  struct attachment a = { .source = source, .target = target };
  char copy[256], *save, *o;
  const struct kind *k = NULL;
  int rc = 0;

  if (snprintf (copy, sizeof copy, "%s", options) >= (int) sizeof copy)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the options of a volume are longer than %zu bytes", sizeof copy - 1);
  o = strtok_r (copy, ",", &save);
  for (size_t i = 0; o && i < sizeof kinds / sizeof kinds[0]; i++)
    if (strcmp (o, kinds[i].name) == 0)
      k = &kinds[i];
  if (!k)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "there is no volume of type '%.60s'", o ? o : "");
  if ((k->has_source || *source) && source[0] != '/')
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the volume '%.200s' for '%.200s' needs an absolute path", source,
                       target);
  while (rc == 0 && (o = strtok_r (NULL, ",", &save)))
    rc = parse_option (&a, k, o, err);
  return rc < 0 ? rc : k->plan (plan, &a, err);
}
