/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of what handles name and calls use: open files, the least recently used of which make room for
   others. */
#include "config.h"

#include "nfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum
{
  VERIFY_MS = 1000
};

/* The end of a handle is its MAC: as even as a hash can be. */
static unsigned
slot_of (const struct nfs_handle *h)
{
  uint32_t v;

  memcpy (&v, h->data + h->len - sizeof v, sizeof v);
  return v % (2 * RCVMI_NFS_OBJECTS);
}

static void
unlink_use (struct nfs_objects *os, struct nfs_object *obj)
{
  *(obj->newer ? &obj->newer->older : &os->newest) = obj->older;
  *(obj->older ? &obj->older->newer : &os->oldest) = obj->newer;
  obj->newer = obj->older = NULL;
}

static void
link_use (struct nfs_objects *os, struct nfs_object *obj)
{
  obj->newer = NULL;
  obj->older = os->newest;
  *(os->newest ? &os->newest->newer : &os->oldest) = obj;
  os->newest = obj;
}

static void
free_object (struct nfs_server *s, struct nfs_object *obj)
{
  const int fds[] = { obj->fd, obj->rfd, obj->wfd };

  for (unsigned i = 0; i < 3; i++)
    if (fds[i] >= 0)
      close (fds[i]);
  pthread_mutex_destroy (&obj->order);
  rcvmi_nfs_dir_forget (s, obj);
  rcvmi_nfs_export_unref (obj->scope->export);
  free (obj);
}

/* Out of the table; freed when the last call that uses it ends. */
static void
drop (struct nfs_server *s, struct nfs_object *obj)
{
  struct nfs_object **p = &s->objects.table[slot_of (&obj->handle)];

  while (*p && *p != obj)
    p = &(*p)->hash_next;
  if (!*p)
    return;
  *p = obj->hash_next;
  unlink_use (&s->objects, obj);
  s->objects.count--;
  if (--obj->refs == 0)
    free_object (s, obj);
}

static struct nfs_object *
find (struct nfs_objects *os, const struct nfs_handle *h)
{
  struct nfs_object *obj = h->len >= sizeof (uint32_t) ? os->table[slot_of (h)] : NULL;

  while (obj && (obj->handle.len != h->len || memcmp (obj->handle.data, h->data, h->len) != 0))
    obj = obj->hash_next;
  return obj;
}

void
rcvmi_nfs_object_put (struct nfs_server *s, struct nfs_object *obj)
{
  if (!obj)
    return;
  pthread_mutex_lock (&s->lock);
  if (--obj->refs == 0)
    free_object (s, obj);
  pthread_mutex_unlock (&s->lock);
}

/* The table's own reference is one: what has no other may go. */
static void
make_room (struct nfs_server *s)
{
  struct nfs_object *obj = s->objects.oldest;

  while (obj && s->objects.count >= s->objects.limit)
    {
      struct nfs_object *newer = obj->newer;

      if (obj->refs == 1)
        drop (s, obj);
      obj = newer;
    }
}

static void
close_if (int fd)
{
  if (fd >= 0)
    close (fd);
}

/* Takes over fd.  If another thread was faster, its object is the one. */
uint32_t
rcvmi_nfs_object_insert (struct nfs_call *c, struct nfs_scope *scope, const struct nfs_handle *h, int fd,
                         const struct statx *st, struct nfs_object **out)
{
  struct nfs_server *s = c->server;
  struct nfs_object *obj;

  pthread_mutex_lock (&s->lock);
  obj = find (&s->objects, h);
  if (obj)
    close_if (fd);
  else if (scope->export->removed || !(obj = calloc (1, sizeof *obj)))
    {
      pthread_mutex_unlock (&s->lock);
      close_if (fd);
      return scope->export->removed ? NFS3ERR_STALE : NFS3ERR_JUKEBOX;
    }
  else
    {
      struct nfs_object **slot = &s->objects.table[slot_of (h)];

      make_room (s);
      obj->handle = *h;
      obj->scope = scope;
      obj->fd = fd;
      obj->rfd = obj->wfd = -1;
      obj->type = st->stx_mode & S_IFMT;
      obj->ino = st->stx_ino;
      obj->refs = 1;
      obj->verified = c->arrived / 1000;
      pthread_mutex_init (&obj->order, NULL);
      scope->export->refs++;
      obj->hash_next = *slot;
      *slot = obj;
      link_use (&s->objects, obj);
      s->objects.count++;
    }
  obj->used = c->arrived / 1000;
  obj->refs++;
  pthread_mutex_unlock (&s->lock);
  *out = obj;
  return NFS3_OK;
}

uint32_t
rcvmi_nfs_object_get (struct nfs_call *c, const struct nfs_handle *h, struct nfs_object **out)
{
  struct nfs_server *s = c->server;
  struct nfs_handle_parts parts;
  struct nfs_scope *scope = NULL;
  struct nfs_object *obj;
  int64_t now = c->arrived / 1000;
  uint32_t status;

  *out = NULL;
  pthread_mutex_lock (&s->lock);
  obj = find (&s->objects, h);
  if (obj)
    {
      obj->refs++;
      obj->used = now;
      if (s->objects.newest != obj)
        {
          unlink_use (&s->objects, obj);
          link_use (&s->objects, obj);
        }
    }
  else if (rcvmi_nfs_handle_parse (h, &parts))
    {
      scope = rcvmi_nfs_scope_by_tag (s, parts.tag);
      if (scope)
        scope->export->refs++;
    }
  pthread_mutex_unlock (&s->lock);
  if (!obj && h->len < 16)
    return NFS3ERR_BADHANDLE;
  if (!obj && !scope)
    return rcvmi_nfs_handle_parse (h, &parts) ? NFS3ERR_STALE : NFS3ERR_BADHANDLE;
  if (!obj)
    {
      status = rcvmi_nfs_reach_handle (c, scope, h, &parts, out);
      pthread_mutex_lock (&s->lock);
      rcvmi_nfs_export_unref (scope->export);
      pthread_mutex_unlock (&s->lock);
      return status;
    }
  if (obj->type == S_IFDIR && obj->fd >= 0 && now - obj->verified > VERIFY_MS)
    {
      if (!rcvmi_nfs_object_is_beneath (c, obj->scope->export, obj->fd))
        {
          pthread_mutex_lock (&s->lock);
          drop (s, obj);
          pthread_mutex_unlock (&s->lock);
          rcvmi_nfs_object_put (s, obj);
          return NFS3ERR_STALE;
        }
      obj->verified = now;
    }
  *out = obj;
  return NFS3_OK;
}

int
rcvmi_nfs_object_open (struct nfs_call *c, struct nfs_object *obj, bool write)
{
  struct nfs_server *s = c->server;
  uint32_t uid = c->thread->now.uid;
  int flags = O_CLOEXEC | O_NONBLOCK | (write ? O_RDWR : O_RDONLY);
  int fd, *slot = write ? &obj->wfd : &obj->rfd;

  pthread_mutex_lock (&s->lock);
  fd = *slot;
  if (fd < 0 && !write && obj->wfd >= 0 && obj->wfd_reads)
    fd = obj->wfd;
  pthread_mutex_unlock (&s->lock);
  if (fd >= 0)
    return fd;
  rcvmi_nfs_identity_server (c->thread);
  if (obj->type == S_IFDIR)
    fd = openat (obj->fd, ".", flags | O_DIRECTORY);
  else if (obj->handle.data[1] == NFS_HANDLE_KERNEL)
    fd = rcvmi_nfs_reach_kernel (obj->scope, &obj->handle, flags);
  else if (s->proc_fd >= 0)
    {
      char name[16];

      snprintf (name, sizeof name, "%d", obj->fd);
      fd = openat (s->proc_fd, name, flags);
      /* Without rights of root, a file may be one to write only. */
      if (fd < 0 && errno == EACCES && write)
        fd = openat (s->proc_fd, name, (flags & ~O_ACCMODE) | O_WRONLY);
    }
  else
    errno = EOPNOTSUPP;
  if (fd == -1)
    fd = -errno;
  rcvmi_nfs_identity_restore (c->thread, uid);
  if (fd < 0)
    return fd;
  pthread_mutex_lock (&s->lock);
  if (*slot >= 0)
    close (fd);
  else
    {
      *slot = fd;
      if (write)
        obj->wfd_reads = (fcntl (fd, F_GETFL) & O_ACCMODE) == O_RDWR;
    }
  fd = *slot;
  pthread_mutex_unlock (&s->lock);
  return fd;
}

void
rcvmi_nfs_object_give (struct nfs_server *s, struct nfs_object *obj, int fd)
{
  pthread_mutex_lock (&s->lock);
  if (obj->wfd < 0)
    {
      obj->wfd = fd;
      obj->wfd_reads = true;
      fd = -1;
    }
  pthread_mutex_unlock (&s->lock);
  close_if (fd);
}

void
rcvmi_nfs_object_written (struct nfs_server *s, struct nfs_object *obj)
{
  int fd = -1;

  pthread_mutex_lock (&s->lock);
  /* The table's reference and the caller's. */
  if (obj->refs <= 2)
    {
      fd = obj->wfd;
      obj->wfd = -1;
    }
  pthread_mutex_unlock (&s->lock);
  close_if (fd);
}

void
rcvmi_nfs_object_forget (struct nfs_call *c, struct nfs_object *dir, const char *name)
{
  struct nfs_server *s = c->server;
  struct nfs_object *obj;
  struct nfs_handle h;

  if (!rcvmi_nfs_reach_name (c, dir, name, 0, &h))
    return;
  pthread_mutex_lock (&s->lock);
  obj = find (&s->objects, &h);
  if (obj)
    drop (s, obj);
  pthread_mutex_unlock (&s->lock);
}

bool
rcvmi_nfs_objects_trim (struct nfs_server *s, int64_t now, int64_t ms)
{
  bool left;

  pthread_mutex_lock (&s->lock);
  for (struct nfs_object *obj = s->objects.oldest, *newer; obj && now - obj->used >= ms; obj = newer)
    {
      newer = obj->newer;
      if (obj->refs == 1)
        drop (s, obj);
    }
  left = s->objects.count > 0;
  pthread_mutex_unlock (&s->lock);
  return left;
}

void
rcvmi_nfs_objects_purge (struct nfs_server *s, const struct nfs_export *e)
{
  for (struct nfs_object *obj = s->objects.oldest, *newer; obj; obj = newer)
    {
      newer = obj->newer;
      if (obj->scope->export == e)
        drop (s, obj);
    }
}

void
rcvmi_nfs_objects_free (struct nfs_server *s)
{
  while (s->objects.oldest)
    drop (s, s->objects.oldest);
}
