/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "vmm"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "options.h"
#include "proc.h"
#include "state.h"

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

#define STATE_TEST(name) static void name (void **state)

/* JSON. */

static struct rcvmi_state
full_state (void)
{
  struct rcvmi_state s = {
    .id = strdup ("an-id_1.2+3"),
    .oci_version = strdup ("1.1.0"),
    .bundle = strdup ("/a bundle/\"quoted\"\\"),
    .rootfs = strdup ("/root/f\xc3\xbc\n"),
    .status = RCVM_STATUS_RUNNING,
    .pid = 4321,
    .pid_start = 9876543210ULL,
    .vmm_pid = 4322,
    .vmm_start = 9876543211ULL,
    .vmm = strdup ("qemu"),
    .accel = strdup ("tcg"),
    .kernel = strdup ("6.1.0"),
    .memory = 1ULL << 40,
    .cpus = 12,
    .created = 1700000000,
    .started = 1700000001,
    .finished = 1700000002,
    .has_exit = true,
    .exit_code = 137,
    .exit_signal = 9,
    .phases = { { "spec", 1 }, { "plan", INT64_MAX } },
    .n_phases = 2,
  };

  rcvmi_strv_append (&s.annotations, "a.key=value=with=equals");
  rcvmi_strv_append (&s.annotations, "empty=");
  rcvmi_error_restore (&s.error, RCVM_E_VMM, EIO, 125, "vmm", "it broke: \"badly\"");
  return s;
}

static void
check_equal (const struct rcvmi_state *a, const struct rcvmi_state *b)
{
  assert_string_equal (a->id, b->id);
  assert_string_equal (a->oci_version, b->oci_version);
  assert_string_equal (a->bundle, b->bundle);
  assert_string_equal (a->rootfs, b->rootfs);
  assert_int_equal (a->status, b->status);
  assert_int_equal (a->pid, b->pid);
  assert_true (a->pid_start == b->pid_start);
  assert_int_equal (a->vmm_pid, b->vmm_pid);
  assert_true (a->vmm_start == b->vmm_start);
  assert_string_equal (a->vmm, b->vmm);
  assert_string_equal (a->accel, b->accel);
  assert_string_equal (a->kernel, b->kernel);
  assert_true (a->memory == b->memory);
  assert_int_equal (a->cpus, b->cpus);
  assert_int_equal (a->created, b->created);
  assert_int_equal (a->started, b->started);
  assert_int_equal (a->finished, b->finished);
  assert_int_equal (a->has_exit, b->has_exit);
  assert_int_equal (a->exit_code, b->exit_code);
  assert_int_equal (a->exit_signal, b->exit_signal);
  assert_int_equal (a->n_phases, b->n_phases);
  for (size_t i = 0; i < a->n_phases; i++)
    {
      assert_string_equal (a->phases[i].name, b->phases[i].name);
      assert_true (a->phases[i].usec == b->phases[i].usec);
    }
  assert_int_equal (rcvmi_strv_length (a->annotations), rcvmi_strv_length (b->annotations));
  for (size_t i = 0; a->annotations && a->annotations[i]; i++)
    assert_string_equal (a->annotations[i], b->annotations[i]);
  assert_int_equal (rcvm_error_get_code (a->error), rcvm_error_get_code (b->error));
  assert_int_equal (rcvm_error_get_errno (a->error), rcvm_error_get_errno (b->error));
  assert_int_equal (rcvm_error_get_exit_code (a->error), rcvm_error_get_exit_code (b->error));
  assert_string_equal (rcvm_error_get_stage (a->error), rcvm_error_get_stage (b->error));
  assert_string_equal (rcvm_error_get_message (a->error), rcvm_error_get_message (b->error));
}

TEST (test_round_trip)
{
  struct rcvmi_state s = full_state (), back;
  autofree char *json = NULL;
  rcvm_error *e = NULL;

  json = rcvmi_state_to_json (&s, true, &e);
  check_ok (json ? 0 : -1, e);
  check_ok (rcvmi_state_from_json (&back, json, &e), e);
  check_equal (&s, &back);
  rcvmi_state_clear (&s);
  rcvmi_state_clear (&back);
  assert_null (back.id);
}

TEST (test_statuses)
{
  for (int status = RCVM_STATUS_CREATING; status <= RCVM_STATUS_STOPPED; status++)
    {
      struct rcvmi_state s = { .status = status, .pid = 1 }, back;
      autofree char *json = rcvmi_state_to_json (&s, true, NULL);

      assert_non_null (json);
      check_ok (rcvmi_state_from_json (&back, json, NULL), NULL);
      assert_int_equal (back.status, status);
      rcvmi_state_clear (&back);
    }
}

/* What OCI runtimes show: no pid once it has stopped, and nothing that only we want. */
TEST (test_public_document)
{
  struct rcvmi_state s = full_state ();
  autofree char *json = rcvmi_state_to_json (&s, false, NULL);
  autofree char *stopped = NULL;

  assert_non_null (json);
  assert_non_null (strstr (json, "\"ociVersion\": \"1.1.0\"") ?: strstr (json, "\"ociVersion\":\"1.1.0\""));
  assert_non_null (strstr (json, "\"pid\""));
  assert_non_null (strstr (json, "4321"));
  assert_null (strstr (json, "monitorStart"));
  assert_null (strstr (json, "vmmStart"));
  s.status = RCVM_STATUS_STOPPED;
  stopped = rcvmi_state_to_json (&s, false, NULL);
  assert_non_null (stopped);
  assert_null (strstr (stopped, "\"pid\""));
  rcvmi_state_clear (&s);
}

/* Files that somebody else wrote: an error or a state, never a crash. */
TEST (test_hostile_json)
{
  static const char *const refused[] = {
    "", " ", "{", "[]", "null", "1", "\"x\"", "{\"id\":", "{'a'", "\xff\xfe", "nul",
  };
  static const char *const accepted[] = {
    "{}",
    "{\"id\":1,\"status\":2,\"bundle\":[],\"ociVersion\":{}}",
    "{\"annotations\":1}",
    "{\"annotations\":[1,2]}",
    "{\"annotations\":null}",
    "{\"annotations\":{\"a\":null,\"b\":1,\"c\":{},\"d\":\"x\"}}",
    "{\"org.runcvm\":null}",
    "{\"org.runcvm\":[]}",
    "{\"org.runcvm\":{\"error\":1,\"phases\":{}}}",
    "{\"org.runcvm\":{\"error\":{},\"phases\":[null,1,[],{},{\"name\":1},{\"name\":\"x\"}]}}",
    "{\"org.runcvm\":{\"error\":{\"code\":7,\"stage\":1,\"message\":null}}}",
    "{\"org.runcvm\":{\"monitorPid\":\"x\",\"monitorStart\":-1,\"memory\":1e300,\"cpus\":-5,\"exitCode\":null}}",
    "{\"org.runcvm\":{\"phases\":[{\"name\":\"a name far longer than there is room for in here\",\"usec\":1}]}}",
    "{\"status\":\"new\"}",
    "{\"status\":\"running\\u0000\"}",
  };

  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
    {
      struct rcvmi_state s;
      rcvm_error *e = NULL;

      assert_int_equal (rcvmi_state_from_json (&s, refused[i], &e), RCVM_E_SYSTEM);
      check_error (&e, RCVM_E_SYSTEM, "state", "damaged");
    }
  for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++)
    {
      struct rcvmi_state s;
      autofree char *json = NULL;
      rcvm_error *e = NULL;

      check_ok (rcvmi_state_from_json (&s, accepted[i], &e), e);
      assert_in_range (s.status, RCVM_STATUS_CREATING, RCVM_STATUS_STOPPED);
      /* An error that is one. */
      assert_true (!s.error || rcvm_error_get_code (s.error) < 0);
      json = rcvmi_state_to_json (&s, true, &e);
      check_ok (json ? 0 : -1, e);
      rcvmi_state_clear (&s);
    }
}

TEST (test_many_phases)
{
  autofree char *json = calloc (1, 100000);
  struct rcvmi_state s;

  strcpy (json, "{\"org.runcvm\":{\"phases\":[");
  for (int i = 0; i < 1000; i++)
    sprintf (json + strlen (json), "%s{\"name\":\"p%d\",\"usec\":%d}", i ? "," : "", i, i);
  strcat (json, "]}}");
  check_ok (rcvmi_state_from_json (&s, json, NULL), NULL);
  assert_int_equal (s.n_phases, RCVMI_STATE_PHASES);
  rcvmi_state_clear (&s);
}

TEST (test_deep_json)
{
  autofree char *json = malloc (200001);
  struct rcvmi_state s;
  rcvm_error *e = NULL;

  memset (json, '[', 200000);
  json[200000] = 0;
  memcpy (json, "{\"a\":", 5);
  assert_int_equal (rcvmi_state_from_json (&s, json, &e), RCVM_E_SYSTEM);
  check_error (&e, RCVM_E_SYSTEM, "state", "damaged");
}

/* The directory. */

static void
create (struct rcvmi_state_dir *d, const char *root, const char *id)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_state_dir_create (d, root, id, &e), e);
}

static void
write_state (const struct rcvmi_state_dir *d, int status)
{
  struct rcvmi_state s = { .id = (char *) "x", .status = status, .pid = 12 };
  rcvm_error *e = NULL;

  check_ok (rcvmi_state_dir_write (d, &s, &e), e);
}

static bool
exists (const char *root, const char *name)
{
  autofree char *path = NULL;

  assert_true (asprintf (&path, "%s/%s", root, name) > 0);
  return access (path, F_OK) == 0;
}

STATE_TEST (test_life)
{
  const char *root = *state;
  struct rcvmi_state_dir d, other;
  struct rcvmi_state s = full_state (), back;
  int before = count_fds (), inheritable = count_inheritable_fds ();
  rcvm_error *e = NULL;
  struct stat st;

  create (&d, root, "vm");
  assert_int_equal (count_inheritable_fds (), inheritable);
  assert_int_equal (fstat (d.fd, &st), 0);
  assert_int_equal (st.st_mode & 07777, 0700);
  check_ok (rcvmi_state_dir_write (&d, &s, &e), e);
  assert_int_equal (fstatat (d.fd, "state.json", &st, 0), 0);
  assert_int_equal (st.st_mode & 07777, 0600);
  check_ok (rcvmi_state_dir_open (&other, root, "vm", &e), e);
  assert_true (rcvmi_state_dir_alive (&other));
  check_ok (rcvmi_state_dir_read (&other, &back, &e), e);
  check_equal (&s, &back);
  /* It is not what a dead monitor left. */
  check_ok (rcvmi_state_dir_recover (&other, "vm", &e), e);
  assert_int_equal (rcvmi_state_dir_remove (&other, false, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "state", "still lives");
  /* The holder of the lock may. */
  check_ok (rcvmi_state_dir_remove (&d, false, &e), e);
  assert_false (exists (root, "vm"));
  rcvmi_state_dir_close (&d);
  rcvmi_state_dir_close (&other);
  rcvmi_state_clear (&s);
  rcvmi_state_clear (&back);
  assert_int_equal (count_fds (), before);
}

STATE_TEST (test_missing)
{
  struct rcvmi_state_dir d;
  struct rcvmi_state s;
  rcvm_error *e = NULL;

  assert_int_equal (rcvmi_state_dir_open (&d, *state, "vm", &e), RCVM_E_NOT_FOUND);
  check_error (&e, RCVM_E_NOT_FOUND, "state", "there is no VM 'vm'");
  rcvmi_state_dir_close (&d);
  create (&d, *state, "vm");
  assert_int_equal (rcvmi_state_dir_read (&d, &s, &e), RCVM_E_NOT_FOUND);
  check_error (&e, RCVM_E_NOT_FOUND, "state", "state.json");
  rcvmi_state_clear (&s);
  rcvmi_state_dir_close (&d);
}

STATE_TEST (test_makes_root)
{
  autofree char *root = NULL;
  struct rcvmi_state_dir d;
  struct stat st;

  assert_true (asprintf (&root, "%s/a/b/c", (char *) *state) > 0);
  create (&d, root, "vm");
  assert_int_equal (stat (root, &st), 0);
  assert_int_equal (st.st_mode & 07777, 0700);
  rcvmi_state_dir_close (&d);
}

STATE_TEST (test_id_in_use)
{
  struct rcvmi_state_dir d, second;
  rcvm_error *e = NULL;

  create (&d, *state, "vm");
  assert_int_equal (rcvmi_state_dir_create (&second, *state, "vm", &e), RCVM_E_EXISTS);
  check_error (&e, RCVM_E_EXISTS, "state", "'vm' is in use");
  write_state (&d, RCVM_STATUS_STOPPED);
  rcvmi_state_dir_close (&d);
  assert_int_equal (rcvmi_state_dir_create (&second, *state, "vm", &e), RCVM_E_EXISTS);
  check_error (&e, RCVM_E_EXISTS, "state", "delete it first");
  check_ok (rcvmi_state_dir_open (&d, *state, "vm", &e), e);
  check_ok (rcvmi_state_dir_remove (&d, false, &e), e);
  rcvmi_state_dir_close (&d);
  create (&d, *state, "vm");
  rcvmi_state_dir_close (&d);
}

STATE_TEST (test_symlinks)
{
  autofree char *path = NULL;
  struct rcvmi_state_dir d;
  rcvm_error *e = NULL;

  assert_true (asprintf (&path, "%s/vm", (char *) *state) > 0);
  assert_int_equal (symlink ("/tmp", path), 0);
  assert_true (rcvmi_state_dir_open (&d, *state, "vm", &e) < 0);
  rcvm_error_free (e);
  e = NULL;
  assert_true (rcvmi_state_dir_create (&d, *state, "vm", &e) < 0);
  rcvm_error_free (e);
}

STATE_TEST (test_big_state)
{
  struct rcvmi_state s = { .status = RCVM_STATUS_CREATED }, back;
  autofree char *pair = malloc (8 * 1024 * 1024);
  struct rcvmi_state_dir d;
  rcvm_error *e = NULL;

  /* As much as a request can bring, and all of it escaped. */
  memset (pair, 1, 8 * 1024 * 1024 - 1);
  memcpy (pair, "k=", 2);
  pair[8 * 1024 * 1024 - 1] = 0;
  rcvmi_strv_append (&s.annotations, pair);
  create (&d, *state, "vm");
  check_ok (rcvmi_state_dir_write (&d, &s, &e), e);
  check_ok (rcvmi_state_dir_read (&d, &back, &e), e);
  assert_string_equal (back.annotations[0], pair);
  rcvmi_state_clear (&s);
  rcvmi_state_clear (&back);
  rcvmi_state_dir_close (&d);
}

/* A monitor that is killed. */

/* Makes the directory, starts a "VMM", says so in the state, and waits to be killed. */
static pid_t
start_monitor (const char *root, int status, pid_t vmm_pid)
{
  int ready[2];
  pid_t pid;
  char c;

  assert_int_equal (pipe2 (ready, O_CLOEXEC), 0);
  pid = fork ();
  if (pid == 0)
    {
      struct rcvmi_state_dir d;
      struct rcvmi_state s = { .id = (char *) "vm",
                               .bundle = (char *) "/the/bundle",
                               .status = status,
                               .pid = getpid (),
                               .pid_start = rcvmi_proc_start_time (getpid ()),
                               .vmm_pid = vmm_pid,
                               .vmm_start = rcvmi_proc_start_time (vmm_pid) };

      if (rcvmi_state_dir_create (&d, root, "vm", NULL) < 0
          || (status && rcvmi_state_dir_write (&d, &s, NULL) < 0)
          || close (openat (d.fd, "root.img", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) < 0
          || write (ready[1], "x", 1) != 1)
        _exit (1);
      for (;;)
        pause ();
    }
  close (ready[1]);
  read_full (ready[0], &c, 1);
  close (ready[0]);
  return pid;
}

static void
kill_monitor (pid_t pid)
{
  kill (pid, SIGKILL);
  assert_int_equal (waitpid (pid, NULL, 0), pid);
}

static void
start_vmm (struct rcvmi_proc *vmm)
{
  char *argv[] = { (char *) "sleep", (char *) "1000", NULL };

  *vmm = RCVMI_PROC_INIT;
  check_ok (rcvmi_proc_spawn (vmm, "/bin/sleep", argv, -1, NULL, 0, NULL), NULL);
}

STATE_TEST (test_recover)
{
  struct rcvmi_state_dir d;
  struct rcvmi_state s;
  struct rcvmi_proc vmm;
  rcvm_error *e = NULL;
  pid_t pid;

  SKIP_UNDER_VALGRIND ();
  start_vmm (&vmm);
  pid = start_monitor (*state, RCVM_STATUS_RUNNING, vmm.pid);
  check_ok (rcvmi_state_dir_open (&d, *state, "vm", &e), e);
  assert_true (rcvmi_state_dir_alive (&d));
  kill_monitor (pid);
  assert_false (rcvmi_state_dir_alive (&d));
  check_ok (rcvmi_state_dir_recover (&d, "vm", &e), e);
  /* The VMM is dead, the disk gone, the state says what happened and kept what was known. */
  assert_true (is_ready (vmm.pidfd, POLLIN));
  assert_int_equal (rcvmi_proc_reap (&vmm), SIGKILL);
  assert_false (exists (*state, "vm/root.img"));
  check_ok (rcvmi_state_dir_read (&d, &s, &e), e);
  assert_int_equal (s.status, RCVM_STATUS_STOPPED);
  assert_string_equal (s.bundle, "/the/bundle");
  check_error (&s.error, RCVM_E_MONITOR, "monitor", "died while the container ran");
  rcvmi_state_clear (&s);
  /* Once is enough. */
  check_ok (rcvmi_state_dir_recover (&d, "vm", &e), e);
  check_ok (rcvmi_state_dir_remove (&d, false, &e), e);
  assert_false (exists (*state, "vm"));
  rcvmi_state_dir_close (&d);
}

STATE_TEST (test_recover_statuses)
{
  static const struct
  {
    int status;
    const char *part;
  } cases[] = { { RCVM_STATUS_NEW, "was made" }, /* it died before it wrote anything */
                { RCVM_STATUS_CREATING, "was made" },
                { RCVM_STATUS_CREATED, "waited to be started" },
                { RCVM_STATUS_PAUSED, "was paused" } };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      struct rcvmi_state_dir d;
      struct rcvmi_state s;
      rcvm_error *e = NULL;

      kill_monitor (start_monitor (*state, cases[i].status, 0));
      check_ok (rcvmi_state_dir_open (&d, *state, "vm", &e), e);
      check_ok (rcvmi_state_dir_recover (&d, "vm", &e), e);
      check_ok (rcvmi_state_dir_read (&d, &s, &e), e);
      assert_string_equal (s.id, "vm");
      check_error (&s.error, RCVM_E_MONITOR, "monitor", cases[i].part);
      rcvmi_state_clear (&s);
      check_ok (rcvmi_state_dir_remove (&d, false, &e), e);
      rcvmi_state_dir_close (&d);
    }
}

/* One that had said "stopped" has said everything. */
STATE_TEST (test_recover_stopped)
{
  struct rcvmi_state_dir d;
  struct rcvmi_state s;
  rcvm_error *e = NULL;

  kill_monitor (start_monitor (*state, RCVM_STATUS_STOPPED, 0));
  check_ok (rcvmi_state_dir_open (&d, *state, "vm", &e), e);
  check_ok (rcvmi_state_dir_recover (&d, "vm", &e), e);
  check_ok (rcvmi_state_dir_read (&d, &s, &e), e);
  assert_null (s.error);
  rcvmi_state_clear (&s);
  rcvmi_state_dir_close (&d);
}

STATE_TEST (test_recover_damaged)
{
  struct rcvmi_state_dir d;
  struct rcvmi_state s;
  autofree char *path = NULL;
  rcvm_error *e = NULL;

  kill_monitor (start_monitor (*state, RCVM_STATUS_RUNNING, 0));
  assert_true (asprintf (&path, "%s/vm/state.json", (char *) *state) > 0);
  write_file (path, "{\"status\": \"runn", 15);
  check_ok (rcvmi_state_dir_open (&d, *state, "vm", &e), e);
  check_ok (rcvmi_state_dir_recover (&d, "vm", &e), e);
  check_ok (rcvmi_state_dir_read (&d, &s, &e), e);
  assert_int_equal (s.status, RCVM_STATUS_STOPPED);
  assert_string_equal (s.id, "vm");
  rcvmi_state_clear (&s);
  rcvmi_state_dir_close (&d);
}

/* A process that has the dead VMM's pid by now is left alone. */
STATE_TEST (test_recover_reused_pid)
{
  struct rcvmi_state_dir d;
  struct rcvmi_state s;
  struct rcvmi_proc stranger;
  rcvm_error *e = NULL;

  SKIP_UNDER_VALGRIND ();
  start_vmm (&stranger);
  kill_monitor (start_monitor (*state, RCVM_STATUS_RUNNING, stranger.pid));
  check_ok (rcvmi_state_dir_open (&d, *state, "vm", &e), e);
  check_ok (rcvmi_state_dir_read (&d, &s, &e), e);
  s.vmm_start++;
  check_ok (rcvmi_state_dir_write (&d, &s, &e), e);
  rcvmi_state_clear (&s);
  check_ok (rcvmi_state_dir_recover (&d, "vm", &e), e);
  assert_false (is_ready (stranger.pidfd, POLLIN));
  rcvmi_proc_kill (&stranger);
  rcvmi_state_dir_close (&d);
}

/* The next creator of the id takes over what a dead monitor left, its VMM included. */
STATE_TEST (test_create_over_the_dead)
{
  struct rcvmi_state_dir d;
  struct rcvmi_proc vmm;

  SKIP_UNDER_VALGRIND ();
  start_vmm (&vmm);
  kill_monitor (start_monitor (*state, RCVM_STATUS_RUNNING, vmm.pid));
  create (&d, *state, "vm");
  assert_int_equal (rcvmi_proc_reap (&vmm), SIGKILL);
  assert_false (exists (*state, "vm/root.img"));
  assert_false (exists (*state, "vm/state.json"));
  assert_true (exists (*state, "vm/lock"));
  rcvmi_state_dir_close (&d);
}

/* It was deleted, and made anew, behind the back of one who had it open. */
STATE_TEST (test_deleted_meanwhile)
{
  struct rcvmi_state_dir old, d, fresh;
  rcvm_error *e = NULL;

  kill_monitor (start_monitor (*state, RCVM_STATUS_RUNNING, 0));
  check_ok (rcvmi_state_dir_open (&old, *state, "vm", &e), e);
  check_ok (rcvmi_state_dir_open (&d, *state, "vm", &e), e);
  check_ok (rcvmi_state_dir_remove (&d, false, &e), e);
  rcvmi_state_dir_close (&d);
  assert_int_equal (rcvmi_state_dir_recover (&old, "vm", &e), RCVM_E_NOT_FOUND);
  check_error (&e, RCVM_E_NOT_FOUND, "state", "deleted");
  create (&fresh, *state, "vm");
  write_state (&fresh, RCVM_STATUS_RUNNING);
  assert_int_equal (rcvmi_state_dir_recover (&old, "vm", &e), RCVM_E_NOT_FOUND);
  check_error (&e, RCVM_E_NOT_FOUND, "state", "deleted");
  assert_int_equal (rcvmi_state_dir_remove (&old, false, &e), RCVM_E_NOT_FOUND);
  check_error (&e, RCVM_E_NOT_FOUND, "state", NULL);
  assert_true (exists (*state, "vm/state.json"));
  rcvmi_state_dir_close (&old);
  rcvmi_state_dir_close (&fresh);
}

/* Many who want one id at the same moment, round after round: exactly one gets it. */
STATE_TEST (test_concurrent_creators)
{
  enum
  {
    CREATORS = 8,
    ROUNDS = 20
  };

  for (int round = 0; round < ROUNDS; round++)
    {
      int go[2], told[2], done[2], won = 0;
      pid_t pids[CREATORS];

      assert_int_equal (pipe2 (go, O_CLOEXEC), 0);
      assert_int_equal (pipe2 (told, O_CLOEXEC), 0);
      assert_int_equal (pipe2 (done, O_CLOEXEC), 0);
      for (int i = 0; i < CREATORS; i++)
        {
          pids[i] = fork ();
          if (pids[i] == 0)
            {
              struct rcvmi_state_dir d;
              int code;
              char c;

              close (go[1]);
              close (done[1]);
              if (read (go[0], &c, 1) != 0)
                _exit (1);
              code = rcvmi_state_dir_create (&d, *state, "vm", NULL);
              c = code == 0 ? 'w' : code == RCVM_E_EXISTS ? 'l' : '?';
              if (write (told[1], &c, 1) != 1)
                _exit (1);
              /* The winner lives until all have tried. */
              _exit (read (done[0], &c, 1) != 0);
            }
        }
      close (go[0]);
      close (go[1]);
      for (int i = 0; i < CREATORS; i++)
        {
          char c;

          read_full (told[0], &c, 1);
          assert_true (c == 'w' || c == 'l');
          won += c == 'w';
        }
      assert_int_equal (won, 1);
      close (done[0]);
      close (done[1]);
      for (int i = 0; i < CREATORS; i++)
        {
          int status;

          assert_int_equal (waitpid (pids[i], &status, 0), pids[i]);
          assert_int_equal (status, 0);
        }
      close (told[0]);
      close (told[1]);
    }
}

/* Many who find the same dead monitor: all see it stopped, none fails. */
STATE_TEST (test_concurrent_recovery)
{
  pid_t pids[8];
  int go[2];

  kill_monitor (start_monitor (*state, RCVM_STATUS_RUNNING, 0));
  assert_int_equal (pipe2 (go, O_CLOEXEC), 0);
  for (int i = 0; i < 8; i++)
    {
      pids[i] = fork ();
      if (pids[i] == 0)
        {
          struct rcvmi_state_dir d;
          struct rcvmi_state s;
          char c;

          close (go[1]);
          if (read (go[0], &c, 1) != 0 || rcvmi_state_dir_open (&d, *state, "vm", NULL) < 0)
            _exit (1);
          if (rcvmi_state_dir_recover (&d, "vm", NULL) < 0)
            _exit (2);
          _exit (rcvmi_state_dir_read (&d, &s, NULL) < 0 ? 3 : s.status != RCVM_STATUS_STOPPED ? 4 : 0);
        }
    }
  close (go[0]);
  close (go[1]);
  for (int i = 0; i < 8; i++)
    {
      int status;

      assert_int_equal (waitpid (pids[i], &status, 0), pids[i]);
      assert_int_equal (status, 0);
    }
}

STATE_TEST (test_root_names)
{
  autofree char *absolute = NULL;
  autofree char *relative = NULL;
  autofree char *cwd = get_current_dir_name ();
  autofree char *wanted = NULL;
  autofree char *by_env = NULL;

  (void) state;
  absolute = rcvmi_state_root ("/x/y", NULL);
  assert_string_equal (absolute, "/x/y");
  relative = rcvmi_state_root ("z", NULL);
  assert_true (asprintf (&wanted, "%s/z", cwd) > 0);
  assert_string_equal (relative, wanted);
  setenv ("RUNCVM_ROOT", "/by/env", 1);
  by_env = rcvmi_state_root (NULL, NULL);
  unsetenv ("RUNCVM_ROOT");
  assert_string_equal (by_env, "/by/env");
}

#define state_test(f) cmocka_unit_test_setup_teardown (f, set_up, tear_down)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_round_trip),
    cmocka_unit_test (test_statuses),
    cmocka_unit_test (test_public_document),
    cmocka_unit_test (test_hostile_json),
    cmocka_unit_test (test_many_phases),
    cmocka_unit_test (test_deep_json),
    state_test (test_life),
    state_test (test_missing),
    state_test (test_makes_root),
    state_test (test_id_in_use),
    state_test (test_symlinks),
    state_test (test_big_state),
    state_test (test_recover),
    state_test (test_recover_statuses),
    state_test (test_recover_stopped),
    state_test (test_recover_damaged),
    state_test (test_recover_reused_pid),
    state_test (test_create_over_the_dead),
    state_test (test_deleted_meanwhile),
    state_test (test_concurrent_creators),
    state_test (test_concurrent_recovery),
    state_test (test_root_names),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
