/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "config-text.h"

#include "options.h"

static void
test_strv (void **state)
{
  char **list = NULL, **copy;

  (void) state;
  assert_int_equal (rcvmi_strv_length (NULL), 0);
  assert_int_equal (rcvmi_strv_append (&list, "A=1"), 0);
  assert_int_equal (rcvmi_strv_append (&list, "B=2"), 0);
  assert_int_equal (rcvmi_strv_append (&list, ""), 0);
  assert_int_equal (rcvmi_strv_length (list), 3);
  assert_string_equal (list[1], "B=2");
  assert_string_equal (list[2], "");
  assert_null (list[3]);
  copy = rcvmi_strv_copy (list);
  assert_int_equal (rcvmi_strv_length (copy), 3);
  assert_string_equal (copy[0], "A=1");
  assert_ptr_not_equal (copy[0], list[0]);
  rcvmi_strv_free (copy);
  rcvmi_strv_free (list);
  rcvmi_strv_free (NULL);
  copy = rcvmi_strv_copy (NULL);
  assert_non_null (copy);
  assert_null (copy[0]);
  rcvmi_strv_free (copy);
}

static void
test_set_env (void **state)
{
  char **list = NULL;

  (void) state;
  assert_int_equal (rcvmi_strv_set_env (&list, "A=1"), 0);
  assert_int_equal (rcvmi_strv_set_env (&list, "AB=2"), 0);
  assert_int_equal (rcvmi_strv_set_env (&list, "A=3=4"), 0);
  assert_int_equal (rcvmi_strv_set_env (&list, "AB="), 0);
  assert_int_equal (rcvmi_strv_length (list), 2);
  assert_string_equal (list[0], "A=3=4");
  assert_string_equal (list[1], "AB=");
  rcvmi_strv_free (list);
}

static struct rcvmi_options
full_options (void)
{
  struct rcvmi_options o = RCVMI_OPTIONS_INIT;

  o.id = strdup ("vm-1");
  o.bundle = strdup ("/b");
  o.config_json = strdup ("{}");
  o.rootfs = strdup ("/r");
  assert_int_equal (rcvmi_strv_append (&o.args, "sh"), 0);
  assert_int_equal (rcvmi_strv_append (&o.args, ""), 0);
  assert_int_equal (rcvmi_strv_append (&o.args, "line\nbreak"), 0);
  assert_int_equal (rcvmi_strv_append (&o.env, "A=1"), 0);
  assert_int_equal (rcvmi_strv_append (&o.annotations, "k=v"), 0);
  o.user = strdup ("1000:1000");
  o.cwd = strdup ("/tmp");
  o.hostname = strdup ("h");
  o.terminal = 1;
  o.readonly_rootfs = 0;
  o.hypervisor = strdup ("qemu");
  o.confinement = strdup ("own");
  o.kernel = strdup ("/k");
  o.initramfs = strdup ("/i");
  o.kernel_args = strdup ("quiet");
  o.memory = UINT64_C (5) << 32;
  o.cpus = 7;
  o.rootfs_size = UINT64_MAX;
  o.rootfs_disk = strdup ("single");
  o.rootfs_changes = strdup ("keep");
  assert_int_equal (rcvmi_strv_append (&o.rootfs_digests, "sha256:0"), 0);
  o.rows = 25;
  o.cols = 80;
  o.log_level = 0;
  return o;
}

static void
test_round_trip (void **state)
{
  struct rcvmi_options o = full_options (), d;
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *err = NULL;

  (void) state;
  rcvmi_options_encode (&o, &w);
  assert_false (w.failed);
  assert_int_equal (rcvmi_options_decode (&d, w.data, w.len, &err), 0);
  assert_string_equal (d.id, "vm-1");
  assert_string_equal (d.bundle, "/b");
  assert_string_equal (d.config_json, "{}");
  assert_string_equal (d.rootfs, "/r");
  assert_int_equal (rcvmi_strv_length (d.args), 3);
  assert_string_equal (d.args[1], "");
  assert_string_equal (d.args[2], "line\nbreak");
  assert_string_equal (d.env[0], "A=1");
  assert_string_equal (d.annotations[0], "k=v");
  assert_string_equal (d.user, "1000:1000");
  assert_string_equal (d.cwd, "/tmp");
  assert_string_equal (d.hostname, "h");
  assert_int_equal (d.terminal, 1);
  assert_int_equal (d.readonly_rootfs, 0);
  assert_string_equal (d.hypervisor, "qemu");
  assert_string_equal (d.confinement, "own");
  assert_string_equal (d.kernel, "/k");
  assert_string_equal (d.initramfs, "/i");
  assert_string_equal (d.kernel_args, "quiet");
  assert_true (d.memory == o.memory);
  assert_int_equal (d.cpus, 7);
  assert_true (d.rootfs_size == UINT64_MAX);
  assert_string_equal (d.rootfs_disk, "single");
  assert_string_equal (d.rootfs_changes, "keep");
  assert_string_equal (d.rootfs_digests[0], "sha256:0");
  assert_int_equal (d.rows, 25);
  assert_int_equal (d.cols, 80);
  assert_int_equal (d.log_level, 0);
  rcvmi_options_clear (&d);
  assert_null (d.id);
  assert_int_equal (d.terminal, -1);

  /* Cut anywhere, it is refused or it is a shorter record; nothing leaks, nothing is read beyond.
     */
  for (size_t len = 0; len < w.len; len++)
    {
      unsigned char *cut = malloc (len ? len : 1);

      memcpy (cut, w.data, len);
      if (rcvmi_options_decode (&d, cut, len, &err) < 0)
        {
          assert_error (&err, RCVM_E_PROTOCOL, "api", "record");
          assert_null (d.id);
        }
      rcvmi_options_clear (&d);
      free (cut);
    }
  tlv_writer_free (&w);
  rcvmi_options_clear (&o);
}

static void
test_defaults_travel (void **state)
{
  struct rcvmi_options o = RCVMI_OPTIONS_INIT, d;
  struct tlv_writer w = TLV_WRITER_INIT;

  (void) state;
  rcvmi_options_encode (&o, &w);
  assert_int_equal (w.len, 0);
  assert_int_equal (rcvmi_options_decode (&d, w.data, w.len, NULL), 0);
  assert_int_equal (d.terminal, -1);
  assert_int_equal (d.readonly_rootfs, -1);
  assert_int_equal (d.log_level, -1);
  assert_null (d.args);
  rcvmi_options_clear (&d);
}

static void
test_exec_round_trip (void **state)
{
  struct rcvmi_exec_options o = RCVMI_EXEC_OPTIONS_INIT, d;
  struct tlv_writer w = TLV_WRITER_INIT;

  (void) state;
  o.process_json = strdup ("{}");
  assert_int_equal (rcvmi_strv_append (&o.args, "ls"), 0);
  assert_int_equal (rcvmi_strv_append (&o.env, "A=1"), 0);
  o.user = strdup ("www");
  o.cwd = strdup ("/");
  o.terminal = 0;
  o.rows = 1;
  o.cols = 2;
  rcvmi_exec_options_encode (&o, &w);
  assert_int_equal (rcvmi_exec_options_decode (&d, w.data, w.len, NULL), 0);
  assert_string_equal (d.process_json, "{}");
  assert_string_equal (d.args[0], "ls");
  assert_string_equal (d.env[0], "A=1");
  assert_string_equal (d.user, "www");
  assert_string_equal (d.cwd, "/");
  assert_int_equal (d.terminal, 0);
  assert_int_equal (d.rows, 1);
  assert_int_equal (d.cols, 2);
  rcvmi_exec_options_clear (&d);
  rcvmi_exec_options_clear (&o);
  tlv_writer_free (&w);
}

static void
refuse (const char *what, void (*put) (struct tlv_writer *w), const char *needle)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct rcvmi_options d;
  rcvm_error *err = NULL;

  tlv_put_str (&w, 1, "id");
  put (&w);
  if (rcvmi_options_decode (&d, w.data, w.len, &err) != RCVM_E_PROTOCOL)
    fail_msg ("%s was taken", what);
  assert_error (&err, RCVM_E_PROTOCOL, "api", needle);
  assert_null (d.id); /* clear */
  tlv_writer_free (&w);
}

static void
put_no_nul (struct tlv_writer *w)
{
  tlv_put (w, 2, "abc", 3);
}

static void
put_inner_nul (struct tlv_writer *w)
{
  tlv_put (w, 5, "a\0c", 4);
}

static void
put_twice (struct tlv_writer *w)
{
  tlv_put_str (w, 8, "a");
  tlv_put_str (w, 8, "b");
}

static void
put_short_number (struct tlv_writer *w)
{
  tlv_put (w, 17, "1234", 4);
}

static void
put_negative (struct tlv_writer *w)
{
  tlv_put_u32 (w, 11, 0xfffffffe);
}

static void
put_half_header (struct tlv_writer *w)
{
  tlv_put_u32 (w, 18, 1);
  w->len -= 7;
}

static void
test_refused (void **state)
{
  (void) state;
  refuse ("a string without an end", put_no_nul, "bundle");
  refuse ("a string with a NUL in it", put_inner_nul, "args");
  refuse ("a field that is there twice", put_twice, "two fields 'user'");
  refuse ("a number of the wrong width", put_short_number, "memory");
  refuse ("a number that is no int", put_negative, "terminal");
  refuse ("half a header", put_half_header, "cut short");
}

static void
test_unknown_tags (void **state)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct rcvmi_options d;

  (void) state;
  tlv_put_str (&w, 999, "from a newer peer");
  tlv_put_str (&w, 1, "id");
  assert_int_equal (rcvmi_options_decode (&d, w.data, w.len, NULL), 0);
  assert_string_equal (d.id, "id");
  rcvmi_options_clear (&d);
  tlv_writer_free (&w);
}

static void
test_long_list (void **state)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct rcvmi_options d;

  (void) state;
  for (int i = 0; i < 200000; i++)
    tlv_put_str (&w, 5, "");
  assert_int_equal (rcvmi_options_decode (&d, w.data, w.len, NULL), 0);
  assert_int_equal (rcvmi_strv_length (d.args), 200000);
  rcvmi_options_clear (&d);
  tlv_writer_free (&w);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_strv),
    cmocka_unit_test (test_set_env),
    cmocka_unit_test (test_round_trip),
    cmocka_unit_test (test_defaults_travel),
    cmocka_unit_test (test_exec_round_trip),
    cmocka_unit_test (test_refused),
    cmocka_unit_test (test_unknown_tags),
    cmocka_unit_test (test_long_list),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
