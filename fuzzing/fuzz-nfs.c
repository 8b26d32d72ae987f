/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The volume server: a stream of bytes to a connection of it, with a small export behind it.  The first
 * byte chooses:
 *
 *   even   the bytes are the stream: record marks and all
 *   odd    a call: procedure, then arguments, in which 0xfe N stands for the handle of file N, 0xfd N for a name, and
 *          0xfc N for that handle with one bit changed
 *
 * Callers are squashed to nobody, and a sentinel outside of the export tells if anything got there.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nfs-server.h"

enum
{
  HANDLES = 5,
  STREAM_MAX = 256 << 10
};

static struct nfs_daemon *d;
static struct nfs_handle handles[HANDLES];
static struct nfs_scope *scope;
static uint8_t stream[STREAM_MAX];
static struct stat sentinel;
static char top[] = "fuzz-nfs.XXXXXX";

int LLVMFuzzerInitialize (int *argc, char ***argv);
int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
must (bool ok, const char *what)
{
  if (!ok)
    {
      perror (what);
      abort ();
    }
}

/* What the calls have made goes, as far as they let it. */
static void
make_tree (void)
{
  must (system ("find vol -mindepth 1 -delete; mkdir -p vol/dir/sub vol/dir/empty && echo text >vol/file"
                " && ln -s ../secret vol/link && mkfifo vol/pipe && chmod -R a+rwX vol") == 0, "tree");
}

static void
find_handles (void)
{
  static const char *const names[] = { NULL, "dir", "file", "link", "pipe" };
  struct nfs_call c = { .server = d->core, .thread = d->thread, .arrived = 1 };
  struct nfs_object *root, *obj;
  struct statx st;

  must (rcvmi_nfs_object_root (&c, d->core->exports, &root) == NFS3_OK, "root");
  handles[0] = root->handle;
  for (unsigned i = 1; i < HANDLES; i++)
    if (rcvmi_nfs_object_child (&c, root, names[i], &obj, &st) == NFS3_OK)
      {
        handles[i] = obj->handle;
        rcvmi_nfs_object_put (d->core, obj);
      }
  rcvmi_nfs_object_put (d->core, root);
}

int
LLVMFuzzerInitialize (int *argc, char ***argv)
{
  static const uint8_t key[RCVMI_NFS_KEY] = "fuzzed";
  struct nfs_export_options options = { .squash = true, .uid = 65534, .gid = 65534 };

  (void) argc;
  (void) argv;
  if (geteuid () != 0)
    options = (struct nfs_export_options){ .squash = true, .uid = geteuid (), .gid = getegid () };
  umask (0);
  must (mkdtemp (top) && chmod (top, 0755) == 0, "directory");
  {
    char path[64];

    snprintf (path, sizeof path, "%s/vol", top);
    must (mkdir (path, 0777) == 0, path);
    snprintf (path, sizeof path, "%s/secret", top);
    must (close (open (path, O_CREAT | O_WRONLY, 0666)) == 0 && stat (path, &sentinel) == 0, path);
  }
  {
    /* find and the shell work in there. */
    int here = open (".", O_PATH);

    must (chdir (top) == 0, top);
    make_tree ();
    d = rcvmi_nfs_daemon_new (key, 0, NULL);
    must (d && rcvmi_nfs_export_add (d->core, -1, "vol", "/vol", &options, NULL) == 0, "server");
    must (fchdir (here) == 0, "back");
    close (here);
  }
  scope = d->core->exports->scopes;
  find_handles ();
  return 0;
}

static size_t
put_opaque (uint8_t *out, size_t room, const void *data, size_t len)
{
  if (room < 4 + xdr_padded (len))
    return 0;
  be32_store (out, (uint32_t) len);
  memset (out + 4, 0, xdr_padded (len));
  memcpy (out + 4, data, len);
  return 4 + xdr_padded (len);
}

/* One call of a record. */
static size_t
put_call (const uint8_t *data, size_t size)
{
  static const char *const names[] = { "file", "dir", "link", "new", "..", ".", "../secret", "sub", "pipe", "" };
  static const uint8_t head[] = { 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0x86, 0xa3, 0, 0, 0, 3 };
  size_t at = 48, i;

  memset (stream, 0, at);
  memcpy (stream + 8, head, sizeof head);
  stream[27] = data[0];
  if (data[0] >= 0x80)
    stream[19] = 0xa5; /* MOUNT */
  if (data[0] >= 0x80)
    stream[27] &= 7;
  memcpy (stream + 4, &size, 2);
  stream[7] = data[0];
  for (i = 1; i < size && at < sizeof stream - 8; i++)
    if (data[i] >= 0xfc && data[i] <= 0xfe && i + 1 < size)
      {
        uint8_t n = data[++i];
        struct nfs_handle h = handles[n % HANDLES];

        if (data[i - 1] == 0xfc && h.len)
          h.data[n % h.len] ^= (uint8_t) (1 << (n & 7));
        if (data[i - 1] == 0xfd)
          at += put_opaque (stream + at, sizeof stream - at, names[n % 10], strlen (names[n % 10]));
        else
          at += put_opaque (stream + at, sizeof stream - at, h.data, h.len);
      }
    else
      stream[at++] = data[i];
  be32_store (stream, RPC_LAST_FRAGMENT | (uint32_t) (at - 4));
  return at;
}

static void
on_peer (void *user, uint32_t events)
{
  uint8_t buf[65536];
  int fd = *(int *) user;

  (void) events;
  if (recv (fd, buf, sizeof buf, MSG_DONTWAIT) <= 0 && errno != EAGAIN)
    rcvmi_ev_stop (d->ev);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static unsigned runs;
  struct rcvmi_ev_source *source;
  struct stat st;
  size_t len;
  int fds[2], room = STREAM_MAX;
  char path[64];

  if (size < 2)
    return 0;
  if (data[0] & 1)
    len = put_call (data + 1, size - 1);
  else
    {
      len = size - 1;
      memcpy (stream, data + 1, len);
    }
  must (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "socketpair");
  setsockopt (fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  must (rcvmi_nfs_conn_add (d, fds[1], NULL) == 0, "connection");
  source = rcvmi_ev_add (d->ev, fds[0], EPOLLIN, on_peer, &fds[0], NULL);
  errno = 0;
  if (send (fds[0], stream, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
    abort ();
  shutdown (fds[0], SHUT_WR);
  rcvmi_nfs_daemon_run (d, NULL);
  rcvmi_ev_remove (source);
  close (fds[0]);
  must (d->n_conns == 0 && d->out_bytes == 0 && d->in_flight == 0, "left over");
  snprintf (path, sizeof path, "%s/secret", top);
  must (stat (path, &st) == 0 && st.st_mode == sentinel.st_mode && st.st_size == 0 && st.st_nlink == 1
            && st.st_uid == sentinel.st_uid && st.st_mtime == sentinel.st_mtime,
        "something was changed outside of the export");
  if (++runs % 5000 == 0)
    {
      int here = open (".", O_PATH);

      must (chdir (top) == 0, top);
      make_tree ();
      must (fchdir (here) == 0, "back");
      close (here);
      find_handles ();
    }
  return 0;
}
