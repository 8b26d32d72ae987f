/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stage "rootfs": the disks of the root file system, made by a worker, so that its memory goes with it, and so that
 * waiting for another builder holds nobody up.  And its counterpart at the end: the changes go back to the host.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "run-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cache.h"
#include "cleanup.h"
#include "err.h"
#include "link.h"
#include "overlay-mount.h"
#include "rootfs.h"

/* Sparse: what it takes up is what is written. */
static const uint64_t upper_size_default = UINT64_C (16) << 30;

/* What the worker tells when it is done: one frame, with the image's fd. */
enum
{
  FRAME_BASE = 1,
  BASE_PATH = 1,
  BASE_NOTE = 2,
  MAX_REPORT = 64 * 1024
};

/* In the worker. */

static int
build_single (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_rootfs_params params = RCVMI_ROOTFS_PARAMS_INIT;
  struct rcvmi_rootfs_copy *copies = calloc (run->plan->n_copies + 1, sizeof *copies);
  int r;

  if (!copies)
    return rcvmi_fail_nomem (err);
  for (size_t i = 0; i < run->plan->n_copies; i++)
    copies[i] = (struct rcvmi_rootfs_copy){ .source = run->plan->copies[i].source,
                                            .destination = run->plan->copies[i].destination };
  params.size = run->plan->rootfs_size;
  /* It goes with the VM: a power failure takes nothing that is missed. */
  params.sync = false;
  params.copies = copies;
  params.n_copies = run->plan->n_copies;
  r = rcvmi_rootfs_build (run->plan->rootfs, run->disks.root, &params, err);
  free (copies);
  return r;
}

static int
build_layers (void *user, const char *path, rcvm_error **err)
{
  const struct rcvmi_overlay_mount *overlay = user;
  struct rcvmi_rootfs_params params = RCVMI_CACHE_ROOTFS_PARAMS;

  return rcvmi_rootfs_build_layers ((const char *const *) overlay->lower, path, &params, err);
}

/* The upper is what the host's overlayfs has over the base; or empty, but for the root directory's own metadata. */
static int
build_upper (struct rcvmi_run *run, const struct rcvmi_overlay_mount *overlay, rcvm_error **err)
{
  struct rcvmi_rootfs_params params = RCVMI_ROOTFS_PARAMS_INIT;
  char upper[] = "/upper", work[] = "/work";
  struct rcvmi_rootfs_copy copies[3];
  size_t n = 0;

  copies[n++] = (struct rcvmi_rootfs_copy){ .source = run->disks.dir, .destination = work, .shallow = true };
  if (overlay->init)
    copies[n++] = (struct rcvmi_rootfs_copy){ .source = overlay->init, .destination = upper, .delta = true };
  if (overlay->upper)
    copies[n++] = (struct rcvmi_rootfs_copy){ .source = overlay->upper, .destination = upper, .delta = true };
  else
    copies[n++] = (struct rcvmi_rootfs_copy){ .source = run->plan->rootfs, .destination = upper, .shallow = true };
  params.size = run->plan->rootfs_size ? run->plan->rootfs_size : upper_size_default;
  params.sync = run->plan->changes == RCVMI_CHANGES_KEEP;
  params.copies = copies;
  params.n_copies = n;
  return rcvmi_rootfs_build (NULL, run->disks.upper, &params, err);
}

static int
build_binds (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_rootfs_params params = RCVMI_ROOTFS_PARAMS_INIT;
  struct rcvmi_rootfs_copy *copies;
  int r;

  if (run->plan->n_copies == 0)
    return 0;
  copies = calloc (run->plan->n_copies, sizeof *copies);
  if (!copies)
    return rcvmi_fail_nomem (err);
  for (size_t i = 0; i < run->plan->n_copies; i++)
    copies[i] = (struct rcvmi_rootfs_copy){ .source = run->plan->copies[i].source,
                                            .destination = run->plan->copies[i].destination };
  params.sync = false;
  params.copies = copies;
  params.n_copies = run->plan->n_copies;
  r = rcvmi_rootfs_build (NULL, run->disks.binds, &params, err);
  free (copies);
  return r;
}

static int
report_base (const struct rcvmi_cache_entry *base, rcvm_error **err)
{
  struct tlv_writer record = TLV_WRITER_INIT;
  struct rcvmi_link link;
  int r = rcvmi_link_init (&link, RCVMI_PROC_FORK_FD, "the monitor", 0, err);

  if (r < 0)
    return r;
  tlv_put_str (&record, BASE_PATH, base->path);
  tlv_put_str (&record, BASE_NOTE, base->note);
  r = record.failed ? rcvmi_fail_nomem (err)
                    : rcvmi_link_send_fds (&link, FRAME_BASE, 0, record.data, record.len, &base->fd, 1, err);
  tlv_writer_free (&record);
  rcvmi_link_clear (&link);
  return r;
}

static int
acquire_layers (struct rcvmi_run *run, const struct rcvmi_cache *cache, struct rcvmi_overlay_mount *overlay, char **key,
                struct rcvmi_cache_entry *base, rcvm_error **err)
{
  struct rcvmi_cache_build build = { .build = build_layers, .user = overlay, .source = run->plan->rootfs };
  int r = rcvmi_cache_key_layers ((const char *const *) overlay->lower, NULL, key, err);

  return r < 0 ? r : rcvmi_cache_acquire (cache, *key, &build, base, err);
}

/* A tree of which nobody can tell whether it has changed: the base is for this VM alone. */
static int
build_private (struct rcvmi_run *run, struct rcvmi_cache_entry *base, rcvm_error **err)
{
  struct rcvmi_rootfs_params params = RCVMI_CACHE_ROOTFS_PARAMS;
  int r;

  params.sync = false;
  r = rcvmi_rootfs_build (run->plan->rootfs, run->disks.root, &params, err);
  if (r < 0)
    return r;
  base->path = strdup (run->disks.root);
  base->fd = open (run->disks.root, O_RDONLY | O_CLOEXEC);
  if (base->fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%s'", run->disks.root);
  return base->path ? 0 : rcvmi_fail_nomem (err);
}

static int
acquire_tree (struct rcvmi_run *run, const struct rcvmi_cache *cache, char **key, struct rcvmi_cache_entry *base,
              rcvm_error **err)
{
  rcvm_error *e = NULL;
  int r = rcvmi_cache_acquire_tree (cache, run->plan->rootfs, (const char *const *) run->plan->digests, NULL, key,
                                    base, &e);

  if ((r == RCVM_E_UNSUPPORTED || r == RCVM_E_STATE) && run->plan->changes != RCVMI_CHANGES_KEEP)
    {
      rcvm_error_free (steal_ptr (e));
      r = build_private (run, base, &e);
    }
  return r < 0 ? rcvmi_error_pass (err, e) : 0;
}

static int
acquire_base (struct rcvmi_run *run, struct rcvmi_overlay_mount *overlay, char **key, struct rcvmi_cache_entry *base,
              rcvm_error **err)
{
  struct rcvmi_cache cache = RCVMI_CACHE_INIT;
  int r = rcvmi_cache_open (&cache, NULL, err);

  if (r == 0)
    r = overlay->lower ? acquire_layers (run, &cache, overlay, key, base, err)
                       : acquire_tree (run, &cache, key, base, err);
  rcvmi_cache_close (&cache);
  return r;
}

static int
build_overlay (struct rcvmi_run *run, struct rcvmi_overlay_mount *overlay, rcvm_error **err)
{
  struct rcvmi_cache_entry base = RCVMI_CACHE_ENTRY_INIT;
  struct rcvmi_intent intent = { .rootfs = run->plan->rootfs, .deltas = { overlay->upper, overlay->init } };
  autofree char *key = NULL;
  bool exists = false;
  int r = acquire_base (run, overlay, &key, &base, err);

  intent.base = base.path;
  /* As file systems tell the time. */
  clock_gettime (CLOCK_REALTIME_COARSE, &intent.since);
  if (r == 0 && run->plan->changes == RCVMI_CHANGES_KEEP)
    r = rcvmi_disks_check_kept (&run->disks, run->plan->rootfs, key, &exists, err);
  if (r == 0 && !exists)
    r = build_upper (run, overlay, err);
  if (r == 0)
    r = build_binds (run, err);
  if (r == 0)
    r = report_base (&base, err);
  /* The last step: where the worker fails, the note that is there is an earlier VM's. */
  if (r == 0 && run->plan->changes == RCVMI_CHANGES_WRITE_BACK)
    r = rcvmi_disks_intend (&run->disks, &intent, err);
  rcvmi_cache_entry_clear (&base);
  return r;
}

static int
build_disks (void *user, rcvm_error **err)
{
  struct rcvmi_overlay_mount overlay = { 0 };
  struct rcvmi_run *run = user;
  rcvm_error *e = NULL;
  int r = rcvmi_disks_reopen (&run->disks, &e);

  if (r == 0)
    r = rcvmi_disks_settle (&run->disks, &e);
  if (r == 0 && run->restore)
    {
      struct rcvmi_cache_entry base = RCVMI_CACHE_ENTRY_INIT;

      r = rcvmi_run_restore_disks (run, &base, &e);
      if (r == 0 && base.path)
        r = report_base (&base, &e);
      rcvmi_cache_entry_clear (&base);
      return r < 0 ? rcvmi_error_pass (err, e) : 0;
    }
  /* Before the root: the last thing that its stage does says that there is something to be written back. */
  if (r == 0)
    r = rcvmi_run_build_scratch (run, &e);
  if (r == 0)
    r = rcvmi_run_build_copies (run, &e);
  if (r == 0 && run->plan->root_disk == RCVMI_ROOT_SINGLE)
    r = build_single (run, &e);
  else if (r == 0)
    {
      if (!run->plan->digests)
        r = rcvmi_overlay_mount_find (run->plan->rootfs, &overlay, &e);
      if (r == 0)
        r = build_overlay (run, &overlay, &e);
      if (r == RCVM_E_UNSUPPORTED && overlay.lower)
        {
          /* One that refers to its lower directories by name.  Whole, then, as the kernel shows it. */
          rcvm_error_free (steal_ptr (e));
          rcvmi_overlay_mount_clear (&overlay);
          r = build_overlay (run, &overlay, &e);
        }
      rcvmi_overlay_mount_clear (&overlay);
    }
  if (r == 0)
    r = rcvmi_run_intend_copies (run, &e);
  return r < 0 ? rcvmi_error_pass (err, e) : 0;
}

/* In the monitor. */

int
rcvmi_run_start_worker (struct rcvmi_run *run, struct rcvmi_worker *w, int (*fn) (void *user, rcvm_error **err), int given,
                        rcvmi_ev_fn done, rcvm_error **err)
{
  int r = rcvmi_proc_fork_with (&w->proc, fn, run, &given, given >= 0, &w->error_fd, err);

  if (r < 0)
    return r;
  w->source = rcvmi_ev_add (run->ev, w->proc.pidfd, EPOLLIN, done, run, err);
  return w->source ? 0 : RCVM_E_SYSTEM;
}

int
rcvmi_run_end_worker (struct rcvmi_worker *w, const char *what, rcvm_error **err)
{
  int status;

  rcvmi_ev_remove (steal_ptr (w->source));
  status = rcvmi_proc_reap (&w->proc);
  return rcvmi_proc_read_error (steal_fd (&w->error_fd), status, what, err);
}

void
rcvmi_run_stop_worker (struct rcvmi_worker *w)
{
  rcvmi_ev_remove (steal_ptr (w->source));
  rcvmi_proc_kill (&w->proc);
  cleanup_close (&w->error_fd);
  w->error_fd = -1;
}

static int
take_base (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_link link;
  struct agent_header header;
  const unsigned char *payload;
  struct tlv_reader reader;
  struct tlv_field field;
  int r = rcvmi_link_init (&link, steal_fd (&run->worker_fd), "the worker", MAX_REPORT, err);

  if (r < 0)
    return r;
  link.pass_fds = true;
  r = rcvmi_link_wait (&link, 0, &header, &payload, err);
  if (r > 0 && link.n_fds == 1)
    {
      run->base_fd = steal_fd (&link.fds[0]);
      tlv_reader_init (&reader, payload, header.len);
      while (tlv_next (&reader, &field))
        if (field.tag == BASE_PATH && !run->base)
          run->base = strdup (tlv_get_str (&reader, &field));
        else if (field.tag == BASE_NOTE)
          rcvmi_log_at (run->log, RCVM_LOG_WARNING, "rootfs", "%s", tlv_get_str (&reader, &field));
      r = run->base ? 0 : rcvmi_fail_nomem (err);
    }
  else if (r >= 0)
    r = rcvmi_fail (err, RCVM_E_SYSTEM, 0, "the worker that prepares the root disk did not say where the base is");
  rcvmi_link_clear (&link);
  return r;
}

static void
on_disks_built (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  rcvm_error *e = NULL;

  (void) events;
  run->disks_built = rcvmi_run_end_worker (&run->worker, "the worker that builds the root disk", &e) == 0;
  if (!run->disks_built
      || (run->plan->root_disk == RCVMI_ROOT_OVERLAY && take_base (run, &e) < 0))
    {
      rcvmi_run_fail (run, e);
      return;
    }
  run->changes_wanted = run->plan->changes == RCVMI_CHANGES_WRITE_BACK || rcvmi_plan_copies_go_back (run->plan);
  rcvmi_run_advance (run);
}

static int
prepare (struct rcvmi_run *run, rcvm_error **err)
{
  int ends[2], r;

  r = rcvmi_disks_open (&run->disks, run->dir.root, run->plan->id, err);
  if (r == 0 && run->plan->changes == RCVMI_CHANGES_KEEP)
    r = rcvmi_disks_keep (&run->disks, run->plan->rootfs, err);
  if (r < 0)
    return r;
  /* Before there is anything in it: whoever buries a dead monitor has to find it. */
  run->state.disks = strdup (run->disks.dir);
  if (!run->state.disks)
    return rcvmi_fail_nomem (err);
  r = rcvmi_run_save (run, err);
  if (r < 0)
    return r;
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make the sockets between the monitor and its worker");
  run->worker_fd = ends[0];
  r = rcvmi_run_start_worker (run, &run->worker, build_disks, ends[1], on_disks_built, err);
  close (ends[1]);
  return r;
}

enum rcvmi_run_step
rcvmi_run_begin_rootfs (struct rcvmi_run *run, rcvm_error **err)
{
  return prepare (run, err) < 0 ? RCVMI_STEP_FAILED : RCVMI_STEP_PENDING;
}

/* Changes that were not written back stay for whoever comes next; also those of an earlier VM, where this one has not come
   as far as writing them back. */
void
rcvmi_run_undo_rootfs (struct rcvmi_run *run)
{
  rcvmi_run_stop_worker (&run->worker);
  cleanup_close (&run->worker_fd);
  run->worker_fd = -1;
  if (run->changes_wanted || (!run->disks_built && rcvmi_disks_pending (&run->disks)))
    rcvmi_disks_close (&run->disks);
  else
    {
      rcvmi_disks_remove (&run->disks);
      free (steal_ptr (run->state.disks));
    }
  cleanup_close (&run->base_fd);
  run->base_fd = -1;
  free (steal_ptr (run->base));
}

static int
write_back (void *user, rcvm_error **err)
{
  struct rcvmi_run *run = user;
  int r = rcvmi_disks_reopen (&run->disks, err);

  return r < 0 ? r : rcvmi_disks_write_back (&run->disks, err);
}

static void
on_written_back (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  rcvm_error *e = NULL;

  (void) events;
  if (rcvmi_run_end_worker (&run->worker, "the worker that writes the VM's changes back", &e) == 0)
    run->changes_wanted = false;
  else
    rcvmi_log_at (run->log, RCVM_LOG_ERROR, "rootfs", "%s", rcvm_error_get_message (e));
  rcvm_error_free (e);
  run->written_back (run);
}

bool
rcvmi_run_write_back (struct rcvmi_run *run, void (*done) (struct rcvmi_run *run))
{
  rcvm_error *e = NULL;

  if (!run->changes_wanted || run->written_back)
    return false;
  run->written_back = done;
  if (rcvmi_run_start_worker (run, &run->worker, write_back, -1, on_written_back, &e) == 0)
    return true;
  rcvmi_log_at (run->log, RCVM_LOG_ERROR, "rootfs", "%s", rcvm_error_get_message (e));
  rcvm_error_free (e);
  return false;
}
