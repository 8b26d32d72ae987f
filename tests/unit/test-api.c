/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The public functions, as far as they need no monitor: arguments, and states. */
#include "config.h"

#include "api-testing.h"

/* Handles. */

TEST (test_ids)
{
  static const char *const good[] = { "a", "A-Za-z0-9_+-.", "...", "-", "x.y" };
  static const char *const bad[] = { "", ".", "..", "a/b", "a b", "\xc3\xbc", "a\n", "a\\", "/" };
  char long_id[130];

  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    {
      rcvm_vm *vm = rcvm_vm_new ("/nowhere", good[i], NULL);

      assert_non_null (vm);
      assert_string_equal (rcvm_vm_get_id (vm), good[i]);
      rcvm_vm_free (vm);
    }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      rcvm_error *e = NULL;

      assert_null (rcvm_vm_new ("/nowhere", bad[i], &e));
      assert_int_equal (rcvm_error_get_code (e), RCVM_E_INVALID);
      rcvm_error_free (e);
    }
  memset (long_id, 'x', 129);
  long_id[129] = 0;
  assert_null (rcvm_vm_new ("/nowhere", long_id, NULL));
  long_id[128] = 0;
  rcvm_vm_free (rcvm_vm_new ("/nowhere", long_id, NULL));
  assert_null (rcvm_vm_new ("/nowhere", NULL, NULL));
}

TEST (test_null_handles)
{
  char *const argv[] = { (char *) "true", NULL };
  rcvm_error *e = NULL;
  int code;

#define REFUSED(call)                                                                             \
  do                                                                                              \
    {                                                                                             \
      assert_int_equal (call, RCVM_E_INVALID);                                                    \
      assert_int_equal (rcvm_error_get_code (e), RCVM_E_INVALID);                                 \
      rcvm_error_free (e);                                                                        \
      e = NULL;                                                                                   \
    }                                                                                             \
  while (0)
#define REFUSED_POINTER(call)                                                                     \
  do                                                                                              \
    {                                                                                             \
      assert_null (call);                                                                         \
      assert_int_equal (rcvm_error_get_code (e), RCVM_E_INVALID);                                 \
      rcvm_error_free (e);                                                                        \
      e = NULL;                                                                                   \
    }                                                                                             \
  while (0)

  REFUSED (rcvm_vm_set_bundle (NULL, "/", &e));
  REFUSED (rcvm_vm_set_config_json (NULL, "{}", &e));
  REFUSED (rcvm_vm_set_rootfs (NULL, "/", &e));
  REFUSED (rcvm_vm_set_args (NULL, argv, &e));
  REFUSED (rcvm_vm_add_env (NULL, "A=B", &e));
  REFUSED (rcvm_vm_set_user (NULL, "0", &e));
  REFUSED (rcvm_vm_set_cwd (NULL, "/", &e));
  REFUSED (rcvm_vm_set_hostname (NULL, "h", &e));
  REFUSED (rcvm_vm_set_terminal (NULL, 1, &e));
  REFUSED (rcvm_vm_set_readonly_rootfs (NULL, 1, &e));
  REFUSED (rcvm_vm_set_annotation (NULL, "a", "b", &e));
  REFUSED (rcvm_vm_set_stdio (NULL, 0, 1, 2, &e));
  REFUSED (rcvm_vm_set_console (NULL, 0, &e));
  REFUSED (rcvm_vm_set_hypervisor (NULL, "auto", &e));
  REFUSED (rcvm_vm_set_confinement (NULL, "auto", &e));
  REFUSED (rcvm_vm_set_kernel (NULL, "/k", &e));
  REFUSED (rcvm_vm_set_initramfs (NULL, "/i", &e));
  REFUSED (rcvm_vm_set_kernel_args (NULL, "quiet", &e));
  REFUSED (rcvm_vm_set_memory (NULL, 1, &e));
  REFUSED (rcvm_vm_set_cpus (NULL, 1, &e));
  REFUSED (rcvm_vm_set_rootfs_disk (NULL, "single", &e));
  REFUSED (rcvm_vm_set_rootfs_changes (NULL, "keep", &e));
  REFUSED (rcvm_vm_add_rootfs_digest (NULL, "sha256:0", &e));
  REFUSED (rcvm_vm_set_rootfs_size (NULL, 1, &e));
  REFUSED (rcvm_vm_set_log (NULL, RCVM_LOG_INFO, NULL, NULL, NULL, &e));
  REFUSED (rcvm_vm_create (NULL, &e));
  REFUSED (rcvm_vm_start (NULL, &e));
  REFUSED (rcvm_vm_wait (NULL, 0, &code, &e));
  REFUSED (rcvm_vm_kill (NULL, 9, &e));
  REFUSED (rcvm_vm_kill_all (NULL, 9, &e));
  REFUSED (rcvm_vm_resize (NULL, 1, 1, &e));
  REFUSED (rcvm_vm_delete (NULL, 1, &e));
  REFUSED (rcvm_vm_dispatch (NULL, &e));
  REFUSED_POINTER (rcvm_vm_state (NULL, &e));
  REFUSED_POINTER (rcvm_vm_metrics (NULL, &e));
  REFUSED_POINTER (rcvm_vm_exec (NULL, argv, &e));
  REFUSED (rcvm_process_set_json (NULL, "{}", &e));
  REFUSED (rcvm_process_add_env (NULL, "A=B", &e));
  REFUSED (rcvm_process_set_user (NULL, "0", &e));
  REFUSED (rcvm_process_set_cwd (NULL, "/", &e));
  REFUSED (rcvm_process_set_terminal (NULL, 1, &e));
  REFUSED (rcvm_process_set_stdio (NULL, 0, 1, 2, &e));
  REFUSED (rcvm_process_set_tied (NULL, 1, &e));
  REFUSED (rcvm_process_start (NULL, &e));
  REFUSED (rcvm_process_wait (NULL, 0, &code, &e));
  REFUSED (rcvm_process_kill (NULL, 9, &e));
  REFUSED (rcvm_process_resize (NULL, 1, 1, &e));
  REFUSED (rcvm_spec_check (NULL, &e));
  REFUSED (rcvm_rootfs_build (NULL, "/x", NULL, &e));
  REFUSED (rcvm_rootfs_build ("/x", NULL, NULL, &e));
  REFUSED (rcvm_rootfs_verify (NULL, &e));
  REFUSED_POINTER (rcvm_rootfs_inspect_json (NULL, &e));
  REFUSED (rcvm_rootfs_options_set_size (NULL, 1, &e));
  REFUSED (rcvm_rootfs_options_set_headroom (NULL, 1, &e));
  REFUSED (rcvm_rootfs_options_set_journal (NULL, 1, &e));
  REFUSED (rcvm_rootfs_options_set_sync (NULL, 1, &e));
  REFUSED (rcvm_rootfs_options_add_copy (NULL, "/a", "/b", &e));
  REFUSED (rcvm_rootfs_options_set_progress (NULL, NULL, NULL, &e));

  assert_int_equal (rcvm_vm_get_fd (NULL), -1);
  assert_null (rcvm_vm_get_id (NULL));
  assert_int_equal (rcvm_vm_get_status (NULL), RCVM_STATUS_NEW);
  assert_int_equal (rcvm_vm_get_pid (NULL), -1);
  assert_int_equal (rcvm_vm_phase_count (NULL), 0);
  assert_null (rcvm_vm_phase_name (NULL, 0));
  assert_int_equal (rcvm_vm_phase_usec (NULL, 0), -1);
  assert_int_equal (rcvm_process_get_fd (NULL), -1);
  assert_int_equal (rcvm_process_get_guest_pid (NULL), -1);
  assert_int_equal (rcvm_host_count (NULL), 0);
  assert_null (rcvm_host_get_name (NULL, 0));
  assert_null (rcvm_host_get_detail (NULL, 0));
  assert_null (rcvm_host_get_advice (NULL, 0));
  assert_int_equal (rcvm_host_get_result (NULL, 0), RCVM_CHECK_FATAL);
  rcvm_vm_free (NULL);
  rcvm_process_free (NULL);
  rcvm_host_free (NULL);
  rcvm_rootfs_options_free (NULL);
}

/* Without a place for an error all the same. */
TEST (test_no_error_wanted)
{
  assert_int_equal (rcvm_vm_create (NULL, NULL), RCVM_E_INVALID);
  assert_null (rcvm_vm_open ("/nowhere", "vm", NULL));
  assert_int_equal (rcvm_spec_check ("{", NULL), RCVM_E_SPEC);
  assert_int_equal (rcvm_rootfs_build ("/does/not/exist", "/does/not/exist/x", NULL, NULL), RCVM_E_NOT_FOUND);
}

API_TEST (test_bad_arguments)
{
  rcvm_vm *vm = new_vm (*state);
  rcvm_process *p;
  char *const none[] = { NULL };
  rcvm_error *e = NULL;

  REFUSED (rcvm_vm_set_args (vm, NULL, &e));
  REFUSED (rcvm_vm_set_args (vm, none, &e));
  REFUSED (rcvm_vm_add_env (vm, NULL, &e));
  REFUSED (rcvm_vm_add_env (vm, "A", &e));
  REFUSED (rcvm_vm_add_env (vm, "=B", &e));
  REFUSED (rcvm_vm_set_annotation (vm, NULL, "v", &e));
  REFUSED (rcvm_vm_set_annotation (vm, "", "v", &e));
  REFUSED (rcvm_vm_set_annotation (vm, "a=b", "v", &e));
  REFUSED (rcvm_vm_set_annotation (vm, "k", NULL, &e));
  REFUSED (rcvm_vm_kill (vm, 0, &e));
  REFUSED (rcvm_vm_kill (vm, 65, &e));
  REFUSED (rcvm_vm_kill_all (vm, -1, &e));
  REFUSED (rcvm_vm_resize (vm, 65536, 1, &e));
  REFUSED (rcvm_vm_resize (vm, 1, 65536, &e));
  check_ok (rcvm_vm_resize (vm, 24, 80, &e), e);
  p = rcvm_vm_exec (vm, none, &e);
  assert_non_null (p);
  REFUSED (rcvm_process_add_env (p, "A", &e));
  REFUSED (rcvm_process_kill (p, 0, &e));
  REFUSED (rcvm_process_resize (p, 65536, 1, &e));
  rcvm_process_free (p);
  rcvm_vm_free (vm);
}

/* What is passed in is copied. */
API_TEST (test_inputs_are_copied)
{
  rcvm_vm *vm = new_vm (*state);
  char program[] = "true", env[] = "A=B", path[] = "relative";
  char *argv[] = { program, NULL };
  rcvm_error *e = NULL;

  check_ok (rcvm_vm_set_args (vm, argv, &e), e);
  check_ok (rcvm_vm_add_env (vm, env, &e), e);
  check_ok (rcvm_vm_set_bundle (vm, path, &e), e);
  memset (program, 'x', sizeof program - 1);
  memset (env, 'x', sizeof env - 1);
  argv[0] = NULL;
  check_ok (rcvm_vm_set_args (vm, (char *[]){ (char *) "a", (char *) "b", NULL }, &e), e);
  check_ok (rcvm_vm_set_bundle (vm, NULL, &e), e);
  rcvm_vm_free (vm);
}

API_TEST (test_stdio)
{
  rcvm_vm *vm = new_vm (*state);
  int before = count_fds (), inheritable = count_inheritable_fds (), fds[2];
  rcvm_error *e = NULL;
  char c;

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  check_ok (rcvm_vm_set_stdio (vm, -1, fds[1], fds[1], &e), e);
  assert_int_equal (count_fds (), before + 4);
  assert_int_equal (count_inheritable_fds (), inheritable);
  /* One that is not open changes nothing. */
  assert_int_equal (rcvm_vm_set_stdio (vm, fds[0], 9999, -1, &e), RCVM_E_SYSTEM);
  check_error (&e, RCVM_E_SYSTEM, "api", "9999");
  assert_int_equal (count_fds (), before + 4);
  check_ok (rcvm_vm_set_stdio (vm, -1, fds[1], -1, &e), e);
  assert_int_equal (count_fds (), before + 3);
  close (fds[1]);
  assert_false (is_ready (fds[0], POLLIN | POLLHUP));
  rcvm_vm_free (vm);
  assert_int_equal (read (fds[0], &c, 1), 0);
  close (fds[0]);
}

/* Logs. */

static void
count_free (void *user)
{
  ++*(int *) user;
}

static void
ignore_log (void *user, int level, const char *stage, const char *message)
{
  (void) user;
  (void) level;
  (void) stage;
  (void) message;
}

API_TEST (test_log_is_freed_once)
{
  rcvm_vm *vm = new_vm (*state);
  int first = 0, second = 0, refused = 0;
  rcvm_error *e = NULL;

  check_ok (rcvm_vm_set_log (vm, RCVM_LOG_INFO, ignore_log, &first, count_free, &e), e);
  assert_int_equal (first, 0);
  REFUSED (rcvm_vm_set_log (vm, 99, ignore_log, &refused, count_free, &e));
  assert_int_equal (refused, 1);
  REFUSED (rcvm_vm_set_log (vm, -1, ignore_log, &refused, count_free, &e));
  assert_int_equal (refused, 2);
  REFUSED (rcvm_vm_set_log (NULL, 1, ignore_log, &refused, count_free, &e));
  assert_int_equal (refused, 3);
  assert_int_equal (first, 0);
  check_ok (rcvm_vm_set_log (vm, RCVM_LOG_DEBUG, ignore_log, &second, count_free, &e), e);
  assert_int_equal (first, 1);
  assert_int_equal (second, 0);
  check_ok (rcvm_vm_set_log (vm, RCVM_LOG_ERROR, NULL, NULL, NULL, &e), e);
  assert_int_equal (second, 1);
  check_ok (rcvm_vm_set_log (vm, RCVM_LOG_DEBUG, ignore_log, &second, count_free, &e), e);
  rcvm_vm_free (vm);
  assert_int_equal (first, 1);
  assert_int_equal (second, 2);
  assert_int_equal (refused, 3);
}

/* States. */

API_TEST (test_new_handle)
{
  rcvm_vm *vm = new_vm (*state);
  rcvm_error *e = NULL;
  int code = 0;

  assert_int_equal (rcvm_vm_get_status (vm), RCVM_STATUS_NEW);
  assert_int_equal (rcvm_vm_get_fd (vm), -1);
  assert_int_equal (rcvm_vm_get_pid (vm), -1);
  assert_int_equal (rcvm_vm_dispatch (vm, &e), RCVM_STATUS_NEW);
  assert_int_equal (rcvm_vm_wait (vm, 0, &code, &e), RCVM_E_STATE);
  assert_int_equal (code, 125);
  check_error (&e, RCVM_E_STATE, "api", "not been created");
  assert_int_equal (rcvm_vm_kill (vm, 9, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "api", "'vm' is new");
  assert_null (rcvm_vm_state (vm, &e));
  check_error (&e, RCVM_E_STATE, "api", NULL);
  assert_null (rcvm_vm_metrics (vm, &e));
  check_error (&e, RCVM_E_STATE, "api", NULL);
  assert_int_equal (rcvm_vm_delete (vm, 0, &e), RCVM_E_NOT_FOUND);
  check_error (&e, RCVM_E_NOT_FOUND, "state", "no VM 'vm'");
  check_ok (rcvm_vm_delete (vm, 1, &e), e);
  assert_int_equal (rcvm_vm_get_status (vm), RCVM_STATUS_NEW);
  rcvm_vm_free (vm);
  assert_null (rcvm_vm_open (*state, "vm", &e));
  check_error (&e, RCVM_E_NOT_FOUND, "state", "no VM 'vm'");
}

TEST (test_names)
{
  assert_string_equal (rcvm_status_name (RCVM_STATUS_NEW), "new");
  assert_string_equal (rcvm_status_name (RCVM_STATUS_CREATING), "creating");
  assert_string_equal (rcvm_status_name (RCVM_STATUS_STOPPED), "stopped");
  assert_string_equal (rcvm_status_name (6), "unknown");
  assert_string_equal (rcvm_status_name (-1), "unknown");
  assert_string_equal (rcvm_version (), RCVM_VERSION_STRING);
}

API_TEST (test_list)
{
  rcvm_error *e = NULL;
  autofree char *path = NULL;
  char *ids = rcvm_vm_list (*state, &e);

  check_ok (ids ? 0 : -1, e);
  assert_string_equal (ids, "");
  rcvm_free (ids);
  fake_monitor_kill (fake_monitor_start (*state, "b", RCVM_STATUS_RUNNING, NULL));
  fake_monitor_kill (fake_monitor_start (*state, "a.1", RCVM_STATUS_RUNNING, NULL));
  assert_true (asprintf (&path, "%s/a-file", (char *) *state) > 0);
  write_file (path, "", 0);
  ids = rcvm_vm_list (*state, &e);
  check_ok (ids ? 0 : -1, e);
  assert_string_equal (ids, "a.1\nb\n");
  rcvm_free (ids);
  ids = rcvm_vm_list ("/does/not/exist", &e);
  check_ok (ids ? 0 : -1, e);
  assert_string_equal (ids, "");
  rcvm_free (ids);
}

TEST (test_host)
{
  rcvm_error *e = NULL;
  rcvm_host *host = rcvm_host_check (&e);
  size_t n = rcvm_host_count (host);

  check_ok (host ? 0 : -1, e);
  assert_in_range (n, 5, 100);
  for (size_t i = 0; i < n; i++)
    {
      assert_true (strlen (rcvm_host_get_name (host, i)) > 0);
      assert_true (strlen (rcvm_host_get_detail (host, i)) > 0);
      assert_in_range (rcvm_host_get_result (host, i), RCVM_CHECK_OK, RCVM_CHECK_FATAL);
      assert_int_equal (strlen (rcvm_host_get_advice (host, i)) > 0,
                        rcvm_host_get_result (host, i) != RCVM_CHECK_OK);
    }
  assert_null (rcvm_host_get_name (host, n));
  assert_null (rcvm_host_get_detail (host, n));
  assert_null (rcvm_host_get_advice (host, n));
  rcvm_host_free (host);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_ids),
    cmocka_unit_test (test_null_handles),
    cmocka_unit_test (test_no_error_wanted),
    api_test (test_bad_arguments),
    api_test (test_inputs_are_copied),
    api_test (test_stdio),
    api_test (test_log_is_freed_once),
    api_test (test_new_handle),
    cmocka_unit_test (test_names),
    api_test (test_list),
    cmocka_unit_test (test_host),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
