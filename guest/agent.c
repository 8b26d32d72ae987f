/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent.h"

#include <errno.h>
#include <signal.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach.h"
#include "cgroup.h"
#include "channel.h"
#include "container.h"
#include "copies.h"
#include "disks.h"
#include "log.h"
#include "machine.h"
#include "names.h"
#include "net.h"
#include "notify.h"
#include "power.h"
#include "process.h"
#include "quiesce.h"
#include "survivors.h"
#include "sync.h"
#include "transport.h"
#include "volumes.h"

enum
{
  GOODBYE_MS = 1000 /* how long the host has to end the machine before it ends itself */
};

static bool shutting_down;
static pid_t releasing; /* who unmounts; 0: nobody yet */

static void
send_log (int level, const char *message)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, A_LEVEL, (uint32_t) level);
  tlv_put_str (&w, A_MESSAGE, message);
  channel_send_record (AGENT_LOG, 0, &w);
}

void
agent_forward_log (const void *record, size_t len)
{
  channel_send (AGENT_LOG, 0, record, len);
}

void
agent_send_exit (uint32_t process, int status)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (WIFSIGNALED (status))
    {
      tlv_put_u32 (&w, A_SIGNAL, (uint32_t) WTERMSIG (status));
      if (WCOREDUMP (status))
        tlv_put_u32 (&w, A_CORE, 1);
    }
  else
    tlv_put_u32 (&w, A_EXIT_CODE, (uint32_t) WEXITSTATUS (status));
  channel_send_record (AGENT_EXIT, process, &w);
}

static _Noreturn void
finish_shutdown (void)
{
  char disk[64];

  sync ();
  if (disk_any_in_use (disk, sizeof disk))
    log_write (LOG_WARNING, "%s is still mounted; it was synced", disk);
  channel_send (AGENT_GOODBYE, 0, NULL, 0);
  channel_finish (GOODBYE_MS);
  power_off ();
}

bool
agent_is_shutting_down (void)
{
  return shutting_down;
}

/* Ends all processes but this one and the volumes', which what is not written yet goes through.  False: some are left. */
static bool
end_all (void)
{
  pid_t keep = volumes_process ();
  siginfo_t info;

  if (keep)
    return survivors_kill (keep) == 0;
  kill (-1, SIGKILL);
  return waitid (P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

/* When nothing runs any more, the container's mounts are let go.  What is frozen has to thaw before: nobody who waits for that can
   be killed. */
static void
go_on_with_shutdown (void)
{
  if (!copies_release () || !end_all ())
    return;
  releasing = container_release ();
  if (releasing < 0)
    finish_shutdown ();
}

static void
start_shutdown (void)
{
  if (shutting_down)
    return;
  shutting_down = true;
  net_release ();
  go_on_with_shutdown ();
}

void
agent_reaped (pid_t pid, int status)
{
  process_reaped (pid, status);
  container_reaped (pid, status);
  net_reaped (pid, status);
  volumes_reaped (pid, status);
  sync_reaped (pid, status);
  quiesce_reaped (pid, status);
  if (shutting_down && pid == releasing)
    finish_shutdown ();
}

void
agent_go_on_with_shutdown (void)
{
  if (shutting_down && !releasing)
    go_on_with_shutdown ();
}

/* The small records */

struct small
{
  uint32_t signum, all, rows, cols, stream, bytes;
  uint64_t clock_nsec;
};

static struct small
parse_small (const struct agent_header *h, const unsigned char *payload)
{
  struct small s = { 0 };
  struct tlv_reader r;
  struct tlv_field f;

  tlv_reader_init (&r, payload, h->len);
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case A_SIGNAL:
        s.signum = tlv_get_u32 (&r, &f);
        break;
      case A_ALL:
        s.all = tlv_get_u32 (&r, &f);
        break;
      case A_ROWS:
        s.rows = tlv_get_u32 (&r, &f);
        break;
      case A_COLS:
        s.cols = tlv_get_u32 (&r, &f);
        break;
      case A_STREAM:
        s.stream = tlv_get_u32 (&r, &f);
        break;
      case A_BYTES:
        s.bytes = tlv_get_u32 (&r, &f);
        break;
      case A_CLOCK_NSEC:
        s.clock_nsec = tlv_get_u64 (&r, &f);
        break;
      }
  if (r.bad)
    fatal ("the agent channel is corrupt (frame type %u)", h->type);
  return s;
}

static void
take_signal (uint32_t process, const struct small *s)
{
  if (s->signum == 0 || s->signum > 64)
    log_write (LOG_WARNING, "there is no signal %u", s->signum);
  else if (s->all)
    container_signal_all ((int) s->signum);
  else
    process_signal (process, (int) s->signum);
}

static void
take_frame (const struct agent_header *h, const unsigned char *payload)
{
  struct process *p;
  struct small s;

  switch (h->type)
    {
    case AGENT_SETUP:
      container_setup (payload, h->len);
      return;
    case AGENT_EXEC:
      process_exec (h->process, payload, h->len);
      return;
    case AGENT_SIGNAL:
      s = parse_small (h, payload);
      take_signal (h->process, &s);
      return;
    case AGENT_SHUTDOWN:
      start_shutdown ();
      return;
    case AGENT_CGROUP_SET:
      cgroup_set (h->process, payload, h->len);
      return;
    case AGENT_CGROUP_GET:
      cgroup_get (h->process, payload, h->len);
      return;
    case AGENT_NAME_ANSWER:
      names_answer (h->process, payload, h->len);
      return;
    case AGENT_CLOCK:
      s = parse_small (h, payload);
      machine_set_clock (s.clock_nsec);
      return;
    case AGENT_NET_ADD:
      net_add (h->process, payload, h->len);
      return;
    case AGENT_NET_DEL:
      net_del (h->process, payload, h->len);
      return;
    case AGENT_DISK_ADD:
      attach_add (h->process, payload, h->len);
      return;
    case AGENT_DISK_DEL:
      attach_remove (h->process, payload, h->len);
      return;
    case AGENT_QUIESCE:
      quiesce_begin (h->process);
      return;
    case AGENT_GO_ON:
      quiesce_end (h->process, payload, h->len);
      return;
    case AGENT_SYNC:
      sync_begin (h->process);
      return;
    case AGENT_NOTIFY:
      notify_take (payload, h->len);
      return;
    case AGENT_FREEZE:
      copies_freeze (h->process);
      return;
    case AGENT_THAW:
      copies_thaw (h->process);
      return;
    case AGENT_NET_QUERY:
      net_query (h->process);
      return;
    }
  /* The rest is about a process, which may have ended while the frame was under way. */
  p = process_find (h->process);
  if (!p)
    return;
  switch (h->type)
    {
    case AGENT_STDIN:
      if (!relay_in_data (&p->in, payload, h->len))
        fatal ("the host sends more than process %u takes", h->process);
      return;
    case AGENT_RESIZE:
      s = parse_small (h, payload);
      process_resize (p, s.rows, s.cols);
      return;
    case AGENT_FRAME_WINDOW:
      s = parse_small (h, payload);
      if (s.stream == AGENT_STDOUT)
        relay_out_credit (&p->out, s.bytes);
      else if (s.stream == AGENT_STDERR)
        relay_out_credit (&p->err, s.bytes);
      return;
    case AGENT_CLOSE:
      s = parse_small (h, payload);
      if (s.stream == AGENT_STDOUT)
        relay_out_close (&p->out);
      else if (s.stream == AGENT_STDERR)
        relay_out_close (&p->err);
      return;
    default:
      log_write (LOG_WARNING, "frame type %u is not known", h->type);
    }
}

static void on_reset (void);

static const struct channel_user channel_user = { .frame = take_frame, .relieved = process_resume_all, .reset = on_reset };

static void
put_hello (struct tlv_writer *w)
{
  struct utsname name;

  uname (&name);
  tlv_put_u32 (w, A_VERSION, AGENT_VERSION);
  tlv_put_str (w, A_KERNEL, name.release);
  tlv_put_u64 (w, A_BOOT_USEC, machine_usec (CLOCK_BOOTTIME));
}

/* The machine goes on from a template, and nothing was asked of it yet; or it was told to expect this. */
static void
on_reset (void)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (quiesce_is_held ())
    {
      channel_start (transport_open (TRANSPORT_AGENT), &channel_user);
      put_hello (&w);
      channel_send_first (AGENT_HELLO, &w);
      return;
    }
  if (container_is_wanted ())
    fatal ("the agent channel was reset");
  log_set_sink (NULL);
  agent_start ();
}

void
agent_start (void)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  channel_start (transport_open (TRANSPORT_AGENT), &channel_user);
  log_set_sink (send_log);
  put_hello (&w);
  channel_send_record (AGENT_HELLO, 0, &w);
}
