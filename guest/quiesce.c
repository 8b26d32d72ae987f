/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "quiesce.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cgroup.h"
#include "channel.h"
#include "cleanup.h"
#include "container.h"
#include "failure.h"
#include "log.h"
#include "loop.h"
#include "machine.h"
#include "net.h"
#include "process.h"

enum
{
  FREEZE_S = 30 /* a process that waits for a disk or a volume stands still when it has it */
};

static void look (struct watch *w, uint32_t events);
static void too_late (struct watch *w, uint32_t events);

static struct
{
  enum
  {
    AWAKE,
    FREEZING,
    SYNCING,
    HELD
  } state;
  uint32_t number;
  pid_t syncing;
  struct watch events; /* of the cgroup */
  struct watch deadline;
} the = { .events = { .fd = -1, .ready = look }, .deadline = { .fd = -1, .ready = too_late } };

static int
freeze (bool frozen)
{
  autoclose int fd = open (CGROUP_CONTAINER "/cgroup.freeze", O_WRONLY | O_CLOEXEC);

  return fd < 0 || write (fd, frozen ? "1" : "0", 1) != 1 ? -1 : 0;
}

static void
answer (uint16_t type, uint32_t number, const struct failure *f)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (f->message[0])
    failure_put (&w, f);
  channel_send_record (type, number, &w);
}

static void
give_up (const struct failure *f)
{
  loop_close (&the.events);
  loop_close (&the.deadline);
  the.state = AWAKE;
  if (freeze (false) < 0)
    log_write (LOG_WARNING, "cannot let the container's processes go on: %s", strerror (errno));
  answer (AGENT_QUIESCED, the.number, f);
}

/* Nobody writes any more. */
static void
begin_sync (void)
{
  struct failure f = { 0 };

  loop_close (&the.events);
  loop_close (&the.deadline);
  the.syncing = fork ();
  if (the.syncing == 0)
    {
      sync ();
      _exit (0);
    }
  if (the.syncing > 0)
    {
      the.state = SYNCING;
      return;
    }
  the.syncing = 0;
  fail (&f, "snapshot", errno, "cannot sync the disks");
  give_up (&f);
}

static void
look (struct watch *w, uint32_t events)
{
  char text[512];
  ssize_t n = pread (w->fd, text, sizeof text - 1, 0);

  (void) events;
  text[n > 0 ? n : 0] = 0;
  if (strstr (text, "frozen 1"))
    begin_sync ();
}

static void
too_late (struct watch *w, uint32_t events)
{
  struct failure f = { 0 };

  (void) w;
  (void) events;
  fail (&f, "snapshot", ETIMEDOUT, "the container's processes did not stand still within %d seconds", FREEZE_S);
  give_up (&f);
}

void
quiesce_begin (uint32_t number)
{
  struct itimerspec wait = { .it_value = { .tv_sec = FREEZE_S } };
  struct failure f = { 0 };
  int fd, timer;

  if (the.state != AWAKE)
    fatal ("the host sent QUIESCE twice");
  the.number = number;
  if (!container_init_pid () || !process_all_started ())
    {
      fail (&f, "snapshot", EBUSY, "the container does not run, or a process is being started in it");
      answer (AGENT_QUIESCED, number, &f);
      return;
    }
  the.state = FREEZING;
  fd = open (CGROUP_CONTAINER "/cgroup.events", O_RDONLY | O_CLOEXEC);
  timer = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC);
  if (fd < 0 || timer < 0 || timerfd_settime (timer, 0, &wait, NULL) < 0 || loop_add (&the.events, fd, EPOLLPRI) < 0
      || loop_add (&the.deadline, timer, EPOLLIN) < 0 || freeze (true) < 0)
    {
      fail (&f, "snapshot", errno, "cannot make the container's processes stand still");
      if (the.events.fd < 0 && fd >= 0)
        close (fd);
      if (the.deadline.fd < 0 && timer >= 0)
        close (timer);
      give_up (&f);
      return;
    }
  look (&the.events, 0);
}

void
quiesce_reaped (pid_t pid, int status)
{
  struct failure f = { 0 };

  if (the.state != SYNCING || pid != the.syncing)
    return;
  the.syncing = 0;
  if (status != 0)
    {
      fail (&f, "snapshot", 0, "the disks were not synced");
      give_up (&f);
      return;
    }
  the.state = HELD;
  answer (AGENT_QUIESCED, the.number, &f);
  channel_hold ();
}

bool
quiesce_is_held (void)
{
  return the.state == HELD;
}

/* Before any process of the container runs again. */
static void
become (const void *record, size_t len, struct failure *f)
{
  struct tlv_reader r;
  struct tlv_field t;

  tlv_reader_init (&r, record, len);
  while (!f->message[0] && tlv_next (&r, &t))
    switch (t.tag)
      {
      case S_CLOCK_NSEC:
        machine_set_clock (tlv_get_u64 (&r, &t));
        break;
      case S_ENTROPY:
        if (!machine_add_entropy (t.data, t.len))
          fail (f, "snapshot", 0, "the random number generator cannot be seeded anew, which a VM from a snapshot needs");
        break;
      case S_HOSTNAME:
        net_set_hostname (tlv_get_str (&r, &t));
        container_rename (tlv_get_str (&r, &t), f);
        break;
      }
  /* Those whose addresses come by DHCP ask for them in the new name. */
  tlv_reader_init (&r, record, len);
  while (!f->message[0] && tlv_next (&r, &t))
    if (t.tag == S_NETWORK)
      net_exchange (tlv_get_record (&t), f);
  if (r.bad)
    fatal ("the agent channel is corrupt (GO_ON)");
}

void
quiesce_end (uint32_t number, const void *record, size_t len)
{
  struct failure f = { 0 };

  if (the.state != HELD)
    fatal ("the host sent GO_ON out of turn");
  become (record, len, &f);
  the.state = AWAKE;
  channel_release ();
  /* One that is not what it should be does not go on. */
  if (!f.message[0] && freeze (false) < 0)
    fail (&f, "snapshot", errno, "cannot let the container's processes go on");
  answer (AGENT_GONE_ON, number, &f);
}
