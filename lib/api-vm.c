/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's life, as its handle sees it. */
#include "config.h"

#define RCVMI_STAGE "api"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "client.h"
#include "clock.h"
#include "err.h"
#include "handle.h"
#include "hooks.h"
#include "plan.h"
#include "proc.h"
#include "visibility.h"

enum
{
  ANSWER_TIMEOUT_MS = 30000, /* of a monitor that has nothing to wait for itself */
  STOP_TIMEOUT_MS = 10000    /* after which a monitor is killed */
};

static int
check (const rcvm_vm *vm, rcvm_error **err)
{
  return vm ? 0 : rcvmi_fail (err, RCVM_E_INVALID, 0, "the VM's handle is NULL");
}

RCVM_PUBLIC rcvm_vm *
rcvm_vm_new (const char *root, const char *id, rcvm_error **err)
{
  rcvm_vm *vm;

  if (rcvmi_plan_check_id (id, err) < 0)
    return NULL;
  vm = calloc (1, sizeof *vm);
  if (!vm)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  pthread_mutex_init (&vm->lock, NULL);
  vm->options = RCVMI_OPTIONS_INIT;
  vm->options.log_level = RCVM_LOG_ERROR;
  vm->stdio[0] = vm->stdio[1] = vm->stdio[2] = -1;
  vm->link.fd = vm->event_fd = vm->epoll_fd = -1;
  vm->root = rcvmi_state_root (root, err);
  if (!vm->root)
    goto fail;
  vm->id = strdup (id);
  vm->options.id = strdup (id);
  if (vm->id && vm->options.id)
    return vm;
  rcvmi_fail_nomem (err);
fail:
  rcvm_vm_free (vm);
  return NULL;
}

RCVM_PUBLIC rcvm_vm *
rcvm_vm_open (const char *root, const char *id, rcvm_error **err)
{
  rcvm_vm *vm = rcvm_vm_new (root, id, err);

  if (vm && rcvmi_handle_attach (vm, err) < 0)
    {
      rcvm_vm_free (vm);
      return NULL;
    }
  return vm;
}

RCVM_PUBLIC void
rcvm_vm_free (rcvm_vm *vm)
{
  if (!vm)
    return;
  rcvmi_link_clear (&vm->link);
  cleanup_close (&vm->event_fd);
  cleanup_close (&vm->epoll_fd);
  for (int i = 0; i < 3; i++)
    cleanup_close (&vm->stdio[i]);
  rcvmi_options_clear (&vm->options);
  rcvmi_state_clear (&vm->state);
  if (vm->log_free)
    vm->log_free (vm->log.user);
  pthread_mutex_destroy (&vm->lock);
  free (vm->root);
  free (vm->id);
  free (vm->json);
  free (vm);
}

/* Reads what the monitor has written down, while it lives. */
static int
read_state (rcvm_vm *vm, rcvm_error **err)
{
  struct rcvmi_state_dir dir;
  struct rcvmi_state s;
  int code = rcvmi_state_dir_open (&dir, vm->root, vm->id, err);

  if (code < 0)
    return code;
  code = rcvmi_state_dir_read (&dir, &s, err);
  rcvmi_state_dir_close (&dir);
  if (code < 0)
    {
      rcvmi_state_clear (&s);
      return code;
    }
  rcvmi_state_clear (&vm->state);
  vm->state = s;
  return 0;
}

/* Ends whatever is there.  The monitor is asked; one that does not answer is killed.  True: it did, and may have changes of
   the container's root to write back, which takes as long as it takes. */
static bool
stop (rcvm_vm *vm)
{
  rcvm_error *e = NULL;
  int code;

  if (vm->link.fd < 0)
    return false;
  code = rcvmi_handle_request (vm, CONTROL_STOP, NULL, NULL, STOP_TIMEOUT_MS, &e);
  if (code == RCVM_E_TIMEOUT && vm->state.pid > 0 && vm->state.pid_start)
    rcvmi_proc_kill_stranger (vm->state.pid, vm->state.pid_start);
  rcvm_error_free (e);
  return code == 0;
}

/* A monitor that ends closes its connection. */
static void
await_end (struct rcvmi_link *link, int timeout_ms)
{
  const unsigned char *payload;
  struct agent_header h;

  while (link->fd >= 0 && rcvmi_link_wait (link, timeout_ms, &h, &payload, NULL) > 0)
    ;
}

/* The hooks of after the deletion. */
static void
run_poststop (rcvm_vm *vm, const char *json)
{
  rcvm_error *e = NULL;
  struct rcvmi_spec *spec = rcvmi_spec_parse_hooks (json, &e);
  struct rcvmi_state s = vm->state;
  autofree char *state = NULL;

  s.status = RCVM_STATUS_STOPPED;
  state = spec ? rcvmi_state_to_json (&s, false, &e) : NULL;
  if (state)
    {
      struct rcvmi_hooks hooks = { .kind = "poststop",
                                   .list = spec->hooks->poststop,
                                   .n = spec->hooks->n_poststop,
                                   .state = state,
                                   .dir = s.bundle && s.bundle[0] && access (s.bundle, X_OK) == 0 ? s.bundle : "/",
                                   .go_on = true,
                                   .abort_fd = -1 };

      rcvmi_hooks_run (&hooks, &e);
    }
  if (e)
    rcvmi_log_at (&vm->log, RCVM_LOG_WARNING, "hooks", "%s", rcvm_error_get_message (e));
  rcvm_error_free (e);
  rcvmi_spec_free (spec);
}

static int
remove_state (rcvm_vm *vm, bool force, rcvm_error **err)
{
  struct rcvmi_state_dir dir;
  struct rcvmi_state s;
  autofree char *poststop = NULL;
  int code;

  /* Its last words are said; its process goes a moment later. */
  rcvmi_link_clear (&vm->link);
  if (!rcvmi_client_wait_gone (vm->state.pid, vm->state.pid_start, STOP_TIMEOUT_MS))
    rcvmi_proc_kill_stranger (vm->state.pid, vm->state.pid_start);
  code = rcvmi_state_dir_open (&dir, vm->root, vm->id, err);
  if (code == 0)
    {
      if (rcvmi_state_dir_read (&dir, &s, NULL) == 0)
        poststop = steal_ptr (s.poststop);
      rcvmi_state_clear (&s);
      code = rcvmi_state_dir_remove (&dir, force, err);
    }
  rcvmi_state_dir_close (&dir);
  if (code == 0 && poststop)
    run_poststop (vm, poststop);
  return code;
}

/* A monitor that was killed while it created has left what it had made, and a caller whose call failed may never ask again. */
static void
remove_unfinished (rcvm_vm *vm)
{
  if (read_state (vm, NULL) < 0 || vm->state.status == RCVM_STATUS_CREATING)
    remove_state (vm, true, NULL);
  rcvmi_state_clear (&vm->state);
}

static int
create (rcvm_vm *vm, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  int code;

  if (vm->status != RCVM_STATUS_NEW)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is %s already", vm->id, rcvm_status_name (vm->status));
  code = rcvmi_client_spawn (&vm->link, vm->root, vm->id, err);
  if (code < 0)
    return code;
  rcvmi_options_encode (&vm->options, &w);
  code = rcvmi_handle_request (vm, CONTROL_CREATE, &w, vm->stdio, -1, err);
  if (code == 0)
    {
      code = rcvmi_handle_watch (vm, err);
      if (code == 0)
        code = read_state (vm, err);
      if (code < 0)
        stop (vm);
    }
  for (int i = 0; i < 3; i++)
    {
      cleanup_close (&vm->stdio[i]);
      vm->stdio[i] = -1;
    }
  if (code < 0)
    {
      await_end (&vm->link, STOP_TIMEOUT_MS);
      if (code == RCVM_E_MONITOR)
        remove_unfinished (vm);
      rcvmi_link_clear (&vm->link);
      vm->status = RCVM_STATUS_NEW;
    }
  else if (vm->status < RCVM_STATUS_CREATED)
    vm->status = RCVM_STATUS_CREATED;
  return code;
}

RCVM_PUBLIC int
rcvm_vm_create (rcvm_vm *vm, rcvm_error **err)
{
  int code = check (vm, err);

  if (code < 0)
    return code;
  rcvmi_handle_lock (vm);
  code = create (vm, err);
  rcvmi_handle_unlock (vm);
  return code;
}

RCVM_PUBLIC int
rcvm_vm_start (rcvm_vm *vm, rcvm_error **err)
{
  bool created_here;
  int code = check (vm, err);

  if (code < 0)
    return code;
  rcvmi_handle_lock (vm);
  created_here = vm->status == RCVM_STATUS_NEW;
  if (created_here)
    code = create (vm, err);
  if (code == 0)
    {
      code = rcvmi_handle_request (vm, CONTROL_START, NULL, NULL, -1, err);
      if (code == 0)
        code = read_state (vm, err);
      else if (created_here)
        {
          stop (vm);
          remove_state (vm, true, NULL);
          vm->status = RCVM_STATUS_STOPPED;
          vm->settled = true;
        }
      if (code == 0 && vm->status < RCVM_STATUS_RUNNING)
        vm->status = RCVM_STATUS_RUNNING;
    }
  rcvmi_handle_unlock (vm);
  return code;
}

static char *
make_absolute (const char *dir, rcvm_error **err)
{
  autofree char *here = NULL;
  char *path = NULL;

  if (!dir || !*dir)
    rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot's directory is not named");
  else if (dir[0] == '/' ? !(path = strdup (dir)) : !(here = getcwd (NULL, 0)) || asprintf (&path, "%s/%s", here, dir) < 0)
    {
      path = NULL;
      rcvmi_fail_nomem (err);
    }
  for (size_t n = path ? strlen (path) : 0; n > 1 && path[n - 1] == '/'; n--)
    path[n - 1] = 0;
  return path;
}

RCVM_PUBLIC int
rcvm_vm_snapshot (rcvm_vm *vm, const char *dir, const char *parent, unsigned flags, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  autofree char *path = NULL, *below = NULL;

  if (flags & ~(unsigned) RCVM_SNAPSHOT_LEAVE_RUNNING)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the flags %#x of a snapshot are not known", flags);
  path = make_absolute (dir, err);
  if (!path || (parent && !(below = make_absolute (parent, err))))
    return RCVM_E_INVALID;
  tlv_put_str (&w, A_MESSAGE, path);
  tlv_put_u32 (&w, A_ALL, flags & RCVM_SNAPSHOT_LEAVE_RUNNING ? 1 : 0);
  if (below)
    tlv_put_str (&w, CONTROL_PARENT, below);
  return rcvmi_handle_ask (vm, CONTROL_SNAPSHOT, &w, err);
}

RCVM_PUBLIC int
rcvm_vm_restore (rcvm_vm *vm, const char *dir, rcvm_error **err)
{
  autofree char *path = NULL;
  int code = check (vm, err);

  if (code < 0)
    return code;
  path = make_absolute (dir, err);
  if (!path)
    return RCVM_E_INVALID;
  rcvmi_handle_lock (vm);
  if (vm->status != RCVM_STATUS_NEW)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is %s already", vm->id, rcvm_status_name (vm->status));
  else
    {
      free (vm->options.snapshot);
      vm->options.snapshot = steal_ptr (path);
    }
  rcvmi_handle_unlock (vm);
  return code < 0 ? code : rcvm_vm_start (vm, err);
}

/* What rcvm_vm_wait returns for a VM that has stopped. */
static int
report (const rcvm_vm *vm, int *exit_code, rcvm_error **err)
{
  const rcvm_error *e = vm->state.error;

  if (vm->state.has_exit)
    {
      *exit_code = vm->state.exit_code;
      return 0;
    }
  *exit_code = rcvm_error_get_exit_code (e);
  if (!e)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' stopped before its process ran", vm->id);
  return rcvmi_error_restore (err, rcvm_error_get_code (e), rcvm_error_get_errno (e),
                              rcvm_error_get_exit_code (e), rcvm_error_get_stage (e),
                              rcvm_error_get_message (e));
}

RCVM_PUBLIC int
rcvm_vm_wait (rcvm_vm *vm, int timeout_ms, int *exit_code, rcvm_error **err)
{
  int64_t deadline = rcvmi_clock_ms () + timeout_ms;
  int code = check (vm, err), unused;

  if (code < 0)
    return code;
  if (!exit_code)
    exit_code = &unused;
  *exit_code = 125;
  rcvmi_handle_lock (vm);
  for (;;)
    {
      struct pollfd p = { .events = POLLIN };
      int64_t left = timeout_ms < 0 ? -1 : deadline - rcvmi_clock_ms ();

      if (vm->status == RCVM_STATUS_NEW)
        code = rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' has not been created", vm->id);
      else
        code = rcvmi_handle_refresh (vm, err);
      if (code < 0)
        break;
      if (vm->settled)
        {
          code = report (vm, exit_code, err);
          break;
        }
      if (timeout_ms >= 0 && left <= 0)
        {
          code = rcvmi_fail (err, RCVM_E_TIMEOUT, 0, "VM '%s' has not stopped within %d ms", vm->id, timeout_ms);
          break;
        }
      /* The event fd may stay signalled for the one who dispatches: it is emptied by whoever has looked. */
      eventfd_read (vm->event_fd, &(eventfd_t){ 0 });
      p.fd = vm->epoll_fd;
      vm->waiters++;
      rcvmi_handle_unlock (vm);
      poll (&p, 1, (int) left);
      rcvmi_handle_lock (vm);
      vm->waiters--;
    }
  rcvmi_handle_unlock (vm);
  return code;
}

static int
request_numbers (rcvm_vm *vm, uint16_t type, struct tlv_writer *w, rcvm_error **err)
{
  int code = check (vm, err);

  if (code < 0)
    {
      tlv_writer_free (w);
      return code;
    }
  rcvmi_handle_lock (vm);
  code = rcvmi_handle_request (vm, type, w, NULL, ANSWER_TIMEOUT_MS, err);
  /* A late answer must not be taken for that of the next request: the next call connects anew. */
  if (code == RCVM_E_TIMEOUT)
    rcvmi_link_clear (&vm->link);
  rcvmi_handle_unlock (vm);
  return code;
}

static int
send_signal (rcvm_vm *vm, int signum, bool all, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (signum < 1 || signum > 64)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%d is no signal", signum);
  tlv_put_u32 (&w, A_SIGNAL, (uint32_t) signum);
  tlv_put_u32 (&w, A_ALL, all);
  return request_numbers (vm, CONTROL_KILL, &w, err);
}

RCVM_PUBLIC int
rcvm_vm_kill (rcvm_vm *vm, int signum, rcvm_error **err)
{
  return send_signal (vm, signum, false, err);
}

RCVM_PUBLIC int
rcvm_vm_kill_all (rcvm_vm *vm, int signum, rcvm_error **err)
{
  return send_signal (vm, signum, true, err);
}

RCVM_PUBLIC int
rcvm_vm_resize (rcvm_vm *vm, unsigned rows, unsigned cols, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (rows > 65535 || cols > 65535)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a terminal of %u by %u characters is too large", rows, cols);
  if (vm)
    {
      bool early;

      rcvmi_handle_lock (vm);
      early = vm->status == RCVM_STATUS_NEW;
      if (early)
        {
          vm->options.rows = rows;
          vm->options.cols = cols;
        }
      rcvmi_handle_unlock (vm);
      if (early)
        return 0;
    }
  tlv_put_u32 (&w, A_ROWS, rows);
  tlv_put_u32 (&w, A_COLS, cols);
  return request_numbers (vm, CONTROL_RESIZE, &w, err);
}

RCVM_PUBLIC int
rcvm_vm_delete (rcvm_vm *vm, int force, rcvm_error **err)
{
  rcvm_error *e = NULL;
  int code = check (vm, err);

  if (code < 0)
    return code;
  rcvmi_handle_lock (vm);
  if (vm->link.fd >= 0)
    rcvmi_handle_refresh (vm, NULL);
  if (vm->link.fd < 0)
    code = rcvmi_handle_attach (vm, &e);
  if (code == 0 && !vm->settled && vm->status != RCVM_STATUS_STOPPED)
    {
      if (force)
        {
          bool answered = stop (vm);

          /* What it says at last is for those who wait. */
          await_end (&vm->link, answered ? -1 : STOP_TIMEOUT_MS);
          rcvmi_handle_refresh (vm, NULL);
        }
      else
        code = rcvmi_fail (&e, RCVM_E_STATE, 0, "VM '%s' is %s: stop it first, or force its deletion", vm->id,
                           rcvm_status_name (vm->status));
    }
  if (code == 0)
    code = remove_state (vm, force, &e);
  if (code == RCVM_E_NOT_FOUND && force)
    {
      rcvm_error_free (steal_ptr (e));
      code = 0;
    }
  /* A handle that never had a VM still has none. */
  if (code == 0 && vm->status != RCVM_STATUS_NEW)
    {
      vm->status = RCVM_STATUS_STOPPED;
      vm->settled = true;
    }
  rcvmi_handle_unlock (vm);
  return code < 0 ? rcvmi_error_pass (err, e) : 0;
}

RCVM_PUBLIC int
rcvm_vm_get_fd (rcvm_vm *vm)
{
  int fd;

  if (!vm)
    return -1;
  rcvmi_handle_lock (vm);
  fd = vm->epoll_fd;
  rcvmi_handle_unlock (vm);
  return fd;
}

RCVM_PUBLIC int
rcvm_vm_dispatch (rcvm_vm *vm, rcvm_error **err)
{
  int code = check (vm, err);

  if (code < 0)
    return code;
  rcvmi_handle_lock (vm);
  code = rcvmi_handle_refresh (vm, err);
  /* That it has stopped is said once, and those who sleep have to hear it, too. */
  if (vm->event_fd >= 0 && !(vm->settled && vm->waiters > 0))
    eventfd_read (vm->event_fd, &(eventfd_t){ 0 });
  if (code == 0)
    code = vm->status;
  rcvmi_handle_unlock (vm);
  return code;
}
