/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The public functions, as far as they need no VM: arguments, states, and what a handle makes of what a monitor
   says.  The monitor is a script (fake-monitor.h). */
#include "config.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <runcvm/runcvm.h>

#include "cleanup.h"
#include "fake-monitor.h"

static int
set_up (void **state)
{
  *state = make_dir ();
  return 0;
}

static int
tear_down (void **state)
{
  remove_tree (*state);
  return 0;
}

#define API_TEST(name) static void name (void **state)

static rcvm_vm *
new_vm (const char *root)
{
  rcvm_error *e = NULL;
  rcvm_vm *vm = rcvm_vm_new (root, "vm", &e);

  check_ok (vm ? 0 : -1, e);
  return vm;
}

static rcvm_vm *
open_vm (const char *root)
{
  rcvm_error *e = NULL;
  rcvm_vm *vm = rcvm_vm_open (root, "vm", &e);

  check_ok (vm ? 0 : -1, e);
  return vm;
}

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

/* With a monitor. */

static void
tell_volumes (struct fake *f)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_str (&w, A_MESSAGE,
               "{\"volumes\":[{\"source\":\"/a \\\"b\\\"\\\\\",\"destination\":\"/d\",\"readOnly\":false,\"identity\":\"preserve\","
               "\"consistency\":\"strict\"}],\"server\":{\"restarts\":1,\"bytesRead\":4096,\"bytesWritten\":18446744073709551615,"
               "\"operations\":[{\"name\":\"READ\",\"calls\":7,\"errors\":2,\"latencyMicroseconds\":{\"p50\":3,\"p90\":4,\"p99\":5,"
               "\"p999\":6,\"max\":2000007}}]}}");
  fake_send (f, CONTROL_JSON, &w);
}

static void
obey (struct fake *f)
{
  uint32_t value;
  uint16_t type;

  while ((type = fake_next (f, A_SIGNAL, &value)))
    if (type == CONTROL_KILL && value == SIGTERM)
      {
        fake_send_number (f, CONTROL_OK, A_PID, 0);
        fake_stop (f, 7);
        fake_send_number (f, CONTROL_STATUS, A_BYTES, RCVM_STATUS_STOPPED);
        fake_send_number (f, CONTROL_EXITED, A_EXIT_CODE, 7);
        _exit (0);
      }
    else if (type == CONTROL_KILL && value == SIGSEGV)
      _exit (0); /* it dies without a word */
    else if (type == CONTROL_STOP)
      {
        fake_stop (f, 137);
        fake_send_number (f, CONTROL_OK, A_PID, 0);
        _exit (0);
      }
    else if (type == CONTROL_START)
      {
        fake_send_number (f, CONTROL_STATUS, A_BYTES, RCVM_STATUS_RUNNING);
        fake_send_number (f, CONTROL_OK, A_PID, 1);
      }
    else
      {
        if (type == CONTROL_VOLUMES)
          tell_volumes (f);
        fake_send_number (f, CONTROL_OK, A_PID, 0);
      }
}

API_TEST (test_running)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_RUNNING, obey);
  int before = count_fds (), code = 0;
  rcvm_vm *vm = open_vm (*state);
  rcvm_error *e = NULL;
  char *text;

  assert_int_equal (rcvm_vm_get_status (vm), RCVM_STATUS_RUNNING);
  assert_int_equal (rcvm_vm_get_pid (vm), monitor);
  assert_true (rcvm_vm_get_fd (vm) >= 0);
  assert_false (is_ready (rcvm_vm_get_fd (vm), POLLIN));
  assert_int_equal (rcvm_vm_set_memory (vm, 1, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "api", "'vm' is running");
  assert_int_equal (rcvm_vm_create (vm, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "api", "running already");
  assert_int_equal (rcvm_vm_wait (vm, 0, &code, &e), RCVM_E_TIMEOUT);
  assert_int_equal (code, 125);
  check_error (&e, RCVM_E_TIMEOUT, "api", "0 ms");
  assert_int_equal (rcvm_vm_delete (vm, 0, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "api", "stop it first");
  check_ok (rcvm_vm_resize (vm, 10, 20, &e), e);
  check_ok (rcvm_vm_kill (vm, SIGHUP, &e), e);
  check_ok (rcvm_vm_kill_all (vm, SIGHUP, &e), e);

  assert_int_equal (rcvm_vm_phase_count (vm), 2);
  assert_string_equal (rcvm_vm_phase_name (vm, 1), "plan");
  assert_int_equal (rcvm_vm_phase_usec (vm, 1), 3456789);
  assert_null (rcvm_vm_phase_name (vm, 2));
  assert_int_equal (rcvm_vm_phase_usec (vm, 2), -1);
  text = rcvm_vm_state (vm, &e);
  check_ok (text ? 0 : -1, e);
  assert_non_null (strstr (text, "\"running\""));
  rcvm_free (text);
  text = rcvm_vm_metrics (vm, &e);
  check_ok (text ? 0 : -1, e);
  assert_non_null (strstr (text, "runcvm_running{id=\"vm\"} 1\n"));
  assert_non_null (strstr (text, "{id=\"vm\",phase=\"plan\"} 3.456789\n"));
  assert_null (strstr (text, "runcvm_exit_code"));
  assert_non_null (strstr (text, "runcvm_volume_info{id=\"vm\",source=\"/a \\\"b\\\"\\\\\",destination=\"/d\",identity=\"preserve\","
                                 "consistency=\"strict\",readonly=\"false\"} 1\n"));
  assert_non_null (strstr (text, "# TYPE runcvm_volume_written_bytes_total counter\n"
                                 "runcvm_volume_written_bytes_total{id=\"vm\"} 18446744073709551615\n"));
  assert_non_null (strstr (text, "runcvm_volume_operations_total{id=\"vm\",operation=\"READ\"} 7\n"));
  assert_non_null (strstr (text, "runcvm_volume_operation_errors_total{id=\"vm\",operation=\"READ\"} 2\n"));
  assert_non_null (strstr (text, "runcvm_volume_operation_seconds{id=\"vm\",operation=\"READ\",quantile=\"1\"} 2.000007\n"));
  assert_non_null (strstr (text, "operation=\"READ\",quantile=\"0.5\"} 0.000003\n"));
  rcvm_free (text);

  check_ok (rcvm_vm_kill (vm, SIGTERM, &e), e);
  check_ok (rcvm_vm_wait (vm, -1, &code, &e), e);
  assert_int_equal (code, 7);
  assert_int_equal (rcvm_vm_get_status (vm), RCVM_STATUS_STOPPED);
  assert_int_equal (rcvm_vm_get_pid (vm), -1);
  fake_monitor_await (monitor);
  /* Again, and with nobody to say so any more. */
  check_ok (rcvm_vm_wait (vm, 0, &code, &e), e);
  assert_int_equal (code, 7);
  assert_int_equal (rcvm_vm_dispatch (vm, &e), RCVM_STATUS_STOPPED);
  assert_int_equal (rcvm_vm_kill (vm, SIGTERM, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "api", "stopped");
  text = rcvm_vm_metrics (vm, &e);
  assert_non_null (strstr (text, "runcvm_exit_code{id=\"vm\"} 7\n"));
  assert_null (strstr (text, "runcvm_volume"));
  rcvm_free (text);
  check_ok (rcvm_vm_delete (vm, 0, &e), e);
  rcvm_vm_free (vm);
  assert_null (rcvm_vm_open (*state, "vm", NULL));
  assert_int_equal (count_fds (), before);
}

API_TEST (test_stopped_elsewhere)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_RUNNING, obey);
  rcvm_vm *killer = open_vm (*state), *other;
  rcvm_error *e = NULL;
  int code;

  check_ok (rcvm_vm_kill (killer, SIGTERM, &e), e);
  rcvm_vm_free (killer);
  fake_monitor_await (monitor);
  other = open_vm (*state);
  assert_int_equal (rcvm_vm_get_status (other), RCVM_STATUS_STOPPED);
  check_ok (rcvm_vm_wait (other, -1, &code, &e), e);
  assert_int_equal (code, 7);
  assert_int_equal (rcvm_vm_start (other, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "api", NULL);
  check_ok (rcvm_vm_delete (other, 0, &e), e);
  rcvm_vm_free (other);
}

/* The monitor dies without a word. */
API_TEST (test_dead_monitor)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_RUNNING, obey);
  rcvm_vm *vm = open_vm (*state);
  rcvm_error *e = NULL;
  char *text;
  int code = 0;

  fake_monitor_kill (monitor);
  await (rcvm_vm_get_fd (vm), POLLIN);
  assert_int_equal (rcvm_vm_wait (vm, -1, &code, &e), RCVM_E_MONITOR);
  assert_int_equal (code, 125);
  check_error (&e, RCVM_E_MONITOR, "monitor", "died while the container ran");
  text = rcvm_vm_state (vm, &e);
  check_ok (text ? 0 : -1, e);
  assert_non_null (strstr (text, "\"stopped\""));
  assert_non_null (strstr (text, "RCVM_E_MONITOR"));
  rcvm_free (text);
  check_ok (rcvm_vm_delete (vm, 0, &e), e);
  rcvm_vm_free (vm);
}

/* It dies while it is asked. */
API_TEST (test_monitor_dies_on_request)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_RUNNING, obey);
  rcvm_vm *vm = open_vm (*state);
  rcvm_error *e = NULL;
  int code;

  assert_int_equal (rcvm_vm_kill (vm, SIGSEGV, &e), RCVM_E_MONITOR);
  check_error (&e, RCVM_E_MONITOR, "monitor", NULL);
  fake_monitor_await (monitor);
  assert_int_equal (rcvm_vm_wait (vm, -1, &code, &e), RCVM_E_MONITOR);
  check_error (&e, RCVM_E_MONITOR, "monitor", "died");
  rcvm_vm_free (vm);
}

API_TEST (test_start_and_forced_delete)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_CREATED, obey);
  rcvm_vm *vm = open_vm (*state);
  rcvm_error *e = NULL;

  assert_int_equal (rcvm_vm_get_status (vm), RCVM_STATUS_CREATED);
  check_ok (rcvm_vm_start (vm, &e), e);
  assert_int_equal (rcvm_vm_get_status (vm), RCVM_STATUS_RUNNING);
  check_ok (rcvm_vm_delete (vm, 1, &e), e);
  fake_monitor_await (monitor);
  rcvm_vm_free (vm);
  assert_null (rcvm_vm_open (*state, "vm", &e));
  check_error (&e, RCVM_E_NOT_FOUND, "state", NULL);
}

/* Two frames in one packet. */
static void
send_together (struct fake *f, uint16_t first, uint16_t second, uint16_t tag, unsigned char value)
{
  unsigned char bytes[] = { 0,  0, 0, 0, (unsigned char) first,  0, 0, 0, 0, 0, 0, 0,
                            10, 0, 0, 0, (unsigned char) second, 0, 0, 0, 0, 0, 0, 0,
                            (unsigned char) tag, 0, 4, 0, 0, 0, value, 0, 0, 0 };

  if (write (f->link.fd, bytes, sizeof bytes) != sizeof bytes)
    _exit (97);
}

/* The fd tells of each event, and is quiet in between: no poll loop spins. */
static void
tell_twice (struct fake *f)
{
  uint32_t value;
  uint16_t type;

  while ((type = fake_next (f, A_SIGNAL, &value)))
    if (value == SIGTERM)
      {
        fake_stop (f, 0);
        fake_send_number (f, CONTROL_OK, A_PID, 0);
        fake_send_number (f, CONTROL_EXITED, A_EXIT_CODE, 0);
        _exit (0);
      }
    else
      send_together (f, CONTROL_OK, CONTROL_STATUS, A_BYTES, RCVM_STATUS_PAUSED);
}

API_TEST (test_poll_loop)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_RUNNING, tell_twice);
  rcvm_vm *vm = open_vm (*state);
  rcvm_error *e = NULL;

  assert_false (is_ready (rcvm_vm_get_fd (vm), POLLIN));
  check_ok (rcvm_vm_kill (vm, SIGHUP, &e), e);
  /* It came with the answer, and is told all the same. */
  await (rcvm_vm_get_fd (vm), POLLIN);
  assert_int_equal (rcvm_vm_dispatch (vm, &e), RCVM_STATUS_PAUSED);
  assert_false (is_ready (rcvm_vm_get_fd (vm), POLLIN));
  check_ok (rcvm_vm_kill (vm, SIGTERM, &e), e);
  fake_monitor_await (monitor);
  await (rcvm_vm_get_fd (vm), POLLIN);
  assert_int_equal (rcvm_vm_dispatch (vm, &e), RCVM_STATUS_STOPPED);
  /* The end of the connection may take a call of its own. */
  assert_int_equal (rcvm_vm_dispatch (vm, &e), RCVM_STATUS_STOPPED);
  assert_false (is_ready (rcvm_vm_get_fd (vm), POLLIN));
  rcvm_vm_free (vm);
}

struct waiter
{
  rcvm_vm *vm;
  int result;
  int code;
};

static void *
wait_for_it (void *user)
{
  struct waiter *w = user;

  w->result = rcvm_vm_wait (w->vm, -1, &w->code, NULL);
  return NULL;
}

/* Several wait on one handle, one kills on it: none of them holds up another. */
API_TEST (test_waiters)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_RUNNING, obey);
  rcvm_vm *vm = open_vm (*state);
  struct waiter waiters[4];
  pthread_t threads[4];
  rcvm_error *e = NULL;

  for (int i = 0; i < 4; i++)
    {
      waiters[i] = (struct waiter){ .vm = vm };
      assert_int_equal (pthread_create (&threads[i], NULL, wait_for_it, &waiters[i]), 0);
    }
  check_ok (rcvm_vm_kill (vm, SIGHUP, &e), e);
  check_ok (rcvm_vm_kill (vm, SIGTERM, &e), e);
  for (int i = 0; i < 4; i++)
    {
      assert_int_equal (pthread_join (threads[i], NULL), 0);
      assert_int_equal (waiters[i].result, 0);
      assert_int_equal (waiters[i].code, 7);
    }
  fake_monitor_await (monitor);
  rcvm_vm_free (vm);
}

/* Logs. */

struct heard
{
  int count;
  int level;
  char text[256];
};

static void
hear (void *user, int level, const char *stage, const char *message)
{
  struct heard *h = user;

  h->count++;
  h->level = level;
  snprintf (h->text, sizeof h->text, "%s: %s", stage, message);
}

static void
log_and_answer (struct fake *f)
{
  uint32_t level;

  while (fake_next (f, A_SIGNAL, &level))
    {
      struct tlv_writer w = TLV_WRITER_INIT;

      tlv_put_u32 (&w, A_LEVEL, level - 1);
      tlv_put_str (&w, A_STAGE, "vmm");
      tlv_put_str (&w, A_MESSAGE, "100%s of it");
      fake_send (f, CONTROL_LOG, &w);
      fake_send_number (f, CONTROL_OK, A_PID, 0);
    }
}

API_TEST (test_log)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_RUNNING, log_and_answer);
  rcvm_vm *vm = open_vm (*state);
  struct heard heard = { 0 };
  rcvm_error *e = NULL;

  check_ok (rcvm_vm_set_log (vm, RCVM_LOG_WARNING, hear, &heard, NULL, &e), e);
  check_ok (rcvm_vm_kill (vm, RCVM_LOG_WARNING + 1, &e), e);
  assert_int_equal (heard.count, 1);
  assert_int_equal (heard.level, RCVM_LOG_WARNING);
  assert_string_equal (heard.text, "vmm: 100%s of it");
  check_ok (rcvm_vm_kill (vm, RCVM_LOG_INFO + 1, &e), e);
  assert_int_equal (heard.count, 1);
  fake_monitor_kill (monitor);
  rcvm_vm_free (vm);
}

/* Processes. */

static void
run_processes (struct fake *f)
{
  uint32_t signum;
  uint16_t type;

  while ((type = fake_next (f, A_SIGNAL, &signum)))
    if (type == CONTROL_EXEC)
      {
        if (f->link.n_fds > 0 && write (f->link.fds[0], "out", 3) != 3)
          _exit (98);
        fake_send_number (f, CONTROL_OK, A_PID, 99);
      }
    else
      {
        fake_send_number (f, CONTROL_OK, A_PID, 0);
        if (signum == SIGTERM)
          fake_send_number (f, CONTROL_EXITED, A_EXIT_CODE, 3);
        else if (signum == SIGUSR1)
          fake_send_error (f, CONTROL_EXITED, RCVM_E_STATE, 125, "the container stopped");
        else if (signum == SIGSEGV)
          _exit (0);
      }
}

static rcvm_process *
start_process (rcvm_vm *vm)
{
  rcvm_error *e = NULL;
  rcvm_process *p = rcvm_vm_exec (vm, (char *[]){ (char *) "true", NULL }, &e);

  check_ok (p ? 0 : -1, e);
  check_ok (rcvm_process_start (p, &e), e);
  return p;
}

API_TEST (test_process)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_RUNNING, run_processes);
  rcvm_vm *vm = rcvm_vm_new (*state, "vm", NULL);
  rcvm_process *p;
  rcvm_error *e = NULL;
  int code = 0, fds[2];
  char buf[8];

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  p = rcvm_vm_exec (vm, (char *[]){ (char *) "true", NULL }, &e);
  check_ok (p ? 0 : -1, e);
  /* It needs nothing of the handle any more. */
  rcvm_vm_free (vm);
  assert_int_equal (rcvm_process_get_fd (p), -1);
  assert_int_equal (rcvm_process_get_guest_pid (p), -1);
  assert_int_equal (rcvm_process_wait (p, 0, &code, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "process", "has not been started");
  assert_int_equal (rcvm_process_kill (p, SIGTERM, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "process", "has not been started");
  check_ok (rcvm_process_resize (p, 1, 2, &e), e);
  check_ok (rcvm_process_set_stdio (p, -1, fds[1], -1, &e), e);
  close (fds[1]);
  check_ok (rcvm_process_start (p, &e), e);
  read_full (fds[0], buf, 3);
  assert_memory_equal (buf, "out", 3);
  assert_int_equal (rcvm_process_get_guest_pid (p), 99);
  assert_int_equal (rcvm_process_start (p, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "process", "started already");
  assert_int_equal (rcvm_process_set_user (p, "0", &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "process", "started already");
  assert_int_equal (rcvm_process_wait (p, 0, &code, &e), RCVM_E_TIMEOUT);
  check_error (&e, RCVM_E_TIMEOUT, "process", "0 ms");
  check_ok (rcvm_process_resize (p, 1, 2, &e), e);
  check_ok (rcvm_process_kill (p, SIGTERM, &e), e);
  await (rcvm_process_get_fd (p), POLLIN);
  check_ok (rcvm_process_wait (p, -1, &code, &e), e);
  assert_int_equal (code, 3);
  check_ok (rcvm_process_wait (p, 0, &code, &e), e);
  assert_int_equal (rcvm_process_kill (p, SIGTERM, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "process", "has ended");
  rcvm_process_free (p);
  close (fds[0]);
  fake_monitor_kill (monitor);
}

API_TEST (test_process_ends_badly)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_RUNNING, run_processes);
  rcvm_vm *vm = rcvm_vm_new (*state, "vm", NULL);
  rcvm_process *p = start_process (vm);
  rcvm_error *e = NULL;
  int code = 0;

  check_ok (rcvm_process_kill (p, SIGUSR1, &e), e);
  assert_int_equal (rcvm_process_wait (p, -1, &code, &e), RCVM_E_STATE);
  assert_int_equal (code, 125);
  check_error (&e, RCVM_E_STATE, "process", "the container stopped");
  rcvm_process_free (p);

  p = start_process (vm);
  check_ok (rcvm_process_kill (p, SIGSEGV, &e), e);
  assert_int_equal (rcvm_process_wait (p, -1, &code, &e), RCVM_E_MONITOR);
  assert_int_equal (code, 125);
  check_error (&e, RCVM_E_MONITOR, "monitor", "died while the process ran");
  rcvm_process_free (p);
  fake_monitor_await (monitor);

  /* And there is nobody to start another. */
  p = rcvm_vm_exec (vm, (char *[]){ (char *) "true", NULL }, &e);
  assert_int_equal (rcvm_process_start (p, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "process", "not running");
  rcvm_process_free (p);
  rcvm_vm_free (vm);
}

static void
refuse_process (struct fake *f)
{
  fake_next (f, 0, NULL);
  fake_send_error (f, CONTROL_ERROR, RCVM_E_PROCESS, 127, "there is no program 'x'");
}

API_TEST (test_process_refused)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_RUNNING, refuse_process);
  rcvm_vm *vm = rcvm_vm_new (*state, "vm", NULL);
  rcvm_error *e = NULL;
  rcvm_process *p = rcvm_vm_exec (vm, (char *[]){ (char *) "x", NULL }, &e);

  /* The handle may try again. */
  for (int i = 0; i < 2; i++)
    {
      assert_int_equal (rcvm_process_start (p, &e), RCVM_E_PROCESS);
      assert_int_equal (rcvm_error_get_exit_code (e), 127);
      check_error (&e, RCVM_E_PROCESS, "process", "there is no program 'x'");
      assert_int_equal (rcvm_process_get_fd (p), -1);
    }
  rcvm_process_free (p);
  rcvm_vm_free (vm);
  fake_monitor_kill (monitor);
}

/* The answer and the end come in one packet. */
static void
end_at_once (struct fake *f)
{
  while (fake_next (f, 0, NULL))
    send_together (f, CONTROL_OK, CONTROL_EXITED, A_EXIT_CODE, 10);
}

API_TEST (test_process_ends_at_once)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_RUNNING, end_at_once);
  rcvm_vm *vm = rcvm_vm_new (*state, "vm", NULL);
  rcvm_process *p = start_process (vm);
  rcvm_error *e = NULL;
  int code;

  await (rcvm_process_get_fd (p), POLLIN);
  check_ok (rcvm_process_wait (p, -1, &code, &e), e);
  assert_int_equal (code, 10);
  rcvm_process_free (p);
  rcvm_vm_free (vm);
  fake_monitor_kill (monitor);
}

#define api_test(f) cmocka_unit_test_setup_teardown (f, set_up, tear_down)

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
    api_test (test_running),
    api_test (test_stopped_elsewhere),
    api_test (test_dead_monitor),
    api_test (test_monitor_dies_on_request),
    api_test (test_start_and_forced_delete),
    api_test (test_poll_loop),
    api_test (test_waiters),
    api_test (test_log),
    api_test (test_process),
    api_test (test_process_ends_badly),
    api_test (test_process_refused),
    api_test (test_process_ends_at_once),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
