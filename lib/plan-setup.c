/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The SETUP record: what the guest is told before any process runs. */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <linux/major.h>

#include "agent-wire.h"
#include "err.h"
#include "plan-limits.h"
#include "spec-check.h"

static int
put_names (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  const struct rcvmi_spec *spec = plan->spec;
  char name[HOST_NAME_MAX + 1];

  if (options->hostname && (!options->hostname[0] || strlen (options->hostname) > HOST_NAME_MAX))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the option 'hostname' must be 1 to %d bytes long",
                       HOST_NAME_MAX);
  /* An id may be longer than a host name. */
  snprintf (name, sizeof name, "%s", plan->id);
  tlv_put_str (&plan->setup, S_HOSTNAME,
               options->hostname                      ? options->hostname
               : spec->hostname && spec->hostname[0] ? spec->hostname
                                                      : name);
  if (spec->domainname && spec->domainname[0])
    tlv_put_str (&plan->setup, S_DOMAINNAME, spec->domainname);
  return 0;
}

static int
put_root (struct rcvmi_plan *plan, bool readonly, rcvm_error **err)
{
  struct tlv_writer *w = &plan->setup;
  const char *name = plan->spec->lx ? plan->spec->lx->rootfs_propagation : NULL;

  tlv_put_str (w, S_ROOT_DISK, RCVMI_PLAN_ROOT_DISK);
  tlv_put_str (w, S_ROOT_FSTYPE, "ext4");
  if (plan->root_disk == RCVMI_ROOT_OVERLAY)
    {
      tlv_put_u32 (w, S_ROOT_DISK_RO, 1);
      tlv_put_str (w, S_UPPER_DISK, RCVMI_PLAN_UPPER_DISK);
    }
  if (readonly)
    tlv_put_u32 (w, S_ROOT_READONLY, 1);
  if (name && name[0])
    {
      const struct rcvmi_name *propagation = rcvmi_plan_name (rcvmi_propagation_names, name);

      if (!propagation)
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "config.json: 'linux.rootfsPropagation' is '%.40s' and must be shared, "
                           "slave, private or unbindable",
                           name);
      tlv_put_u64 (w, S_ROOT_PROPAGATION, propagation->value);
    }
  return 0;
}

static void
put_id_maps (struct tlv_writer *w, uint16_t tag, const struct rcvmi_spec_idmap *maps, size_t n)
{
  for (size_t i = 0; i < n; i++)
    {
      size_t mark = tlv_begin (w, tag);

      tlv_put_u32 (w, I_CONTAINER, (uint32_t) maps[i].container_id.value);
      tlv_put_u32 (w, I_HOST, (uint32_t) maps[i].host_id.value);
      tlv_put_u32 (w, I_SIZE, (uint32_t) maps[i].size.value);
      tlv_end (w, mark);
    }
}

static int
put_namespaces (struct rcvmi_plan *plan, rcvm_error **err)
{
  const struct rcvmi_spec_lx *lx = plan->spec->lx;
  uint64_t flags = 0;

  for (size_t i = 0; lx && i < lx->n_namespaces; i++)
    /* The spec stage has seen to unknown ones. */
    flags |= rcvmi_plan_name (rcvmi_namespace_names, lx->namespaces[i].type)->value;
  /* That of the network is always made.  Without offsets a time namespace is no different from none.
     */
  flags &= ~(uint64_t) (CLONE_NEWNET | 0x80 /* CLONE_NEWTIME */);
  tlv_put_u64 (&plan->setup, S_NAMESPACES, flags | CLONE_NEWPID | CLONE_NEWNS);
  if (!(flags & CLONE_NEWUSER))
    {
      if (lx && (lx->n_uid_mappings || lx->n_gid_mappings))
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "config.json: 'linux.%s' needs a user namespace in 'linux.namespaces'",
                           lx->n_uid_mappings ? "uidMappings" : "gidMappings");
      return 0;
    }
  if (!lx->n_uid_mappings || !lx->n_gid_mappings)
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "config.json: 'linux.%s' is empty, and a user namespace needs it",
                       lx->n_uid_mappings ? "gidMappings" : "uidMappings");
  put_id_maps (&plan->setup, S_UID_MAP, lx->uid_mappings, lx->n_uid_mappings);
  put_id_maps (&plan->setup, S_GID_MAP, lx->gid_mappings, lx->n_gid_mappings);
  return 0;
}

/* Character devices that exist in a VM as they do on a host. */
static bool
is_in_guest (const struct rcvmi_spec_device *d)
{
  if (d->type[0] == 'p' || d->type[0] == 'b')
    return d->type[0] == 'p' || d->major.value == LOOP_MAJOR;
  switch (d->major.value)
    {
    case MEM_MAJOR:
    case TTYAUX_MAJOR:
    case UNIX98_PTY_SLAVE_MAJOR:
      return true;
    case MISC_MAJOR:
      switch (d->minor.value)
        {
        case 183: /* hwrng */
        case 200: /* net/tun */
        case 229: /* fuse */
        case 237: /* loop-control */
          return true;
        default:
          return false;
        }
    default:
      return false;
    }
}

static int
put_devices (struct rcvmi_plan *plan, rcvm_error **err)
{
  const struct rcvmi_spec_lx *lx = plan->spec->lx;
  bool all = rcvmi_spec_has_all_devices (lx);
  struct tlv_writer *w = &plan->setup;

  for (size_t i = 0; i < lx->n_devices; i++)
    {
      const struct rcvmi_spec_device *d = &lx->devices[i];
      size_t mark;
      uint32_t type = d->type[0] == 'p' ? S_IFIFO : d->type[0] == 'b' ? S_IFBLK : S_IFCHR;
      int rc;

      if (all && !is_in_guest (d))
        continue;
      mark = tlv_begin (w, S_DEVICE);
      tlv_put_str (w, D_PATH, d->path);
      tlv_put_u32 (w, D_TYPE, type);
      tlv_put_u32 (w, D_MAJOR, (uint32_t) d->major.value);
      tlv_put_u32 (w, D_MINOR, (uint32_t) d->minor.value);
      /* Go's encoders put the file type above the permissions. */
      tlv_put_u32 (w, D_MODE, d->file_mode.set ? (uint32_t) d->file_mode.value & 07777 : 0666);
      tlv_put_u32 (w, D_UID, (uint32_t) d->uid.value);
      tlv_put_u32 (w, D_GID, (uint32_t) d->gid.value);
      tlv_end (w, mark);
      if (is_in_guest (d))
        continue;
      rc = rcvmi_plan_warn (plan, err,
                            "'linux.devices[%zu]' (%.200s) is made in the VM, but the host's "
                            "device behind it is not there",
                            i, d->path);
      if (rc < 0)
        return rc;
    }
  return 0;
}

/* "net.ipv4.ip_forward".  As in sysctl(8), the first separator of a name says which of the two
   separates, and the other one stands for a dot or slash inside a name:
   net.ipv4.conf.eth0/1.forwarding is net/ipv4/conf/eth0.1/forwarding.  The guest takes dots alone,
   or slashes as they are. */
static int
put_sysctls (struct rcvmi_plan *plan, rcvm_error **err)
{
  const struct rcvmi_spec_lx *lx = plan->spec->lx;
  struct tlv_writer *w = &plan->setup;

  for (size_t i = 0; i < lx->n_sysctl; i++)
    {
      const char *given = lx->sysctl[i].name;
      const char *separator = strpbrk (given, "./");
      char *name = rcvmi_arena_strdup (&plan->spec->arena, given);
      size_t mark, len = strlen (given);

      if (!name)
        return rcvmi_fail_nomem (err);
      if (separator && *separator == '.' && strchr (name, '/'))
        for (char *c = name; *c; c++)
          *c = *c == '/' ? '.' : *c == '.' ? '/' : *c;
      if (!separator || name[0] == '.' || name[0] == '/' || name[len - 1] == '.'
          || name[len - 1] == '/' || strstr (name, "..") || strstr (name, "//")
          || strstr (name, "./") || strstr (name, "/."))
        len = 0;
      for (const char *c = name; *c; c++)
        if ((unsigned char) *c <= 0x20 || (unsigned char) *c >= 0x7f)
          len = 0;
      if (len == 0)
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "config.json: 'linux.sysctl' has '%.100s', which is no name like "
                           "net.ipv4.ip_forward",
                           given);
      mark = tlv_begin (w, S_SYSCTL);
      tlv_put_str (w, K_NAME, name);
      tlv_put_str (w, K_VALUE, lx->sysctl[i].value);
      tlv_end (w, mark);
    }
  return 0;
}

static int
put_cgroup (struct rcvmi_plan *plan, const struct rcvmi_spec_resources *r, rcvm_error **err)
{
  struct tlv_writer pairs = TLV_WRITER_INIT;
  int rc = rcvmi_plan_guest_limits (&pairs, r, plan->memory, plan->memory_max, false, err);

  plan->setup.failed |= pairs.failed;
  if (rc == 0 && pairs.len)
    tlv_put (&plan->setup, S_CGROUP, pairs.data, pairs.len);
  tlv_writer_free (&pairs);
  return rc;
}

/* By what the guest sees that the program is not there before anybody starts it: who creates a container is told, as by runc. */
static void
put_program (struct tlv_writer *w, const struct rcvmi_spec_process *p)
{
  size_t mark = tlv_begin (w, S_PROGRAM);

  tlv_put_str (w, E_ARG, p->args[0]);
  tlv_put_str (w, E_CWD, p->cwd);
  for (char **s = p->env; s && *s; s++)
    if (strncmp (*s, "PATH=", 5) == 0)
      tlv_put_str (w, E_ENV, *s);
  tlv_end (w, mark);
}

int
rcvmi_plan_setup (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  const struct rcvmi_spec *spec = plan->spec;
  const struct rcvmi_spec_lx *lx = spec->lx;
  struct tlv_writer *w = &plan->setup;
  bool readonly = plan->root_is_readonly
                  || (options->readonly_rootfs >= 0 ? options->readonly_rootfs > 0
                                                    : spec->root && spec->root->readonly);
  int rc;

  rc = put_names (plan, options, err);
  if (rc == 0)
    rc = put_root (plan, readonly, err);
  if (rc == 0)
    rc = rcvmi_plan_mounts (plan, options, readonly, err);
  if (rc == 0)
    rc = put_namespaces (plan, err);
  if (rc == 0 && lx)
    rc = put_devices (plan, err);
  if (rc == 0 && lx)
    rc = put_sysctls (plan, err);
  if (rc == 0 && lx && lx->resources)
    rc = put_cgroup (plan, lx->resources, err);
  if (rc < 0)
    return rc;
  for (char **path = lx ? lx->masked_paths : NULL; path && *path; path++)
    tlv_put_str (w, S_MASKED_PATH, *path);
  for (char **path = lx ? lx->readonly_paths : NULL; path && *path; path++)
    tlv_put_str (w, S_READONLY_PATH, *path);
  tlv_put_u32 (w, S_LOG_LEVEL, (uint32_t) plan->log_level);
  if (spec->process && spec->process->args && spec->process->args[0])
    put_program (w, spec->process);
  return rcvmi_plan_check_record (w, "config.json's mounts, devices and other settings", err);
}
