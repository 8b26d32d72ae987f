/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a confined process is to see. */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "confine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  SCRIPT_HEAD = 256,
  JAIL_ROOM_KIB = 1280
};

/* For sockets and pipes; a VMM that is no longer ours fills no more of the host's memory. */
#define PLACE_SIZE UINT64_C (262144)
#define PLACE_FILES "64"
/* For its directories as well, and for what is mounted in there. */
#define JAIL_FILES "256"

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
      cleanup_close (&c->list[i].fd);
    }
  free (c->list);
  free (c->dir);
  free (c->jail_base);
  free (c->jail);
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
  return add (c,
              &(struct rcvmi_confine_entry){
                  .kind = kind, .source = (char *) source, .target = (char *) target, .fd = -1 },
              err);
}

/* A mount of the source, as the new root has it; with `owners`, under another owner's name.  It is made on this side: what leads to the
   source may be an fd of this process, which is of a mount that the child has not. */
static int
make_tree (enum rcvmi_confine_kind kind, const char *source, int owners)
{
  struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME | MOUNT_ATTR_NOEXEC,
                             .attr_clr = MOUNT_ATTR__ATIME };
  autoclose int tree = open_tree (AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

  if (kind != RCVMI_CONFINE_WRITABLE)
    attr.attr_set |= MOUNT_ATTR_RDONLY;
  if (owners >= 0)
    {
      attr.attr_set |= MOUNT_ATTR_IDMAP;
      attr.userns_fd = (uint64_t) owners;
    }
  return tree < 0 || mount_setattr (tree, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0 ? -1 : steal_fd (&tree);
}

int
rcvmi_confine_add_foreign (struct rcvmi_confine *c, enum rcvmi_confine_kind kind, const char *source, const char *target,
                           rcvm_error **err)
{
  mode_t wanted = kind == RCVMI_CONFINE_WRITABLE ? S_IROTH | S_IWOTH : S_IROTH;
  struct rcvmi_confine_entry e = { .kind = RCVMI_CONFINE_MOUNT, .target = (char *) target, .fd = -1 };
  autoclose int owners = -1;
  struct stat st;
  int code;

  if (stat (source, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot look at '%.200s'", source);
  if ((st.st_mode & wanted) != wanted)
    {
      owners = rcvmi_confine_map_owner (st.st_uid, st.st_gid, c->id, err);
      if (owners < 0)
        return owners;
    }
  if (owners < 0 || (st.st_mode & wanted << 6) == wanted << 6)
    e.fd = make_tree (kind, source, owners);
  if (e.fd < 0 && owners >= 0)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "a confined VMM cannot open '%.200s', whose mode keeps others out and whose file system does not map owners: "
                       "chmod it, use QEMU, or start the VM with --confine off",
                       source);
  if (e.fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a mount of '%.200s' for the VMM", source);
  code = add (c, &e, err);
  if (code < 0)
    close (e.fd);
  return code;
}

static int
add_place (struct rcvmi_confine *c, const char *target, const char *room, const char *files, unsigned flags, int *dir_fd,
           rcvm_error **err)
{
  struct rcvmi_confine_entry e = { .kind = RCVMI_CONFINE_MOUNT, .target = (char *) target, .fd = -1 };
  autoclose int fs = fsopen ("tmpfs", FSOPEN_CLOEXEC), dir = -1;
  char id[24];
  int code;

  snprintf (id, sizeof id, "%u", (unsigned) c->id);
  if (fs < 0 || fsconfig (fs, FSCONFIG_SET_STRING, "size", room, 0) < 0
      || fsconfig (fs, FSCONFIG_SET_STRING, "nr_inodes", files, 0) < 0
      || fsconfig (fs, FSCONFIG_SET_STRING, "mode", "0700", 0) < 0 || fsconfig (fs, FSCONFIG_SET_STRING, "uid", id, 0) < 0
      || fsconfig (fs, FSCONFIG_SET_STRING, "gid", id, 0) < 0 || fsconfig (fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0
      || (e.fd = fsmount (fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | flags)) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a file system for the VMM's sockets");
  dir = openat (e.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  code = dir < 0 ? rcvmi_fail_errno (err, errno, "cannot open the file system of the VMM's sockets") : add (c, &e, err);
  if (code < 0)
    cleanup_close (&e.fd);
  else
    *dir_fd = steal_fd (&dir);
  return code;
}

int
rcvmi_confine_add_place (struct rcvmi_confine *c, const char *target, uint64_t more, int *dir_fd, rcvm_error **err)
{
  char room[32];

  snprintf (room, sizeof room, "%ju", (uintmax_t) (PLACE_SIZE + more));
  return add_place (c, target, room, PLACE_FILES, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, dir_fd, err);
}

/* Where its root may be made, in mounts of its own: the programs are not to vanish below it. */
static const char *
find_base (const char *program)
{
  static const char *const bases[] = { "/mnt", "/srv", "/media", "/tmp" };

  for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++)
    {
      size_t len = strlen (bases[i]);

      if (access (bases[i], X_OK) == 0 && (strncmp (program, bases[i], len) != 0 || program[len] != '/'))
        return bases[i];
    }
  return NULL;
}

int
rcvmi_confine_add_jail (struct rcvmi_confine *c, const char *program, const char *id, int *dir_fd, rcvm_error **err)
{
  autofree char *real = realpath (program, NULL);
  const char *base = real ? find_base (real) : NULL;
  char room[32];
  struct stat st;

  if (!real || stat (real, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot look at '%.200s'", program);
  if (!base)
    return rcvmi_fail (err, RCVM_E_HOST, 0, "the jailer's root needs one of /mnt, /srv, /media and /tmp to be made in");
  /* The copy, and what the place without it has. */
  snprintf (room, sizeof room, "%lluk", (unsigned long long) st.st_size / 1024 + JAIL_ROOM_KIB);
  c->jail_base = strdup (base);
  if (asprintf (&c->jail, "%s%s/%s/root", base, strrchr (real, '/'), id) < 0)
    c->jail = NULL;
  if (!c->jail_base || !c->jail)
    return rcvmi_fail_nomem (err);
  return add_place (c, "/", room, JAIL_FILES, 0, dir_fd, err);
}

int
rcvmi_confine_add_tree (struct rcvmi_confine *c, int fd, bool read_only, const char *target, rcvm_error **err)
{
  struct rcvmi_confine_entry e = { .kind = RCVMI_CONFINE_MOUNT, .target = (char *) target };
  struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };
  int code;

  if (read_only)
    attr.attr_set |= MOUNT_ATTR_RDONLY;
  e.fd = open_tree (fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (e.fd < 0 || mount_setattr (e.fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) < 0)
    code = rcvmi_fail_errno (err, errno, "cannot make a mount of what is to be shared with the VM");
  else
    code = add (c, &e, err);
  if (code < 0)
    cleanup_close (&e.fd);
  return code;
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
                                             .fd = -1,
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
