/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM that goes on from a snapshot of a container (docs/snapshots.md).  It has all stages of any other VM; in some of them, what the
 * snapshot has takes the place of what would be made: disks, the volumes' key, the machine, and in the guest everything.
 */
#include "config.h"

#define RCVMI_STAGE "snapshot"
#include "run-parts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "snapshot.h"

struct rcvmi_run_restore
{
  char *dir;
  struct rcvmi_snapshot s;
  char *memory;
  int state_fd;
  bool rename; /* the container gets another host name */
};

static void
take (char **to, char **from)
{
  if (!*from)
    return;
  free (*to);
  *to = steal_ptr (*from);
}

static void
take_list (char ***to, char ***from)
{
  if (!*from)
    return;
  rcvmi_strv_free (*to);
  *to = steal_ptr (*from);
}

/* What it was made with, but for what is said now of what may be another. */
static int
merge (struct rcvmi_run *run, struct rcvmi_options *made, rcvm_error **err)
{
  struct rcvmi_options *now = &run->options;

  if (now->memory || now->cpus || now->args || now->kernel || now->initramfs || now->volumes)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "a VM that is restored has the command, memory, CPUs, kernel and volumes that it was saved with: leave these options away");
  run->restore->rename = now->hostname || now->bundle;
  take (&made->id, &now->id);
  if (now->bundle || now->config_json)
    {
      free (steal_ptr (made->bundle));
      free (steal_ptr (made->config_json));
    }
  take (&made->bundle, &now->bundle);
  take (&made->config_json, &now->config_json);
  take (&made->rootfs, &now->rootfs);
  take (&made->hostname, &now->hostname);
  take (&made->network, &now->network);
  take (&made->network_join, &now->network_join);
  take (&made->confinement, &now->confinement);
  take (&made->hypervisor, &now->hypervisor);
  take (&made->cgroup_driver, &now->cgroup_driver);
  take_list (&made->annotations, &now->annotations);
  take_list (&made->nics, &now->nics);
  take_list (&made->ports, &now->ports);
  free (made->tap_name);
  made->tap_name = steal_ptr (now->tap_name);
  if (now->dhcp)
    made->dhcp = now->dhcp;
  made->console = now->console;
  made->rows = now->rows;
  made->cols = now->cols;
  made->log_level = now->log_level;
  /* They are in its own disk, and that goes with it. */
  free (made->rootfs_changes);
  made->rootfs_changes = strdup ("discard");
  if (!made->rootfs_changes)
    return rcvmi_fail_nomem (err);
  rcvmi_options_clear (now);
  *now = *made;
  *made = RCVMI_OPTIONS_INIT;
  return 0;
}

int
rcvmi_run_begin_restore (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_options made = RCVMI_OPTIONS_INIT;
  struct rcvmi_run_restore *r;
  int code;

  if (!run->options.snapshot)
    return 0;
  r = run->restore = calloc (1, sizeof *r);
  if (!r)
    return rcvmi_fail_nomem (err);
  r->state_fd = -1;
  r->dir = steal_ptr (run->options.snapshot);
  code = rcvmi_snapshot_read (&r->s, r->dir, &made, err);
  if (code == 0)
    {
      snprintf (run->machine, sizeof run->machine, "%s", r->s.machine);
      snprintf (run->noted_since, sizeof run->noted_since, "%s", r->s.id);
    }
  if (code == 0)
    code = merge (run, &made, err);
  rcvmi_options_clear (&made);
  return code;
}

void
rcvmi_run_restore_plan (struct rcvmi_run *run)
{
  if (!run->restore)
    return;
  run->plan->from_template = RCVMI_PLAN_TEMPLATE_OFF;
  run->plan->hotplug = run->restore->s.hotplug ? RCVMI_HOTPLUG_ON : RCVMI_HOTPLUG_OFF;
}

void
rcvmi_run_undo_restore (struct rcvmi_run *run)
{
  struct rcvmi_run_restore *r = steal_ptr (run->restore);

  if (!r)
    return;
  cleanup_close (&r->state_fd);
  free (r->memory);
  free (r->dir);
  free (r);
}

const uint8_t *
rcvmi_run_restore_key (const struct rcvmi_run *run)
{
  return run->restore && run->restore->s.has_key ? run->restore->s.key : NULL;
}

bool
rcvmi_run_restore_mac (const struct rcvmi_run *run, unsigned number, uint8_t mac[6])
{
  const struct rcvmi_run_restore *r = run->restore;

  for (size_t i = 0; r && i < r->s.n_nics; i++)
    if (r->s.nics[i].number == number)
      {
        memcpy (mac, r->s.nics[i].mac, sizeof r->s.nics[i].mac);
        return true;
      }
  return false;
}

/* In the worker of stage "rootfs". */

static int
restore_disk (struct rcvmi_run *run, const struct rcvmi_snapshot_disk *d, rcvm_error **err)
{
  const char *serial = d->serial;
  autofree char *scratch = NULL, *from = NULL;
  const char *to = NULL;
  char name[RCVMI_SNAPSHOT_SERIAL + 8];
  unsigned number;
  char end;

  if (strcmp (serial, "root") == 0)
    to = run->disks.root;
  else if (strcmp (serial, "upper") == 0)
    to = run->disks.upper;
  else if (strcmp (serial, "binds") == 0)
    to = run->disks.binds;
  else if (strcmp (serial, "copies") == 0)
    to = run->disks.copies;
  else if (sscanf (serial, "volume%u%c", &number, &end) == 1 && number < RCVMI_VMM_DISKS)
    to = scratch = rcvmi_disks_scratch (&run->disks, number);
  snprintf (name, sizeof name, "disk-%s", serial);
  from = rcvmi_snapshot_path (run->restore->dir, name);
  if (!to)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot has a disk '%s', which is not known", serial);
  return from ? rcvmi_snapshot_disk_unpack (from, to, d, err) : rcvmi_fail_nomem (err);
}

/* That of a difference is put together, for this VM alone. */
static char *
memory_path (const struct rcvmi_run *run)
{
  return run->restore->s.depth ? rcvmi_snapshot_path (run->disks.dir, "memory.img") : rcvmi_snapshot_path (run->restore->dir, "memory");
}

static int
restore_memory (struct rcvmi_run *run, rcvm_error **err)
{
  const struct rcvmi_run_restore *r = run->restore;
  autofree char *path = memory_path (run);

  return path ? rcvmi_snapshot_memory_put (r->dir, r->s.digest, path, O_CREAT | O_EXCL, err) : rcvmi_fail_nomem (err);
}

int
rcvmi_run_restore_disks (struct rcvmi_run *run, struct rcvmi_cache_entry *base, rcvm_error **err)
{
  const struct rcvmi_snapshot *s = &run->restore->s;
  struct rcvmi_cache_build none = { 0 };
  struct rcvmi_cache cache = RCVMI_CACHE_INIT;
  rcvm_error *e = NULL;
  int code = 0;

  for (size_t i = 0; code == 0 && i < s->n_disks; i++)
    code = restore_disk (run, &s->disks[i], err);
  if (code == 0 && s->depth)
    code = restore_memory (run, err);
  if (code < 0 || run->plan->root_disk == RCVMI_ROOT_SINGLE)
    return code;
  if (!s->base[0])
    {
      base->path = strdup (run->disks.root);
      base->fd = open (run->disks.root, O_RDONLY | O_CLOEXEC);
      if (base->fd < 0)
        return rcvmi_fail_errno (err, errno, "cannot open '%s'", run->disks.root);
      return base->path ? 0 : rcvmi_fail_nomem (err);
    }
  code = rcvmi_cache_open (&cache, NULL, err);
  if (code == 0)
    code = rcvmi_cache_acquire (&cache, s->base, &none, base, &e);
  rcvmi_cache_close (&cache);
  if (code == RCVM_E_NOT_FOUND)
    {
      rcvm_error_free (steal_ptr (e));
      return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0,
                         "the image '%s', over which the snapshot's container has its root, is not in the cache any more: a start from the same "
                         "root makes it again", s->base);
    }
  return code < 0 && e ? rcvmi_error_pass (err, e) : code;
}

/* The machine. */

int
rcvmi_run_put_restore (struct rcvmi_run *run, struct rcvmi_vmm_config *config, rcvm_error **err)
{
  struct rcvmi_run_restore *r = run->restore;
  autofree char *state = NULL;
  int code;

  if (!r)
    return 0;
  code = rcvmi_snapshot_check (&r->s, &run->vmm, config, err);
  if (code < 0)
    return code;
  free (r->memory);
  r->memory = memory_path (run);
  state = rcvmi_snapshot_path (r->dir, "state");
  if (!r->memory || !state)
    return rcvmi_fail_nomem (err);
  cleanup_close (&r->state_fd);
  r->state_fd = open (state, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (r->state_fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%.200s'", state);
  config->from = (struct rcvmi_vmm_saved){ .memory = r->memory, .state_fd = r->state_fd, .state_len = r->s.state, .what = "the snapshot" };
  return 0;
}

/* The guest, which has all but what is this VM's own. */

static int
put_own (struct rcvmi_run *run, struct tlv_writer *w, rcvm_error **err)
{
  struct tlv_reader r;
  struct tlv_field f;

  tlv_reader_init (&r, run->plan->setup.data, run->plan->setup.len);
  while (tlv_next (&r, &f))
    if (f.tag == S_NETWORK || (f.tag == S_HOSTNAME && run->restore->rename))
      tlv_put (w, f.tag, f.data, f.len);
  return rcvmi_run_put_moment (w, err);
}

int
rcvmi_run_start_restored (struct rcvmi_run *run, const struct rcvmi_agent_process_ops *ops, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  int fds[3], code;

  for (int i = 0; i < 3; i++)
    fds[i] = steal_fd (&run->stdio[i]);
  code = rcvmi_agent_adopt (run->agent, &run->restore->s.streams, fds, ops, run, err);
  if (code == 0)
    code = put_own (run, &w, err);
  if (code == 0)
    return rcvmi_agent_go_on_from (run->agent, 0, &w, err);
  tlv_writer_free (&w);
  return code;
}

void
rcvmi_run_restored (struct rcvmi_run *run, rcvm_error *err)
{
  uint32_t pid = run->restore->s.guest_pid;

  /* From here on it is a VM like all others. */
  rcvmi_run_undo_restore (run);
  if (err)
    rcvmi_run_fail (run, err);
  else
    rcvmi_run_process_started (run, pid);
}
