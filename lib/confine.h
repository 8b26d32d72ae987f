/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The confinement of a VMM (docs/confinement.md): a process of a user of its own, in namespaces of its own, whose root
 * directory has what its VM needs and nothing else.
 *
 *   confine.c        what it is to see: files, directories, devices, a program with all that it loads
 *   confine-elf.c    which libraries a program loads
 *   confine-user.c   a user that no other VM has
 *   confine-owner.c  files of others become that user's, as far as it sees
 *   confine-enter.c  the child moves in, between fork and exec
 *   confine-show.c   what it sees later, and does not see any more
 *   confine-seccomp.c  what it may not ask of the kernel then
 */
#ifndef RCVM_LIB_CONFINE_H
#define RCVM_LIB_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/capability.h>

#include <runcvm/error.h>

enum rcvmi_confine_kind
{
  RCVMI_CONFINE_FILE,    /* or directory, to be read */
  RCVMI_CONFINE_PROGRAM, /* the same, and may be executed or mapped so */
  RCVMI_CONFINE_WRITABLE,
  RCVMI_CONFINE_MOUNT, /* of a file system or a file, and nowhere yet */
  RCVMI_CONFINE_EMPTY, /* an empty file, over which something may be mounted later (rcvmi_confine_show) */
  RCVMI_CONFINE_DEVICE /* a node of the confined user's own */
};

struct rcvmi_confine_entry
{
  enum rcvmi_confine_kind kind;
  char *source; /* on the host; NULL: MOUNT, DEVICE */
  int fd;       /* MOUNT: of that */
  char *target; /* absolute, in the new root */
  mode_t type;  /* DEVICE: S_IFCHR or S_IFBLK */
  dev_t device;
};

/* Of root's capabilities, those that serving files as others takes. */
#define RCVMI_CONFINE_FILE_SERVER                                                                                         \
  (UINT64_C (1) << CAP_CHOWN | UINT64_C (1) << CAP_DAC_OVERRIDE | UINT64_C (1) << CAP_DAC_READ_SEARCH                     \
   | UINT64_C (1) << CAP_FOWNER | UINT64_C (1) << CAP_FSETID | UINT64_C (1) << CAP_MKNOD | UINT64_C (1) << CAP_SETUID     \
   | UINT64_C (1) << CAP_SETGID)

struct rcvmi_confine
{
  uid_t id; /* of the user and of its group */
  int id_fd; /* it is taken as long as this is open */
  struct rcvmi_confine_entry *list;
  size_t n, room;
  uint64_t capabilities; /* what it keeps of root's rights, whose user it is then: it acts for many, and `id` is 0 */
  char *dir;         /* its working directory in there; NULL: the root */
  char *jail_base;   /* NULL; or a directory below which Firecracker's jailer finds the root made, and enters it itself */
  char *jail;        /* that root */
  bool shares_net;   /* stays in its parent's network namespace */
  uint64_t files;    /* limits: open files, */
  uint64_t threads;
  uint64_t file_size; /* and bytes of any that it writes */
};

#define RCVMI_CONFINE_INIT ((struct rcvmi_confine){ .id_fd = -1 })

/* Takes a user for it.  RCVM_E_STATE: all are taken. */
int rcvmi_confine_init (struct rcvmi_confine *c, rcvm_error **err);
void rcvmi_confine_clear (struct rcvmi_confine *c);

/* `source` is what it leads to at the time of the start.  A second one at the same target is passed over. */
int rcvmi_confine_add (struct rcvmi_confine *c, enum rcvmi_confine_kind kind, const char *source, const char *target,
                       rcvm_error **err);
/* The same for a file that belongs to somebody else, who may read it, or write to it (WRITABLE): in there, it is the confined
   user's, by a mapping of owners where its mode alone does not let everybody.  RCVM_E_UNSUPPORTED where the file system cannot. */
int rcvmi_confine_add_foreign (struct rcvmi_confine *c, enum rcvmi_confine_kind kind, const char *source, const char *target,
                               rcvm_error **err);
/* An empty file system in memory for the user to write to, which nobody else finds.  *dir_fd becomes its root, the caller's.  It
   has room for sockets and pipes, and for `more` bytes. */
int rcvmi_confine_add_place (struct rcvmi_confine *c, const char *target, uint64_t more, int *dir_fd, rcvm_error **err);
/* The same as the root itself: BASE/PROGRAM/ID/root, for Firecracker's jailer, which copies the program into it and goes there.  All
   other targets are below it. */
int rcvmi_confine_add_jail (struct rcvmi_confine *c, const char *program, const char *id, int *dir_fd, rcvm_error **err);
/* The directory or file that `fd` is open at, with what is mounted beneath, as it is now. */
int rcvmi_confine_add_tree (struct rcvmi_confine *c, int fd, bool read_only, const char *target, rcvm_error **err);
/* The device that `source` is, as a node of the confined user's.  RCVM_E_HOST: it is no device. */
int rcvmi_confine_add_device (struct rcvmi_confine *c, const char *source, const char *target, rcvm_error **err);
/* A program (or a script, and its interpreter) and the libraries that it loads, all at their own places. */
int rcvmi_confine_add_program (struct rcvmi_confine *c, const char *path, rcvm_error **err);
/* RCVM_E_PERMISSION unless everybody may read it; what it is goes into the sentence. */
int rcvmi_confine_check_readable (const char *what, const char *path, rcvm_error **err);

/* Of one that runs, the process `pid`: at `target`, which is EMPTY, is what `fd` is open at, a file or a block device of somebody's, as
   its own; `path` is for messages.  RCVM_E_UNSUPPORTED as rcvmi_confine_add_foreign. */
int rcvmi_confine_show (const struct rcvmi_confine *c, pid_t pid, int fd, bool read_only, const char *path, const char *target,
                        rcvm_error **err);
/* The same of a detached mount as it is (open_tree), which stays the caller's; the place is any file of the VMM's. */
int rcvmi_confine_show_tree (pid_t pid, int tree, const char *target, rcvm_error **err);
/* And not any more. */
int rcvmi_confine_hide (pid_t pid, const char *target, rcvm_error **err);

/* The namespaces, as flags of clone. */
unsigned long rcvmi_confine_namespaces (const struct rcvmi_confine *c);
/* In the child: after it nothing is left of the host, and of its rights.  Fails with errno and a sentence in `what`. */
int rcvmi_confine_enter (void *confine, char *what, size_t size);
/* The same for who is not root: no new rights, no core files. */
int rcvmi_confine_lightly (void *unused, char *what, size_t size);
/* Whether this process can confine others; if not, *reason (to be freed) says why. */
bool rcvmi_confine_possible (char **reason);

/* confine-user.c: a user that is taken as long as *fd is open, and to whom nothing belongs. */
int rcvmi_confine_take_user (uid_t *id, int *fd, rcvm_error **err);

/* confine-seccomp.c: for the calling process, from now on; -1 with errno.  A jailer may still enter its root; a server
   may change its user, as far as its capabilities let it, and make nodes. */
enum rcvmi_confine_role
{
  RCVMI_CONFINE_VMM,
  RCVMI_CONFINE_JAILER,
  RCVMI_CONFINE_SERVER
};
int rcvmi_confine_filter (enum rcvmi_confine_role role);

/* confine-owner.c: a user namespace in which the user and group `uid` and `gid` are `id`: for mounts, not for processes. */
int rcvmi_confine_map_owner (uid_t uid, gid_t gid, uid_t id, rcvm_error **err);

/* confine-elf.c: calls `add` for the interpreter and all libraries, directly needed or by others. */
int rcvmi_confine_elf (const char *program, int (*add) (void *user, const char *path, rcvm_error **err), void *user,
                       rcvm_error **err);

#endif
