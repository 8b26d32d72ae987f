/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

struct build_values
{
  uint64_t size;
  const char *headroom;
  struct list layers;
  struct list copies;
  const char *missing;
  int no_journal, no_sync;
};

#define AT(field) offsetof (struct build_values, field)

static const struct option_spec options[] = {
  { "size", 's', BYTES, AT (size), "SIZE",
    "size of the image (default: what the contents need, and room)" },
  { "headroom", 0, TEXT, AT (headroom), "PERCENT",
    "room beyond the contents (default 30, and 128 MiB in all)" },
  { "layer", 0, LIST, AT (layers), "LAYER",
    "instead of SOURCE: a tar or an overlay's directory; repeat it, the lowest first" },
  { "copy", 0, LIST, AT (copies), "SRC:DST",
    "copy SRC of the host to the absolute path DST in the image" },
  { "missing", 0, TEXT, AT (missing), "WHAT",
    "a SRC that is not there: fail (default), dir or file, empty" },
  { "no-journal", 0, FLAG, AT (no_journal), NULL, "no journal: for images that are only read" },
  { "no-sync", 0, FLAG, AT (no_sync), NULL, "do not wait until the image is on disk" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

enum
{
  FRAME_MS = 100,
  BAR = 30
};

static volatile sig_atomic_t interrupted;

static void
on_interrupt (int signum)
{
  interrupted = signum;
}

struct progress
{
  int on_terminal;
  int shown;
  uint64_t total, written; /* entries that the scan found, bytes of the files */
  int64_t next_ms;
  char phase[16];
};

static int64_t
now_ms (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C (1000) + t.tv_nsec / 1000000;
}

static void
draw (struct progress *p, const char *phase, uint64_t files, uint64_t bytes)
{
  static const char full[] = "##############################",
                    empty[] = "                              ";
  int filled = p->total && files < p->total ? (int) (files * BAR / p->total) : BAR;

  if (strcmp (phase, "scan") == 0)
    fprintf (stderr, "\r\033[K%-6s  %llu entries", phase, (unsigned long long) files);
  else
    fprintf (stderr, "\r\033[K%-6s  [%.*s%.*s]  %llu entries  %.1f MiB", phase, filled, full,
             BAR - filled, empty, (unsigned long long) files, (double) bytes / (1 << 20));
  fflush (stderr);
  p->shown = 1;
}

static int
on_progress (void *user, const char *phase, uint64_t files, uint64_t bytes)
{
  struct progress *p = user;
  int64_t now;

  if (strcmp (phase, "scan") == 0)
    p->total = files;
  if (strcmp (phase, "write") == 0)
    p->written = bytes;
  if (!p->on_terminal)
    return interrupted;
  now = now_ms ();
  if (now >= p->next_ms || strcmp (phase, p->phase) != 0)
    {
      snprintf (p->phase, sizeof p->phase, "%s", phase);
      draw (p, phase, files, p->written);
      p->next_ms = now + FRAME_MS;
    }
  return interrupted;
}

/* At the last colon: a path on the host may hold some. */
static int
add_copy (rcvm_rootfs_options *o, const char *text, rcvm_error **err)
{
  const char *colon = strrchr (text, ':');
  char *source;
  int code;

  if (!colon || colon == text || colon[1] != '/')
    {
      usage_error (&cmd_rootfs_build, "'%s' is not of the form SRC:DST with an absolute DST", text);
      return -1;
    }
  source = strndup (text, (size_t) (colon - text));
  if (!source)
    {
      complain ("cli", "out of memory");
      return -1;
    }
  code = rcvm_rootfs_options_add_copy (o, source, colon + 1, err);
  free (source);
  return code;
}

static int
set_headroom (rcvm_rootfs_options *o, const char *text, rcvm_error **err)
{
  char *end;
  unsigned long percent = strtoul (text, &end, 10);

  if (end == text || *end || text[0] == '-' || percent > 1000000)
    {
      usage_error (&cmd_rootfs_build, "'%s' is no percentage for --headroom", text);
      return -1;
    }
  return rcvm_rootfs_options_set_headroom (o, (unsigned) percent, err);
}

static int
set_missing (rcvm_rootfs_options *o, const char *text, rcvm_error **err)
{
  static const char *const names[] = { "fail", "dir", "file" };

  for (int i = 0; i < 3; i++)
    if (strcmp (text, names[i]) == 0)
      return rcvm_rootfs_options_set_missing_source (o, i, err);
  usage_error (&cmd_rootfs_build, "'%s' is neither fail, dir nor file", text);
  return -1;
}

static rcvm_rootfs_options *
new_options (const struct build_values *v, struct progress *p)
{
  rcvm_error *err = NULL;
  rcvm_rootfs_options *o = rcvm_rootfs_options_new (&err);

  if (!o || (v->size && rcvm_rootfs_options_set_size (o, v->size, &err) < 0)
      || (v->headroom && set_headroom (o, v->headroom, &err) < 0)
      || (v->no_journal && rcvm_rootfs_options_set_journal (o, 0, &err) < 0)
      || (v->no_sync && rcvm_rootfs_options_set_sync (o, 0, &err) < 0)
      || (v->missing && set_missing (o, v->missing, &err) < 0)
      || rcvm_rootfs_options_set_progress (o, on_progress, p, &err) < 0)
    goto fail;
  for (size_t i = 0; i < v->copies.n; i++)
    if (add_copy (o, v->copies.items[i], &err) < 0)
      goto fail;
  return o;
fail:
  if (err)
    fail_with (err, 1);
  rcvm_rootfs_options_free (o);
  return NULL;
}

static int
build_layers (const struct list *list, const char *image, const rcvm_rootfs_options *o, rcvm_error **err)
{
  const char **layers = calloc (list->n + 1, sizeof *layers);
  int code;

  if (!layers)
    {
      complain ("cli", "out of memory");
      return RCVM_E_NOMEM;
    }
  memcpy (layers, list->items, list->n * sizeof *layers);
  code = rcvm_rootfs_build_layers (layers, image, o, err);
  free (layers);
  return code;
}

static int
build (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct build_values *v = values;
  const struct sigaction action = { .sa_handler = on_interrupt,
                                    .sa_flags = SA_RESTART | (int) SA_RESETHAND };
  struct progress p = { .on_terminal = isatty (STDERR_FILENO) };
  rcvm_error *err = NULL;
  rcvm_rootfs_options *o;
  int code, wanted = v->layers.n ? 1 : 2;

  (void) cli;
  if (argc < wanted)
    return usage_error (&cmd_rootfs_build,
                        argc < wanted - 1 ? "SOURCE and IMAGE are missing" : "IMAGE is missing");
  if (argc > wanted)
    return usage_error (&cmd_rootfs_build, "'%s' is one argument too many", argv[wanted]);
  o = new_options (v, &p);
  if (!o)
    return 1;
  /* The build is told to stop, and leaves nothing; a second signal ends it at once. */
  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  sigaction (SIGHUP, &action, NULL);
  code = v->layers.n ? build_layers (&v->layers, argv[0], o, &err)
                     : rcvm_rootfs_build (argv[0], argv[1], o, &err);
  rcvm_rootfs_options_free (o);
  if (code == 0 && p.on_terminal)
    draw (&p, "done", p.total, p.written);
  if (p.shown)
    fputc ('\n', stderr);
  if (code == 0)
    return 0;
  if (interrupted && code == RCVM_E_CANCELLED)
    {
      rcvm_error_free (err);
      return 128 + interrupted;
    }
  return err ? fail_with (err, 1) : 1;
}

const struct command cmd_rootfs_build = {
  .name = "rootfs build",
  .usage = "[OPTIONS] SOURCE IMAGE\n       runcvm rootfs build [OPTIONS] --layer LAYER... IMAGE",
  .summary = "make an ext4 image of a directory or of layers, mounting nothing",
  .details = "The same input gives the same bytes.  IMAGE must not exist.",
  .examples = "  runcvm rootfs build /srv/alpine alpine.img\n"
              "  runcvm rootfs build --layer base.tar.gz --layer app.tar.zst app.img\n"
              "  runcvm rootfs build --size 4G --copy ./site:/srv/www /srv/debian web.img",
  .options = { options },
  .values_size = sizeof (struct build_values),
  .failure = 1,
  .run = build,
};
