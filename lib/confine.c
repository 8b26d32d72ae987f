/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a confined process is to see. */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "confine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  SCRIPT_HEAD = 256
};

int
rcvmi_confine_init (struct rcvmi_confine *c, rcvm_error **err)
{
  *c = RCVMI_CONFINE_INIT;
  return rcvmi_confine_take_user (&c->id, &c->id_fd, err);
}

void
rcvmi_confine_clear (struct rcvmi_confine *c)
{
  for (size_t i = 0; i < c->n; i++)
    {
      free (c->list[i].source);
      free (c->list[i].target);
    }
  free (c->list);
  free (c->dir);
  cleanup_close (&c->id_fd);
  *c = RCVMI_CONFINE_INIT;
}

static int
add (struct rcvmi_confine *c, const struct rcvmi_confine_entry *e, rcvm_error **err)
{
  struct rcvmi_confine_entry *list = c->list, copy = *e;

  for (size_t i = 0; i < c->n; i++)
    if (strcmp (c->list[i].target, e->target) == 0)
      return 0;
  if (c->n == c->room)
    {
      size_t room = c->room ? 2 * c->room : 64;

      list = reallocarray (c->list, room, sizeof *list);
      if (!list)
        return rcvmi_fail_nomem (err);
      c->list = list;
      c->room = room;
    }
  copy.source = e->source ? strdup (e->source) : NULL;
  copy.target = strdup (e->target);
  if (!copy.target || (e->source && !copy.source))
    {
      free (copy.source);
      free (copy.target);
      return rcvmi_fail_nomem (err);
    }
  list[c->n++] = copy;
  return 0;
}

int
rcvmi_confine_add (struct rcvmi_confine *c, enum rcvmi_confine_kind kind, const char *source, const char *target,
                   rcvm_error **err)
{
  return add (c, &(struct rcvmi_confine_entry){ .kind = kind, .source = (char *) source, .target = (char *) target }, err);
}

int
rcvmi_confine_add_device (struct rcvmi_confine *c, const char *source, const char *target, rcvm_error **err)
{
  struct stat st;

  if (stat (source, &st) < 0)
    return rcvmi_fail (err, RCVM_E_HOST, errno, "cannot find the device '%.200s', which the VMM needs", source);
  if (!S_ISCHR (st.st_mode) && !S_ISBLK (st.st_mode))
    return rcvmi_fail (err, RCVM_E_HOST, 0, "'%.200s' is no device", source);
  return add (c,
              &(struct rcvmi_confine_entry){ .kind = RCVMI_CONFINE_DEVICE,
                                             .target = (char *) target,
                                             .type = st.st_mode & S_IFMT,
                                             .device = st.st_rdev },
              err);
}

static int
add_library (void *user, const char *path, rcvm_error **err)
{
  return rcvmi_confine_add (user, RCVMI_CONFINE_PROGRAM, path, path, err);
}

/* The interpreter of a script; NULL: it is none. */
static char *
read_interpreter (const char *path)
{
  autoclose int fd = open (path, O_RDONLY | O_CLOEXEC);
  char head[SCRIPT_HEAD + 1];
  ssize_t n = fd < 0 ? -1 : read (fd, head, SCRIPT_HEAD);
  char *start;

  if (n < 3 || head[0] != '#' || head[1] != '!')
    return NULL;
  head[n] = 0;
  start = head + 2 + strspn (head + 2, " \t");
  start[strcspn (start, " \t\n")] = 0;
  return *start == '/' ? strdup (start) : NULL;
}

int
rcvmi_confine_add_program (struct rcvmi_confine *c, const char *path, rcvm_error **err)
{
  autofree char *interpreter = read_interpreter (path);
  int code = rcvmi_confine_add (c, RCVMI_CONFINE_PROGRAM, path, path, err);

  if (code == 0 && interpreter)
    code = rcvmi_confine_add (c, RCVMI_CONFINE_PROGRAM, interpreter, interpreter, err);
  if (code == 0)
    code = rcvmi_confine_elf (interpreter ? interpreter : path, add_library, c, err);
  /* By it the loader finds them where they are here. */
  if (code == 0 && access ("/etc/ld.so.cache", R_OK) == 0)
    code = rcvmi_confine_add (c, RCVMI_CONFINE_FILE, "/etc/ld.so.cache", "/etc/ld.so.cache", err);
  return code;
}

int
rcvmi_confine_check_readable (const char *what, const char *path, rcvm_error **err)
{
  struct stat st;

  if (stat (path, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot look at %s '%.200s'", what, path);
  if (st.st_mode & S_IROTH)
    return 0;
  return rcvmi_fail (err, RCVM_E_PERMISSION, 0,
                     "%s '%.200s' cannot be read by everybody, and a confined VMM is nobody in particular: chmod a+r it, or "
                     "start the VM with --confine off",
                     what, path);
}
