/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm-qmp.h"

#include <json-c/json.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  ANSWER_TIMEOUT_MS = 10000,
  /* The guest has let go of the device before, and switched its slot off. */
  DELETED_TIMEOUT_MS = 3000,
  DELETED_MAX = 64,
  DELETED_ID = 16,
  MAX_OBJECT = 1024 * 1024 /* bytes; what QEMU says is far smaller */
};

struct rcvmi_qmp
{
  struct rcvmi_ev_source *source;
  struct json_tokener *tokener;
  int fd;
  rcvmi_qmp_ready_fn ready;
  rcvmi_qmp_broken_fn broken;
  void *user;
  size_t object_size;       /* of the object under way */
  bool waiting;             /* for the answer to a command */
  struct json_object *answer;
  bool greeted;             /* the greeting came, qmp_capabilities is under way */
  bool negotiated;
  bool gone;
  char deleted[DELETED_MAX][DELETED_ID]; /* devices, the last ones, by their ids */
  size_t n_deleted;
  const char *violation; /* what QEMU did that it must not do, until it is told */
};

/* Nothing is read any more. */
static void
give_up (struct rcvmi_qmp *q, const char *violation)
{
  q->gone = true;
  q->violation = violation;
  rcvmi_ev_remove (steal_ptr (q->source));
}

static bool
send_command (struct rcvmi_qmp *q, const char *command, const char *arguments, int fd)
{
  char text[1024];
  int n = snprintf (text, sizeof text, "{\"execute\":\"%s\"%s%s}\n", command, arguments ? ",\"arguments\":" : "",
                    arguments ? arguments : "");
  struct iovec iov = { text, (size_t) n };
  union
  {
    struct cmsghdr align;
    char bytes[CMSG_SPACE (sizeof (int))];
  } control = { 0 };
  struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

  if (n < 0 || (size_t) n >= sizeof text)
    return false;
  if (fd >= 0)
    {
      struct cmsghdr *c;

      m.msg_control = control.bytes;
      m.msg_controllen = sizeof control.bytes;
      c = CMSG_FIRSTHDR (&m);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN (sizeof (int));
      memcpy (CMSG_DATA (c), &fd, sizeof fd);
    }
  return sendmsg (q->fd, &m, MSG_NOSIGNAL) == n;
}

/* Only a device's end is of interest. */
static void
on_event (struct rcvmi_qmp *q, struct json_object *o)
{
  struct json_object *name, *data, *device;

  if (!json_object_object_get_ex (o, "event", &name) || !json_object_is_type (name, json_type_string)
      || strcmp (json_object_get_string (name), "DEVICE_DELETED") != 0 || !json_object_object_get_ex (o, "data", &data)
      || !json_object_object_get_ex (data, "device", &device) || !json_object_is_type (device, json_type_string))
    return;
  snprintf (q->deleted[q->n_deleted++ % DELETED_MAX], DELETED_ID, "%s", json_object_get_string (device));
}

static void
on_object (struct rcvmi_qmp *q, struct json_object *o)
{
  bool refused = json_object_object_get_ex (o, "error", NULL);

  if (!q->greeted && json_object_object_get_ex (o, "QMP", NULL))
    {
      q->greeted = true;
      if (!send_command (q, "qmp_capabilities", NULL, -1))
        give_up (q, NULL);
    }
  else if (q->greeted && (refused || json_object_object_get_ex (o, "return", NULL)))
    {
      if (q->waiting && !q->answer)
        q->answer = json_object_get (o);
      else if (!q->negotiated && refused)
        give_up (q, "it refused qmp_capabilities");
      else if (!q->negotiated)
        {
          q->negotiated = true;
          q->ready (q->user);
        }
    }
  else if (q->negotiated)
    on_event (q, o);
}

/* QEMU is trusted more than the guest, yet a compromised one must not be able to exhaust the monitor:
   json-c bounds the depth, and an object's size is bounded here. */
static void
read_some (struct rcvmi_qmp *q)
{
  char buf[4096];
  ssize_t n = recv (q->fd, buf, sizeof buf, MSG_DONTWAIT);
  size_t at = 0;

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0)
    {
      /* The end of the process says more. */
      give_up (q, NULL);
      return;
    }
  while (at < (size_t) n && !q->gone)
    {
      struct json_object *o = json_tokener_parse_ex (q->tokener, buf + at, (int) ((size_t) n - at));
      enum json_tokener_error e = json_tokener_get_error (q->tokener);

      if (e == json_tokener_continue)
        {
          q->object_size += (size_t) n - at;
          if (q->object_size > MAX_OBJECT)
            give_up (q, "what it says has no end");
          return;
        }
      if (e != json_tokener_success)
        {
          give_up (q, "what it says is not JSON");
          return;
        }
      at += json_tokener_get_parse_end (q->tokener);
      q->object_size = 0;
      json_tokener_reset (q->tokener);
      if (json_object_is_type (o, json_type_object))
        on_object (q, o);
      json_object_put (o);
      while (at < (size_t) n && (buf[at] == '\r' || buf[at] == '\n'))
        at++;
    }
}

static void
on_readable (void *user, uint32_t events)
{
  struct rcvmi_qmp *q = user;
  rcvm_error *e = NULL;

  (void) events;
  read_some (q);
  if (!q->violation)
    return;
  rcvmi_fail (&e, RCVM_E_VMM, 0, "QEMU does not speak QMP as it should: %s", q->violation);
  q->violation = NULL;
  q->broken (q->user, e);
}

struct rcvmi_qmp *
rcvmi_qmp_new (struct rcvmi_ev *ev, int fd, rcvmi_qmp_ready_fn ready, rcvmi_qmp_broken_fn broken, void *user,
               rcvm_error **err)
{
  struct rcvmi_qmp *q = calloc (1, sizeof *q);

  if (!q || !(q->tokener = json_tokener_new ()))
    {
      close (fd);
      free (q);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  q->fd = fd;
  q->ready = ready;
  q->broken = broken;
  q->user = user;
  q->source = rcvmi_ev_add (ev, fd, EPOLLIN, on_readable, q, err);
  if (!q->source)
    {
      rcvmi_qmp_free (q);
      return NULL;
    }
  return q;
}

void
rcvmi_qmp_free (struct rcvmi_qmp *q)
{
  if (!q)
    return;
  rcvmi_ev_remove (q->source);
  close (q->fd);
  json_tokener_free (q->tokener);
  json_object_put (q->answer);
  free (q);
}

int
rcvmi_qmp_command (struct rcvmi_qmp *q, const char *command, rcvm_error **err)
{
  return rcvmi_qmp_execute (q, command, NULL, -1, err);
}

int
rcvmi_qmp_execute (struct rcvmi_qmp *q, const char *command, const char *arguments, int fd, rcvm_error **err)
{
  struct json_object *error, *desc;
  int code = 0;

  if (q->gone || !q->negotiated || !send_command (q, command, arguments, fd))
    return rcvmi_fail (err, RCVM_E_VMM, 0, "QEMU takes no command '%s': it is %s", command,
                       q->gone ? "gone" : "not ready");
  q->waiting = true;
  while (!q->answer && !q->gone)
    {
      struct pollfd p = { .fd = q->fd, .events = POLLIN };
      int r = poll (&p, 1, ANSWER_TIMEOUT_MS);

      if (r == 0 || (r < 0 && errno != EINTR))
        break;
      read_some (q);
    }
  q->waiting = false;
  if (!q->answer)
    {
      /* An answer that comes later would be taken for the next command's. */
      if (!q->gone)
        give_up (q, NULL);
      return rcvmi_fail (err, RCVM_E_VMM, 0, "QEMU did not answer the command '%s'", command);
    }
  if (json_object_object_get_ex (q->answer, "error", &error))
    {
      bool said = json_object_object_get_ex (error, "desc", &desc) && json_object_is_type (desc, json_type_string);

      code = rcvmi_fail (err, RCVM_E_VMM, 0, "QEMU refused the command '%s': %s", command,
                         said ? json_object_get_string (desc) : "no reason given");
    }
  json_object_put (steal_ptr (q->answer));
  return code;
}

static char *
find_deleted (struct rcvmi_qmp *q, const char *id)
{
  for (size_t i = 0; i < DELETED_MAX; i++)
    if (strcmp (q->deleted[i], id) == 0)
      return q->deleted[i];
  return NULL;
}

void
rcvmi_qmp_expect_deleted (struct rcvmi_qmp *q, const char *id)
{
  char *found;

  while ((found = find_deleted (q, id)))
    *found = 0;
}

int
rcvmi_qmp_await_deleted (struct rcvmi_qmp *q, const char *id, rcvm_error **err)
{
  while (!find_deleted (q, id) && !q->gone)
    {
      struct pollfd p = { .fd = q->fd, .events = POLLIN };
      int r = poll (&p, 1, DELETED_TIMEOUT_MS);

      if (r == 0 || (r < 0 && errno != EINTR))
        break;
      read_some (q);
    }
  return find_deleted (q, id) ? 0
                              : rcvmi_fail (err, RCVM_E_TIMEOUT, 0, "QEMU did not say that the device '%s' is gone: the guest holds on to it", id);
}
