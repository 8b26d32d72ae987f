/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a handle makes of what a monitor says.  The monitor is a script (fake-monitor.h). */
#include "config.h"

#include "api-testing.h"

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

int
main (void)
{
  const struct CMUnitTest tests[] = {
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
