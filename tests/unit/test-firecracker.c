/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Firecracker's driver up to the API.  Firecracker is this program, run with Firecracker's options: it takes requests on a real
 * socket, writes them down, and answers as $FAKE says.  The real one is in tests/lab.
 */
#include "config.h"

#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "vmm-firecracker.h"

/* Firecracker. */

static bool
is (const char *mode)
{
  const char *wanted = getenv ("FAKE");

  return wanted && strcmp (wanted, mode) == 0;
}

/* One request with its body; false at the end of the connection. */
static bool
take_request (int fd, char *buf, size_t size)
{
  size_t len = 0, wanted = SIZE_MAX;

  while (len < wanted)
    {
      ssize_t n = read (fd, buf + len, size - 1 - len);
      char *end, *length;

      if (n <= 0)
        return false;
      len += (size_t) n;
      buf[len] = 0;
      end = strstr (buf, "\r\n\r\n");
      length = strcasestr (buf, "content-length:");
      if (end && wanted == SIZE_MAX)
        wanted = (size_t) (end + 4 - buf) + (length && length < end ? strtoul (length + 15, NULL, 10) : 0);
    }
  return true;
}

static void
send_text (int fd, const char *text)
{
  size_t n = strlen (text);

  if (send (fd, text, n, MSG_NOSIGNAL) != (ssize_t) n)
    _exit (3);
}

static void
refuse (int fd, const char *body)
{
  char head[200];

  snprintf (head, sizeof head, "HTTP/1.1 400 \r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", strlen (body));
  send_text (fd, head);
  send_text (fd, body);
}

static void
be_the_guest (void)
{
  struct sockaddr_un sun = { .sun_family = AF_UNIX, .sun_path = RCVMI_FC_AGENT_SOCKET };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (connect (fd, (struct sockaddr *) &sun, sizeof sun) < 0)
    _exit (4);
  send_text (fd, "hello");
}

/* False: the connection is to be closed. */
static bool
answer (int fd, const char *request)
{
  if (is ("die") && strstr (request, "/machine-config"))
    {
      fputs ("2026 [main] what a log says\nError: the fake has had enough\n2026 [main] Firecracker exiting\n", stderr);
      _exit (1);
    }
  if (is ("close") && strstr (request, "/machine-config"))
    return false;
  if (is ("refuse") && strstr (request, "/drives/upper"))
    refuse (fd, "{\"fault_message\":\"no such\\nfile.\"}");
  else if (is ("mumble") && strstr (request, "/drives/upper"))
    refuse (fd, "[1, 2");
  else if (is ("garbage") && strstr (request, "/drives/upper"))
    send_text (fd, "\x7f" "ELF\r\n\r\n");
  else if (is ("endless") && strstr (request, "/drives/upper"))
    {
      char piece[4097];

      memset (piece, 'x', 4096);
      piece[4096] = 0;
      send_text (fd, "HTTP/1.1 400 \r\nContent-Length: 100000000\r\n\r\n");
      while (send (fd, piece, 4096, MSG_NOSIGNAL) > 0)
        ;
      return false;
    }
  else
    send_text (fd, "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n");
  if (strstr (request, "InstanceStart"))
    be_the_guest ();
  return true;
}

static int
be_firecracker (int argc, char **argv)
{
  struct sockaddr_un sun = { .sun_family = AF_UNIX };
  int fd, log = open ("requests", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  static char buf[65536];

  for (int i = 1; i + 1 < argc; i++)
    if (strcmp (argv[i], "--api-sock") == 0)
      snprintf (sun.sun_path, sizeof sun.sun_path, "%s", argv[i + 1]);
  if (is ("chatty"))
    {
      for (int i = 0; i < 100000; i++)
        printf ("line %d of what a guest has to say\n", i);
      fflush (stdout);
    }
  /* So that whoever waits for the socket finds none at first, and one that nobody listens on then. */
  nanosleep (&(struct timespec){ .tv_nsec = 30000000 }, NULL);
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind (fd, (struct sockaddr *) &sun, sizeof sun) < 0)
    _exit (5);
  nanosleep (&(struct timespec){ .tv_nsec = 30000000 }, NULL);
  if (listen (fd, 8) < 0)
    _exit (6);
  for (;;)
    {
      int c = accept4 (fd, NULL, NULL, SOCK_CLOEXEC);

      while (take_request (c, buf, sizeof buf))
        {
          dprintf (log, "%.*s\n%s\n", (int) strcspn (buf, "\r"), buf, strstr (buf, "\r\n\r\n") + 4);
          if (!answer (c, buf))
            break;
        }
      close (c);
    }
}

static int
say_version (void)
{
  const char *version = getenv ("FAKE_VERSION");

  printf ("Firecracker v%s\n\n", version ? version : "1.16.1");
  return 0;
}

/* The driver. */

struct bench
{
  struct rcvmi_ev *ev;
  struct rcvmi_vmm vmm;
  struct rcvmi_vmm_config config;
  char *dir, *kernel;
  int running, agent, fds;
  rcvm_error *error;
};

static void
stop_when_done (struct bench *b)
{
  if (b->error || (b->running && b->agent))
    rcvmi_ev_stop (b->ev);
}

static void
on_running (void *user)
{
  struct bench *b = user;

  b->running++;
  stop_when_done (b);
}

static void
on_connected (void *user)
{
  struct bench *b = user;

  b->agent++;
  stop_when_done (b);
}

static void
on_died (void *user, rcvm_error *err)
{
  struct bench *b = user;

  assert_null (b->error);
  b->error = err;
  stop_when_done (b);
}

static const struct rcvmi_vmm_handler handler = { .running = on_running, .connected = on_connected, .died = on_died };

static int
set_up (void **state)
{
  struct bench *b = calloc (1, sizeof *b);
  char self[PATH_MAX] = "";

  *state = b;
  unsetenv ("FAKE");
  unsetenv ("FAKE_VERSION");
  if (readlink ("/proc/self/exe", self, sizeof self - 1) < 0 || setenv ("RUNCVM_FIRECRACKER", self, 1) < 0)
    return -1;
  b->fds = count_fds ();
  b->dir = make_dir ();
  if (asprintf (&b->kernel, "%s/kernel", b->dir) < 0)
    return -1;
  write_file (b->kernel, "\177ELF", 4);
  b->ev = rcvmi_ev_new (NULL);
  b->vmm = (struct rcvmi_vmm){ .ev = b->ev,
                               .handler = &handler,
                               .user = b,
                               .proc = RCVMI_PROC_INIT,
                               .agent_fd = -1,
                               .volumes_fd = -1,
                               .listeners = RCVMI_VMM_LISTENERS_INIT,
                               .ops = &rcvmi_vmm_firecracker,
                               .output = RCVMI_VMM_TEXT_INIT,
                               .console = RCVMI_VMM_TEXT_INIT };
  b->config = (struct rcvmi_vmm_config){
    .id = "a_vm.with+all-sorts",
    .dir_fd = open (b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
    .kernel = b->kernel,
    .initramfs = "/the/initramfs",
    .kernel_args = "a=\"b c\"",
    .memory = 256 << 20,
    .cpus = 2,
    .disks = { { .path = "/a \"base\"", .serial = "root", .readonly = true },
               { .path = "/upper", .serial = "upper" },
               { .path = "/binds", .serial = "binds", .passing = true } },
    .n_disks = 3,
    .nics = { { .number = 7, .tap_fd = -1, .tap_name = "tap7", .mac = { 2, 0, 0, 0, 1, 0xfe } } },
    .n_nics = 1,
  };
  return b->ev && b->config.dir_fd >= 0 ? 0 : -1;
}

/* Nothing stays: no process, no fd, no socket. */
static int
tear_down (void **state)
{
  struct bench *b = *state;
  pid_t pid = b->vmm.proc.pid;
  struct dirent *e;
  DIR *dir;

  rcvmi_vmm_stop (&b->vmm);
  rcvm_error_free (b->error);
  rcvmi_ev_free (b->ev);
  assert_true (pid <= 0 || kill (pid, 0) < 0);
  dir = opendir (b->dir);
  while ((e = readdir (dir)))
    assert_true (e->d_name[0] == '.' || strcmp (e->d_name, "kernel") == 0 || strcmp (e->d_name, "requests") == 0
                 || strcmp (e->d_name, RCVMI_VMM_CONSOLE_LOG) == 0);
  closedir (dir);
  close (b->config.dir_fd);
  remove_tree (b->dir);
  assert_int_equal (count_fds (), b->fds);
  free (b->kernel);
  free (b);
  return 0;
}

static void
probe_and_start (struct bench *b)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_vmm_firecracker.probe (&b->vmm, &e), e);
  check_ok (rcvmi_vmm_firecracker.start (&b->vmm, &b->config, &e), e);
  check_ok (rcvmi_ev_run (b->ev, &e), e);
}

static char *
requests_of (struct bench *b)
{
  autofree char *path = NULL;

  assert_true (asprintf (&path, "%s/requests", b->dir) > 0);
  return read_text (path);
}

#define FC_TEST(name) static void name (void **state)

FC_TEST (starts)
{
  static const char *const wanted[]
      = { "PUT /boot-source HTTP/1.1",     "PUT /machine-config HTTP/1.1", "PUT /drives/root HTTP/1.1",
          "PUT /drives/upper HTTP/1.1",    "PUT /drives/binds HTTP/1.1",   "PUT /network-interfaces/nic7 HTTP/1.1",
          "PUT /vsock HTTP/1.1",           "PUT /entropy HTTP/1.1",        "PUT /actions HTTP/1.1" };
  struct bench *b = *state;
  autofree char *text = NULL;
  char hello[8] = "", *save = NULL, *line;
  int fd;

  SKIP_UNDER_VALGRIND ();
  probe_and_start (b);
  assert_null (b->error);
  assert_int_equal (b->running, 1);
  assert_int_equal (b->agent, 1);
  fd = rcvmi_vmm_take_agent (&b->vmm);
  read_full (fd, hello, 5);
  assert_string_equal (hello, "hello");
  close (fd);
  text = requests_of (b);
  line = strtok_r (text, "\n", &save);
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
    {
      struct json_object *o;

      assert_string_equal (line, wanted[i]);
      line = strtok_r (NULL, "\n", &save);
      o = json_tokener_parse (line);
      assert_true (json_object_is_type (o, json_type_object));
      json_object_put (o);
      line = strtok_r (NULL, "\n", &save);
    }
  assert_null (line);
}

FC_TEST (pauses_and_resumes)
{
  struct bench *b = *state;
  autofree char *text = NULL;
  rcvm_error *e = NULL;

  SKIP_UNDER_VALGRIND ();
  probe_and_start (b);
  check_ok (rcvmi_vmm_firecracker.pause (&b->vmm, &e), e);
  assert_int_equal (process_state (b->vmm.proc.pid), 'T');
  check_ok (rcvmi_vmm_firecracker.resume (&b->vmm, &e), e);
  check_ok (rcvmi_vmm_firecracker.set_balloon (&b->vmm, 256 << 20, 64 << 20, &e), e);
  text = requests_of (b);
  assert_non_null (strstr (text, "PATCH /balloon HTTP/1.1\n{\"amount_mib\":64}\n"));
}

FC_TEST (pause_of_a_dead_one)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;

  SKIP_UNDER_VALGRIND ();
  probe_and_start (b);
  kill (b->vmm.proc.pid, SIGKILL);
  await (b->vmm.proc.pidfd, POLLIN);
  assert_true (rcvmi_vmm_firecracker.pause (&b->vmm, &e) < 0);
  check_error (&e, RCVM_E_VMM, "vmm", "cannot stop Firecracker's process");
  assert_true (rcvmi_vmm_firecracker.set_balloon (&b->vmm, 256 << 20, 64 << 20, &e) < 0);
  check_error (&e, RCVM_E_SYSTEM, "vmm", "Firecracker did not answer the request PATCH /balloon");
}

FC_TEST (console)
{
  struct bench *b = *state;
  autofree char *path = NULL, *text = NULL;
  char line[64];

  SKIP_UNDER_VALGRIND ();
  setenv ("FAKE", "chatty", 1);
  b->vmm.console.dir_fd = b->config.dir_fd;
  probe_and_start (b);
  rcvmi_vmm_last_words (&b->vmm, line, sizeof line);
  assert_string_equal (line, "line 99999 of what a guest has to say");
  assert_true (asprintf (&path, "%s/" RCVMI_VMM_CONSOLE_LOG, b->dir) > 0);
  text = read_text (path);
  assert_in_range (strlen (text), RCVMI_VMM_TEXT, RCVMI_VMM_LOG);
  assert_non_null (strstr (text, "\nline 99998 of what a guest has to say\nline 99999 of"));
}

/* What the error says, and with which code. */
static void
fails (struct bench *b, const char *mode, int code, const char *part)
{
  setenv ("FAKE", mode, 1);
  probe_and_start (b);
  assert_int_equal (b->running, 0);
  check_error (&b->error, code, "vmm", part);
}

FC_TEST (refusal)
{
  SKIP_UNDER_VALGRIND ();
  fails (*state, "refuse", RCVM_E_VMM, "Firecracker refused the drive 'upper': no such file");
}

FC_TEST (refusal_without_reason)
{
  SKIP_UNDER_VALGRIND ();
  fails (*state, "mumble", RCVM_E_VMM, "Firecracker refused the drive 'upper': no reason given");
}

FC_TEST (death_amid_a_request)
{
  SKIP_UNDER_VALGRIND ();
  fails (*state, "die", RCVM_E_VMM, "ended with exit code 1: Error: the fake has had enough");
}

FC_TEST (connection_closed)
{
  SKIP_UNDER_VALGRIND ();
  fails (*state, "close", RCVM_E_SYSTEM, "Firecracker did not answer the request PUT /machine-config: ");
}

FC_TEST (no_http)
{
  SKIP_UNDER_VALGRIND ();
  fails (*state, "garbage", RCVM_E_SYSTEM, "Firecracker did not answer the request PUT /drives/upper: ");
}

FC_TEST (answer_without_end)
{
  SKIP_UNDER_VALGRIND ();
  fails (*state, "endless", RCVM_E_SYSTEM, "Firecracker did not answer the request PUT /drives/upper: ");
}

FC_TEST (stopped_while_it_starts)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;

  SKIP_UNDER_VALGRIND ();
  check_ok (rcvmi_vmm_firecracker.probe (&b->vmm, &e), e);
  check_ok (rcvmi_vmm_firecracker.start (&b->vmm, &b->config, &e), e);
  assert_true (rcvmi_vmm_firecracker.set_balloon (&b->vmm, 256 << 20, 0, &e) < 0);
  check_error (&e, RCVM_E_STATE, "vmm", "still starting");
}

static void
probe_fails (struct bench *b, const char *part)
{
  rcvm_error *e = NULL;

  assert_true (rcvmi_vmm_firecracker.probe (&b->vmm, &e) < 0);
  check_error (&e, RCVM_E_HOST, "vmm", part);
  assert_null (b->vmm.program);
}

FC_TEST (versions)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;

  SKIP_UNDER_VALGRIND ();
  setenv ("FAKE_VERSION", "1.7.0", 1);
  check_ok (rcvmi_vmm_firecracker.probe (&b->vmm, &e), e);
  assert_int_equal (b->vmm.version, RCVMI_VMM_VERSION (1, 7));
  free (steal_ptr (b->vmm.program));
  setenv ("FAKE_VERSION", "1.6.6", 1);
  probe_fails (b, "is Firecracker 1.6, and 1.7 is the oldest");
  setenv ("FAKE_VERSION", "one", 1);
  probe_fails (b, "does not say");
  setenv ("RUNCVM_FIRECRACKER", "/bin/true", 1);
  probe_fails (b, "does not say");
  setenv ("RUNCVM_FIRECRACKER", "/no/such/program", 1);
  probe_fails (b, "Firecracker is not there");
}

/* The bodies, as far as they are more than copies. */
static char *
body_of (const struct rcvmi_fc_requests *r, const char *path)
{
  for (size_t i = 0; i < r->n; i++)
    if (strcmp (r->list[i].path, path) == 0)
      return r->list[i].body;
  fail_msg ("no request for %s", path);
  return NULL;
}

FC_TEST (hot_disks)
{
  struct rcvmi_vmm_hot_disk d = { .path = "/on/the/host", .readonly = true, .slot = 3 };
  struct rcvmi_tuning none = { 0 }, async = { .async_io = true };
  struct rcvmi_fc_requests r = { 0 };

  (void) state;
  rcvmi_fc_put_hot_disk (&r, &d, "/vm/hot3", &none);
  assert_string_equal (r.list[0].method, "PUT");
  assert_string_equal (body_of (&r, "/drives/hot3"),
                       "{\"drive_id\":\"hot3\",\"path_on_host\":\"/vm/hot3\",\"is_root_device\":false,"
                       "\"is_read_only\":true,\"cache_type\":\"Unsafe\",\"io_engine\":\"Sync\"}");
  rcvmi_fc_requests_clear (&r);
  d.readonly = false;
  rcvmi_fc_put_hot_disk (&r, &d, "/vm/hot3", &async);
  assert_non_null (strstr (body_of (&r, "/drives/hot3"), "\"is_read_only\":false,\"cache_type\":\"Writeback\",\"io_engine\":\"Async\""));
  rcvmi_fc_requests_clear (&r);
  rcvmi_fc_change_hot_disk (&r, 3, RCVMI_FC_NO_DISK);
  assert_string_equal (r.list[0].method, "PATCH");
  assert_string_equal (body_of (&r, "/drives/hot3"), "{\"drive_id\":\"hot3\",\"path_on_host\":\"/dev/null\"}");
  rcvmi_fc_requests_clear (&r);
}

FC_TEST (configuration)
{
  struct bench *b = *state;
  struct rcvmi_fc_requests r;
  rcvm_error *e = NULL;

  check_ok (rcvmi_fc_configure (&r, &b->config, RCVMI_VMM_VERSION (1, 16), &e), e);
  assert_string_equal (body_of (&r, "/drives/root"),
                       "{\"drive_id\":\"root\",\"path_on_host\":\"/a \\\"base\\\"\",\"is_root_device\":false,"
                       "\"is_read_only\":true,\"cache_type\":\"Unsafe\",\"io_engine\":\"Sync\"}");
  assert_non_null (strstr (body_of (&r, "/drives/upper"), "\"Writeback\""));
  assert_non_null (strstr (body_of (&r, "/drives/binds"), "\"Unsafe\""));
  assert_string_equal (body_of (&r, "/network-interfaces/nic7"),
                       "{\"iface_id\":\"nic7\",\"guest_mac\":\"02:00:00:00:01:fe\",\"host_dev_name\":\"tap7\"}");
  assert_string_equal (body_of (&r, "/machine-config"), "{\"vcpu_count\":2,\"mem_size_mib\":256,\"smt\":false}");
  assert_non_null (strstr (body_of (&r, "/boot-source"), "rcvm.agent=vsock:1024 a=\\\"b c\\\"\""));
  assert_string_equal (body_of (&r, "/entropy"), "{}");
  rcvmi_fc_requests_clear (&r);
  /* What a release does not know it refuses. */
  b->config.balloon = true;
  assert_true (rcvmi_fc_configure (&r, &b->config, RCVMI_VMM_VERSION (1, 13), &e) < 0);
  check_error (&e, RCVM_E_UNSUPPORTED, "vmm", "1.14 is the first");
  check_ok (rcvmi_fc_configure (&r, &b->config, RCVMI_VMM_VERSION (1, 14), &e), e);
  assert_non_null (strstr (body_of (&r, "/balloon"), "\"free_page_reporting\":true"));
  rcvmi_fc_requests_clear (&r);
  b->config.cpus = 33;
  assert_true (rcvmi_fc_configure (&r, &b->config, RCVMI_VMM_VERSION (1, 16), &e) < 0);
  check_error (&e, RCVM_E_INVALID, "vmm", "at most 32 CPUs");
}

FC_TEST (tuning)
{
  struct bench *b = *state;
  struct rcvmi_tuning *t = &b->config.tuning;
  autofree char *path = NULL;
  struct rcvmi_fc_requests r;
  rcvm_error *e = NULL;

  *t = (struct rcvmi_tuning){ .disk_bandwidth = 20 << 20,
                              .disk_ops = 500,
                              .net_bandwidth = 1000000,
                              .huge_pages = true,
                              .async_io = true,
                              .cpu_template = (char *) "T2" };
  check_ok (rcvmi_fc_configure (&r, &b->config, RCVMI_VMM_VERSION (1, 16), &e), e);
  assert_non_null (strstr (body_of (&r, "/drives/upper"),
                           "\"io_engine\":\"Async\",\"rate_limiter\":{\"bandwidth\":{\"size\":2097152,\"refill_time\":100},"
                           "\"ops\":{\"size\":500,\"refill_time\":1000}}"));
  assert_non_null (strstr (body_of (&r, "/network-interfaces/nic7"),
                           "\"rx_rate_limiter\":{\"bandwidth\":{\"size\":100000,\"refill_time\":100}},"
                           "\"tx_rate_limiter\":{\"bandwidth\":{\"size\":100000,\"refill_time\":100}}"));
  assert_non_null (strstr (body_of (&r, "/machine-config"), "\"huge_pages\":\"2M\",\"cpu_template\":\"T2\""));
  rcvmi_fc_requests_clear (&r);
  /* A request that takes a little more than a full bucket would never be followed by another: none does, or not so little. */
  t->disk_bandwidth = 4 << 20;
  t->net_bandwidth = 100000;
  check_ok (rcvmi_fc_configure (&r, &b->config, RCVMI_VMM_VERSION (1, 16), &e), e);
  assert_non_null (strstr (body_of (&r, "/drives/upper"), "\"bandwidth\":{\"size\":1310720,\"refill_time\":312}"));
  assert_non_null (strstr (body_of (&r, "/network-interfaces/nic7"), "\"bandwidth\":{\"size\":65792,\"refill_time\":657}"));
  rcvmi_fc_requests_clear (&r);
  t->disk_bandwidth = 100000;
  check_ok (rcvmi_fc_configure (&r, &b->config, RCVMI_VMM_VERSION (1, 16), &e), e);
  assert_non_null (strstr (body_of (&r, "/drives/upper"), "\"bandwidth\":{\"size\":10240,\"refill_time\":102}"));
  rcvmi_fc_requests_clear (&r);
  assert_true (asprintf (&path, "%s/requests", b->dir) > 0);
  t->cpu_template = path;
  write_file (path, "{\"kvm_capabilities\": []}", 24);
  check_ok (rcvmi_fc_configure (&r, &b->config, RCVMI_VMM_VERSION (1, 16), &e), e);
  assert_string_equal (body_of (&r, "/cpu-config"), "{\"kvm_capabilities\":[]}");
  assert_null (strstr (body_of (&r, "/machine-config"), "cpu_template"));
  rcvmi_fc_requests_clear (&r);
  write_file (path, "[]", 2);
  assert_true (rcvmi_fc_configure (&r, &b->config, RCVMI_VMM_VERSION (1, 16), &e) < 0);
  check_error (&e, RCVM_E_INVALID, "vmm", "is no file with a JSON object");
}

FC_TEST (compressed_kernel)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;

  SKIP_UNDER_VALGRIND ();
  write_file (b->kernel, "MZ..", 4);
  check_ok (rcvmi_vmm_firecracker.probe (&b->vmm, &e), e);
  assert_true (rcvmi_vmm_firecracker.start (&b->vmm, &b->config, &e) < 0);
  check_error (&e, RCVM_E_HOST, "vmm", "boots no compressed kernel");
}

/* Before ACPI came: as the words are in the kernel, or are not. */
FC_TEST (kernel_without_arguments)
{
  static const char kernel[] = "\177ELF, and what else a kernel has", knows[] = "\177ELF virtio_mmio.device";
  struct bench *b = *state;
  rcvm_error *e = NULL;

  SKIP_UNDER_VALGRIND ();
  write_file (b->kernel, kernel, sizeof kernel);
  assert_false (rcvmi_vmm_kernel_has (b->kernel, "virtio_mmio.device"));
  check_ok (rcvmi_vmm_firecracker.probe (&b->vmm, &e), e);
  b->vmm.version = RCVMI_VMM_VERSION (1, 7);
  assert_true (rcvmi_vmm_firecracker.start (&b->vmm, &b->config, &e) < 0);
#ifdef __x86_64__
  check_error (&e, RCVM_E_HOST, "vmm", "does not know (CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES");
#else
  rcvm_error_free (e);
#endif
  write_file (b->kernel, knows, sizeof knows);
  assert_true (rcvmi_vmm_kernel_has (b->kernel, "virtio_mmio.device"));
  assert_false (rcvmi_vmm_kernel_has ("/nonexistent", "virtio_mmio.device"));
}

/* A machine that is saved, and one that goes on from there. */
FC_TEST (snapshot)
{
  static const struct
  {
    const char *method, *path, *body;
  } saved[] = { { "PATCH", "/vm", "{\"state\":\"Paused\"}" },
                { "PUT", "/snapshot/create",
                  "{\"snapshot_type\":\"Full\",\"snapshot_path\":\"/s\",\"mem_file_path\":\"/m\"}" } },
    restored[] = { { "PUT", "/snapshot/load",
                     "{\"snapshot_path\":\"/state\",\"mem_backend\":{\"backend_type\":\"File\",\"backend_path\":\"/memory\"},"
                     "\"network_overrides\":[{\"iface_id\":\"nic7\",\"host_dev_name\":\"tap7\"}]}" },
                   { "PATCH", "/drives/root", "{\"drive_id\":\"root\",\"path_on_host\":\"/a \\\"base\\\"\"}" },
                   { "PATCH", "/drives/upper", "{\"drive_id\":\"upper\",\"path_on_host\":\"/upper\"}" },
                   { "PATCH", "/drives/binds", "{\"drive_id\":\"binds\",\"path_on_host\":\"/binds\"}" },
                   { "PATCH", "/vm", "{\"state\":\"Resumed\"}" } };
  struct rcvmi_fc_requests r = { 0 };
  struct bench *b = *state;
  rcvm_error *e = NULL;

  check_ok (rcvmi_fc_save (&r, "/m", "/s", false, &e), e);
  assert_int_equal (r.n, 2);
  for (size_t i = 0; i < r.n; i++)
    {
      assert_string_equal (r.list[i].method, saved[i].method);
      assert_string_equal (r.list[i].path, saved[i].path);
      assert_string_equal (r.list[i].body, saved[i].body);
    }
  rcvmi_fc_requests_clear (&r);
  check_ok (rcvmi_fc_save (&r, "/m", "/s", true, &e), e);
  assert_string_equal (r.list[1].body, "{\"snapshot_type\":\"Diff\",\"snapshot_path\":\"/s\",\"mem_file_path\":\"/m\"}");
  rcvmi_fc_requests_clear (&r);
  b->config.from = (struct rcvmi_vmm_saved){ .memory = "/memory", .state = "/state" };
  check_ok (rcvmi_fc_restore (&r, &b->config, RCVMI_VMM_VERSION (1, 12), &e), e);
  assert_int_equal (r.n, 5);
  assert_true (r.wait);
  for (size_t i = 0; i < r.n; i++)
    {
      assert_string_equal (r.list[i].method, restored[i].method);
      assert_string_equal (r.list[i].path, restored[i].path);
      assert_string_equal (r.list[i].body, restored[i].body);
    }
  rcvmi_fc_requests_clear (&r);
  assert_int_equal (rcvmi_fc_restore (&r, &b->config, RCVMI_VMM_VERSION (1, 11), &e), RCVM_E_UNSUPPORTED);
  check_error (&e, RCVM_E_UNSUPPORTED, "vmm", "1.12 is the first that can");
  b->config.tuning.track_memory = true;
  assert_int_equal (rcvmi_fc_restore (&r, &b->config, RCVMI_VMM_VERSION (1, 12), &e), RCVM_E_UNSUPPORTED);
  check_error (&e, RCVM_E_UNSUPPORTED, "vmm", "1.13 is the first that can");
  check_ok (rcvmi_fc_restore (&r, &b->config, RCVMI_VMM_VERSION (1, 13), &e), e);
  assert_non_null (strstr (r.list[0].body, "\"track_dirty_pages\":true"));
  rcvmi_fc_requests_clear (&r);
  b->config.from = (struct rcvmi_vmm_saved){ 0 };
  assert_int_equal (rcvmi_fc_configure (&r, &b->config, RCVMI_VMM_VERSION (1, 12), &e), RCVM_E_UNSUPPORTED);
  check_error (&e, RCVM_E_UNSUPPORTED, "vmm", "1.13 is the first that can");
  check_ok (rcvmi_fc_configure (&r, &b->config, RCVMI_VMM_VERSION (1, 13), &e), e);
  assert_non_null (strstr (r.list[1].body, "\"track_dirty_pages\":true"));
  rcvmi_fc_requests_clear (&r);
}

static void
shape_of (const struct bench *b, unsigned version, uint8_t digest[RCVMI_SHA256_BYTES])
{
  struct rcvmi_vmm vmm = { .ops = &rcvmi_vmm_firecracker, .version = version };
  struct rcvmi_sha256 sha;
  rcvm_error *e = NULL;

  rcvmi_sha256_init (&sha);
  check_ok (rcvmi_fc_shape (&vmm, &b->config, &sha, &e), e);
  rcvmi_sha256_final (&sha, digest);
}

/* What is a VM's own makes no other machine of it, and everything else does. */
FC_TEST (shapes)
{
  const unsigned version = RCVMI_VMM_VERSION (1, 16);
  uint8_t first[RCVMI_SHA256_BYTES], other[RCVMI_SHA256_BYTES];
  struct bench *b = *state;
  struct rcvmi_vmm_config before = b->config;

#define CHANGED(assertion, what)                                                                                     \
  b->config = before;                                                                                                \
  what;                                                                                                              \
  shape_of (b, version, other);                                                                                      \
  assertion (first, other, sizeof first)

  shape_of (b, version, first);
  CHANGED (assert_memory_equal, b->config.id = "another");
  CHANGED (assert_memory_equal, b->config.disks[0].path = "/another");
  CHANGED (assert_memory_equal, b->config.disks[0].device = true);
  CHANGED (assert_memory_equal, b->config.nics[0].tap_name = "another");
  CHANGED (assert_memory_equal, b->config.nics[0].mac[5] = 1);
  CHANGED (assert_memory_equal, b->config.volumes = true);
  CHANGED (assert_memory_equal, b->config.tuning.track_memory = true);
  CHANGED (assert_memory_not_equal, b->config.memory *= 2);
  CHANGED (assert_memory_not_equal, b->config.cpus = 1);
  CHANGED (assert_memory_not_equal, b->config.n_disks = 2);
  CHANGED (assert_memory_not_equal, b->config.disks[1].readonly = true);
  CHANGED (assert_memory_not_equal, b->config.n_nics = 0);
  CHANGED (assert_memory_not_equal, b->config.kernel_args = NULL);
  CHANGED (assert_memory_not_equal, b->config.tuning.disk_ops = 100);
  CHANGED (assert_memory_not_equal, b->config.balloon = true);
  b->config = before;
}

#define FC(name) cmocka_unit_test_setup_teardown (name, set_up, tear_down)

int
main (int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    FC (starts),
    FC (pauses_and_resumes),
    FC (pause_of_a_dead_one),
    FC (console),
    FC (refusal),
    FC (refusal_without_reason),
    FC (death_amid_a_request),
    FC (connection_closed),
    FC (no_http),
    FC (answer_without_end),
    FC (stopped_while_it_starts),
    FC (versions),
    FC (hot_disks),
    FC (configuration),
    FC (tuning),
    FC (compressed_kernel),
    FC (kernel_without_arguments),
    FC (snapshot),
    FC (shapes),
  };

  if (argc > 1 && strcmp (argv[1], "--version") == 0)
    return say_version ();
  if (argc > 1 && strcmp (argv[1], "--id") == 0)
    return be_firecracker (argc, argv);
  return cmocka_run_group_tests (tests, NULL, NULL);
}
