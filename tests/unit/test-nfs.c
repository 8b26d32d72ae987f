/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The volume server's parts that need no connection: XDR, handles, remembered replies, figures, calls on a directory. */
#include "config.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nfs-server.h"

static const uint8_t key[RCVMI_NFS_KEY] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

/* The vectors of the paper's authors: key and text count up from 0. */
TEST (test_siphash)
{
  uint8_t text[64];

  for (unsigned i = 0; i < sizeof text; i++)
    text[i] = (uint8_t) i;
  assert_true (rcvmi_nfs_siphash (key, text, 0) == UINT64_C (0x726fdb47dd0e0e31));
  assert_true (rcvmi_nfs_siphash (key, text, 1) == UINT64_C (0x74f839c593dc67fd));
  assert_true (rcvmi_nfs_siphash (key, text, 8) == UINT64_C (0x93f5f5799a932462));
  assert_true (rcvmi_nfs_siphash (key, text, 15) == UINT64_C (0xa129ca6149be45e5));
  assert_true (rcvmi_nfs_siphash (key, text, 63) == UINT64_C (0x958a324ceb064572));
}

TEST (test_xdr_read)
{
  static const uint8_t data[] = { 1, 2, 3, 4, 0, 0, 0, 1, 0, 0, 0, 3, 'a', 'b', 'c', 0xff, 0, 0, 0, 2 };
  struct xdr_in in = { .pos = data, .end = data + sizeof data };
  uint32_t len;
  const uint8_t *p;

  assert_int_equal (xdr_get_u32 (&in), 0x01020304);
  assert_true (xdr_get_bool (&in));
  p = xdr_get_opaque (&in, 3, &len);
  assert_int_equal (len, 3);
  assert_memory_equal (p, "abc", 3);
  assert_false (in.bad);
  assert_false (xdr_get_bool (&in));
  assert_true (in.bad);
  /* It stays bad. */
  assert_int_equal (xdr_get_u32 (&in), 0);
}

TEST (test_xdr_read_cut)
{
  static const uint8_t data[] = { 0, 0, 0, 9, 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 0, 0, 0 };

  for (size_t cut = 0; cut <= sizeof data; cut++)
    {
      struct xdr_in in = { .pos = data, .end = data + cut };
      uint32_t len;
      const uint8_t *p = xdr_get_opaque (&in, 100, &len);

      assert_true (in.bad == (cut < sizeof data));
      assert_int_equal (len, in.bad ? 0 : 9);
      assert_true ((p == NULL) == in.bad);
    }
  for (uint32_t claim = 0xfffffff0; claim; claim++)
    {
      uint8_t head[8] = { 0 };
      struct xdr_in in = { .pos = head, .end = head + sizeof head };
      uint32_t len;

      be32_store (head, claim);
      assert_null (xdr_get_opaque (&in, UINT32_MAX, &len));
    }
}

TEST (test_xdr_write)
{
  static const uint8_t wanted[] = { 0, 0, 0, 5, 'h', 'e', 'l', 'l', 'o', 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2 };
  uint8_t space[24];
  struct xdr_out out = { .pos = space, .end = space + sizeof space };

  memset (space, 0xee, sizeof space);
  xdr_put_opaque (&out, "hello", 5);
  xdr_put_u64 (&out, UINT64_C (0x100000002));
  assert_false (out.full);
  assert_int_equal (out.pos - space, sizeof wanted);
  assert_memory_equal (space, wanted, sizeof wanted);
  xdr_put_u64 (&out, 1);
  assert_true (out.full);
  xdr_put_fixed (&out, "", 0);
  assert_int_equal (space[sizeof space - 1], 1 - 1);
}

TEST (test_handle)
{
  struct nfs_scope scope = { .identity = UINT64_C (0x1122334455667788), .tag = 0x55667788 }, other = scope;
  uint8_t payload[RCVMI_NFS_PAYLOAD_MAX], other_key[RCVMI_NFS_KEY];
  struct nfs_handle_parts parts;
  struct nfs_handle h, changed;

  memset (payload, 0x5a, sizeof payload);
  memcpy (other_key, key, sizeof key);
  other_key[3] ^= 1;
  other.identity ^= UINT64_C (1) << 63;
  for (unsigned len = 0; len <= sizeof payload; len++)
    {
      rcvmi_nfs_handle_seal (&h, key, &scope, NFS_HANDLE_KERNEL, 1, payload, len);
      assert_int_equal (h.len, 16 + len);
      assert_true (rcvmi_nfs_handle_parse (&h, &parts));
      assert_int_equal (parts.len, len);
      assert_int_equal (parts.tag, scope.tag);
      assert_true (rcvmi_nfs_handle_verify (&h, key, &scope));
      assert_false (rcvmi_nfs_handle_verify (&h, other_key, &scope));
      assert_false (rcvmi_nfs_handle_verify (&h, key, &other));
      for (unsigned bit = 0; bit < 8 * h.len; bit++)
        {
          changed = h;
          changed.data[bit / 8] ^= (uint8_t) (1 << bit % 8);
          assert_false (rcvmi_nfs_handle_parse (&changed, &parts)
                        && rcvmi_nfs_handle_verify (&changed, key, &scope));
        }
      for (changed = h; changed.len > 0;)
        {
          changed.len--;
          assert_false (rcvmi_nfs_handle_parse (&changed, &parts));
        }
    }
  assert_int_equal (h.len, NFS_HANDLE_MAX);
}

TEST (test_status)
{
  assert_int_equal (rcvmi_nfs_status (0), NFS3_OK);
  assert_int_equal (rcvmi_nfs_status (EDQUOT), NFS3ERR_DQUOT);
  assert_int_equal (rcvmi_nfs_status (ENOSPC), NFS3ERR_NOSPC);
  assert_int_equal (rcvmi_nfs_status (EACCES), NFS3ERR_ACCES);
  assert_int_equal (rcvmi_nfs_status (EPERM), NFS3ERR_PERM);
  assert_int_equal (rcvmi_nfs_status (ENAMETOOLONG), NFS3ERR_NAMETOOLONG);
  assert_int_equal (rcvmi_nfs_status (ENOTEMPTY), NFS3ERR_NOTEMPTY);
  assert_int_equal (rcvmi_nfs_status (ESTALE), NFS3ERR_STALE);
  assert_int_equal (rcvmi_nfs_status (EMFILE), NFS3ERR_JUKEBOX);
  assert_int_equal (rcvmi_nfs_status (EUCLEAN), NFS3ERR_IO);
}

TEST (test_latencies)
{
  struct nfs_stats s = { 0 };
  struct nfs_call c = { .prog = NFS_PROGRAM, .proc = NFS_READ, .bytes_out = 10 };

  assert_int_equal (rcvmi_nfs_stats_percentile (&s.of[NFS_READ], 50), 0);
  for (unsigned i = 1; i <= 1000; i++)
    rcvmi_nfs_stats_add (&s, &c, i);
  assert_int_equal (s.bytes_read, 10000);
  for (unsigned percent = 1; percent <= 100; percent++)
    {
      uint64_t v = rcvmi_nfs_stats_percentile (&s.of[NFS_READ], percent);

      assert_in_range (v, percent * 10, percent * 10 + percent * 10 / 8 + 1);
    }
  rcvmi_nfs_stats_add (&s, &c, INT64_MAX);
  assert_true (rcvmi_nfs_stats_percentile (&s.of[NFS_READ], 100) > 1000000);
  c = (struct nfs_call){ .prog = MOUNT_PROGRAM, .proc = MOUNT_EXPORT, .status = NFS3ERR_IO };
  rcvmi_nfs_stats_add (&s, &c, 0);
  assert_int_equal (s.of[RCVMI_NFS_COUNTED - 1].errors, 1);
  assert_string_equal (rcvmi_nfs_rpc_name (RCVMI_NFS_COUNTED - 1), "MOUNT.EXPORT");
  assert_null (rcvmi_nfs_rpc_name (RCVMI_NFS_COUNTED));
}

TEST (test_remembered)
{
  struct nfs_server server = { 0 };
  uint8_t body[8] = "args";
  struct nfs_call c = { .server = &server, .prog = NFS_PROGRAM, .proc = NFS_REMOVE, .xid = 7, .record = body,
                        .len = sizeof body, .body = body, .arrived = 1 };
  struct nfs_drc d = { 0 };
  struct nfs_bufs bufs = { .lock = PTHREAD_MUTEX_INITIALIZER };
  struct nfs_buf *reply = rcvmi_nfs_buf_new (&bufs, 100);
  struct nfs_drc_entry *e;
  struct nfs_job job = { 0 };
  bool is_new;

  memcpy (reply->data, "reply", 5);
  reply->len = 5;
  e = rcvmi_nfs_drc_find (&d, &c, &is_new);
  assert_true (is_new);
  e->job = &job;
  assert_ptr_equal (rcvmi_nfs_drc_find (&d, &c, &is_new), e);
  assert_false (is_new);
  rcvmi_nfs_drc_answer (e, reply);
  assert_null (e->job);
  assert_ptr_equal (rcvmi_nfs_drc_find (&d, &c, &is_new), e);
  assert_false (is_new);
  assert_memory_equal (e->reply, "reply", 5);
  /* Anything else makes it another call. */
  body[0] ^= 1;
  rcvmi_nfs_drc_find (&d, &c, &is_new);
  assert_true (is_new);
  body[0] ^= 1;
  c.cred.uid = 1;
  rcvmi_nfs_drc_find (&d, &c, &is_new);
  assert_true (is_new);
  c.cred.uid = 0;
  c.arrived = INT64_C (200000000);
  rcvmi_nfs_drc_find (&d, &c, &is_new);
  assert_true (is_new);
  rcvmi_nfs_buf_free (&bufs, reply);
  rcvmi_nfs_bufs_trim (&bufs);
  rcvmi_nfs_drc_free (&d);
}

TEST (test_remembers_a_number)
{
  struct nfs_server server = { 0 };
  uint8_t body[4] = { 0 };
  struct nfs_call c = { .server = &server, .prog = NFS_PROGRAM, .proc = NFS_REMOVE, .record = body, .len = 4,
                        .body = body, .arrived = 1 };
  struct nfs_drc d = { 0 };
  struct nfs_job job = { 0 };
  bool is_new;

  /* What is being run is never pushed out; if that is all, there is no entry. */
  for (c.xid = 1; c.xid <= RCVMI_NFS_REMEMBERED; c.xid++)
    rcvmi_nfs_drc_find (&d, &c, &is_new)->job = &job;
  assert_null (rcvmi_nfs_drc_find (&d, &c, &is_new));
  assert_true (is_new);
  rcvmi_nfs_drc_free (&d);
}

/* A call as it comes out of a connection. */
static uint32_t
call (struct nfs_server *s, struct nfs_thread *t, uint32_t prog, uint32_t proc, const void *args, size_t len,
      uint8_t *out, size_t *out_len)
{
  uint8_t record[1024];
  struct xdr_out x = { .pos = record, .end = record + sizeof record };
  struct nfs_call c = { .server = s, .thread = t, .record = record, .arrived = 1 };
  uint32_t status;

  xdr_put_u32 (&x, 99);
  xdr_put_u32 (&x, RPC_CALL);
  xdr_put_u32 (&x, RPC_VERSION);
  xdr_put_u32 (&x, prog);
  xdr_put_u32 (&x, 3);
  xdr_put_u32 (&x, proc);
  /* The same rights as the test's, which may not be root. */
  xdr_put_u32 (&x, RPC_AUTH_SYS);
  xdr_put_u32 (&x, 20);
  xdr_put_u32 (&x, 0);
  xdr_put_u32 (&x, 0);
  xdr_put_u32 (&x, geteuid ());
  xdr_put_u32 (&x, getegid ());
  xdr_put_u32 (&x, 0);
  xdr_put_u64 (&x, 0);
  xdr_put_fixed (&x, args, len);
  c.len = (size_t) (x.pos - record);
  assert_int_equal (rcvmi_nfs_rpc_decode (&c), NFS_DONE);
  assert_false (c.answered);
  assert_int_equal (rcvmi_nfs_rpc_run (t, &c), NFS_DONE);
  assert_int_equal (be32_load (c.reply->data), RPC_LAST_FRAGMENT | (uint32_t) (c.reply->len - 4));
  assert_int_equal (be32_load (c.reply->data + 4), 99);
  status = be32_load (c.reply->data + 28);
  *out_len = c.reply->len - 32;
  memcpy (out, c.reply->data + 32, *out_len > 512 ? 512 : *out_len);
  rcvmi_nfs_buf_free (&s->bufs, c.reply);
  return status;
}

TEST (test_calls)
{
  char *dir = make_dir ();
  rcvm_error *err = NULL;
  struct nfs_server *s = rcvmi_nfs_core_new (key, &err);
  struct nfs_thread *t = calloc (1, sizeof *t);
  struct nfs_export_options options = { .squash = true, .uid = geteuid (), .gid = getegid () };
  uint8_t out[512], args[256];
  struct xdr_out x;
  size_t len;
  uint32_t handle_len;
  uint8_t handle[NFS_HANDLE_MAX];

  check_ok (s ? 0 : -1, err);
  t->server = s;
  check_ok (rcvmi_nfs_export_add (s, -1, dir, "/v", &options, &err), err);
  assert_int_equal (rcvmi_nfs_export_add (s, -1, dir, "/v/", &options, &err), RCVM_E_EXISTS);
  check_error (&err, RCVM_E_EXISTS, "volumes", "already");
  x = (struct xdr_out){ .pos = args, .end = args + sizeof args };
  xdr_put_opaque (&x, "/v", 2);
  assert_int_equal (call (s, t, MOUNT_PROGRAM, MOUNT_MNT, args, (size_t) (x.pos - args), out, &len), NFS3_OK);
  handle_len = be32_load (out);
  memcpy (handle, out + 4, handle_len);
  x = (struct xdr_out){ .pos = args, .end = args + sizeof args };
  xdr_put_opaque (&x, handle, handle_len);
  assert_int_equal (call (s, t, NFS_PROGRAM, NFS_GETATTR, args, (size_t) (x.pos - args), out, &len), NFS3_OK);
  assert_int_equal (len, NFS_FATTR);
  assert_int_equal (be32_load (out), NF3DIR);
  /* A removed export's handles are stale, and nothing of it stays open. */
  check_ok (rcvmi_nfs_export_remove (s, "/v", &err), err);
  assert_int_equal (call (s, t, NFS_PROGRAM, NFS_GETATTR, args, (size_t) (x.pos - args), out, &len), NFS3ERR_STALE);
  assert_int_equal (s->objects.count, 0);
  assert_int_equal (rcvmi_nfs_export_remove (s, "/v", &err), RCVM_E_NOT_FOUND);
  check_error (&err, RCVM_E_NOT_FOUND, "volumes", "no volume '/v'");
  free (t);
  rcvmi_nfs_core_free (s);
  remove_tree (dir);
}

TEST (test_export_errors)
{
  rcvm_error *err = NULL;
  struct nfs_server *s = rcvmi_nfs_core_new (key, &err);
  struct nfs_export_options mine = { .squash = true, .uid = geteuid (), .gid = getegid () }, others = mine;
  int before = count_fds ();

  assert_true (rcvmi_nfs_export_add (s, -1, "/nonexistent/x", NULL, &mine, &err) < 0);
  check_error (&err, RCVM_E_NOT_FOUND, "volumes", "/nonexistent/x");
  assert_true (rcvmi_nfs_export_add (s, -1, "/dev/null", NULL, &mine, &err) < 0);
  check_error (&err, RCVM_E_INVALID, "volumes", "neither a directory");
  assert_true (rcvmi_nfs_export_add (s, -1, "/", "relative", &mine, &err) < 0);
  check_error (&err, RCVM_E_INVALID, "volumes", "no absolute path");
  others.uid++;
  s->identities = false;
  assert_true (rcvmi_nfs_export_add (s, -1, "/", NULL, &others, &err) < 0);
  check_error (&err, RCVM_E_PERMISSION, "volumes", "started as root");
  assert_int_equal (count_fds (), before);
  rcvmi_nfs_core_free (s);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_siphash),     cmocka_unit_test (test_xdr_read),  cmocka_unit_test (test_xdr_read_cut),
    cmocka_unit_test (test_xdr_write),   cmocka_unit_test (test_handle),    cmocka_unit_test (test_status),
    cmocka_unit_test (test_latencies),   cmocka_unit_test (test_remembered),
    cmocka_unit_test (test_remembers_a_number), cmocka_unit_test (test_calls),
    cmocka_unit_test (test_export_errors),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
