/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent-wire.h"
#include "channel.h"
#include "cleanup.h"
#include "log.h"
#include "loop.h"

enum
{
  ANSWER_MAX = AGENT_DATA_MAX - 1024
};

static void oom_ready (struct watch *w, uint32_t events);

static struct watch oom_watch = { .fd = -1, .ready = oom_ready };
static uint32_t oom_kills; /* that the host knows of */

static int
write_file (const char *dir, const char *name, const char *value)
{
  char path[PATH_MAX];
  autoclose int fd = -1;

  snprintf (path, sizeof path, "%s/%s", dir, name);
  fd = open (path, O_WRONLY | O_CLOEXEC);
  return fd < 0 || write (fd, value, strlen (value)) < 0 ? -1 : 0;
}

/* Each controller on its own: one that cannot be enabled takes no other with it. */
static void
enable_controllers (void)
{
  autoclose int fd = open (CGROUP_ROOT "/cgroup.controllers", O_RDONLY | O_CLOEXEC);
  char text[512], *save = NULL;
  ssize_t n = fd < 0 ? -1 : read (fd, text, sizeof text - 1);

  if (n < 0)
    return;
  text[n] = 0;
  for (char *name = strtok_r (text, " \n", &save); name; name = strtok_r (NULL, " \n", &save))
    {
      char change[64];

      snprintf (change, sizeof change, "+%s", name);
      if (write_file (CGROUP_ROOT, "cgroup.subtree_control", change) < 0)
        log_write (LOG_DEBUG, "the cgroup controller %s is not usable: %s", name, strerror (errno));
    }
}

/* A whole file; -1 where it is not there. */
static ssize_t
read_file (int fd, char *text, size_t size)
{
  size_t len = 0;
  ssize_t n;

  while (len < size - 1 && (n = pread (fd, text + len, size - 1 - len, (off_t) len)) > 0)
    len += (size_t) n;
  text[len] = 0;
  return (ssize_t) len;
}

void
cgroup_report_oom (void)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  char text[1024];
  const char *found;
  unsigned long n;

  if (oom_watch.fd < 0)
    return;
  read_file (oom_watch.fd, text, sizeof text);
  found = strstr (text, "oom_kill ");
  n = found ? strtoul (found + 9, NULL, 10) : 0;
  if (n == oom_kills)
    return;
  oom_kills = (uint32_t) n;
  tlv_put_u32 (&w, A_BYTES, oom_kills);
  channel_send_record (AGENT_OOM, 0, &w);
}

static void
oom_ready (struct watch *w, uint32_t events)
{
  (void) w;
  (void) events;
  cgroup_report_oom ();
}

/* A kernel without the memory controller has no such file, and no news. */
static void
watch_oom (void)
{
  int fd = open (CGROUP_CONTAINER "/memory.events", O_RDONLY | O_CLOEXEC);

  if (fd >= 0 && loop_add (&oom_watch, fd, EPOLLPRI) < 0)
    {
      log_write (LOG_WARNING, "cannot watch for a lack of memory: %s", strerror (errno));
      close (fd);
    }
  cgroup_report_oom ();
}

static void
send_answer (uint32_t number, struct tlv_writer *w, const struct failure *f)
{
  if (f->message[0])
    {
      tlv_writer_free (w);
      failure_put (w, f);
    }
  channel_send_record (AGENT_CGROUP_ANSWER, number, w);
}

static bool
is_file_name (const char *name)
{
  return *name && *name != '.' && !strchr (name, '/');
}

void
cgroup_set (uint32_t number, const void *record, size_t len)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct failure f = { 0 };
  const char *name = "";
  struct tlv_reader r;
  struct tlv_field field;

  tlv_reader_init (&r, record, len);
  while (!f.message[0] && tlv_next (&r, &field))
    if (field.tag == K_NAME)
      name = tlv_get_str (&r, &field);
    else if (field.tag == K_VALUE)
      {
        const char *value = tlv_get_str (&r, &field);

        if (!is_file_name (name))
          fail (&f, "cgroup", EINVAL, "\"%s\" is no file of a cgroup", name);
        else if (write_file (CGROUP_CONTAINER, name, value) < 0)
          fail (&f, "cgroup", errno, "cannot set %s to \"%s\"", name, value);
      }
  if (r.bad)
    fatal ("the agent channel is corrupt (CGROUP_SET)");
  send_answer (number, &w, &f);
}

void
cgroup_get (uint32_t number, const void *record, size_t len)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct failure f = { 0 };
  struct tlv_reader r;
  struct tlv_field field;

  tlv_reader_init (&r, record, len);
  while (tlv_next (&r, &field))
    if (field.tag == K_NAME)
      {
        char path[PATH_MAX], text[16 * 1024];
        const char *name = tlv_get_str (&r, &field);
        autoclose int fd = -1;

        snprintf (path, sizeof path, CGROUP_CONTAINER "/%s", name);
        fd = is_file_name (name) ? open (path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0 || read_file (fd, text, sizeof text) < 0 || w.len + strlen (text) > ANSWER_MAX)
          continue;
        tlv_put_str (&w, K_NAME, name);
        tlv_put_str (&w, K_VALUE, text);
      }
  if (r.bad)
    fatal ("the agent channel is corrupt (CGROUP_GET)");
  send_answer (number, &w, &f);
}

int
cgroup_make (const struct setup *s, struct failure *f)
{
  if (mount ("cgroup2", CGROUP_ROOT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0
      && errno != EBUSY)
    return fail (f, "cgroup", errno, "cannot mount cgroup2");
  enable_controllers ();
  if (mkdir (CGROUP_CONTAINER, 0755) < 0 && errno != EEXIST)
    return fail (f, "cgroup", errno, "cannot make the container's cgroup");
  for (size_t i = 0; i < s->n_cgroup; i++)
    {
      const struct setup_pair *p = &s->cgroup[i];

      if (!*p->name || strchr (p->name, '/'))
        return fail (f, "cgroup", EINVAL, "\"%s\" is no file of a cgroup", p->name);
      if (write_file (CGROUP_CONTAINER, p->name, p->value) < 0)
        return fail (f, "cgroup", errno, "cannot set %s to \"%s\"", p->name, p->value);
    }
  watch_oom ();
  return 0;
}

int
cgroup_join (pid_t init, struct failure *f)
{
  char path[64], text[PATH_MAX], dir[PATH_MAX + 32];
  autoclose int fd = -1;
  ssize_t n;

  if (write_file (CGROUP_CONTAINER, "cgroup.procs", "0") == 0)
    return 0;
  if (errno == EBUSY && init > 0)
    {
      snprintf (path, sizeof path, "/proc/%d/cgroup", (int) init);
      fd = open (path, O_RDONLY | O_CLOEXEC);
      n = fd < 0 ? -1 : read (fd, text, sizeof text - 1);
      if (n > 3)
        {
          text[n] = 0;
          text[strcspn (text, "\n")] = 0;
          snprintf (dir, sizeof dir, CGROUP_ROOT "%s", text + 3); /* "0::/container/..." */
          if (write_file (dir, "cgroup.procs", "0") == 0)
            return 0;
        }
    }
  return fail (f, "cgroup", errno, "cannot enter the container's cgroup");
}
