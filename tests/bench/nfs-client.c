/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The load of nfs.sh: one libnfs client, one kind of work, one line of figures.
 *
 *   nfs-client URL WORK [COUNT]
 *
 * WORK: seqwrite seqread (MB/s, 1 MiB calls, 8 in flight), randwrite randread (4 KiB, 8 in flight, per second), create
 * stat lookup openread rename unlink (one after the other, per second), readdirplus (entries per second), paced
 * (1,000 calls a second, latencies in microseconds).  Prints VALUE P50 P99 P99.9 (microseconds).
 */
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-nfs.h>

/* libnfs 4 exports these, but its headers do not show them. */
struct nfs_fh
{
  int len;
  char *val;
};
const struct nfs_fh *nfs_get_rootfh (struct nfs_context *ctx);

enum
{
  DEPTH = 8,
  FILE_SIZE = 256 << 20,
  BIG = 1 << 20,
  SMALL = 4096
};

static struct nfs_context *nfs;
static struct nfsfh *file;
static double *latencies;
static unsigned n_latencies;

static void
die (const char *what)
{
  fprintf (stderr, "nfs-client: %s: %s\n", what, nfs_get_error (nfs));
  exit (1);
}

static double
now (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static void
note (double since)
{
  latencies[n_latencies++] = now () - since;
}

static int
compare (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;

  return x < y ? -1 : x > y;
}

static double
percentile (double p)
{
  return n_latencies ? latencies[(unsigned) ((n_latencies - 1) * p / 100)] : 0;
}

/* Calls in flight. */
struct slot
{
  double since;
  bool busy;
  char *data;
};

static struct slot slots[DEPTH];
static unsigned in_flight, issued, wanted, size;
static bool writing, random_order;

static void issue (struct slot *s);

static void
done (int status, struct nfs_context *ctx, void *data, void *user)
{
  struct slot *s = user;

  (void) ctx;
  if (status < 0)
    die (data ? (char *) data : "call");
  if (!writing && (unsigned) status != size)
    die ("short read");
  note (s->since);
  in_flight--;
  s->busy = false;
  if (issued < wanted)
    issue (s);
}

static void
issue (struct slot *s)
{
  uint64_t at = random_order ? (uint64_t) rand () % (FILE_SIZE / size) : issued % (FILE_SIZE / size);
  int rc;

  s->since = now ();
  s->busy = true;
  if (writing)
    rc = nfs_pwrite_async (nfs, file, at * size, size, s->data, done, s);
  else
    rc = nfs_pread_async (nfs, file, at * size, size, done, s);
  if (rc < 0)
    die ("issue");
  issued++;
  in_flight++;
}

static void
service (void)
{
  struct pollfd p = { .fd = nfs_get_fd (nfs), .events = (short) nfs_which_events (nfs) };

  if (poll (&p, 1, 10000) <= 0)
    die ("no answer");
  if (nfs_service (nfs, p.revents) < 0)
    die ("service");
}

static double
transfer (unsigned count)
{
  double start;

  if (nfs_open (nfs, "/bench.data", writing ? O_RDWR | O_CREAT : O_RDONLY, &file) < 0)
    die ("open");
  for (unsigned i = 0; i < DEPTH; i++)
    {
      slots[i].data = malloc (size);
      memset (slots[i].data, (int) ('a' + i), size);
    }
  wanted = count;
  start = now ();
  for (unsigned i = 0; i < DEPTH; i++)
    issue (&slots[i]);
  while (in_flight > 0)
    service ();
  return (double) count / (now () - start) * 1e6;
}

static bool looked_up;

static void
lookup_done (struct rpc_context *rpc, int status, void *data, void *user)
{
  (void) rpc;
  (void) user;
  if (status != RPC_STATUS_SUCCESS || ((LOOKUP3res *) data)->status != NFS3_OK)
    die ("lookup");
  looked_up = true;
}

/* Without libnfs's cache of directories. */
static void
lookup (char *name)
{
  const struct nfs_fh *root = nfs_get_rootfh (nfs);
  LOOKUP3args args;

  args.what.dir.data.data_len = (unsigned) root->len;
  args.what.dir.data.data_val = root->val;
  args.what.name = name;
  looked_up = false;
  if (rpc_nfs3_lookup_async (nfs_get_rpc_context (nfs), lookup_done, &args, NULL) < 0)
    die ("lookup");
  while (!looked_up)
    service ();
}

static void
one (const char *work, unsigned i)
{
  char path[64], other[64], data[SMALL];
  struct nfs_stat_64 st;
  struct nfsfh *f;

  snprintf (path, sizeof path, "/f%u", i);
  snprintf (other, sizeof other, "/g%u", i);
  if (strcmp (work, "create") == 0)
    {
      if (nfs_creat (nfs, path, 0644, &f) < 0 || nfs_close (nfs, f) < 0)
        die ("create");
    }
  else if (strcmp (work, "stat") == 0)
    {
      if (nfs_lstat64 (nfs, path, &st) < 0)
        die ("stat");
    }
  else if (strcmp (work, "lookup") == 0)
    lookup (path + 1);
  else if (strcmp (work, "openread") == 0)
    {
      if (nfs_open (nfs, path, O_RDONLY, &f) < 0 || nfs_pread (nfs, f, 0, sizeof data, data) < 0
          || nfs_close (nfs, f) < 0)
        die ("open and read");
    }
  else if (strcmp (work, "rename") == 0)
    {
      if (nfs_rename (nfs, path, other) < 0)
        die ("rename");
    }
  else if (strcmp (work, "unlink") == 0)
    {
      if (nfs_unlink (nfs, other) < 0)
        die ("unlink");
    }
  else
    die ("no such work");
}

static double
one_by_one (const char *work, unsigned count)
{
  double start = now ();

  for (unsigned i = 0; i < count; i++)
    {
      double since = now ();

      one (work, i);
      note (since);
    }
  return (double) count / (now () - start) * 1e6;
}

static double
list (unsigned count)
{
  double start = now ();
  unsigned entries = 0;

  for (unsigned i = 0; i < count; i++)
    {
      double since = now ();
      struct nfsdir *dir;

      if (nfs_opendir (nfs, "/", &dir) < 0)
        die ("opendir");
      while (nfs_readdir (nfs, dir))
        entries++;
      nfs_closedir (nfs, dir);
      note (since);
    }
  return (double) entries / (now () - start) * 1e6;
}

static double
paced (unsigned count)
{
  struct timespec next;
  double start = now ();

  clock_gettime (CLOCK_MONOTONIC, &next);
  for (unsigned i = 0; i < count; i++)
    {
      char name[32];
      double since;

      next.tv_nsec += 1000000;
      next.tv_sec += next.tv_nsec / 1000000000;
      next.tv_nsec %= 1000000000;
      clock_nanosleep (CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
      snprintf (name, sizeof name, "f%u", i % 100);
      since = now ();
      lookup (name);
      note (since);
    }
  return (double) count / (now () - start) * 1e6;
}

int
main (int argc, char **argv)
{
  const char *work = argc > 2 ? argv[2] : "";
  unsigned count = argc > 3 ? (unsigned) atoi (argv[3]) : 2000;
  struct nfs_url *url;
  double value;

  nfs = nfs_init_context ();
  url = argc > 2 ? nfs_parse_url_dir (nfs, argv[1]) : NULL;
  if (!url)
    {
      fprintf (stderr, "usage: nfs-client URL WORK [COUNT]\n");
      return 2;
    }
  latencies = calloc (count + DEPTH, sizeof *latencies);
  nfs_set_dircache (nfs, 0);
  if (nfs_mount (nfs, url->server, url->path) < 0)
    die ("mount");
  writing = strstr (work, "write") != NULL;
  random_order = strncmp (work, "rand", 4) == 0;
  size = random_order ? SMALL : BIG;
  if (strncmp (work, "seq", 3) == 0)
    value = transfer (count) * BIG / 1e6;
  else if (random_order)
    value = transfer (count);
  else if (strcmp (work, "readdirplus") == 0)
    value = list (count);
  else if (strcmp (work, "paced") == 0)
    value = paced (count);
  else
    value = one_by_one (work, count);
  qsort (latencies, n_latencies, sizeof *latencies, compare);
  printf ("%.1f %.0f %.0f %.0f\n", value, percentile (50), percentile (99), percentile (99.9));
  /* The process ends: the server sees the connection close. */
  return 0;
}
