/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A template is made: a machine of the same shape, with empty disks and TAPs that lead nowhere, in a namespace of its own, boots
 * until its agent says hello, and is saved.  Nothing of any container is near it.
 */
#include "config.h"

#define RCVMI_STAGE "template"
#include "template.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent.h"
#include "cache.h"
#include "cleanup.h"
#include "err.h"
#include "ev.h"

enum
{
  BOOT_TIMEOUT_MS = 180000,
  DISK_SIZE = 1024 * 1024
};

struct maker
{
  const struct rcvmi_vmm *wanted;
  const struct rcvmi_vmm_config *config;
  char *disk, *state;
  char taps[RCVMI_VMM_NICS][IFNAMSIZ];
  struct rcvmi_ev *ev;
  struct rcvmi_vmm vmm;
  struct rcvmi_agent *agent;
  bool hello;
  rcvm_error *error;
};

/* The machine, until its agent says hello. */

static void
stop (struct maker *m, rcvm_error *err)
{
  if (m->error)
    rcvm_error_free (err);
  else
    m->error = err;
  rcvmi_ev_stop (m->ev);
}

static void
on_hello (void *user, const char *kernel, uint64_t boot_usec)
{
  struct maker *m = user;

  (void) kernel;
  (void) boot_usec;
  m->hello = true;
  rcvmi_ev_stop (m->ev);
}

static void
on_nothing (void *user)
{
  (void) user;
}

static void
on_error (void *user, rcvm_error *err)
{
  stop (user, err);
}

static const struct rcvmi_agent_ops agent_ops
    = { .hello = on_hello, .ready = on_nothing, .setup_failed = on_error, .goodbye = on_nothing, .broken = on_error };

static void
on_connected (void *user)
{
  struct maker *m = user;
  int fd = rcvmi_vmm_take_agent (&m->vmm);
  rcvm_error *e = NULL;

  if (fd < 0)
    return;
  m->agent = rcvmi_agent_new (m->ev, fd, NULL, &agent_ops, m, &e);
  if (!m->agent)
    stop (m, e);
}

static const struct rcvmi_vmm_handler vmm_handler = { .running = on_nothing, .connected = on_connected, .died = on_error };

static void
on_timeout (void *user, uint32_t events)
{
  struct maker *m = user;
  rcvm_error *e = NULL;
  char line[400];

  (void) events;
  rcvmi_vmm_last_words (&m->vmm, line, sizeof line);
  rcvmi_fail (&e, RCVM_E_TIMEOUT, 0, "the guest of the template said nothing for %d seconds%s%s", BOOT_TIMEOUT_MS / 1000,
              line[0] ? "; its console's last word: " : "", line);
  stop (m, e);
}

/* All disks are this one. */
static int
make_file (const char *path, off_t size, rcvm_error **err)
{
  autoclose int fd = open (path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

  if (fd < 0 || ftruncate (fd, size) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make '%.200s'", path);
  return 0;
}

static int
make_taps (struct maker *m, rcvm_error **err)
{
  if (m->config->n_nics && unshare (CLONE_NEWNET) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a network namespace for the template");
  for (size_t i = 0; i < m->config->n_nics; i++)
    {
      struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
      autoclose int fd = open ("/dev/net/tun", O_RDWR | O_CLOEXEC);

      snprintf (m->taps[i], sizeof m->taps[i], "template%u", (unsigned) i & 0xff);
      memcpy (r.ifr_name, m->taps[i], sizeof r.ifr_name);
      if (fd < 0 || ioctl (fd, TUNSETIFF, &r) < 0 || ioctl (fd, TUNSETPERSIST, 1UL) < 0)
        return rcvmi_fail_errno (err, errno, "cannot make a TAP for the template");
    }
  return 0;
}

static int
boot (struct maker *m, const char *path, rcvm_error **err)
{
  struct rcvmi_vmm_config config = *m->config;
  struct rcvmi_ev_source *timer;
  autofree char *args = NULL; /* by which the guest knows that it may do in advance what will be done in any case */
  int code;

  rcvmi_vmm_generalise (&config);
  if (asprintf (&args, "%s%srcvm.template", config.kernel_args ? config.kernel_args : "", config.kernel_args ? " " : "") < 0)
    {
      args = NULL;
      return rcvmi_fail_nomem (err);
    }
  config.kernel_args = args;
  config.kernel = m->config->kernel;
  config.initramfs = m->config->initramfs;
  config.into = (struct rcvmi_vmm_saved){ .memory = path, .state = m->state };
  for (size_t i = 0; i < config.n_disks; i++)
    config.disks[i].path = m->disk;
  for (size_t i = 0; i < config.n_nics; i++)
    config.nics[i].tap_name = m->taps[i];
  timer = rcvmi_ev_add_timer (m->ev, BOOT_TIMEOUT_MS, on_timeout, m, err);
  if (!timer)
    return RCVM_E_SYSTEM;
  code = rcvmi_vmm_start (&m->vmm, &config, err);
  if (code == 0)
    code = rcvmi_ev_run (m->ev, err);
  rcvmi_ev_remove (timer);
  if (code == 0 && !m->hello)
    code = rcvmi_error_pass (err, steal_ptr (m->error));
  return code < 0 ? code : rcvmi_vmm_save (&m->vmm, err);
}

static int
make_machine (struct maker *m, const char *path, rcvm_error **err)
{
  int code = make_file (path, 0, err);

  if (code == 0)
    code = make_file (m->state, 0, err);
  if (code == 0)
    code = make_file (m->disk, DISK_SIZE, err);
  if (code == 0)
    code = make_taps (m, err);
  if (code == 0 && !(m->ev = rcvmi_ev_new (err)))
    code = RCVM_E_SYSTEM;
  if (code == 0)
    {
      m->vmm.ev = m->ev;
      m->vmm.program = strdup (m->wanted->program);
      code = m->vmm.program ? boot (m, path, err) : rcvmi_fail_nomem (err);
    }
  rcvmi_agent_free (steal_ptr (m->agent));
  rcvmi_vmm_stop (&m->vmm);
  rcvmi_ev_free (m->ev);
  return code;
}

static int
build (void *user, const char *path, rcvm_error **err)
{
  struct maker m = *(struct maker *) user;
  int code;

  if (asprintf (&m.disk, "%s.disk", path) < 0)
    m.disk = NULL;
  if (asprintf (&m.state, "%s.state", path) < 0)
    m.state = NULL;
  m.vmm = (struct rcvmi_vmm){ .ops = m.wanted->ops,
                              .handler = &vmm_handler,
                              .user = &m,
                              .version = m.wanted->version,
                              .accel = m.wanted->accel,
                              .confined = m.wanted->confined,
                              .proc = RCVMI_PROC_INIT,
                              .agent_fd = -1,
                              .volumes_fd = -1,
                              .listeners = RCVMI_VMM_LISTENERS_INIT,
                              .output = RCVMI_VMM_TEXT_INIT,
                              .console = RCVMI_VMM_TEXT_INIT };
  code = m.disk && m.state ? make_machine (&m, path, err) : rcvmi_fail_nomem (err);
  if (code == 0)
    code = rcvmi_template_seal (path, m.state, m.wanted->version, err);
  /* What else there is goes here; the cache removes `path` where this has failed, and what a killed one leaves. */
  if (m.disk)
    unlink (m.disk);
  if (m.state)
    unlink (m.state);
  rcvm_error_free (m.error);
  free (m.disk);
  free (m.state);
  return code;
}

int
rcvmi_template_make (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, const char *key, rcvm_error **err)
{
  struct maker m = { .wanted = vmm, .config = config };
  struct rcvmi_cache_build b = { .build = build, .user = &m, .expected = config->memory };
  struct rcvmi_cache_entry entry = RCVMI_CACHE_ENTRY_INIT;
  struct rcvmi_cache cache = RCVMI_CACHE_INIT;
  int code = rcvmi_cache_open (&cache, NULL, err);

  if (code == 0)
    code = rcvmi_cache_acquire (&cache, key, &b, &entry, err);
  rcvmi_cache_entry_clear (&entry);
  rcvmi_cache_close (&cache);
  return code;
}
