/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Firecracker's API: HTTP over a UNIX socket, spoken by libcurl.
 *
 * libcurl brings two dozen libraries along, of which nothing is used here, yet they take 8 ms to load and some megabytes.  So it
 * is loaded by those who carry requests out, short-lived children of the monitor, and while Firecracker itself is starting.
 */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm-firecracker.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  ANSWER_MAX = 64 * 1024, /* bytes; what Firecracker says is far smaller */
  ANSWER_TIMEOUT_S = 120, /* the start of a VM reads its kernel */
  LISTEN_GAP_NS = 200000
};

/* Whichever of Debian's builds is there; the interface of all is the same. */
static const char *const library_names[] = { "libcurl-gnutls.so.4", "libcurl.so.4", "libcurl-nss.so.4" };

struct curl
{
  char socket[40];
  CURL *handle;
  struct curl_slist *headers;
  CURLcode (*setopt) (CURL *, CURLoption, ...);
  CURLcode (*perform) (CURL *);
  CURLcode (*getinfo) (CURL *, CURLINFO, ...);
  const char *(*strerror) (CURLcode);
};

struct answer
{
  char *text;
  size_t len;
};

static int
load_curl (struct curl *c, rcvm_error **err)
{
  void *library = NULL;
  CURLcode (*global_init) (long);
  CURL *(*init) (void);
  struct curl_slist *(*append) (struct curl_slist *, const char *);

  for (size_t i = 0; !library && i < sizeof library_names / sizeof library_names[0]; i++)
    library = dlopen (library_names[i], RTLD_LAZY | RTLD_LOCAL);
  if (!library)
    return rcvmi_fail (err, RCVM_E_HOST, 0, "Firecracker is spoken to with libcurl, which is not installed: install libcurl3-gnutls");
  global_init = (__typeof__ (global_init)) dlsym (library, "curl_global_init");
  init = (__typeof__ (init)) dlsym (library, "curl_easy_init");
  append = (__typeof__ (append)) dlsym (library, "curl_slist_append");
  c->setopt = (__typeof__ (c->setopt)) dlsym (library, "curl_easy_setopt");
  c->perform = (__typeof__ (c->perform)) dlsym (library, "curl_easy_perform");
  c->getinfo = (__typeof__ (c->getinfo)) dlsym (library, "curl_easy_getinfo");
  c->strerror = (__typeof__ (c->strerror)) dlsym (library, "curl_easy_strerror");
  if (!global_init || !init || !append || !c->setopt || !c->perform || !c->getinfo || !c->strerror)
    return rcvmi_fail (err, RCVM_E_HOST, 0, "the libcurl of this host lacks a function: %s", dlerror ());
  if (global_init (CURL_GLOBAL_NOTHING) != CURLE_OK || !(c->handle = init ())
      || !(c->headers = append (NULL, "Content-Type: application/json"))
      /* Older ones would ask first whether a body may come. */
      || !append (c->headers, "Expect:"))
    return rcvmi_fail_nomem (err);
  return 0;
}

/* The socket itself, by an fd: whoever can write to the directory could make a link there that leads elsewhere, to which
   nobody who is root should speak.  -1 with errno. */
static int
find_socket (char path[40])
{
  int fd = open (RCVMI_FC_API_SOCKET, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;

  if (fd < 0)
    return -1;
  if (fstat (fd, &st) < 0 || !S_ISSOCK (st.st_mode))
    {
      close (fd);
      errno = ENOTSOCK;
      return -1;
    }
  snprintf (path, 40, "/proc/self/fd/%d", fd);
  return fd;
}

/* Whether someone listens: 0, or an errno. */
static int
try_socket (void)
{
  struct sockaddr_un sun = { .sun_family = AF_UNIX };
  autoclose int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  autoclose int place = find_socket (sun.sun_path);

  return fd >= 0 && place >= 0 && connect (fd, (struct sockaddr *) &sun, sizeof sun) == 0 ? 0 : errno;
}

/* In the directory.  Firecracker's end is the monitor's business, which ends whoever waits here. */
static int
wait_for_socket (rcvm_error **err)
{
  autoclose int watch = inotify_init1 (IN_CLOEXEC);
  char events[sizeof (struct inotify_event) + NAME_MAX + 1] __attribute__ ((aligned (8)));
  int error;

  if (watch < 0 || inotify_add_watch (watch, ".", IN_CREATE) < 0)
    return rcvmi_fail_errno (err, errno, "cannot watch for Firecracker's API socket");
  while ((error = try_socket ()))
    if (error == ENOENT)
      {
        if (read (watch, events, sizeof events) < 0 && errno != EINTR)
          return rcvmi_fail_errno (err, errno, "cannot watch for Firecracker's API socket");
      }
    else if (error == ECONNREFUSED)
      /* Between its bind and its listen, of which nobody is told. */
      nanosleep (&(struct timespec){ .tv_nsec = LISTEN_GAP_NS }, NULL);
    else
      return rcvmi_fail_errno (err, error, "cannot connect to Firecracker's API socket");
  return 0;
}

static size_t
take_answer (char *data, size_t size, size_t n, void *user)
{
  struct answer *a = user;
  char *grown;

  n *= size;
  if (n > ANSWER_MAX || a->len + n > ANSWER_MAX || !(grown = realloc (a->text, a->len + n + 1)))
    return 0;
  a->text = grown;
  memcpy (a->text + a->len, data, n);
  a->len += n;
  a->text[a->len] = 0;
  return n;
}

/* The fault message of an answer, in printable ASCII. */
static char *
read_fault (const char *text)
{
  struct json_object *o = text ? json_tokener_parse (text) : NULL, *message = NULL;
  char *fault = NULL;

  if (json_object_is_type (o, json_type_object) && json_object_object_get_ex (o, "fault_message", &message)
      && json_object_is_type (message, json_type_string))
    fault = strdup (json_object_get_string (message));
  json_object_put (o);
  for (char *c = fault; c && *c; c++)
    if (*c < 0x20 || *c > 0x7e)
      *c = ' ';
  for (size_t n = fault ? strlen (fault) : 0; n > 0 && (fault[n - 1] == ' ' || fault[n - 1] == '.'); n--)
    fault[n - 1] = 0;
  return fault;
}

static int
make_request (struct curl *c, const struct rcvmi_fc_request *q, rcvm_error **err)
{
  struct answer a = { 0 };
  autofree char *url = NULL, *fault = NULL;
  char reason[CURL_ERROR_SIZE] = "";
  long status = 0;
  CURLcode code;

  if (asprintf (&url, "http://localhost%s", q->path) < 0)
    {
      url = NULL;
      return rcvmi_fail_nomem (err);
    }
  c->setopt (c->handle, CURLOPT_URL, url);
  c->setopt (c->handle, CURLOPT_UNIX_SOCKET_PATH, c->socket);
  c->setopt (c->handle, CURLOPT_PROXY, ""); /* whatever the environment says */
  c->setopt (c->handle, CURLOPT_CUSTOMREQUEST, q->method);
  c->setopt (c->handle, CURLOPT_HTTPHEADER, c->headers);
  c->setopt (c->handle, CURLOPT_POSTFIELDS, q->body);
  c->setopt (c->handle, CURLOPT_NOSIGNAL, 1L);
  c->setopt (c->handle, CURLOPT_TIMEOUT, (long) ANSWER_TIMEOUT_S);
  c->setopt (c->handle, CURLOPT_WRITEFUNCTION, take_answer);
  c->setopt (c->handle, CURLOPT_WRITEDATA, &a);
  c->setopt (c->handle, CURLOPT_ERRORBUFFER, reason);
  code = c->perform (c->handle);
  c->setopt (c->handle, CURLOPT_ERRORBUFFER, NULL);
  fault = read_fault (a.text);
  free (a.text);
  if (code != CURLE_OK)
    return rcvmi_fail (err, RCVM_E_SYSTEM, 0, "Firecracker did not answer the request %s %s: %s", q->method, q->path,
                       reason[0] ? reason : c->strerror (code));
  if (c->getinfo (c->handle, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK || status < 200 || status > 299)
    return rcvmi_fail (err, RCVM_E_VMM, 0, "Firecracker refused %s: %s", q->what, fault ? fault : "no reason given");
  return 0;
}

int
rcvmi_fc_carry_out (int dir_fd, const struct rcvmi_fc_requests *r, rcvm_error **err)
{
  struct curl c = { 0 };
  autoclose int place = -1;
  int code;

  if (fchdir (dir_fd) < 0)
    return rcvmi_fail_errno (err, errno, "cannot enter the VM's directory");
  code = load_curl (&c, err);
  if (code == 0 && r->wait)
    code = wait_for_socket (err);
  if (code == 0 && (place = find_socket (c.socket)) < 0)
    code = rcvmi_fail_errno (err, errno, "cannot find Firecracker's API socket");
  for (size_t i = 0; code == 0 && i < r->n; i++)
    code = make_request (&c, &r->list[i], err);
  return code;
}
