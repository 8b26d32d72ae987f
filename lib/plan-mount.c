/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mounts.  File systems that the guest's kernel makes by itself (proc, tmpfs ...) are mounted
 * there.  A bind mount names something of the host: it is a volume (plan-volume.c), or copied into a disk of binds, or
 * into the root disk, at its destination; and where it asked for flags (ro, nosuid ...), the guest binds the copy
 * onto itself with them.
 */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "agent-wire.h"
#include "err.h"

enum
{
  MOUNTS_MAX = 10000,
  DATA_MAX = 4095 /* the kernel takes one page */
};

/* One entry of config.json's mounts, taken apart. */
struct parsed
{
  const struct rcvmi_spec_mount *mount;
  size_t index;
  char *destination; /* clean and absolute */
  const char *type;
  const char *source;
  uint64_t flags;
  uint64_t propagation;
  char *data; /* options that are not flags, with commas; NULL if there are none */
  bool is_bind;
  bool is_copy_up;
  bool is_optional;
  bool is_cover; /* a file system that hides what the root disk has there */
};

/* Without ".", ".." and double slashes; a path that leaves "/" stays in it.  What symbolic links
   make of it is for those who look at the tree. */
static char *
clean_path (struct rcvmi_arena *arena, const char *path)
{
  char *clean = rcvmi_arena_alloc (arena, strlen (path) + 2, 1);
  size_t len = 0;

  if (!clean)
    return NULL;
  while (*path)
    {
      size_t n = strcspn (path, "/");

      if (n == 2 && path[0] == '.' && path[1] == '.')
        while (len > 0 && clean[--len] != '/')
          ;
      else if (n > 0 && !(n == 1 && path[0] == '.'))
        {
          clean[len++] = '/';
          memcpy (clean + len, path, n);
          len += n;
        }
      path += n;
      if (*path)
        path++;
    }
  if (len == 0)
    clean[len++] = '/';
  clean[len] = 0;
  return clean;
}

/* Is `path` `top`, or below it? */
static bool
is_within (const char *path, const char *top)
{
  size_t n = strlen (top);

  return strncmp (path, top, n) == 0 && (!path[n] || path[n] == '/' || n == 1);
}

static int
ignore_option (struct rcvmi_plan *plan, const struct parsed *p, const char *option, const char *why,
               rcvm_error **err)
{
  return rcvmi_plan_warn (plan, err,
                          "the option '%.60s' of 'mounts[%zu]' (%.200s) has no effect: %s",
                          option, p->index, p->destination, why);
}

static int
parse_option (struct rcvmi_plan *plan, struct parsed *p, const char *option, size_t *data_len,
              rcvm_error **err)
{
  const struct rcvmi_name *propagation = rcvmi_plan_name (rcvmi_propagation_names, option);
  const struct rcvmi_mount_option *o = rcvmi_mount_options;
  size_t len = strlen (option);

  if (propagation)
    {
      p->propagation = propagation->value;
      return 0;
    }
  while (o->name && strcmp (o->name, option) != 0)
    o++;
  if (!o->name)
    {
      if (strncmp (option, "x-", 2) == 0 || strncmp (option, "X-", 2) == 0)
        return ignore_option (plan, p, option, "it is a comment for other programs", err);
      if (len == 0)
        return 0;
      if (*data_len + len + 1 > DATA_MAX)
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "config.json: the options of 'mounts[%zu]' (%.200s) are longer than %d "
                           "bytes",
                           p->index, p->destination, DATA_MAX);
      if (*data_len)
        p->data[(*data_len)++] = ',';
      memcpy (p->data + *data_len, option, len);
      *data_len += len;
      return 0;
    }
  p->flags = (p->flags & ~o->clear) | o->set;
  switch (o->special)
    {
    case RCVMI_MOUNT_PLAIN:
      break;
    case RCVMI_MOUNT_COPY_UP:
      p->is_copy_up = true;
      break;
    case RCVMI_MOUNT_NOFAIL:
      p->is_optional = true;
      break;
    case RCVMI_MOUNT_IDMAP:
      return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                         "config.json: the option '%s' of 'mounts[%zu]' (%.200s) cannot be "
                         "honoured: mounts are not id-mapped in a VM",
                         option, p->index, p->destination);
    case RCVMI_MOUNT_IGNORED:
      return ignore_option (plan, p, option, "it says nothing to the kernel", err);
    }
  return 0;
}

static int
parse_mount (struct rcvmi_plan *plan, size_t index, struct parsed *p, rcvm_error **err)
{
  const struct rcvmi_spec_mount *m = &plan->spec->mounts[index];
  struct rcvmi_arena *arena = &plan->spec->arena;
  size_t data_len = 0;
  int rc;

  *p = (struct parsed){ .mount = m, .index = index, .type = m->type, .source = m->source };
  p->destination = clean_path (arena, m->destination);
  if (!p->destination)
    return rcvmi_fail_nomem (err);
  if (m->destination[0] != '/')
    {
      rc = rcvmi_plan_warn (plan, err,
                            "'mounts[%zu].destination' is relative and is taken as '%.200s'",
                            index, p->destination);
      if (rc < 0)
        return rc;
    }
  if (strcmp (p->destination, "/") == 0)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "config.json: 'mounts[%zu].destination' is '/', and nothing can be mounted "
                       "over the root",
                       index);
  if (m->n_uid_mappings || m->n_gid_mappings)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "config.json: 'mounts[%zu].%s' cannot be honoured: mounts are not "
                       "id-mapped in a VM",
                       index, m->n_uid_mappings ? "uidMappings" : "gidMappings");
  if (m->options)
    {
      size_t size = 1;

      for (char **o = m->options; *o && size <= DATA_MAX; o++)
        size += strlen (*o) + 1;
      p->data = rcvmi_arena_alloc (arena, size < DATA_MAX ? size + 1 : DATA_MAX + 1, 1);
      if (!p->data)
        return rcvmi_fail_nomem (err);
      for (char **o = m->options; *o; o++)
        {
          rc = parse_option (plan, p, *o, &data_len, err);
          if (rc < 0)
            return rc;
        }
    }
  if (data_len == 0)
    p->data = NULL;
  p->is_bind = (p->flags & MS_BIND) || (p->type && strcmp (p->type, "bind") == 0);
  if (!p->is_bind && (!p->type || !p->type[0]))
    return rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json: 'mounts[%zu].type' is missing", index);
  return 0;
}

static void
put_mount (struct rcvmi_plan *plan, const struct parsed *p)
{
  struct tlv_writer *w = &plan->setup;
  size_t mark = tlv_begin (w, S_MOUNT);

  tlv_put_str (w, M_DESTINATION, p->destination);
  tlv_put_str (w, M_TYPE, p->type);
  tlv_put_str (w, M_SOURCE, p->source && p->source[0] ? p->source : p->type);
  if (p->flags)
    tlv_put_u64 (w, M_FLAGS, p->flags);
  if (p->propagation)
    tlv_put_u64 (w, M_PROPAGATION, p->propagation);
  tlv_put_str (w, M_DATA, p->data);
  if (p->is_optional)
    tlv_put_u32 (w, M_OPTIONAL, 1);
  if (p->is_copy_up)
    tlv_put_u32 (w, M_COPY_UP, 1);
  tlv_end (w, mark);
}

/* A file system of the guest's kernel. */
static int
plan_virtual (struct rcvmi_plan *plan, struct parsed *p, rcvm_error **err)
{
  static const char *const types[]
      = { "proc",      "sysfs",      "tmpfs",   "ramfs",   "devpts",   "mqueue",    "cgroup",
          "cgroup2",
          "hugetlbfs", "debugfs",    "tracefs", "bpf",     "configfs", "securityfs", "fusectl",
          "pstore",    "binfmt_misc" };
  size_t i = 0;
  int rc = 0;

  while (i < sizeof types / sizeof types[0] && strcmp (types[i], p->type) != 0)
    i++;
  if (i == sizeof types / sizeof types[0])
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "config.json: 'mounts[%zu]' (%.200s) is a file system of type '%.40s' of "
                       "the host, which a VM cannot reach; bind its directory instead",
                       p->index, p->destination, p->type);
  /* The guest has no cgroup v1, whose options mean nothing to cgroup2. */
  if (strcmp (p->type, "cgroup") == 0)
    {
      if (p->data)
        rc = ignore_option (plan, p, p->data, "it is for cgroup v1, and the guest has cgroup v2",
                            err);
      p->type = "cgroup2";
      p->data = NULL;
    }
  if (p->is_copy_up && strcmp (p->type, "tmpfs") != 0)
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "config.json: the option 'tmpcopyup' of 'mounts[%zu]' (%.200s) is for "
                       "tmpfs alone",
                       p->index, p->destination);
  p->is_cover = !p->is_copy_up && !(p->flags & MS_REMOUNT);
  put_mount (plan, p);
  return rc;
}

static int
add_copy (struct rcvmi_plan *plan, const char *source, const char *destination, rcvm_error **err)
{
  struct rcvmi_plan_copy *copies
      = reallocarray (plan->copies, plan->n_copies + 1, sizeof *copies), *copy;

  if (!copies)
    return rcvmi_fail_nomem (err);
  plan->copies = copies;
  copy = &copies[plan->n_copies];
  *copy = (struct rcvmi_plan_copy){ .source = strdup (source),
                                    .destination = strdup (destination) };
  plan->n_copies++; /* rcvmi_plan_free sees to a half-filled one */
  return copy->source && copy->destination ? 0 : rcvmi_fail_nomem (err);
}

static int
refuse_bind (const struct parsed *p, const char *why, rcvm_error **err)
{
  return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                     "config.json: 'mounts[%zu]' binds '%.200s' to '%.200s', which a VM cannot "
                     "have: %s",
                     p->index, p->source, p->destination, why);
}

/* Shared memory and message queues are a part of the VM's own IPC namespace. */
static int
plan_ipc_bind (struct rcvmi_plan *plan, struct parsed *p, rcvm_error **err)
{
  bool is_shm = strcmp (p->destination, "/dev/shm") == 0;
  int rc = rcvmi_plan_warn (plan, err,
                            "'mounts[%zu]' (%s) becomes a new %s: the VM does not share it with "
                            "others",
                            p->index, p->destination, is_shm ? "tmpfs" : "mqueue");

  p->type = is_shm ? "tmpfs" : "mqueue";
  p->source = is_shm ? "shm" : "mqueue";
  p->data = NULL;
  if (is_shm && !(p->data = rcvmi_arena_strdup (&plan->spec->arena, "mode=1777,size=65536k")))
    return rcvmi_fail_nomem (err);
  p->flags = (p->flags & ~(uint64_t) (MS_BIND | MS_REC)) | MS_NOSUID | MS_NOEXEC | MS_NODEV;
  p->is_cover = true;
  put_mount (plan, p);
  return rc;
}

static int
put_bind_of_stage (struct rcvmi_plan *plan, const struct parsed *p, const char *source)
{
  struct parsed bind = *p;

  bind.type = "bind";
  bind.source = source;
  bind.flags |= MS_BIND | MS_REC;
  bind.propagation = 0;
  bind.data = NULL;
  bind.is_copy_up = false;
  put_mount (plan, &bind);
  return 0;
}

/* Of the disk of binds, which is mounted out of the container's sight when the first one needs it. */
static int
put_bind_of_disk (struct rcvmi_plan *plan, const struct parsed *p, const char *place, rcvm_error **err)
{
  const char *source = rcvmi_arena_printf (&plan->spec->arena, RCVMI_PLAN_BINDS_STAGE "%s", place);
  struct rcvmi_plan_disk disk = { .kind = RCVMI_PLAN_DISK_BINDS };
  char locator[16];

  if (!source)
    return rcvmi_fail_nomem (err);
  if (plan->n_copies == 1)
    {
      int rc = rcvmi_plan_add_disk (plan, &disk, locator, err);

      if (rc < 0)
        return rc;
      put_mount (plan, &(struct parsed){ .destination = RCVMI_PLAN_BINDS_STAGE, .type = "ext4", .source = locator });
    }
  return put_bind_of_stage (plan, p, source);
}

static int
plan_live (struct rcvmi_plan *plan, const struct parsed *p, const char *source, rcvm_error **err)
{
  struct rcvmi_volume_flags flags = { .read_only = p->flags & MS_RDONLY, .transport = plan->binds_transport };
  char stage[48];
  int rc = rcvmi_plan_add_volume (plan, source, p->destination, &flags, stage, err);

  return rc < 0 ? rc : put_bind_of_stage (plan, p, stage);
}

static int
plan_bind (struct rcvmi_plan *plan, struct parsed *p, bool readonly_root,
           const struct parsed *earlier, rcvm_error **err)
{
  static const char *const special[] = { "/dev", "/proc", "/sys" };
  struct rcvmi_arena *arena = &plan->spec->arena;
  const char *clean, *source;
  char place[32] = "";
  int rc = 0;

  if (!p->source || !p->source[0])
    return rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json: 'mounts[%zu].source' is missing",
                       p->index);
  source = p->source;
  if (source[0] != '/')
    {
      if (!plan->spec->bundle)
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "config.json: 'mounts[%zu].source' is '%.200s', which is relative to a "
                           "bundle, and there is none",
                           p->index, source);
      source = rcvmi_arena_printf (arena, "%s/%s", plan->spec->bundle, source);
      if (!source)
        return rcvmi_fail_nomem (err);
    }
  clean = clean_path (arena, source);
  if (!clean)
    return rcvmi_fail_nomem (err);
  if (p->flags & MS_REMOUNT)
    return refuse_bind (p, "a bind mount cannot be remounted", err);
  if (strcmp (p->destination, "/dev/shm") == 0
      || (strcmp (p->destination, "/dev/mqueue") == 0 && strcmp (clean, "/dev/mqueue") == 0))
    return plan_ipc_bind (plan, p, err);
  for (size_t i = 0; i < sizeof special / sizeof special[0]; i++)
    if (is_within (clean, special[i]) && strncmp (clean, "/dev/shm/", 9) != 0)
      return refuse_bind (p, "the kernel's files and devices of the host are not its own", err);
  if (strcmp (clean, "/") == 0)
    return refuse_bind (p,
                        plan->binds_are_live ? "the host's root file system is not for a VM; bind what is needed of it"
                                             : "the host's root file system cannot be copied; bind what is needed of it",
                        err);
  /* The copy lies in the root disk: what is mounted above it before would hide it. */
  for (size_t i = 0; !plan->binds_are_live && plan->root_disk == RCVMI_ROOT_SINGLE && i < p->index; i++)
    if (earlier[i].is_cover && is_within (p->destination, earlier[i].destination))
      return refuse_bind (p,
                          "it would be copied below a file system that an earlier mount puts "
                          "there; choose another destination",
                          err);
  if (!plan->binds_are_live)
    rc = rcvmi_plan_warn (plan, err,
                          "'mounts[%zu]': '%.160s' is copied to '%.160s' at the start, not live: "
                          "changes are not seen on the other side",
                          p->index, p->source, p->destination);
  if (rc == 0 && p->data)
    rc = ignore_option (plan, p, p->data, "it is no option of a bind mount", err);
  if (rc == 0 && (p->propagation & (MS_SHARED | MS_SLAVE)))
    rc = ignore_option (plan, p, p->propagation & MS_SHARED ? "shared" : "slave",
                        "mounts do not propagate between the host and a VM", err);
  p->flags &= ~(uint64_t) (MS_BIND | MS_REC);
  if (rc < 0 || plan->binds_are_live)
    return rc < 0 ? rc : plan_live (plan, p, source, err);
  if (plan->root_disk == RCVMI_ROOT_OVERLAY)
    snprintf (place, sizeof place, "/%zu", plan->n_copies);
  rc = add_copy (plan, source, *place ? place : p->destination, err);
  if (rc < 0 || *place)
    return rc < 0 ? rc : put_bind_of_disk (plan, p, place, err);
  /* In a read-only root, a mount of its own is what keeps the copy writable. */
  if (p->flags || readonly_root)
    {
      struct parsed self = *p;

      self.type = "bind";
      self.source = p->destination;
      self.flags |= MS_BIND | MS_REC;
      self.propagation = 0;
      self.data = NULL;
      self.is_copy_up = false;
      put_mount (plan, &self);
    }
  return 0;
}

/* What the caller attached. */
struct attached
{
  char *target;
  char *const *parts; /* source, target, options */
  unsigned depth;
};

/* A volume that is mounted at a directory of another must not be covered by it, whatever the order they were named in. */
static void
sort_by_depth (struct attached *all, size_t n)
{
  for (size_t i = 1; i < n; i++)
    {
      struct attached a = all[i];
      size_t at = i;

      for (; at > 0 && all[at - 1].depth > a.depth; at--)
        all[at] = all[at - 1];
      all[at] = a;
    }
}

static int
plan_attached (struct rcvmi_plan *plan, const struct attached *a, rcvm_error **err)
{
  char *source = a->parts[0], *options = a->parts[2];
  struct rcvmi_volume_flags flags;
  char stage[48];
  int rc;

  if (strncmp (options, "type=", 5) == 0 && a->parts[1][0] == '/' && a->target[1])
    return rcvmi_plan_attach (plan, source, a->target, options + 5, err);
  if ((*source && *source != '/') || a->parts[1][0] != '/' || !a->target[1])
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "the volume '%.200s' for '%.200s' needs absolute paths, and a target other than '/'", source,
                       a->parts[1]);
  if (!*source)
    {
      put_mount (plan, &(struct parsed){ .destination = a->target,
                                         .type = "tmpfs",
                                         .source = "tmpfs",
                                         .flags = MS_NOSUID | MS_NODEV,
                                         .data = options });
      return 0;
    }
  rc = rcvmi_plan_parse_volume (options, &flags, err);
  if (rc == 0)
    rc = rcvmi_plan_add_volume (plan, source, a->target, &flags, stage, err);
  if (rc == 0)
    rc = put_bind_of_stage (plan,
                            &(struct parsed){ .destination = a->target, .flags = flags.read_only ? MS_RDONLY : 0 },
                            stage);
  return rc;
}

/* After config.json's mounts. */
static int
plan_volumes (struct rcvmi_plan *plan, char *const *list, rcvm_error **err)
{
  struct rcvmi_arena *arena = &plan->spec->arena;
  size_t length = rcvmi_strv_length (list), n = length / 3;
  struct attached *all;
  int rc = 0;

  if (length % 3)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a volume is not described by source, target and options");
  if (n > MOUNTS_MAX)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a VM can have %d volumes at most, and not %zu", MOUNTS_MAX, n);
  all = rcvmi_arena_alloc (arena, n ? n : 1, sizeof *all);
  if (!all)
    return rcvmi_fail_nomem (err);
  for (size_t i = 0; i < n; i++)
    {
      all[i] = (struct attached){ .target = clean_path (arena, list[3 * i + 1]), .parts = list + 3 * i };
      if (!all[i].target)
        return rcvmi_fail_nomem (err);
      for (const char *c = all[i].target; *c; c++)
        all[i].depth += *c == '/';
    }
  sort_by_depth (all, n);
  for (size_t i = 0; rc == 0 && i < n; i++)
    rc = plan_attached (plan, &all[i], err);
  return rc;
}

int
rcvmi_plan_mounts (struct rcvmi_plan *plan, const struct rcvmi_options *options, bool readonly_root, rcvm_error **err)
{
  size_t n = plan->spec->n_mounts;
  struct parsed *all;
  int rc = 0;

  if (n > MOUNTS_MAX)
    return rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json: 'mounts' has more than %d entries",
                       MOUNTS_MAX);
  all = rcvmi_arena_alloc (&plan->spec->arena, n ? n : 1, sizeof *all);
  if (!all)
    return rcvmi_fail_nomem (err);
  for (size_t i = 0; rc == 0 && i < n; i++)
    {
      rc = parse_mount (plan, i, &all[i], err);
      if (rc == 0 && all[i].is_bind && rcvmi_plan_is_for_disks (plan, all[i].destination))
        continue;
      if (rc == 0 && all[i].is_bind)
        rc = plan_bind (plan, &all[i], readonly_root, all, err);
      else if (rc == 0)
        rc = plan_virtual (plan, &all[i], err);
    }
  if (rc == 0)
    rc = rcvmi_plan_scratch_disks (plan, err);
  return rc < 0 ? rc : plan_volumes (plan, options->volumes, err);
}
