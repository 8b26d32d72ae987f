/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the VM tests run inside: says what a process has been given, and misbehaves on demand. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void
show_quoted (const char *s)
{
  for (; *s; s++)
    if (*s == '\n')
      fputs ("\\n", stdout);
    else if (*s == '\\')
      fputs ("\\\\", stdout);
    else
      putchar (*s);
  putchar ('\n');
}

static int
show_args (int argc, char **argv)
{
  printf ("%d arguments\n", argc - 2);
  for (int i = 2; i < argc; i++)
    {
      putchar ('[');
      fputs (argv[i], stdout);
      puts ("]");
    }
  return 0;
}

static int
show_env (int argc, char **argv)
{
  for (int i = 2; i < argc; i++)
    {
      const char *value = getenv (argv[i]);

      printf ("%s=", argv[i]);
      show_quoted (value ? value : "(unset)");
    }
  return 0;
}

static int
show_ids (void)
{
  gid_t groups[64];
  int n = getgroups (64, groups);

  printf ("uid=%d gid=%d groups=", (int) getuid (), (int) getgid ());
  for (int i = 0; i < n; i++)
    printf ("%s%d", i ? "," : "", (int) groups[i]);
  printf (" cwd=%s umask=%04o\n", getcwd (NULL, 0), (unsigned) umask (0));
  return 0;
}

static int
show_limit (const char *resource)
{
  static const struct { const char *name; int number; } names[]
      = { { "nofile", RLIMIT_NOFILE }, { "core", RLIMIT_CORE }, { "nproc", RLIMIT_NPROC } };
  struct rlimit r;

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp (names[i].name, resource) == 0 && getrlimit (names[i].number, &r) == 0)
      {
        printf ("%llu %llu\n", (unsigned long long) r.rlim_cur, (unsigned long long) r.rlim_max);
        return 0;
      }
  return 1;
}

/* A grandchild that outlives its parent: PID 1 must reap it. */
static int
double_fork (void)
{
  int ready[2];
  char c;

  if (pipe (ready) < 0)
    return 1;
  if (fork () == 0)
    {
      fork ();
      _exit (0);
    }
  wait (NULL);
  /* Ends when the grandchild has ended too. */
  close (ready[1]);
  return read (ready[0], &c, 1) != 0;
}

static void
show_size (void)
{
  struct winsize w;

  if (ioctl (0, TIOCGWINSZ, &w) < 0)
    perror ("TIOCGWINSZ");
  else
    printf ("%u x %u\n", w.ws_row, w.ws_col);
  fflush (stdout);
}

/* Says its terminal's size, and again after each change; ends with the line "quit". */
static int
watch_size (void)
{
  struct pollfd p[2] = { { .fd = 0, .events = POLLIN }, { .events = POLLIN } };
  struct signalfd_siginfo info;
  sigset_t winch;
  char line[64];

  sigemptyset (&winch);
  sigaddset (&winch, SIGWINCH);
  sigprocmask (SIG_BLOCK, &winch, NULL);
  p[1].fd = signalfd (-1, &winch, 0);
  printf ("tty %d%d%d %s\n", isatty (0), isatty (1), isatty (2), ttyname (0) ? ttyname (0) : "none");
  show_size ();
  for (;;)
    {
      poll (p, 2, -1);
      if (p[1].revents && read (p[1].fd, &info, sizeof info) == sizeof info)
        show_size ();
      if (p[0].revents)
        {
          ssize_t n = read (0, line, sizeof line);

          if (n <= 0 || strncmp (line, "quit", 4) == 0)
            return n > 0 ? 5 : 6;
        }
    }
}

/* In raw mode Ctrl-C is a byte like any other. */
static int
raw (void)
{
  struct termios t;
  char c;

  tcgetattr (0, &t);
  cfmakeraw (&t);
  tcsetattr (0, TCSANOW, &t);
  printf ("raw\r\n");
  fflush (stdout);
  if (read (0, &c, 1) != 1)
    return 1;
  printf ("byte %d\r\n", c);
  return 0;
}

static _Noreturn void
ignore_term (void)
{
  signal (SIGTERM, SIG_IGN);
  puts ("ignoring");
  fflush (stdout);
  for (;;)
    pause ();
}

int
main (int argc, char **argv)
{
  const char *what = argc > 1 ? argv[1] : "";

  if (strcmp (what, "args") == 0)
    return show_args (argc, argv);
  if (strcmp (what, "env") == 0)
    return show_env (argc, argv);
  if (strcmp (what, "ids") == 0)
    return show_ids ();
  if (strcmp (what, "limit") == 0 && argc > 2)
    return show_limit (argv[2]);
  if (strcmp (what, "double-fork") == 0)
    return double_fork ();
  if (strcmp (what, "size") == 0)
    return watch_size ();
  if (strcmp (what, "raw") == 0)
    return raw ();
  if (strcmp (what, "ignore-term") == 0)
    ignore_term ();
  if (strcmp (what, "segv") == 0)
    {
      *(volatile int *) (argc - 2L) = 0;
    }
  fprintf (stderr, "probe: what is '%s'?\n", what);
  return 2;
}
