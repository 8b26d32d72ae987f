/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stage "volumes": one volume server for all of the VM's volumes.  Its connections come out of the guest's tunnels.  A
 * server that dies is started again with the same key, so that the guest's handles hold and its calls are repeated.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "clock.h"
#include "defaults.h"
#include "err.h"
#include "nfs-control.h"
#include "tunnel.h"
#include "volume-figures.h"

enum
{
  KEY_SIZE = 16,
  PACKET_MAX = 64 * 1024,
  TEXT_MAX = 1024,
  /* A server that lived for less is given a pause, which doubles up to the last. */
  SHORT_LIFE_MS = 10000,
  PAUSE_MIN_MS = 50,
  PAUSE_MAX_MS = 5000,
  READY_TIMEOUT_MS = 60000,
  REQUESTS_MAX = 64
};

/* Somebody waits for the server's figures. */
struct request
{
  struct request *next;
  uint32_t id;
  rcvmi_run_net_fn done; /* NULL: no more */
  void *user;
};

struct rcvmi_run_volumes
{
  struct rcvmi_run *run;
  uint8_t key[KEY_SIZE];
  int *fds; /* what is exported, O_PATH */
  char **paths;
  size_t n;

  struct rcvmi_tunnels *tunnels; /* out of the guest */

  struct rcvmi_proc proc;
  struct rcvmi_ev_source *death, *output_source, *control_source, *timer;
  int output_fd, control_fd;
  char text[TEXT_MAX]; /* what it said last */
  size_t text_len;
  bool ready, was_ready;
  unsigned restarts, pause_ms;
  int64_t started_ms;

  int waiting[AGENT_TUNNELS_MAX]; /* sockets for the server, which is not ready */
  size_t n_waiting;
  struct request *requests;
  uint32_t last_id;
};

static int start_server (struct rcvmi_run_volumes *v, rcvm_error **err);

/* The server's end. */

static void
drop_server (struct rcvmi_run_volumes *v)
{
  rcvmi_ev_remove (steal_ptr (v->death));
  rcvmi_ev_remove (steal_ptr (v->output_source));
  rcvmi_ev_remove (steal_ptr (v->control_source));
  rcvmi_ev_remove (steal_ptr (v->timer));
  cleanup_close (&v->output_fd);
  cleanup_close (&v->control_fd);
  v->output_fd = v->control_fd = -1;
  v->ready = false;
}

static void
finish_request (struct rcvmi_run_volumes *v, struct request *q, const char *json, rcvm_error *err)
{
  struct request **at = &v->requests;
  rcvmi_run_net_fn done = q->done;
  void *user = q->user;

  while (*at != q)
    at = &(*at)->next;
  *at = q->next;
  free (q);
  if (done)
    done (user, json, err);
  else
    rcvm_error_free (err);
}

static void
fail_requests (struct rcvmi_run_volumes *v, const char *why)
{
  while (v->requests)
    {
      rcvm_error *e = NULL;

      rcvmi_fail (&e, RCVM_E_STATE, 0, "the volume server gave no figures: %s", why);
      finish_request (v, v->requests, NULL, e);
    }
}

static void
read_output (struct rcvmi_run_volumes *v)
{
  ssize_t n;

  for (;;)
    {
      if (v->text_len == TEXT_MAX - 1)
        v->text_len = 0;
      n = read (v->output_fd, v->text + v->text_len, TEXT_MAX - 1 - v->text_len);
      if (n <= 0)
        break;
      v->text_len += (size_t) n;
    }
  v->text[v->text_len] = 0;
  if (n == 0)
    rcvmi_ev_remove (steal_ptr (v->output_source));
}

static void
on_output (void *user, uint32_t events)
{
  (void) events;
  read_output (user);
}

static void
on_pause_over (void *user, uint32_t events)
{
  struct rcvmi_run_volumes *v = user;
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_ev_remove (steal_ptr (v->timer));
  if (start_server (v, &e) < 0)
    rcvmi_run_fail (v->run, e);
}

static void
on_death (void *user, uint32_t events)
{
  struct rcvmi_run_volumes *v = user;
  struct rcvmi_run *run = v->run;
  rcvm_error *e = NULL;
  const char *said;
  char how[64];
  bool was_ready = v->ready;

  (void) events;
  read_output (v);
  said = strncmp (v->text, "runcvm-volumes: ", 16) == 0 ? v->text + 16 : v->text;
  v->text[strcspn (v->text, "\n")] = 0;
  drop_server (v);
  rcvmi_proc_describe (rcvmi_proc_reap (&v->proc), how, sizeof how);
  fail_requests (v, "it ended");
  if (!v->was_ready)
    {
      if (*said)
        rcvmi_fail (&e, RCVM_E_SYSTEM, 0, "%s", said);
      else
        rcvmi_fail (&e, RCVM_E_SYSTEM, 0, "the volume server ended with %s before it was ready", how);
      rcvmi_run_fail (run, e);
      return;
    }
  rcvmi_log_at (run->log, RCVM_LOG_WARNING, "volumes", "the volume server ended with %s%s%s, and is started again", how,
                *said ? ": " : "", said);
  v->restarts++;
  if (was_ready && rcvmi_clock_ms () - v->started_ms > SHORT_LIFE_MS)
    v->pause_ms = 0;
  else
    v->pause_ms = v->pause_ms ? v->pause_ms * 2 : PAUSE_MIN_MS;
  if (v->pause_ms > PAUSE_MAX_MS)
    v->pause_ms = PAUSE_MAX_MS;
  v->timer = rcvmi_ev_add_timer (run->ev, v->pause_ms, on_pause_over, v, &e);
  if (!v->timer)
    rcvmi_run_fail (run, e);
}

/* What it says. */

static int
send_packet (struct rcvmi_run_volumes *v, struct tlv_writer *w, int fd, rcvm_error **err)
{
  union
  {
    struct cmsghdr align;
    char space[CMSG_SPACE (sizeof (int))];
  } control = { 0 };
  struct iovec iov = { w->data, w->len };
  struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
  int code = 0;

  if (fd >= 0)
    {
      struct cmsghdr *c;

      msg.msg_control = &control;
      msg.msg_controllen = sizeof control;
      c = CMSG_FIRSTHDR (&msg);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN (sizeof fd);
      memcpy (CMSG_DATA (c), &fd, sizeof fd);
    }
  if (w->failed)
    code = rcvmi_fail_nomem (err);
  else if (sendmsg (v->control_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
    code = rcvmi_fail_errno (err, errno, "cannot ask the volume server");
  tlv_writer_free (w);
  return code;
}

static uint32_t
begin_request (struct rcvmi_run_volumes *v, struct tlv_writer *w, uint32_t type)
{
  tlv_put_u32 (w, NFS_CONTROL_TYPE, type);
  tlv_put_u32 (w, NFS_CONTROL_ID, ++v->last_id);
  return v->last_id;
}

/* Takes the socket.  One that does not get through closes, and the guest connects again. */
static void
pass_on (struct rcvmi_run_volumes *v, int fd)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *e = NULL;

  begin_request (v, &w, NFS_CONTROL_CONNECT);
  if (send_packet (v, &w, fd, &e) < 0)
    {
      rcvmi_log_at (v->run->log, RCVM_LOG_WARNING, "volumes", "%s", rcvm_error_get_message (e));
      rcvm_error_free (e);
    }
  close (fd);
}

static void
on_ready (struct rcvmi_run_volumes *v)
{
  v->ready = true;
  rcvmi_ev_remove (steal_ptr (v->timer));
  for (size_t i = 0; i < v->n_waiting; i++)
    pass_on (v, v->waiting[i]);
  v->n_waiting = 0;
  if (v->was_ready)
    {
      rcvmi_log_at (v->run->log, RCVM_LOG_INFO, "volumes", "the volume server is back");
      return;
    }
  v->was_ready = true;
  rcvmi_run_advance (v->run);
}

static void
on_reply (struct rcvmi_run_volumes *v, uint32_t id, const struct tlv_field *figures)
{
  struct request *q = v->requests;
  rcvm_error *e = NULL;
  char *json;

  while (q && q->id != id)
    q = q->next;
  if (!q || !figures->data)
    return;
  json = rcvmi_volume_figures_json (v->run->plan, v->run->link, figures, v->restarts, rcvmi_run_listener_refused (v->run->listener), &e);
  finish_request (v, q, json, e);
  free (json);
}

static void
on_control (void *user, uint32_t events)
{
  static unsigned char packet[PACKET_MAX]; /* the monitor has one thread */
  struct rcvmi_run_volumes *v = user;
  struct tlv_field f, figures = { 0 };
  struct tlv_reader r;
  uint32_t type = 0, id = 0, code = 0;
  const char *message = "";
  ssize_t n = recv (v->control_fd, packet, sizeof packet, MSG_DONTWAIT);

  (void) events;
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0)
    {
      /* Its death follows; one that lives on without this connection is of no use. */
      rcvmi_ev_remove (steal_ptr (v->control_source));
      kill (v->proc.pid, SIGKILL);
      return;
    }
  tlv_reader_init (&r, packet, (size_t) n);
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case NFS_CONTROL_TYPE:
        type = tlv_get_u32 (&r, &f);
        break;
      case NFS_CONTROL_ID:
        id = tlv_get_u32 (&r, &f);
        break;
      case NFS_CONTROL_CODE:
        code = tlv_get_u32 (&r, &f);
        break;
      case NFS_CONTROL_MESSAGE:
        message = tlv_get_str (&r, &f);
        break;
      case NFS_CONTROL_FIGURES:
        figures = f;
        break;
      }
  if (r.bad)
    {
      rcvmi_log_at (v->run->log, RCVM_LOG_WARNING, "volumes", "the volume server sent a malformed record");
      kill (v->proc.pid, SIGKILL);
    }
  else if (type == NFS_CONTROL_READY && !v->ready)
    on_ready (v);
  else if (type == NFS_CONTROL_REPLY && code)
    rcvmi_log_at (v->run->log, RCVM_LOG_WARNING, "volumes", "%s", message);
  else if (type == NFS_CONTROL_REPLY)
    on_reply (v, id, &figures);
}

/* Its start. */

/* Without root, files can only be served as their owner's. */
static void
put_export (struct rcvmi_run_volumes *v, struct tlv_writer *w, size_t i, int fd)
{
  const struct rcvmi_plan_volume *p = &v->run->plan->volumes[i];
  size_t mark = tlv_begin (w, NFS_CONFIG_EXPORT);
  bool squash = p->squash || geteuid () != 0;
  char name[32];

  snprintf (name, sizeof name, "/%zu", i);
  tlv_put_str (w, NFS_EXPORT_PATH, v->paths[i]);
  tlv_put_str (w, NFS_EXPORT_NAME, name);
  tlv_put_u32 (w, NFS_EXPORT_FD, (uint32_t) fd);
  tlv_put_u32 (w, NFS_EXPORT_READ_ONLY, p->read_only);
  if (squash)
    {
      tlv_put_u32 (w, NFS_EXPORT_UID, p->squash ? p->uid : geteuid ());
      tlv_put_u32 (w, NFS_EXPORT_GID, p->squash ? p->gid : getegid ());
    }
  tlv_put_u32 (w, NFS_EXPORT_CACHED, p->cached);
  tlv_end (w, mark);
}

static int
write_config (struct rcvmi_run_volumes *v, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  autoclose int fd = memfd_create ("volumes", MFD_CLOEXEC);
  int code = 0;

  /* The child's fds: 3 is this, 4 the control connection, then the exports. */
  tlv_put (&w, NFS_CONFIG_KEY, v->key, sizeof v->key);
  tlv_put_u32 (&w, NFS_CONFIG_CONTROL_FD, 4);
  for (size_t i = 0; i < v->n; i++)
    put_export (v, &w, i, 5 + (int) i);
  if (w.failed)
    code = rcvmi_fail_nomem (err);
  else if (fd < 0 || write (fd, w.data, w.len) != (ssize_t) w.len || lseek (fd, 0, SEEK_SET) < 0)
    code = rcvmi_fail_errno (err, errno, "cannot write the volume server's configuration");
  tlv_writer_free (&w);
  return code < 0 ? code : steal_fd (&fd);
}

static void
on_not_ready (void *user, uint32_t events)
{
  struct rcvmi_run_volumes *v = user;

  (void) events;
  /* Its death is dealt with. */
  rcvmi_ev_remove (steal_ptr (v->timer));
  kill (v->proc.pid, SIGKILL);
}

static int
spawn (struct rcvmi_run_volumes *v, int control, int output, rcvm_error **err)
{
  autofree char *program = rcvmi_default_volumes ();
  autofree int *fds = calloc (v->n + 2, sizeof *fds);
  char *argv[] = { "runcvm-volumes", "--config-fd", "3", NULL };
  autoclose int config = -1;

  if (!program || !fds)
    return rcvmi_fail_nomem (err);
  config = write_config (v, err);
  if (config < 0)
    return config;
  fds[0] = config;
  fds[1] = control;
  memcpy (fds + 2, v->fds, v->n * sizeof *fds);
  return rcvmi_proc_spawn (&v->proc, program, argv, output, fds, v->n + 2, err);
}

static int
start_server (struct rcvmi_run_volumes *v, rcvm_error **err)
{
  struct rcvmi_ev *ev = v->run->ev;
  int control[2] = { -1, -1 }, output[2] = { -1, -1 }, code;

  v->text_len = 0;
  v->text[0] = 0;
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0
      || pipe2 (output, O_CLOEXEC | O_NONBLOCK) < 0)
    code = rcvmi_fail_errno (err, errno, "cannot make the volume server's sockets");
  else
    code = spawn (v, control[1], output[1], err);
  for (int i = 0; i < 2; i++)
    {
      int fd = i ? output[1] : control[1];

      if (fd >= 0)
        close (fd);
    }
  v->control_fd = control[0];
  v->output_fd = output[0];
  if (code < 0)
    {
      drop_server (v);
      return code;
    }
  v->started_ms = rcvmi_clock_ms ();
  v->death = rcvmi_ev_add (ev, v->proc.pidfd, EPOLLIN, on_death, v, err);
  v->output_source = v->death ? rcvmi_ev_add (ev, v->output_fd, EPOLLIN, on_output, v, err) : NULL;
  v->control_source = v->output_source ? rcvmi_ev_add (ev, v->control_fd, EPOLLIN, on_control, v, err) : NULL;
  v->timer = v->control_source ? rcvmi_ev_add_timer (ev, READY_TIMEOUT_MS, on_not_ready, v, err) : NULL;
  return v->timer ? 0 : RCVM_E_SYSTEM;
}

/* Opened once: what is exported stays the same, whatever the host puts at the path. */
static int
open_sources (struct rcvmi_run_volumes *v, rcvm_error **err)
{
  struct rcvmi_plan *plan = v->run->plan;

  for (size_t i = 0; i < plan->n_volumes; i++)
    {
      const struct rcvmi_plan_volume *p = &plan->volumes[i];
      char link[40], real[PATH_MAX];
      struct stat st;
      ssize_t n;

      v->fds[i] = open (p->source, O_PATH | O_CLOEXEC);
      v->n += v->fds[i] >= 0;
      if (v->fds[i] < 0 || fstat (v->fds[i], &st) < 0)
        return rcvmi_fail_errno (err, errno, "cannot open '%.200s', which is to be mounted at '%.200s' in the VM",
                                 p->source, p->destination);
      if (!S_ISDIR (st.st_mode) && !S_ISREG (st.st_mode))
        return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                           "'%.200s', which is to be mounted at '%.200s' in the VM, is a %s: only directories and "
                           "regular files can be shared with a VM",
                           p->source, p->destination,
                           S_ISSOCK (st.st_mode)   ? "socket"
                           : S_ISFIFO (st.st_mode) ? "pipe"
                                                   : "device");
      snprintf (link, sizeof link, "/proc/self/fd/%d", v->fds[i]);
      n = readlink (link, real, sizeof real - 1);
      if (n <= 0 || !(v->paths[i] = strndup (real, (size_t) n)))
        return n <= 0 ? rcvmi_fail_errno (err, errno, "cannot find the path of '%.200s'", p->source)
                      : rcvmi_fail_nomem (err);
      /* It is the one entry of a directory. */
      if (S_ISREG (st.st_mode))
        {
          snprintf (real, sizeof real, RCVMI_PLAN_VOLUME_STAGE "/%zu", i, i);
          tlv_put_str (&plan->setup, S_FILE_STAGE, real);
        }
    }
  return 0;
}

enum rcvmi_run_step
rcvmi_run_begin_volumes (struct rcvmi_run *run, rcvm_error **err)
{
  size_t n = run->plan->n_volumes;
  struct rcvmi_run_volumes *v;

  if (n + run->plan->n_diods == 0)
    return RCVMI_STEP_DONE;
  v = run->volumes = calloc (1, sizeof *v);
  if (v)
    {
      *v = (struct rcvmi_run_volumes){ .run = run, .proc = RCVMI_PROC_INIT, .output_fd = -1, .control_fd = -1 };
      v->fds = calloc (n + 1, sizeof *v->fds);
      v->paths = calloc (n + 1, sizeof *v->paths);
    }
  if (!v || !v->fds || !v->paths)
    {
      rcvmi_fail_nomem (err);
      return RCVMI_STEP_FAILED;
    }
  if (getrandom (v->key, sizeof v->key, 0) != sizeof v->key)
    {
      rcvmi_fail_errno (err, errno, "cannot draw a key for the volume server");
      return RCVMI_STEP_FAILED;
    }
  if (rcvmi_run_restore_key (run))
    memcpy (v->key, rcvmi_run_restore_key (run), sizeof v->key);
  if (rcvmi_run_start_diods (run, err) < 0)
    return RCVMI_STEP_FAILED;
  if (n == 0)
    return RCVMI_STEP_DONE;
  if (geteuid () != 0)
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "volumes",
                  "without root's rights, what the VM does to its volumes is done as %u:%u", (unsigned) geteuid (),
                  (unsigned) getegid ());
  if (open_sources (v, err) < 0
      || (run->plan->unfsd ? rcvmi_run_start_unfsd (run, v->fds, err) : start_server (v, err)) < 0)
    return RCVMI_STEP_FAILED;
  return RCVMI_STEP_PENDING;
}

const uint8_t *
rcvmi_run_volumes_key (const struct rcvmi_run *run)
{
  return run->volumes ? run->volumes->key : NULL;
}

void
rcvmi_run_undo_volumes (struct rcvmi_run *run)
{
  struct rcvmi_run_volumes *v = run->volumes;

  if (!v)
    return;
  run->volumes = NULL;
  rcvmi_run_listener_free (steal_ptr (run->listener));
  rcvmi_run_undo_link (run);
  rcvmi_run_undo_diods (run);
  rcvmi_run_undo_unfsd (run);
  rcvmi_tunnels_free (v->tunnels);
  drop_server (v);
  rcvmi_proc_kill (&v->proc);
  fail_requests (v, "the VM has stopped");
  for (size_t i = 0; i < v->n_waiting; i++)
    close (v->waiting[i]);
  for (size_t i = 0; v->fds && i < v->n; i++)
    close (v->fds[i]);
  for (size_t i = 0; v->paths && i < v->n; i++)
    free (v->paths[i]);
  free (v->fds);
  free (v->paths);
  free (v);
}

/* In between. */

void
rcvmi_run_volumes_admit (struct rcvmi_run_volumes *v, int fd)
{
  if (v->ready)
    pass_on (v, fd);
  else if (v->n_waiting < AGENT_TUNNELS_MAX)
    v->waiting[v->n_waiting++] = fd;
  else
    close (fd);
}

/* A socket to the server: one end is for the guest. */
static int
on_connect (void *user, uint32_t share)
{
  struct rcvmi_run_volumes *v = user;
  int ends[2];

  if (share)
    return rcvmi_run_take_diod (v->run, share - 1);
  if (v->run->unfsd)
    return rcvmi_run_connect_unfsd (v->run);
  if (v->n == 0 || (!v->ready && v->n_waiting == AGENT_TUNNELS_MAX)
      || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return -1;
  rcvmi_run_volumes_admit (v, ends[1]);
  return ends[0];
}

static void
on_progress (void *user)
{
  struct rcvmi_run_volumes *v = user;

  rcvmi_run_extend_shutdown (v->run);
}

static void
on_broken (void *user, rcvm_error *err)
{
  struct rcvmi_run_volumes *v = user;

  rcvmi_run_fail (v->run, err);
}

int
rcvmi_run_carry_volumes (struct rcvmi_run *run, rcvm_error **err)
{
  static const struct rcvmi_tunnels_ops ops = { .connect = on_connect, .progress = on_progress, .broken = on_broken };
  struct rcvmi_run_volumes *v = run->volumes;
  int fd = v ? rcvmi_vmm_take_volumes (&run->vmm) : -1;

  if (fd < 0)
    return 0;
  /* Once more, after a snapshot: the guest has forgotten the others. */
  rcvmi_tunnels_free (steal_ptr (v->tunnels));
  v->tunnels = rcvmi_tunnels_new (run->ev, fd, &ops, v, err);
  return v->tunnels ? 0 : RCVM_E_SYSTEM;
}

int
rcvmi_run_volumes_show (struct rcvmi_run *run, rcvmi_run_net_fn done, void *user, rcvm_error **err)
{
  struct rcvmi_run_volumes *v = run->volumes;
  struct tlv_writer w = TLV_WRITER_INIT;
  struct request *q;
  unsigned n = 0;
  int code;

  if (!v || v->n == 0)
    {
      done (user, "{\"volumes\":[]}", NULL);
      return 0;
    }
  /* That one counts nothing. */
  if (run->unfsd)
    {
      autofree char *json = rcvmi_volume_figures_json (run->plan, false, NULL, 0, 0, err);

      if (!json)
        return RCVM_E_NOMEM;
      done (user, json, NULL);
      return 0;
    }
  for (q = v->requests; q; q = q->next)
    n++;
  if (!v->ready || n >= REQUESTS_MAX)
    return rcvmi_fail (err, RCVM_E_STATE, 0,
                       v->ready ? "too many requests about the volumes of VM '%s' are under way"
                                : "the volume server of VM '%s' is being started",
                       run->options.id);
  q = calloc (1, sizeof *q);
  if (!q)
    return rcvmi_fail_nomem (err);
  *q = (struct request){ .next = v->requests, .done = done, .user = user };
  v->requests = q;
  q->id = begin_request (v, &w, NFS_CONTROL_STATS);
  code = send_packet (v, &w, -1, err);
  if (code < 0)
    {
      v->requests = q->next;
      free (q);
    }
  return code;
}

void
rcvmi_run_volumes_forget (struct rcvmi_run *run, void *user)
{
  for (struct request *q = run->volumes ? run->volumes->requests : NULL; q; q = q->next)
    if (q->user == user)
      q->done = NULL;
}
