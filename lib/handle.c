/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "api"
#include "handle.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cleanup.h"
#include "client.h"
#include "err.h"

enum
{
  DEATH_TIMEOUT_MS = 10000
};

void
rcvmi_handle_lock (rcvm_vm *vm)
{
  pthread_mutex_lock (&vm->lock);
}

void
rcvmi_handle_unlock (rcvm_vm *vm)
{
  pthread_mutex_unlock (&vm->lock);
}

/* Rings for those who wait on the fds: what they wait for may have been read by this thread. */
static void
ring (rcvm_vm *vm)
{
  if (vm->event_fd >= 0)
    eventfd_write (vm->event_fd, 1);
}

int
rcvmi_handle_watch (rcvm_vm *vm, rcvm_error **err)
{
  struct epoll_event event = { .events = EPOLLIN };

  if (vm->epoll_fd < 0)
    {
      vm->event_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
      vm->epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
      if (vm->event_fd < 0 || vm->epoll_fd < 0
          || epoll_ctl (vm->epoll_fd, EPOLL_CTL_ADD, vm->event_fd, &event) < 0)
        return rcvmi_fail_errno (err, errno, "cannot make the VM's event fd");
    }
  if (vm->link.fd >= 0 && epoll_ctl (vm->epoll_fd, EPOLL_CTL_ADD, vm->link.fd, &event) < 0
      && errno != EEXIST)
    return rcvmi_fail_errno (err, errno, "cannot watch the VM's monitor");
  return 0;
}

static void
on_news (void *user, const struct agent_header *h, const unsigned char *payload)
{
  rcvm_vm *vm = user;
  const char *stage = "", *message = "";
  uint32_t level = RCVM_LOG_DEBUG, status = 0, exit_code = 0;
  bool has_exit = false;
  struct tlv_reader r;
  struct tlv_field f;

  tlv_reader_init (&r, payload, h->len);
  while (tlv_next (&r, &f))
    if (f.tag == A_LEVEL)
      level = tlv_get_u32 (&r, &f);
    else if (f.tag == A_STAGE)
      stage = tlv_get_str (&r, &f);
    else if (f.tag == A_MESSAGE)
      message = tlv_get_str (&r, &f);
    else if (f.tag == A_BYTES)
      status = tlv_get_u32 (&r, &f);
    else if (f.tag == A_EXIT_CODE)
      {
        exit_code = tlv_get_u32 (&r, &f);
        has_exit = true;
      }
  if (h->type == CONTROL_LOG && !r.bad)
    rcvmi_log_at (&vm->log, (int) level, stage, "%s", message);
  else if (h->type == CONTROL_JSON && !r.bad)
    {
      free (vm->json);
      vm->json = strdup (message);
    }
  else if (h->type == CONTROL_OOM && !r.bad)
    {
      vm->state.oom_kills = status;
      ring (vm);
    }
  else if (h->type == CONTROL_STATUS && status <= RCVM_STATUS_STOPPED)
    {
      vm->status = (int) status;
      ring (vm);
    }
  else if (h->type == CONTROL_EXITED)
    {
      /* The state has it all, but who deletes the VM may be faster than whoever reads that. */
      vm->state.has_exit = has_exit;
      vm->state.exit_code = (int) exit_code;
      if (!has_exit && !vm->state.error)
        rcvmi_control_get_error (payload, h->len, &vm->state.error);
      vm->status = RCVM_STATUS_STOPPED;
      ring (vm);
    }
}

/* The monitor has said its last word, or died without one: the state directory knows. */
static int
settle (rcvm_vm *vm, rcvm_error **err)
{
  struct rcvmi_state_dir dir;
  struct rcvmi_state s;
  rcvm_error *e = NULL;
  int code = rcvmi_state_dir_open (&dir, vm->root, vm->id, &e);

  /* The connection of a monitor that is killed may end a moment before its lock is free. */
  if (code == 0 && vm->link.fd < 0 && rcvmi_state_dir_alive (&dir))
    rcvmi_client_wait_gone (vm->state.pid, vm->state.pid_start, DEATH_TIMEOUT_MS);
  if (code == 0)
    {
      code = rcvmi_state_dir_recover (&dir, vm->id, &e);
      if (code == 0)
        code = rcvmi_state_dir_read (&dir, &s, &e);
      rcvmi_state_dir_close (&dir);
    }
  if (code == 0)
    {
      rcvmi_state_clear (&vm->state);
      vm->state = s;
      vm->status = s.status;
      vm->settled = s.status == RCVM_STATUS_STOPPED;
    }
  else if (code == RCVM_E_NOT_FOUND && vm->status == RCVM_STATUS_STOPPED
           && (vm->state.has_exit || vm->state.error))
    {
      rcvm_error_free (e);
      vm->settled = true;
    }
  else
    return rcvmi_error_pass (err, e);
  ring (vm);
  return 0;
}

int
rcvmi_handle_refresh (rcvm_vm *vm, rcvm_error **err)
{
  int code = 0;

  if (vm->link.fd >= 0)
    {
      rcvm_error *e = NULL;

      code = rcvmi_client_dispatch (&vm->link, on_news, vm, &e);
      /* A connection that broke is a monitor that died, and that is told better by what it left. */
      if (code < 0)
        {
          rcvm_error_free (e);
          vm->link.eof = true;
          code = 0;
        }
      if (vm->link.eof)
        rcvmi_link_clear (&vm->link);
    }
  if (!vm->settled && vm->status != RCVM_STATUS_NEW
      && (vm->link.fd < 0 || vm->status == RCVM_STATUS_STOPPED))
    code = settle (vm, err);
  /* It lives, and has only let go of this connection.  Nobody may wait without one. */
  if (code == 0 && !vm->settled && vm->status != RCVM_STATUS_NEW && vm->link.fd < 0)
    {
      code = rcvmi_handle_attach (vm, err);
      if (code == 0 && !vm->settled && vm->link.fd < 0)
        code = rcvmi_fail (err, RCVM_E_MONITOR, 0, "the monitor of VM '%s' does not answer", vm->id);
    }
  return code;
}

int
rcvmi_handle_attach (rcvm_vm *vm, rcvm_error **err)
{
  struct rcvmi_state_dir dir;
  struct rcvmi_state s;
  int code;

  if (vm->link.fd >= 0)
    return 0;
  code = rcvmi_state_dir_open (&dir, vm->root, vm->id, err);
  if (code < 0)
    return code;
  if (rcvmi_state_dir_alive (&dir))
    {
      rcvm_error *e = NULL;

      code = rcvmi_client_connect (&vm->link, &dir, &e);
      /* It may have ended in this very moment. */
      if (code < 0 && rcvmi_state_dir_alive (&dir))
        code = rcvmi_error_pass (err, e);
      else
        {
          rcvm_error_free (e);
          code = 0;
        }
    }
  if (code == 0 && vm->link.fd < 0)
    code = rcvmi_state_dir_recover (&dir, vm->id, err);
  if (code == 0)
    code = rcvmi_state_dir_read (&dir, &s, err);
  rcvmi_state_dir_close (&dir);
  if (code < 0)
    {
      rcvmi_link_clear (&vm->link);
      return code;
    }
  rcvmi_state_clear (&vm->state);
  vm->state = s;
  vm->status = s.status;
  vm->settled = s.status == RCVM_STATUS_STOPPED;
  return rcvmi_handle_watch (vm, err);
}

int
rcvmi_handle_request (rcvm_vm *vm, uint16_t type, struct tlv_writer *record, const int *stdio,
                      int timeout_ms, rcvm_error **err)
{
  struct tlv_writer none = TLV_WRITER_INIT;
  rcvm_error *e = NULL;
  int code;

  if (vm->link.fd < 0)
    {
      if (record)
        tlv_writer_free (record);
      return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is %s", vm->id, rcvm_status_name (vm->status));
    }
  code = rcvmi_client_request (&vm->link, type, record ? record : &none, stdio, timeout_ms, on_news, vm,
                               NULL, &e);
  /* News that came with the answer are in the link's buffer, where no poll sees them.  What is wrong with the
     connection shows again when it is used next. */
  rcvmi_client_dispatch (&vm->link, on_news, vm, NULL);
  /* It ended while it was asked (or just before, so that sending broke): what it left says whether that was in
     order. */
  if ((code == RCVM_E_MONITOR || code == RCVM_E_PROTOCOL) && vm->status != RCVM_STATUS_NEW
      && rcvmi_handle_refresh (vm, NULL) == 0 && vm->settled
      && rcvm_error_get_code (vm->state.error) != RCVM_E_MONITOR)
    {
      rcvm_error_free (e);
      return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' has stopped", vm->id);
    }
  return code < 0 ? rcvmi_error_pass (err, e) : code;
}

/* Locks the handle, with a connection to a monitor that lives. */
static int
begin_asking (rcvm_vm *vm, rcvm_error **err)
{
  int code;

  if (!vm)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the VM's handle is NULL");
  rcvmi_handle_lock (vm);
  if (vm->status == RCVM_STATUS_NEW)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' has not been created by this handle; rcvm_vm_open finds others", vm->id);
  else
    code = rcvmi_handle_refresh (vm, err);
  if (code == 0 && vm->settled)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' has stopped", vm->id);
  if (code < 0)
    rcvmi_handle_unlock (vm);
  return code;
}

int
rcvmi_handle_ask (rcvm_vm *vm, uint16_t type, struct tlv_writer *record, rcvm_error **err)
{
  int code = begin_asking (vm, err);

  if (code < 0)
    {
      if (record)
        tlv_writer_free (record);
      return code;
    }
  /* The monitor bounds how long a VMM or a guest may take. */
  code = rcvmi_handle_request (vm, type, record, NULL, -1, err);
  rcvmi_handle_unlock (vm);
  return code;
}

char *
rcvmi_handle_ask_json (rcvm_vm *vm, uint16_t type, rcvm_error **err)
{
  char *json = NULL;

  if (begin_asking (vm, err) < 0)
    return NULL;
  free (steal_ptr (vm->json));
  if (rcvmi_handle_request (vm, type, NULL, NULL, -1, err) == 0)
    {
      json = steal_ptr (vm->json);
      if (!json)
        rcvmi_fail_nomem (err);
    }
  rcvmi_handle_unlock (vm);
  return json;
}
