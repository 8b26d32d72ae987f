/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Further processes in a container.  Each has a connection of its own to the monitor, so that one that is waited for
   holds up no other call. */
#include "config.h"

#define RCVMI_STAGE "process"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <runcvm/process.h>

#include "cleanup.h"
#include "client.h"
#include "clock.h"
#include "err.h"
#include "handle.h"
#include "visibility.h"

enum
{
  ANSWER_TIMEOUT_MS = 30000
};

struct rcvm_process
{
  pthread_mutex_t lock;
  char *root;
  char *id;
  struct rcvmi_exec_options options;
  int stdio[3];
  struct rcvmi_link link;
  bool started, ended;
  int guest_pid;
  int exit_code;
  rcvm_error *error; /* in place of an exit code */
};

RCVM_PUBLIC void
rcvm_process_free (rcvm_process *p)
{
  if (!p)
    return;
  rcvmi_link_clear (&p->link);
  for (int i = 0; i < 3; i++)
    cleanup_close (&p->stdio[i]);
  rcvmi_exec_options_clear (&p->options);
  rcvm_error_free (p->error);
  pthread_mutex_destroy (&p->lock);
  free (p->root);
  free (p->id);
  free (p);
}

RCVM_PUBLIC rcvm_process *
rcvm_vm_exec (rcvm_vm *vm, char *const argv[], rcvm_error **err)
{
  rcvm_process *p;

  if (!vm)
    {
      rcvmi_fail (err, RCVM_E_INVALID, 0, "the VM's handle is NULL");
      return NULL;
    }
  p = calloc (1, sizeof *p);
  if (!p)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  pthread_mutex_init (&p->lock, NULL);
  p->options = RCVMI_EXEC_OPTIONS_INIT;
  p->link.fd = p->stdio[0] = p->stdio[1] = p->stdio[2] = p->guest_pid = -1;
  /* Neither changes during the life of the handle. */
  p->root = strdup (vm->root);
  p->id = strdup (vm->id);
  if (p->root && p->id && (!argv || (p->options.args = rcvmi_strv_copy (argv))))
    return p;
  rcvm_process_free (p);
  rcvmi_fail_nomem (err);
  return NULL;
}

static int
begin (rcvm_process *p, bool configure, rcvm_error **err)
{
  if (!p)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the process's handle is NULL");
  pthread_mutex_lock (&p->lock);
  if (configure ? !p->started : p->started && !p->ended)
    return 0;
  pthread_mutex_unlock (&p->lock);
  return rcvmi_fail (err, RCVM_E_STATE, 0,
                     !p->started  ? "the process has not been started"
                     : configure ? "the process has been started already"
                                 : "the process has ended");
}

static int
finish (rcvm_process *p, int code)
{
  pthread_mutex_unlock (&p->lock);
  return code;
}

static int
set_string (rcvm_process *p, char **at, const char *value, rcvm_error **err)
{
  char *copy = NULL;

  if (value && !(copy = strdup (value)))
    return finish (p, rcvmi_fail_nomem (err));
  free (*at);
  *at = copy;
  return finish (p, 0);
}

RCVM_PUBLIC int
rcvm_process_set_json (rcvm_process *p, const char *json, rcvm_error **err)
{
  int code = begin (p, true, err);

  return code < 0 ? code : set_string (p, &p->options.process_json, json, err);
}

RCVM_PUBLIC int
rcvm_process_add_env (rcvm_process *p, const char *name_value, rcvm_error **err)
{
  int code = begin (p, true, err);

  if (code < 0)
    return code;
  if (!name_value || !strchr (name_value, '=') || name_value[0] == '=')
    return finish (p, rcvmi_fail (err, RCVM_E_INVALID, 0, "'%s' is not of the form NAME=VALUE",
                                  name_value ? name_value : "(null)"));
  if (rcvmi_strv_set_env (&p->options.env, name_value) < 0)
    return finish (p, rcvmi_fail_nomem (err));
  return finish (p, 0);
}

RCVM_PUBLIC int
rcvm_process_set_user (rcvm_process *p, const char *user, rcvm_error **err)
{
  int code = begin (p, true, err);

  return code < 0 ? code : set_string (p, &p->options.user, user, err);
}

RCVM_PUBLIC int
rcvm_process_set_cwd (rcvm_process *p, const char *path, rcvm_error **err)
{
  int code = begin (p, true, err);

  return code < 0 ? code : set_string (p, &p->options.cwd, path, err);
}

RCVM_PUBLIC int
rcvm_process_set_terminal (rcvm_process *p, int on, rcvm_error **err)
{
  int code = begin (p, true, err);

  if (code < 0)
    return code;
  p->options.terminal = on != 0;
  return finish (p, 0);
}

RCVM_PUBLIC int
rcvm_process_set_tied (rcvm_process *p, int on, rcvm_error **err)
{
  int code = begin (p, true, err);

  if (code < 0)
    return code;
  p->options.tied = on != 0;
  return finish (p, 0);
}

RCVM_PUBLIC int
rcvm_process_set_stdio (rcvm_process *p, int in, int out, int err_fd, rcvm_error **err)
{
  const int given[3] = { in, out, err_fd };
  int code = begin (p, true, err);

  if (code < 0)
    return code;
  for (int i = 0; i < 3 && code == 0; i++)
    {
      cleanup_close (&p->stdio[i]);
      p->stdio[i] = given[i] < 0 ? -1 : fcntl (given[i], F_DUPFD_CLOEXEC, 3);
      if (given[i] >= 0 && p->stdio[i] < 0)
        code = rcvmi_fail_errno (err, errno, "cannot duplicate fd %d", given[i]);
    }
  return finish (p, code);
}

static void
on_news (void *user, const struct agent_header *h, const unsigned char *payload)
{
  rcvm_process *p = user;
  struct tlv_reader r;
  struct tlv_field f;

  if (h->type != CONTROL_EXITED)
    return;
  p->ended = true;
  /* Whoever read this may not be the one who polls: from now on the fd is readable. */
  shutdown (p->link.fd, SHUT_RD);
  if (rcvmi_control_get_error (payload, h->len, &p->error) < 0)
    return;
  tlv_reader_init (&r, payload, h->len);
  while (tlv_next (&r, &f))
    if (f.tag == A_EXIT_CODE)
      p->exit_code = (int) tlv_get_u32 (&r, &f);
}

static int
start (rcvm_process *p, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct rcvmi_state_dir dir;
  rcvm_error *e = NULL;
  int code = rcvmi_state_dir_open (&dir, p->root, p->id, err);

  if (code < 0)
    return code;
  if (!rcvmi_state_dir_alive (&dir))
    code = rcvmi_fail (&e, RCVM_E_STATE, 0, "VM '%s' is not running", p->id);
  else
    code = rcvmi_client_connect (&p->link, &dir, &e);
  if (code == 0)
    {
      rcvmi_exec_options_encode (&p->options, &w);
      code = rcvmi_client_request (&p->link, CONTROL_EXEC, &w, p->stdio, -1, on_news, p, &p->guest_pid, &e);
    }
  /* It ended while it was asked, or just before, so that sending broke. */
  if ((code == RCVM_E_MONITOR || code == RCVM_E_PROTOCOL) && !rcvmi_state_dir_alive (&dir))
    {
      rcvm_error_free (steal_ptr (e));
      code = rcvmi_fail (&e, RCVM_E_STATE, 0, "VM '%s' is not running", p->id);
    }
  rcvmi_state_dir_close (&dir);
  if (code < 0)
    {
      rcvmi_link_clear (&p->link);
      return rcvmi_error_pass (err, e);
    }
  p->started = true;
  for (int i = 0; i < 3; i++)
    {
      cleanup_close (&p->stdio[i]);
      p->stdio[i] = -1;
    }
  /* The end may have come in the same packet as the answer, where no poll would see it. */
  return rcvmi_client_dispatch (&p->link, on_news, p, err);
}

RCVM_PUBLIC int
rcvm_process_start (rcvm_process *p, rcvm_error **err)
{
  int code = begin (p, true, err);

  return code < 0 ? code : finish (p, start (p, err));
}

static int
report (const rcvm_process *p, int *exit_code, rcvm_error **err)
{
  const rcvm_error *e = p->error;

  if (!e)
    {
      *exit_code = p->exit_code;
      return 0;
    }
  return rcvmi_error_restore (err, rcvm_error_get_code (e), rcvm_error_get_errno (e),
                              rcvm_error_get_exit_code (e), rcvm_error_get_stage (e),
                              rcvm_error_get_message (e));
}

RCVM_PUBLIC int
rcvm_process_wait (rcvm_process *p, int timeout_ms, int *exit_code, rcvm_error **err)
{
  int64_t deadline = rcvmi_clock_ms () + timeout_ms;
  int code = 0, unused;

  if (!p)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the process's handle is NULL");
  if (!exit_code)
    exit_code = &unused;
  *exit_code = 125;
  pthread_mutex_lock (&p->lock);
  if (!p->started)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "the process has not been started");
  while (code == 0)
    {
      struct pollfd poll_fd = { .fd = p->link.fd, .events = POLLIN };
      int64_t left = timeout_ms < 0 ? -1 : deadline - rcvmi_clock_ms ();

      if (!p->ended)
        code = rcvmi_client_dispatch (&p->link, on_news, p, err);
      if (code < 0)
        break;
      if (!p->ended && p->link.eof)
        {
          rcvmi_fail_at (&p->error, "monitor", RCVM_E_MONITOR, 0,
                         "the monitor of VM '%s' died while the process ran", p->id);
          p->ended = true;
        }
      if (p->ended)
        {
          code = report (p, exit_code, err);
          break;
        }
      if (timeout_ms >= 0 && left <= 0)
        {
          code = rcvmi_fail (err, RCVM_E_TIMEOUT, 0, "the process has not ended within %d ms", timeout_ms);
          break;
        }
      pthread_mutex_unlock (&p->lock);
      poll (&poll_fd, 1, (int) left);
      pthread_mutex_lock (&p->lock);
    }
  return finish (p, code);
}

static int
request (rcvm_process *p, uint16_t type, struct tlv_writer *w, rcvm_error **err)
{
  rcvm_error *e = NULL;
  int code = begin (p, false, err);

  if (code < 0)
    {
      tlv_writer_free (w);
      return code;
    }
  code = rcvmi_client_request (&p->link, type, w, NULL, ANSWER_TIMEOUT_MS, on_news, p, NULL, &e);
  /* As in start. */
  rcvmi_client_dispatch (&p->link, on_news, p, NULL);
  if (code < 0 && p->ended)
    {
      rcvm_error_free (steal_ptr (e));
      code = rcvmi_fail (&e, RCVM_E_STATE, 0, "the process has ended");
    }
  return finish (p, code < 0 ? rcvmi_error_pass (err, e) : 0);
}

RCVM_PUBLIC int
rcvm_process_kill (rcvm_process *p, int signum, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (signum < 1 || signum > 64)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%d is no signal", signum);
  tlv_put_u32 (&w, A_SIGNAL, (uint32_t) signum);
  return request (p, CONTROL_KILL, &w, err);
}

RCVM_PUBLIC int
rcvm_process_resize (rcvm_process *p, unsigned rows, unsigned cols, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (rows > 65535 || cols > 65535)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "a terminal of %u by %u characters is too large", rows, cols);
  if (p)
    {
      bool early;

      pthread_mutex_lock (&p->lock);
      early = !p->started;
      if (early)
        {
          p->options.rows = rows;
          p->options.cols = cols;
        }
      pthread_mutex_unlock (&p->lock);
      if (early)
        return 0;
    }
  tlv_put_u32 (&w, A_ROWS, rows);
  tlv_put_u32 (&w, A_COLS, cols);
  return request (p, CONTROL_RESIZE, &w, err);
}

static int
get_int (rcvm_process *p, const int *member)
{
  int value;

  pthread_mutex_lock (&p->lock);
  value = *member;
  pthread_mutex_unlock (&p->lock);
  return value;
}

RCVM_PUBLIC int
rcvm_process_get_fd (rcvm_process *p)
{
  return p ? get_int (p, &p->link.fd) : -1;
}

RCVM_PUBLIC int
rcvm_process_get_guest_pid (rcvm_process *p)
{
  return p ? get_int (p, &p->guest_pid) : -1;
}
