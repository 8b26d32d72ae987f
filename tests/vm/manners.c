/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * manners ROOTFS: uses the library as an embedder does, in success and in failure, and looks at what it leaves in this
 * process: nothing on stderr or stdout, no signal handler, mask, working directory, umask or variable changed, no
 * thread, no child, no fd.  Then several threads with a VM each.  Prints TAP on fd 9.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <runcvm/runcvm.h>

extern char **environ;

enum
{
  THREADS = 3,
  MEMORY = 160 << 20
};

struct world
{
  struct sigaction actions[65];
  sigset_t mask;
  char cwd[4096];
  mode_t umask;
  size_t n_env, n_fds, n_threads;
  off_t printed;
};

static int n, failed;
static FILE *tap;

static void
check (int good, const char *what)
{
  n++;
  failed += !good;
  fprintf (tap, "%sok %d - %s\n", good ? "" : "not ", n, what);
}

static size_t
count (const char *path)
{
  DIR *d = opendir (path);
  size_t found = 0;

  while (d && readdir (d))
    found++;
  if (d)
    closedir (d);
  return found;
}

static void
look (struct world *w)
{
  struct stat st;

  memset (w, 0, sizeof *w);
  for (int i = 1; i < 65; i++)
    sigaction (i, NULL, &w->actions[i]);
  sigprocmask (SIG_SETMASK, NULL, &w->mask);
  if (!getcwd (w->cwd, sizeof w->cwd))
    abort ();
  w->umask = umask (0);
  umask (w->umask);
  for (char **e = environ; *e; e++)
    w->n_env++;
  w->n_fds = count ("/proc/self/fd");
  w->n_threads = count ("/proc/self/task");
  /* Both streams are one regular file. */
  fflush (NULL);
  w->printed = fstat (2, &st) == 0 ? st.st_size : -1;
}

static void
compare (const struct world *before, const char *after_what)
{
  struct world now;
  char text[256];
  int same = 1;

  look (&now);
  /* Who waits for a thread's end hears of it a moment before the kernel has taken the thread away. */
  for (int i = 0; i < 100 && now.n_threads > before->n_threads; i++)
    {
      usleep (10000);
      now.n_threads = count ("/proc/self/task");
    }
  for (int i = 1; i < 65; i++)
    same &= now.actions[i].sa_handler == before->actions[i].sa_handler
            && now.actions[i].sa_flags == before->actions[i].sa_flags;
#define CHECK(good, what)                                                                         \
  do                                                                                              \
    {                                                                                             \
      snprintf (text, sizeof text, "%s: %s", after_what, what);                                   \
      check (good, text);                                                                         \
    }                                                                                             \
  while (0)
  CHECK (same, "no signal handler is changed");
  CHECK (memcmp (&now.mask, &before->mask, sizeof now.mask) == 0, "nor the signal mask");
  CHECK (strcmp (now.cwd, before->cwd) == 0, "nor the working directory");
  CHECK (now.umask == before->umask, "nor the umask");
  CHECK (now.n_env == before->n_env, "nor the environment");
  CHECK (now.n_threads == before->n_threads, "there is no thread more");
  CHECK (now.n_fds == before->n_fds, "no fd is left");
  CHECK (now.printed == 0, "nothing is printed");
  CHECK (waitpid (-1, NULL, WNOHANG) < 0 && errno == ECHILD, "there is no child");
}

static int
run (const char *rootfs, const char *id, const char *kernel, int wanted)
{
  char script[32], *argv[] = { (char *) "sh", (char *) "-c", script, NULL };
  int code = -1, r;
  rcvm_vm *vm = rcvm_vm_new (NULL, id, NULL);

  snprintf (script, sizeof script, "echo out; echo err >&2; exit %d", wanted);
  r = rcvm_vm_set_rootfs (vm, rootfs, NULL);
  r |= rcvm_vm_set_args (vm, argv, NULL);
  r |= rcvm_vm_set_memory (vm, MEMORY, NULL);
  if (kernel)
    r |= rcvm_vm_set_kernel (vm, kernel, NULL);
  if (r == 0 && rcvm_vm_start (vm, NULL) == 0)
    {
      rcvm_process *p;
      char *exec_argv[] = { (char *) "true", NULL };

      p = rcvm_vm_exec (vm, exec_argv, NULL);
      rcvm_process_start (p, NULL); /* fails where the container was faster */
      rcvm_process_free (p);
      rcvm_vm_wait (vm, -1, &code, NULL);
    }
  rcvm_vm_delete (vm, 1, NULL);
  rcvm_vm_free (vm);
  return code;
}

static void
failures (const char *rootfs)
{
  rcvm_error *err = NULL;
  rcvm_vm *vm;

  check (!rcvm_vm_new (NULL, "a/b", &err) && err, "an id with a slash is refused");
  rcvm_error_free (err);
  check (run (rootfs, "no-kernel", "/dev/null", 0) == -1, "a kernel that is none is refused");
  check (run ("/does/not/exist", "no-rootfs", NULL, 0) == -1, "a root file system that is not there is refused");
  check (rcvm_rootfs_build ("/does/not/exist", "/does/not/exist/image", NULL, NULL) < 0, "so is one for an image");
  check (!rcvm_vm_open (NULL, "nobody", NULL), "a VM that is not there is not opened");
  vm = rcvm_vm_new (NULL, "bad-json", NULL);
  rcvm_vm_set_config_json (vm, "{", NULL);
  check (rcvm_vm_create (vm, NULL) == RCVM_E_SPEC, "truncated JSON is refused");
  rcvm_vm_free (vm);
}

static const char *the_rootfs;

static void *
thread (void *number)
{
  char id[32];
  long i = (long) number;

  snprintf (id, sizeof id, "thread-%ld", i);
  return (void *) (long) (run (the_rootfs, id, NULL, 10 + (int) i) == 10 + i);
}

int
main (int argc, char **argv)
{
  pthread_t threads[THREADS];
  struct world before;

  tap = fdopen (9, "w");
  if (argc != 2 || !tap)
    return 2;
  setvbuf (tap, NULL, _IOLBF, 0);
  the_rootfs = argv[1];
  look (&before);
  failures (the_rootfs);
  compare (&before, "after failures");
  check (run (the_rootfs, "mannered", NULL, 7) == 7, "a VM runs");
  compare (&before, "after a VM");
  for (long i = 0; i < THREADS; i++)
    pthread_create (&threads[i], NULL, thread, (void *) i);
  for (long i = 0; i < THREADS; i++)
    {
      void *good;

      pthread_join (threads[i], &good);
      check (good != NULL, "a VM of a thread of its own");
    }
  compare (&before, "after threads");
  return failed != 0;
}
