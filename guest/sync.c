/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In a process of its own: a disk takes its time, and a volume may never be in sync. */
#include "sync.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include "agent-wire.h"
#include "channel.h"
#include "failure.h"

enum
{
  SYNCS_MAX = 4
};

static struct one
{
  pid_t pid; /* 0: none */
  uint32_t number;
  uint64_t began_nsec;
} syncs[SYNCS_MAX];

static void
answer (uint32_t number, uint64_t began_nsec, const struct failure *f)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (f && f->message[0])
    failure_put (&w, f);
  else
    tlv_put_u64 (&w, A_CLOCK_NSEC, began_nsec);
  channel_send_record (AGENT_SYNCED, number, &w);
}

void
sync_begin (uint32_t number)
{
  struct failure f = { 0 };
  struct one *s = NULL;
  struct timespec now;

  for (size_t i = 0; i < SYNCS_MAX && !s; i++)
    if (!syncs[i].pid)
      s = &syncs[i];
  /* As file systems tell the time: what has an older one does not change any more without a newer one. */
  clock_gettime (CLOCK_REALTIME_COARSE, &now);
  if (!s)
    fail (&f, "sync", 0, "the disks have been syncing for too long");
  else
    {
      s->number = number;
      s->began_nsec = (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
      s->pid = fork ();
      if (s->pid == 0)
        {
          sync ();
          _exit (0);
        }
      if (s->pid > 0)
        return;
      s->pid = 0;
      fail (&f, "sync", errno, "cannot sync the disks");
    }
  answer (number, 0, &f);
}

void
sync_reaped (pid_t pid, int status)
{
  for (size_t i = 0; i < SYNCS_MAX; i++)
    if (syncs[i].pid == pid)
      {
        struct failure f = { 0 };

        syncs[i].pid = 0;
        if (status != 0)
          fail (&f, "sync", 0, "the disks were not synced");
        answer (syncs[i].number, syncs[i].began_nsec, &f);
      }
}
