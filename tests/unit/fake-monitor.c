/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "vmm"

#include "support.h"

#include "fake-monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"
#include "proc.h"

/* In the child nothing is reported to cmocka: what goes wrong there ends it with 99. */
static void
must (bool good)
{
  if (!good)
    _exit (99);
}

static void
serve (struct fake *f, int listen_fd, fake_script_fn script)
{
  for (;;)
    {
      int fd = accept4 (listen_fd, NULL, NULL, SOCK_CLOEXEC);

      must (fd >= 0);
      must (rcvmi_link_init (&f->link, fd, "a client", AGENT_REQUEST_MAX, NULL) == 0);
      f->link.pass_fds = true;
      script (f);
      rcvmi_link_clear (&f->link);
    }
}

pid_t
fake_monitor_start (const char *root, const char *id, int status, fake_script_fn script)
{
  struct sockaddr_un sun = { .sun_family = AF_UNIX };
  int ready[2], listen_fd;
  struct fake f = { 0 };
  pid_t pid, parent = getpid ();
  char c;

  assert_int_equal (pipe2 (ready, O_CLOEXEC), 0);
  pid = fork ();
  assert_true (pid >= 0);
  if (pid > 0)
    {
      close (ready[1]);
      read_full (ready[0], &c, 1);
      close (ready[0]);
      return pid;
    }
  close (ready[0]);
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  must (getppid () == parent);
  must (rcvmi_state_dir_create (&f.dir, root, id, NULL) == 0);
  f.state = (struct rcvmi_state){ .id = strdup (id),
                                  .bundle = strdup ("/bundle"),
                                  .vmm = strdup ("qemu"),
                                  .accel = strdup ("tcg"),
                                  .status = status,
                                  .pid = getpid (),
                                  .pid_start = rcvmi_proc_start_time (getpid ()),
                                  .memory = 1 << 20,
                                  .cpus = 2,
                                  .phases = { { "spec", 12 }, { "plan", 3456789 } },
                                  .n_phases = 2 };
  must (rcvmi_state_dir_write (&f.dir, &f.state, NULL) == 0);
  snprintf (sun.sun_path, sizeof sun.sun_path, "/proc/self/fd/%d/%s", f.dir.fd, RCVMI_CONTROL_SOCKET);
  listen_fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must (listen_fd >= 0 && bind (listen_fd, (struct sockaddr *) &sun, sizeof sun) == 0
        && listen (listen_fd, 16) == 0);
  must (write (ready[1], "x", 1) == 1);
  close (ready[1]);
  serve (&f, listen_fd, script);
  _exit (0);
}

void
fake_monitor_kill (pid_t pid)
{
  int status;

  kill (pid, SIGKILL);
  assert_int_equal (waitpid (pid, &status, 0), pid);
  assert_int_equal (status, SIGKILL);
}

void
fake_monitor_await (pid_t pid)
{
  int status;

  assert_int_equal (waitpid (pid, &status, 0), pid);
  assert_int_equal (status, 0);
}

uint16_t
fake_next (struct fake *f, uint16_t tag, uint32_t *value)
{
  const unsigned char *payload;
  struct agent_header h;
  struct tlv_reader r;
  struct tlv_field field;
  int n = rcvmi_link_wait (&f->link, -1, &h, &payload, NULL);

  must (n >= 0);
  if (n == 0)
    return 0;
  if (value)
    *value = UINT32_MAX;
  tlv_reader_init (&r, payload, h.len);
  while (value && tlv_next (&r, &field))
    if (field.tag == tag)
      *value = tlv_get_u32 (&r, &field);
  must (!r.bad);
  return h.type;
}

void
fake_send (struct fake *f, uint16_t type, struct tlv_writer *w)
{
  must (rcvmi_link_send_record (&f->link, type, 0, w, NULL) == 0);
}

void
fake_send_number (struct fake *f, uint16_t type, uint16_t tag, uint32_t value)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, tag, value);
  fake_send (f, type, &w);
}

void
fake_send_error (struct fake *f, uint16_t type, int code, int exit_code, const char *message)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *e = NULL;

  rcvmi_error_restore (&e, code, 0, exit_code, "process", message);
  rcvmi_control_put_error (&w, e);
  rcvm_error_free (e);
  fake_send (f, type, &w);
}

void
fake_stop (struct fake *f, int exit_code)
{
  f->state.status = RCVM_STATUS_STOPPED;
  f->state.has_exit = true;
  f->state.exit_code = exit_code;
  must (rcvmi_state_dir_write (&f->dir, &f->state, NULL) == 0);
}
