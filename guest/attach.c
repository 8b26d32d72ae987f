/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "attach.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "agent-wire.h"
#include "array.h"
#include "channel.h"
#include "cleanup.h"
#include "container.h"
#include "disks.h"
#include "failure.h"
#include "handoff.h"
#include "hotplug.h"
#include "kernel.h"
#include "log.h"
#include "loop.h"
#include "mounts.h"
#include "path.h"
#include "tlv.h"

#define NODES "/run/devices"

enum
{
  NAME_SIZE = 32,
  NODE_MODE = 0660 /* as of disks of the start */
};

struct slot
{
  enum
  {
    EMPTY,
    COMING,
    THERE,
    GOING
  } state;
  char name[NAME_SIZE]; /* "vdc"; it outlives the disk where the device does */
  char *target;
  char *type;
  struct watch child;
  uint32_t number; /* of the frame that is to be answered */
};

/* What the host asks for; strings are the record's. */
struct order
{
  uint32_t slot;
  bool kept;
  uint64_t bytes, flags;
  const char *serial, *target, *type;
};

static struct
{
  char (*first)[NAME_SIZE]; /* disks of the start */
  size_t n_first;
  struct slot slots[AGENT_DISKS_MAX];
} the;

static void
take_first (const char *name)
{
  char (*n)[NAME_SIZE] = array_append (the.first, the.n_first);

  if (n)
    snprintf (*n, NAME_SIZE, "%s", name);
}

void
attach_begin (void)
{
  disk_list (take_first);
}

static bool
is_known (const char *name)
{
  for (size_t i = 0; i < the.n_first; i++)
    if (strcmp (the.first[i], name) == 0)
      return true;
  for (size_t i = 0; i < AGENT_DISKS_MAX; i++)
    if (strcmp (the.slots[i].name, name) == 0)
      return true;
  return false;
}

static bool
is_raw (const char *type)
{
  return strcmp (type, "raw") == 0;
}

static void
answer (uint32_t number, const struct failure *f)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (f && f->message[0])
    failure_put (&w, f);
  channel_send_record (AGENT_DISK_ANSWER, number, &w);
}

/* In the child. */

static int
open_namespace (struct failure *f)
{
  int fd = open ("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

  return fd < 0 ? fail (f, "disk", errno, "cannot open the mount namespace") : fd;
}

static int
find (const struct order *o, struct slot *s, int handoff, struct failure *f)
{
  char locator[NAME_SIZE + 8], bytes[24];
  int error;

  if (o->kept && s->name[0])
    {
      snprintf (locator, sizeof locator, "dev:%s", s->name);
      snprintf (bytes, sizeof bytes, "%" PRIu64, o->bytes);
      return disk_await_size (locator, bytes, true, f);
    }
  error = hotplug_rescan_now ();
  if (error)
    return fail (f, "disk", error, "cannot look for new PCI devices");
  s->name[0] = 0;
  if (disk_await_new (o->serial, is_known, o->bytes, s->name, sizeof s->name, f) < 0)
    return -1;
  if (handoff_send (handoff, HANDOFF_DISK, s->name, strlen (s->name), NULL, 0) < 0)
    return fail (f, "disk", errno, "cannot tell the agent of a disk");
  return 0;
}

/* A node of our own, for a bind. */
static int
make_node (unsigned slot, const char *device, struct failure *f)
{
  autoclose int fd = -1;
  char path[64];
  struct stat st;
  int tree;

  snprintf (path, sizeof path, NODES "/hot%u", slot);
  if ((mkdir (NODES, 0755) < 0 && errno != EEXIST) || stat (device, &st) < 0 || (unlink (path) < 0 && errno != ENOENT)
      || mknod (path, S_IFBLK | 0600, st.st_rdev) < 0 || chmod (path, NODE_MODE) < 0
      || (fd = open (path, O_PATH | O_CLOEXEC)) < 0 || (tree = mount_clone (fd, 0)) < 0)
    return fail (f, "device", errno, "cannot make a node of the disk");
  return tree;
}

static int
attach_tree (int tree, const struct order *o, struct failure *f)
{
  autoclose int root = -1, to = -1;

  if (container_enter_mounts () < 0)
    return fail (f, "mount", errno, "cannot enter the container's mount namespace");
  root = open ("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  to = root < 0 ? -1 : is_raw (o->type) ? path_make_file (root, o->target) : path_make_dir (root, o->target, 0755);
  if (to < 0)
    return fail (f, "mount", errno, "cannot make the mount point %s", o->target);
  if (k_move_mount (tree, to) < 0)
    return fail (f, "mount", errno, "cannot mount the disk at %s", o->target);
  return 0;
}

static int
bring (const struct order *o, struct slot *s, int handoff, struct failure *f)
{
  autoclose int own = -1, tree = -1;
  char device[NAME_SIZE + 8];
  int error;

  if (find (o, s, handoff, f) < 0)
    return -1;
  snprintf (device, sizeof device, "/dev/%s", s->name);
  if (k_unshare (K_CLONE_NEWNS) < 0)
    fail (f, "disk", errno, "cannot make a mount namespace");
  else if ((own = open_namespace (f)) >= 0)
    {
      tree = is_raw (o->type) ? make_node (o->slot, device, f) : mount_disk (device, o->type, o->flags, f);
      if (tree >= 0 && attach_tree (tree, o, f) == 0)
        return 0;
    }
  /* Nothing of it stays. */
  if (tree >= 0)
    close (steal_fd (&tree));
  if (own >= 0)
    k_setns (own, K_CLONE_NEWNS);
  error = hotplug_remove_disk (s->name);
  if (error)
    log_write (LOG_WARNING, "cannot take the disk %s off the bus: %s", s->name, strerror (error));
  return -1;
}

/* Takes it off its place in the container, where it still is there: what has been done by somebody else shows in the next step. */
static int
unmount (const struct slot *s, dev_t device, struct failure *f)
{
  struct stat st;
  int r;

  if (container_enter_mounts () < 0)
    return fail (f, "mount", errno, "cannot enter the container's mount namespace");
  /* A btrfs has numbers of its own. */
  if (stat (s->target, &st) < 0 || (is_raw (s->type) ? !S_ISBLK (st.st_mode) || st.st_rdev != device
                                    : strcmp (s->type, "btrfs") != 0 && st.st_dev != device))
    return 0;
  r = umount2 (s->target, UMOUNT_NOFOLLOW);
  if (r < 0 && errno == EBUSY)
    return fail (f, "mount", EBUSY, "the disk at %s is in use in the container: end what uses it, and detach it again", s->target);
  if (r < 0 && errno != EINVAL && errno != ENOENT)
    return fail (f, "mount", errno, "cannot unmount %s", s->target);
  /* The file that was made for a node. */
  if (r == 0 && is_raw (s->type) && lstat (s->target, &st) == 0 && S_ISREG (st.st_mode) && st.st_size == 0)
    unlink (s->target);
  return 0;
}

static int
take_away (const struct slot *s, struct failure *f)
{
  autoclose int own = open_namespace (f), disk = -1;
  char device[NAME_SIZE + 8];
  struct stat st;
  int error;

  snprintf (device, sizeof device, "/dev/%s", s->name);
  if (own < 0)
    return -1;
  if (stat (device, &st) < 0)
    return fail (f, "disk", errno, "cannot look at %s", device);
  if (unmount (s, st.st_rdev, f) < 0)
    return -1;
  if (k_setns (own, K_CLONE_NEWNS) < 0)
    return fail (f, "disk", errno, "cannot return to the mount namespace");
  /* A file system claims its device, wherever the container has it mounted as well. */
  disk = open (device, O_RDONLY | O_EXCL | O_CLOEXEC);
  if (disk < 0)
    return fail (f, "mount", errno, "the disk of %s is still in use in the container, at another place", s->target);
  if (fsync (disk) < 0)
    return fail (f, "disk", errno, "cannot write what is left to the disk of %s", s->target);
  close (steal_fd (&disk));
  error = hotplug_remove_disk (s->name);
  return error ? fail (f, "disk", error, "cannot take the disk of %s off the bus", s->target) : 0;
}

/* In the agent. */

static void
forget (struct slot *s)
{
  s->state = EMPTY;
  free (steal_ptr (s->target));
  free (steal_ptr (s->type));
}

static void
finish (struct slot *s, const struct failure *f)
{
  bool failed = f && f->message[0];

  loop_close (&s->child);
  if (s->state == COMING ? failed : !failed)
    forget (s);
  else
    s->state = THERE;
  answer (s->number, f);
}

static void
read_failure (const void *data, size_t len, struct failure *f)
{
  struct tlv_reader r;
  struct tlv_field field;

  f->stage = "disk";
  tlv_reader_init (&r, data, len);
  while (tlv_next (&r, &field))
    if (field.tag == A_ERRNO)
      f->errnum = (int) tlv_get_u32 (&r, &field);
    else if (field.tag == A_MESSAGE)
      snprintf (f->message, sizeof f->message, "%s", tlv_get_str (&r, &field));
}

static void
child_said (struct watch *w, uint32_t events)
{
  struct slot *s = owner_of (w, struct slot, child);
  unsigned char data[HANDOFF_MAX];
  size_t len = sizeof data;
  int fds[HANDOFF_FDS], type = handoff_recv (w->fd, data, &len, fds);
  struct failure f = { 0 };

  (void) events;
  switch (type)
    {
    case HANDOFF_LOG:
      agent_forward_log (data, len);
      return;
    case HANDOFF_DISK:
      snprintf (s->name, sizeof s->name, "%.*s", (int) len, (const char *) data);
      return;
    case HANDOFF_READY:
      finish (s, NULL);
      return;
    case HANDOFF_FAILED:
      read_failure (data, len, &f);
      break;
    case -1:
      if (errno == EAGAIN)
        return;
      /* fall through */
    default:
      fail (&f, "disk", 0, "the process that was to see to a disk was killed");
      break;
    }
  finish (s, &f);
}

/* `o` is NULL for one that goes. */
static void
begin (struct slot *s, const struct order *o, uint32_t number)
{
  struct failure f = { 0 };
  int fds[2];
  pid_t pid;

  s->number = number;
  s->child = WATCH_INIT;
  s->child.ready = child_said;
  s->state = o ? COMING : GOING;
  if (handoff_pair (fds) < 0)
    {
      fail (&f, "disk", errno, "cannot make a socket pair");
      finish (s, &f);
      return;
    }
  pid = fork ();
  if (pid == 0)
    {
      handoff_begin_child (fds[1]);
      if ((o ? bring (o, s, fds[1], &f) : take_away (s, &f)) == 0)
        handoff_send (fds[1], HANDOFF_READY, NULL, 0, NULL, 0);
      else
        handoff_send_failure (fds[1], &f);
      _exit (0);
    }
  close (fds[1]);
  if (pid < 0 || loop_add (&s->child, fds[0], EPOLLIN) < 0)
    {
      fail (&f, "disk", errno, "cannot begin with a disk");
      close (fds[0]);
      finish (s, &f);
    }
}

static bool
parse (struct order *o, const void *record, size_t len)
{
  struct tlv_reader r;
  struct tlv_field f;

  *o = (struct order){ .slot = UINT32_MAX };
  tlv_reader_init (&r, record, len);
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case B_SLOT:
        o->slot = tlv_get_u32 (&r, &f);
        break;
      case B_SERIAL:
        o->serial = tlv_get_str (&r, &f);
        break;
      case B_KEPT:
        o->kept = tlv_get_u32 (&r, &f) != 0;
        break;
      case B_BYTES:
        o->bytes = tlv_get_u64 (&r, &f);
        break;
      case B_TARGET:
        o->target = tlv_get_str (&r, &f);
        break;
      case B_TYPE:
        o->type = tlv_get_str (&r, &f);
        break;
      case B_FLAGS:
        o->flags = tlv_get_u64 (&r, &f);
        break;
      }
  return !r.bad && o->slot < AGENT_DISKS_MAX;
}

void
attach_add (uint32_t number, const void *record, size_t len)
{
  struct failure f = { 0 };
  struct order o;
  struct slot *s = parse (&o, record, len) ? &the.slots[o.slot] : NULL;

  if (!s || !o.target || !o.type || s->state != EMPTY)
    fail (&f, "disk", EPROTO, "the DISK_ADD record is malformed");
  else if (!(s->target = strdup (o.target)) || !(s->type = strdup (o.type)))
    {
      forget (s);
      fail (&f, "disk", ENOMEM, "cannot attach a disk");
    }
  if (f.message[0])
    {
      answer (number, &f);
      return;
    }
  if (!o.kept)
    s->name[0] = 0;
  begin (s, &o, number);
}

void
attach_remove (uint32_t number, const void *record, size_t len)
{
  struct failure f = { 0 };
  struct order o;
  struct slot *s = parse (&o, record, len) ? &the.slots[o.slot] : NULL;

  if (!s || s->state != THERE)
    {
      fail (&f, "disk", EPROTO, "the DISK_DEL record is malformed");
      answer (number, &f);
      return;
    }
  begin (s, NULL, number);
}
