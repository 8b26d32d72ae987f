/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The volume server's own structures.  A call goes
 *
 *   nfs-conn.c    bytes of a stream -> records
 *   nfs-rpc.c     record -> call: RPC header, credential, table of procedures -> reply
 *   nfs-drc.c     was it answered before?
 *   nfs-proc-*.c  the procedures
 *   nfs-handle.c  file handle -> scope (export and mount), checked
 *   nfs-object.c  file handle -> fds, cached
 *   nfs-export.c  what is exported
 *   nfs-identity.c  whose rights a thread has
 *
 * One thread (nfs-server.c) reads, decodes and runs what is quick.  What may wait for a disk goes to a few
 * workers (nfs-pool.c).  `lock` guards exports' scopes, objects and places; all else belongs to the one
 * thread.
 */
#ifndef RCVM_LIB_NFS_H
#define RCVM_LIB_NFS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <runcvm/error.h>

#include "nfs-proto.h"
#include "nfs-siphash.h"
#include "nfs-xdr.h"

enum
{
  RCVMI_NFS_OBJECTS = 1024,       /* files kept open */
  RCVMI_NFS_SCOPES = 256,         /* mounts of one export */
  RCVMI_NFS_PAYLOAD_MAX = NFS_HANDLE_MAX - 16
};

struct nfs_server;

/* nfs-buf.c: replies on their way. */
struct nfs_buf
{
  struct nfs_buf *next;
  size_t cap;
  size_t len;
  size_t sent;
  /* Behind `data`, straight from the page cache; the connection puts the object back. */
  struct nfs_object *file;
  int file_fd;
  int64_t file_at;
  size_t file_left;
  uint8_t data[];
};

struct nfs_bufs
{
  pthread_mutex_t lock;
  struct nfs_buf *free[4];
  unsigned n_free[4];
};

struct nfs_buf *rcvmi_nfs_buf_new (struct nfs_bufs *bufs, size_t cap);
void rcvmi_nfs_buf_free (struct nfs_bufs *bufs, struct nfs_buf *buf);
/* Gives back what is kept for reuse. */
void rcvmi_nfs_bufs_trim (struct nfs_bufs *bufs);

/* A caller, as AUTH_SYS has it. */
struct nfs_cred
{
  uint32_t uid;
  uint32_t gid;
  uint32_t n_groups;
  uint32_t groups[RPC_GROUPS_MAX];
};

/* nfs-export.c */

/* One mount that an export reaches into: what a handle is bound to. */
struct nfs_scope
{
  struct nfs_scope *next;
  struct nfs_export *export;
  uint64_t identity; /* keyed hash of the export's name and the mount's file system and root */
  uint32_t tag;      /* its lower half, which handles carry; also the file system's id for the client */
  uint64_t mnt_id;
  int fd;              /* the mount's root, open for reading: open_by_handle_at takes no O_PATH */
  uint64_t root_ino;
  bool births;         /* a file keeps its birth time */
  bool kernel_handles; /* name_to_handle_at works, and what it gives can be opened */
  bool stable_cookies; /* d_off outlives the directory's being closed */
};

struct nfs_export_options
{
  bool read_only;
  bool squash; /* all callers are uid:gid; else they are who they say */
  uint32_t uid;
  uint32_t gid;
  uint32_t cached; /* seconds that a client may keep attributes; 0: strict */
  bool durable;    /* names, too, are on the disk before the reply */
};

struct nfs_export
{
  struct nfs_export *next;
  char *name; /* as the client mounts it: absolute */
  char *path; /* as the host has it; for messages and listings only */
  char *file; /* the one file of the virtual directory; NULL: a directory is exported */
  struct nfs_export_options options;
  int root_fd;  /* O_PATH */
  uint64_t root_ino;
  struct nfs_scope *scopes; /* the first is the root's */
  unsigned n_scopes;
  uint64_t made; /* seconds: the virtual directory's times */
  unsigned refs; /* objects */
  bool removed;
};

/* `fd` >= 0 is an open directory or file (or a mount made with open_tree) that is exported and stays the
   caller's; else `path` is opened, in a mount of its own where the process may make one.  `name`: NULL or
   "": the path. */
int rcvmi_nfs_export_add (struct nfs_server *s, int fd, const char *path, const char *name,
                          const struct nfs_export_options *options, rcvm_error **err);
int rcvmi_nfs_export_remove (struct nfs_server *s, const char *name, rcvm_error **err);
/* The next ones want the lock. */
struct nfs_scope *rcvmi_nfs_scope_by_tag (struct nfs_server *s, uint32_t tag);
/* The scope of a mount that was met in the export; makes it if it is new. NULL: too many, or no memory. */
struct nfs_scope *rcvmi_nfs_scope_by_mount (struct nfs_server *s, struct nfs_export *e, int fd,
                                            const struct statx *st);
void rcvmi_nfs_export_unref (struct nfs_export *e);
void rcvmi_nfs_exports_free (struct nfs_server *s);

/* nfs-handle.c */
enum nfs_handle_kind
{
  NFS_HANDLE_KERNEL = 1, /* the kernel's own handle */
  NFS_HANDLE_PLACE,      /* inode number and trail (nfs-place.c) */
  NFS_HANDLE_VIRTUAL,    /* the directory around a single file */
  NFS_HANDLE_SINGLE      /* that file */
};

struct nfs_handle
{
  uint32_t len;
  uint8_t data[NFS_HANDLE_MAX];
};

struct nfs_handle_parts
{
  enum nfs_handle_kind kind;
  uint8_t type; /* of the kernel's handle */
  uint8_t len;
  uint32_t tag;
  const uint8_t *payload;
};

void rcvmi_nfs_handle_seal (struct nfs_handle *h, const uint8_t *key, const struct nfs_scope *scope,
                            enum nfs_handle_kind kind, unsigned type, const void *payload, size_t len);
/* The form alone: the tag says which scope to check it with. */
bool rcvmi_nfs_handle_parse (const struct nfs_handle *h, struct nfs_handle_parts *parts);
bool rcvmi_nfs_handle_verify (const struct nfs_handle *h, const uint8_t *key, const struct nfs_scope *scope);

/* nfs-identity.c */
struct nfs_thread
{
  struct nfs_server *server;
  bool worker;          /* may wait */
  struct nfs_cred now;  /* the thread's rights, if known */
  bool known;
  uint8_t dents[32768] __attribute__ ((aligned (8)));
};

/* The thread gets the rights of the call's caller on the export.  0 or an errno. */
int rcvmi_nfs_identity_assume (struct nfs_thread *t, const struct nfs_export *e, const struct nfs_cred *cred);
/* The server's own, for opening what a handle names; and back to who it was, by now.uid. */
void rcvmi_nfs_identity_server (struct nfs_thread *t);
void rcvmi_nfs_identity_restore (struct nfs_thread *t, uint32_t uid);

/* nfs-object.c: what a file handle names, open. */
struct nfs_object
{
  struct nfs_object *hash_next;
  struct nfs_object *newer, *older; /* by last use */
  struct nfs_handle handle;
  struct nfs_scope *scope;
  int fd;  /* O_PATH; -1: the virtual directory */
  int rfd; /* open for reading; -1: not yet */
  int wfd; /* open for reading and writing */
  bool wfd_reads;
  uint32_t type; /* S_IFMT bits */
  uint64_t ino;
  unsigned refs;
  int64_t used;     /* ms */
  int64_t verified; /* ms: when a directory was last seen to lie beneath its export */
  pthread_mutex_t order; /* reading of directories; data changes with their attributes before and after */
};

struct nfs_objects
{
  struct nfs_object *table[2 * RCVMI_NFS_OBJECTS];
  struct nfs_object *newest, *oldest;
  unsigned count;
  unsigned limit;
};

struct nfs_call;

/* The export's root. */
uint32_t rcvmi_nfs_object_root (struct nfs_call *c, struct nfs_export *e, struct nfs_object **obj);
/* -> NFS status.  The object is to be put back.  `obj` stays NULL on failure. */
uint32_t rcvmi_nfs_object_get (struct nfs_call *c, const struct nfs_handle *h, struct nfs_object **obj);
void rcvmi_nfs_object_put (struct nfs_server *s, struct nfs_object *obj);
/* One component beneath a directory, no symlink followed.  Uses the thread's present rights. */
uint32_t rcvmi_nfs_object_child (struct nfs_call *c, struct nfs_object *dir, const char *name,
                                 struct nfs_object **obj, struct statx *st);
uint32_t rcvmi_nfs_object_parent (struct nfs_call *c, struct nfs_object *dir, struct nfs_object **obj,
                                  struct statx *st);
/* Takes over fd, in success and failure.  `dir` and `name` say where it was met. */
uint32_t rcvmi_nfs_object_adopt (struct nfs_call *c, struct nfs_object *dir, const char *name, int fd,
                                 const struct statx *st, struct nfs_object **obj);
/* A regular file's or directory's open fd; stays the object's.  Negative errno. */
int rcvmi_nfs_object_open (struct nfs_call *c, struct nfs_object *obj, bool write);
/* Takes over the fd of a file just made, open for reading and writing. */
void rcvmi_nfs_object_give (struct nfs_server *s, struct nfs_object *obj, int fd);
/* What was written is stable: nothing needs the fd any more that keeps the host from executing the file. */
void rcvmi_nfs_object_written (struct nfs_server *s, struct nfs_object *obj);
/* The handle for a name in a directory without keeping it open.  False: it has none now. */
bool rcvmi_nfs_object_entry (struct nfs_call *c, struct nfs_object *dir, const char *name, struct statx *st,
                             struct nfs_handle *h);
/* A name is about to go: nothing of ours shall keep its last link's blocks. */
void rcvmi_nfs_object_forget (struct nfs_call *c, struct nfs_object *dir, const char *name);
/* Closes what was not used for `ms`; -> true when anything is left. */
bool rcvmi_nfs_objects_trim (struct nfs_server *s, int64_t now, int64_t ms);
void rcvmi_nfs_objects_free (struct nfs_server *s);
/* Removed exports' objects. */
void rcvmi_nfs_objects_purge (struct nfs_server *s, const struct nfs_export *e);
/* The directory lies in its export, or is its root. */
bool rcvmi_nfs_object_is_beneath (struct nfs_call *c, const struct nfs_export *e, int fd);

/* nfs-object.c for nfs-reach.c: takes over fd.  If another thread was faster, its object is the one. */
uint32_t rcvmi_nfs_object_insert (struct nfs_call *c, struct nfs_scope *scope, const struct nfs_handle *h, int fd,
                                  const struct statx *st, struct nfs_object **out);

/* nfs-reach.c: from handles to files of the export, and back. */
/* Opens what a handle names that is not in the table; the thread has the server's rights then. */
uint32_t rcvmi_nfs_reach_handle (struct nfs_call *c, struct nfs_scope *scope, const struct nfs_handle *h,
                                 const struct nfs_handle_parts *parts, struct nfs_object **obj);
int rcvmi_nfs_reach_kernel (const struct nfs_scope *scope, const struct nfs_handle *h, int flags);
/* The kernel's handle of a name, sealed.  `ino` not 0: only if it is that inode's. */
bool rcvmi_nfs_reach_name (struct nfs_call *c, const struct nfs_object *dir, const char *name, uint64_t ino,
                           struct nfs_handle *h);

/* nfs-known.c: handles of what listings met; the one thread's.  The scope is that of the directory, and of what lies in it. */
struct nfs_known;
bool rcvmi_nfs_known_find (const struct nfs_call *c, const struct nfs_scope *scope, const struct statx *st,
                           struct nfs_handle *h);
void rcvmi_nfs_known_add (struct nfs_call *c, const struct nfs_scope *scope, const struct statx *st,
                          const struct nfs_handle *h);
void rcvmi_nfs_known_free (struct nfs_server *s);

/* nfs-place.c: handles for file systems that have none. */
struct nfs_places;
void rcvmi_nfs_place_handle (struct nfs_server *s, const struct nfs_object *dir, const char *name,
                             const struct statx *st, struct nfs_scope *scope, struct nfs_handle *h);
/* -> O_PATH fd or a negative errno; -EAGAIN: it has to be searched for, which is a worker's. */
int rcvmi_nfs_place_open (struct nfs_call *c, struct nfs_scope *scope, const struct nfs_handle_parts *parts);
void rcvmi_nfs_place_moved (struct nfs_server *s, const struct nfs_object *dir, const char *name,
                            const struct nfs_object *to, const char *new_name);
void rcvmi_nfs_places_free (struct nfs_server *s);

/* nfs-rpc.c */
enum nfs_outcome
{
  NFS_DONE,   /* c->reply is the answer */
  NFS_DROP,   /* there is none to give */
  NFS_DETACH, /* nothing done yet; run it again in a worker */
  NFS_GARBAGE /* from a procedure: its arguments do not decode */
};

struct nfs_call
{
  struct nfs_thread *thread;
  struct nfs_server *server;
  const uint8_t *record;
  size_t len;

  uint32_t xid;
  uint32_t prog;
  uint32_t vers;
  uint32_t proc;
  struct nfs_cred cred;
  char machine[64]; /* as the credential names it; cut */
  const uint8_t *body; /* the arguments begin here */
  struct xdr_in in;

  struct nfs_buf *reply;
  struct xdr_out out;
  uint32_t status;    /* what the procedure answered */
  bool detach;        /* it is to be run again in a worker; nothing is done yet */
  bool may_send_file; /* the reply may refer to a file */
  bool answered;      /* the reply is an RPC error: there is nothing to run */
  uint64_t bytes_in;  /* WRITE's */
  uint64_t bytes_out; /* READ's */
  int64_t arrived;    /* usec */
};

/* Decodes the header of c->record. NFS_DONE: run it, unless c->answered. */
enum nfs_outcome rcvmi_nfs_rpc_decode (struct nfs_call *c);
/* Runs the procedure in this thread. */
enum nfs_outcome rcvmi_nfs_rpc_run (struct nfs_thread *t, struct nfs_call *c);
/* A repetition must not be run again. */
bool rcvmi_nfs_rpc_is_unrepeatable (const struct nfs_call *c);
/* Makes room for a reply of that many bytes after the header; before anything of it is written. */
bool rcvmi_nfs_rpc_reserve (struct nfs_call *c, size_t bytes);
/* "GETATTR", "MOUNT.MNT"; NULL beyond the last.  NFS's come first. */
const char *rcvmi_nfs_rpc_name (unsigned index);
enum
{
  RCVMI_NFS_COUNTED = NFS_PROCEDURES + MOUNT_PROCEDURES
};

/* nfs-attr.c */
struct nfs_sattr
{
  bool set_mode, set_uid, set_gid, set_size;
  unsigned atime_how, mtime_how;
  uint32_t mode, uid, gid;
  uint64_t size;
  struct timespec atime, mtime;
};

/* Attributes before and after, and whose. */
struct nfs_wcc
{
  struct nfs_object *obj;
  bool have_before;
  struct statx before;
};

uint32_t rcvmi_nfs_status (int errnum);
int rcvmi_nfs_stat (const struct nfs_object *obj, struct statx *st); /* 0 or an errno */
void rcvmi_nfs_put_fattr (struct xdr_out *out, const struct nfs_scope *scope, const struct statx *st);
/* NULL: none. */
void rcvmi_nfs_put_post (struct xdr_out *out, const struct nfs_scope *scope, const struct statx *st);
void rcvmi_nfs_put_post_now (struct xdr_out *out, const struct nfs_object *obj);
void rcvmi_nfs_wcc_before (struct nfs_wcc *wcc, struct nfs_object *obj);
void rcvmi_nfs_put_wcc (struct xdr_out *out, const struct nfs_wcc *wcc);
void rcvmi_nfs_get_sattr (struct xdr_in *in, struct nfs_sattr *sattr);
/* With the caller's rights.  0 or an errno. */
int rcvmi_nfs_set_attr (struct nfs_call *c, struct nfs_object *obj, const struct nfs_sattr *sattr);
void rcvmi_nfs_put_post_handle (struct xdr_out *out, const struct nfs_handle *h);

/* nfs-proc.c: what the procedures share. */
struct nfs_dirop
{
  struct nfs_handle handle;
  uint32_t len;
  char name[NFS_NAME_MAX + 1];
  bool too_long;
};

void rcvmi_nfs_get_handle (struct xdr_in *in, struct nfs_handle *h);
void rcvmi_nfs_get_dirop (struct xdr_in *in, struct nfs_dirop *d);
/* NFS3_OK, or what is wrong with it as the name of something. */
uint32_t rcvmi_nfs_check_name (const struct nfs_dirop *d);
/* The object, and the caller's rights. */
uint32_t rcvmi_nfs_enter (struct nfs_call *c, const struct nfs_handle *h, struct nfs_object **obj);
/* The same, for a directory that is to be changed; takes its attributes. */
uint32_t rcvmi_nfs_enter_change (struct nfs_call *c, const struct nfs_handle *h, struct nfs_wcc *wcc);
/* 0 or EACCES ...; `mode` of access(2).  A file's owner may read and write whatever its mode says, and who
   may execute it may read it: the client checked when it was opened. */
int rcvmi_nfs_may (struct nfs_call *c, const struct nfs_object *obj, int mode);
/* The names that an operation made or took away are stable, if the export wants that.  0 or an errno. */
int rcvmi_nfs_settle (struct nfs_call *c, struct nfs_object *dir);
/* Takes obj->order.  False: somebody has it, and this thread must not wait: the call is to be detached. */
bool rcvmi_nfs_lock (struct nfs_call *c, struct nfs_object *obj);
/* There are workers, and this thread is none of them. */
bool rcvmi_nfs_may_detach (const struct nfs_call *c);

typedef enum nfs_outcome (*nfs_proc_fn) (struct nfs_call *c);

enum nfs_outcome rcvmi_nfs_proc_getattr (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_setattr (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_lookup (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_access (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_readlink (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_read (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_write (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_create (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_mkdir (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_symlink (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_mknod (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_remove (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_rmdir (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_rename (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_link (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_readdir (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_readdirplus (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_fsstat (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_fsinfo (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_pathconf (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_proc_commit (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_mount_mnt (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_mount_dump (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_mount_umnt (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_mount_umntall (struct nfs_call *c);
enum nfs_outcome rcvmi_nfs_mount_export (struct nfs_call *c);

/* nfs-dirent.c: a directory's entries from a cookie on. */
struct nfs_dirent
{
  uint64_t ino;
  uint64_t cookie; /* of what follows */
  const char *name;
};

/* What the kernel gave of a directory and no reply has taken yet: the next call goes on here.  To ask for
   it again would have the kernel sort a block of names again. */
struct nfs_ahead
{
  struct nfs_object *obj; /* whose `order` guards it; NULL: nobody's */
  bool busy;
  int64_t when; /* usec: old news are not used */
  uint64_t cookie;
  size_t len, pos;
  uint8_t data[32768] __attribute__ ((aligned (8)));
};

struct nfs_dir
{
  struct nfs_object *obj;
  int fd;
  uint8_t *buf; /* the thread's, or that of `ahead` */
  struct nfs_ahead *ahead;
  size_t buf_size, len, pos;
  size_t taken; /* where the last entry begins, which may turn out not to fit */
  struct nfs_sorted *sorted; /* where offsets are not stable */
  unsigned next;             /* of `sorted` or of the virtual directory */
  uint64_t cookie;
};

/* `room`: about as many bytes of entries are wanted.  Negative errno.  Close it in any case. */
int rcvmi_nfs_dir_open (struct nfs_call *c, struct nfs_dir *d, struct nfs_object *obj, uint64_t cookie,
                        size_t room);
/* 1, 0 at the end, or a negative errno. */
int rcvmi_nfs_dir_next (struct nfs_call *c, struct nfs_dir *d, struct nfs_dirent *e);
/* `cookie`: of the last entry that was taken. */
void rcvmi_nfs_dir_close (struct nfs_call *c, struct nfs_dir *d, uint64_t cookie);
/* What was read ahead is let go. */
void rcvmi_nfs_dirs_trim (struct nfs_server *s);
/* With the lock. */
void rcvmi_nfs_dir_forget (struct nfs_server *s, const struct nfs_object *obj);

/* nfs-core.c: everything but sockets. */
enum
{
  RCVMI_NFS_MOUNTED = 32,
  RCVMI_NFS_AHEAD = 4 /* directories listed at the same time */
};

struct nfs_mounted
{
  char *host;
  char *path;
};

struct nfs_server
{
  uint8_t key[RCVMI_NFS_KEY];
  atomic_uint_fast64_t write_verf;
  bool by_handle;  /* the process may open by handle */
  bool identities; /* it may act as others */
  bool workers;    /* there are some */
  uint32_t write_detached; /* a longer WRITE is a worker's */
  int proc_fd;     /* /proc/self/fd; -1: there is none */
  pthread_mutex_t lock;
  struct nfs_export *exports;
  struct nfs_objects objects;
  struct nfs_places *places;
  struct nfs_known *known; /* the one thread's; NULL: nothing is */
  struct nfs_bufs bufs;
  struct nfs_ahead *ahead[RCVMI_NFS_AHEAD];
  struct nfs_mounted mounted[RCVMI_NFS_MOUNTED]; /* what MOUNT's DUMP tells; the one thread's */
};

struct nfs_server *rcvmi_nfs_core_new (const uint8_t *key, rcvm_error **err);
void rcvmi_nfs_core_free (struct nfs_server *s);
/* What was written and not committed may be lost: clients send it again. */
void rcvmi_nfs_core_new_verifier (struct nfs_server *s);

#endif
