/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VMMs' programs: where they are, and which version. */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  ANSWER_TIMEOUT_MS = 10000
};

char *
rcvmi_vmm_find_program (const char *variable, const char *name)
{
  const char *asked = secure_getenv (variable), *path = getenv ("PATH");
  char candidate[4096];

  if (asked && *asked)
    return access (asked, X_OK) == 0 ? strdup (asked) : NULL;
  if (!path || !*path)
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  while (*path)
    {
      size_t len = strcspn (path, ":");

      snprintf (candidate, sizeof candidate, "%.*s/%s", (int) len, path, name);
      if (len > 0 && access (candidate, X_OK) == 0)
        return strdup (candidate);
      path += len + (path[len] == ':');
    }
  return NULL;
}

/* What it says, up to its end or the end of the buffer; the length, or -1. */
static ssize_t
read_answer (int fd, char *buf, size_t size)
{
  size_t len = 0;

  while (len < size)
    {
      struct pollfd p = { .fd = fd, .events = POLLIN };
      int r = poll (&p, 1, ANSWER_TIMEOUT_MS);
      ssize_t n;

      if (r < 0 && errno == EINTR)
        continue;
      if (r <= 0)
        return -1;
      n = read (fd, buf + len, size - len);
      if (n < 0)
        return -1;
      if (n == 0)
        break;
      len += (size_t) n;
    }
  return (ssize_t) len;
}

int
rcvmi_vmm_ask_version (const char *program, const char *prefix, unsigned *version, rcvm_error **err)
{
  char *argv[] = { (char *) program, (char *) "--version", NULL }, text[512] = "";
  struct rcvmi_proc proc = RCVMI_PROC_INIT;
  autoclose int from = -1;
  unsigned major, minor;
  const char *at;
  int fds[2], code;
  ssize_t n;

  if (pipe2 (fds, O_CLOEXEC) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a pipe");
  from = fds[0];
  code = rcvmi_proc_spawn (&proc, program, argv, fds[1], NULL, 0, err);
  close (fds[1]);
  if (code < 0)
    return code;
  n = read_answer (from, text, sizeof text - 1);
  rcvmi_proc_kill (&proc);
  if (n < 0)
    return rcvmi_fail (err, RCVM_E_HOST, 0, "'%s --version' does not answer", program);
  at = strstr (text, prefix);
  if (!at || sscanf (at + strlen (prefix), "%u.%u", &major, &minor) != 2 || major > 1000000 || minor >= RCVMI_VMM_MINOR)
    return rcvmi_fail (err, RCVM_E_HOST, 0, "'%s --version' does not say \"%sNUMBER.NUMBER\"", program, prefix);
  *version = RCVMI_VMM_VERSION (major, minor);
  return 0;
}
