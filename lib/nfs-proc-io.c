/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* READ, WRITE, COMMIT.  Data is read into the reply and written out of the record: no copy is made here. */
#include "config.h"

#include "nfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

enum
{
  SEND_FILE_MIN = 32 << 10, /* bytes that are worth two more system calls */
  WRITE_PART = 128 << 10,
  PAGE = 4096,
  READ_HEAD = 4 + 4 + NFS_FATTR + 4 + 4 + 4 /* what precedes the data in READ3resok */
};

static uint32_t
check_file (const struct nfs_object *obj)
{
  if (obj->type == S_IFREG)
    return NFS3_OK;
  return obj->type == S_IFDIR ? NFS3ERR_ISDIR : NFS3ERR_INVAL;
}

/* Bytes read or a negative errno; -EAGAIN: not in memory, and there are workers who may wait. */
static ssize_t
read_at (struct nfs_call *c, int fd, uint8_t *to, size_t count, uint64_t offset)
{
  struct iovec iov = { .iov_base = to, .iov_len = count };
  ssize_t n = -1;

  if (offset > INT64_MAX)
    return 0;
  if (offset + count > INT64_MAX)
    count = iov.iov_len = (size_t) (INT64_MAX - offset);
  errno = EOPNOTSUPP;
  if (rcvmi_nfs_may_detach (c))
    n = preadv2 (fd, &iov, 1, (off_t) offset, RWF_NOWAIT);
  if (n < 0 && errno == EOPNOTSUPP)
    n = preadv2 (fd, &iov, 1, (off_t) offset, 0);
  return n < 0 ? -errno : n;
}

/* Gives the status of a reply that has nothing but attributes. */
static enum nfs_outcome
fail_read (struct nfs_call *c, uint32_t status, struct nfs_object *obj)
{
  c->status = status;
  xdr_put_u32 (&c->out, status);
  rcvmi_nfs_put_post_now (&c->out, obj);
  rcvmi_nfs_object_put (c->server, obj);
  return NFS_DONE;
}

/* All of it lies in the page cache: to send it waits for no disk.  Linux 6.5 and later can tell. */
static bool
is_cached (int fd, uint64_t offset, size_t count)
{
  struct
  {
    uint64_t at, len;
  } range = { offset & ~(uint64_t) (PAGE - 1), 0 };
  struct
  {
    uint64_t cached, dirty, writeback, evicted, recently_evicted;
  } stat = { 0 };

  range.len = ((offset + count + PAGE - 1) & ~(uint64_t) (PAGE - 1)) - range.at;
  return syscall (SYS_cachestat, fd, &range, &stat, 0) == 0 && stat.cached >= range.len / PAGE;
}

/* A long read's reply that refers to the file: its pages go to the socket as they are. */
static bool
send_file (struct nfs_call *c, struct nfs_object *obj, int fd, uint64_t offset, uint32_t count)
{
  struct statx st;

  if (!c->may_send_file || count < SEND_FILE_MIN || count % 4 || offset > (uint64_t) INT64_MAX - count
      || rcvmi_nfs_stat (obj, &st) != 0 || offset + count > st.stx_size || !is_cached (fd, offset, count))
    return false;
  xdr_put_u32 (&c->out, NFS3_OK);
  rcvmi_nfs_put_post (&c->out, obj->scope, &st);
  xdr_put_u32 (&c->out, count);
  xdr_put_u32 (&c->out, offset + count >= st.stx_size);
  xdr_put_u32 (&c->out, count);
  c->bytes_out = count;
  c->reply->file = obj;
  c->reply->file_fd = fd;
  c->reply->file_at = (int64_t) offset;
  c->reply->file_left = count;
  return true;
}

/* RFC 1813, section 3.3.6 */
enum nfs_outcome
rcvmi_nfs_proc_read (struct nfs_call *c)
{
  struct nfs_object *obj;
  struct nfs_handle h;
  struct statx st;
  struct xdr_out head;
  uint64_t offset;
  uint32_t count, status;
  ssize_t n;
  int fd, rc;

  rcvmi_nfs_get_handle (&c->in, &h);
  offset = xdr_get_u64 (&c->in);
  count = xdr_get_u32 (&c->in);
  if (c->in.bad)
    return NFS_GARBAGE;
  if (count > NFS_TRANSFER_MAX)
    count = NFS_TRANSFER_MAX;
  status = rcvmi_nfs_enter (c, &h, &obj);
  if (status == NFS3_OK)
    status = check_file (obj);
  if (status == NFS3_OK)
    status = rcvmi_nfs_status (rcvmi_nfs_may (c, obj, R_OK));
  if (status != NFS3_OK)
    return fail_read (c, status, obj);
  fd = rcvmi_nfs_object_open (c, obj, false);
  if (fd < 0)
    return fail_read (c, rcvmi_nfs_status (-fd), obj);
  if (send_file (c, obj, fd, offset, count))
    return NFS_DONE;
  if (!rcvmi_nfs_rpc_reserve (c, READ_HEAD + xdr_padded (count)))
    return fail_read (c, NFS3ERR_JUKEBOX, obj);
  head = c->out;
  xdr_room (&c->out, READ_HEAD);
  n = read_at (c, fd, c->out.pos, count, offset);
  rc = rcvmi_nfs_stat (obj, &st);
  /* What came short of the file's end may be only what was in memory. */
  if (n == -EAGAIN || (n >= 0 && n < (ssize_t) count && rc == 0 && offset + (uint64_t) n < st.stx_size))
    if (rcvmi_nfs_may_detach (c))
      {
        rcvmi_nfs_object_put (c->server, obj);
        c->detach = true;
        return NFS_DONE;
      }
  if (n < 0 || rc != 0)
    {
      c->out = head;
      return fail_read (c, rcvmi_nfs_status (n < 0 ? (int) -n : rc), obj);
    }
  xdr_put_u32 (&head, NFS3_OK);
  rcvmi_nfs_put_post (&head, obj->scope, &st);
  xdr_put_u32 (&head, (uint32_t) n);
  xdr_put_u32 (&head, offset + (uint64_t) n >= st.stx_size);
  xdr_put_u32 (&head, (uint32_t) n);
  memset (c->out.pos + n, 0, xdr_padded ((size_t) n) - (size_t) n);
  c->out.pos += xdr_padded ((size_t) n);
  c->bytes_out = (uint64_t) n;
  rcvmi_nfs_object_put (c->server, obj);
  return NFS_DONE;
}

/* Bytes written or a negative errno.  A part is enough: the client goes on from there.

   The size of a write(2) becomes that of the page cache's folios, and ext4 looks at all blocks of a folio for each small write
   to it later: 18 us for 4 KiB in a folio of a MiB, 5 in one of 128 KiB. */
static ssize_t
write_at (int fd, const uint8_t *data, size_t count, uint64_t offset)
{
  size_t done = 0;

  if (offset > INT64_MAX || count > INT64_MAX - offset)
    return -EFBIG;
  while (done < count)
    {
      size_t at = offset + done, part = WRITE_PART - at % WRITE_PART;
      ssize_t n = pwrite (fd, data + done, part < count - done ? part : count - done, (off_t) at);

      if (n <= 0)
        return done ? (ssize_t) done : n < 0 ? -errno : 0;
      done += (size_t) n;
    }
  return (ssize_t) done;
}

static int
make_stable (struct nfs_call *c, int fd, bool with_metadata)
{
  int rc = (with_metadata ? fsync (fd) : fdatasync (fd)) < 0 ? errno : 0;

  /* The kernel tells of lost pages once: clients shall send again whatever they still have. */
  if (rc != 0)
    rcvmi_nfs_core_new_verifier (c->server);
  return rc;
}

static void
put_verifier (struct nfs_call *c)
{
  uint64_t v = atomic_load (&c->server->write_verf);

  xdr_put_fixed (&c->out, &v, NFS_WRITE_VERF);
}

/* RFC 1813, section 3.3.7 */
enum nfs_outcome
rcvmi_nfs_proc_write (struct nfs_call *c)
{
  struct nfs_object *obj;
  struct nfs_wcc wcc = { 0 };
  struct nfs_handle h;
  const uint8_t *data;
  uint64_t offset;
  uint32_t count, stable, len;
  ssize_t n = 0;
  int fd = -1;

  rcvmi_nfs_get_handle (&c->in, &h);
  offset = xdr_get_u64 (&c->in);
  count = xdr_get_u32 (&c->in);
  stable = xdr_get_u32 (&c->in);
  data = xdr_get_opaque (&c->in, NFS_RECORD_MAX, &len);
  if (c->in.bad || len < count || stable > NFS_FILE_SYNC)
    return NFS_GARBAGE;
  if (count > NFS_TRANSFER_MAX)
    count = NFS_TRANSFER_MAX;
  if (rcvmi_nfs_may_detach (c) && (stable != NFS_UNSTABLE || count > c->server->write_detached))
    {
      c->detach = true;
      return NFS_DONE;
    }
  c->status = rcvmi_nfs_enter (c, &h, &obj);
  if (c->status == NFS3_OK)
    c->status = obj->scope->export->options.read_only ? NFS3ERR_ROFS : check_file (obj);
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_status (rcvmi_nfs_may (c, obj, W_OK));
  if (c->status == NFS3_OK)
    {
      fd = rcvmi_nfs_object_open (c, obj, true);
      if (fd < 0)
        c->status = rcvmi_nfs_status (-fd);
    }
  if (c->status == NFS3_OK)
    {
      if (!rcvmi_nfs_lock (c, obj))
        {
          rcvmi_nfs_object_put (c->server, obj);
          return NFS_DONE;
        }
      rcvmi_nfs_wcc_before (&wcc, obj);
      n = count ? write_at (fd, data, count, offset) : 0;
      pthread_mutex_unlock (&obj->order);
      if (n < 0)
        c->status = rcvmi_nfs_status ((int) -n);
      else if (stable != NFS_UNSTABLE)
        c->status = rcvmi_nfs_status (make_stable (c, fd, stable == NFS_FILE_SYNC));
    }
  xdr_put_u32 (&c->out, c->status);
  wcc.obj = obj;
  rcvmi_nfs_put_wcc (&c->out, &wcc);
  if (c->status == NFS3_OK)
    {
      xdr_put_u32 (&c->out, (uint32_t) n);
      xdr_put_u32 (&c->out, stable);
      put_verifier (c);
      c->bytes_in = (uint64_t) n;
      if (stable != NFS_UNSTABLE)
        rcvmi_nfs_object_written (c->server, obj);
    }
  rcvmi_nfs_object_put (c->server, obj);
  return NFS_DONE;
}

/* RFC 1813, section 3.3.21.  The whole file, whatever the range.  It is of data: as with DATA_SYNC, what is
   needed to read the data again is made stable, and a time stamp is not. */
enum nfs_outcome
rcvmi_nfs_proc_commit (struct nfs_call *c)
{
  struct nfs_object *obj;
  struct nfs_wcc wcc = { 0 };
  struct nfs_handle h;
  int fd;

  rcvmi_nfs_get_handle (&c->in, &h);
  xdr_get_u64 (&c->in);
  xdr_get_u32 (&c->in);
  if (c->in.bad)
    return NFS_GARBAGE;
  if (rcvmi_nfs_may_detach (c))
    {
      c->detach = true;
      return NFS_DONE;
    }
  c->status = rcvmi_nfs_enter (c, &h, &obj);
  if (c->status == NFS3_OK)
    c->status = check_file (obj);
  if (c->status == NFS3_OK)
    {
      rcvmi_nfs_wcc_before (&wcc, obj);
      fd = rcvmi_nfs_object_open (c, obj, false);
      c->status = rcvmi_nfs_status (fd < 0 ? -fd : make_stable (c, fd, false));
    }
  xdr_put_u32 (&c->out, c->status);
  wcc.obj = obj;
  rcvmi_nfs_put_wcc (&c->out, &wcc);
  if (c->status == NFS3_OK)
    {
      put_verifier (c);
      rcvmi_nfs_object_written (c->server, obj);
    }
  rcvmi_nfs_object_put (c->server, obj);
  return NFS_DONE;
}
