/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names that others have put into a container's root on the host, and that were put into the guest: what the guest removes of them
 * leaves no trace in its image, as nothing is below them.  The file upper.img.put, until the next write-back.
 */
#ifndef RCVM_LIB_PUT_LIST_H
#define RCVM_LIB_PUT_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include <runcvm/error.h>

#define RCVMI_PUT_FILE "upper.img.put"

struct rcvmi_put
{
  char *path;             /* relative to the root */
  struct timespec change; /* st_ctim on the host */
  bool dir;
  bool seen; /* for the caller */
};

/* In the order of the paths; a path is there once, as it came last. */
struct rcvmi_puts
{
  struct rcvmi_put *list;
  size_t n;
};

/* All of the file from its beginning. */
int rcvmi_puts_read (struct rcvmi_puts *puts, int fd, rcvm_error **err);
/* The same of RCVMI_PUT_FILE in a directory; nothing where there is none. */
int rcvmi_puts_read_at (struct rcvmi_puts *puts, int dir, rcvm_error **err);
void rcvmi_puts_clear (struct rcvmi_puts *puts);
/* NULL: not there. */
struct rcvmi_put *rcvmi_puts_find (const struct rcvmi_puts *puts, const char *path);
/* At the end of the file. */
int rcvmi_puts_append (int fd, const struct rcvmi_put *put, rcvm_error **err);

struct rcvmi_puts_outcome
{
  size_t n;
  size_t covered; /* in the guest, by a mount */
  size_t failed;
  int errnum; /* of the first that failed */
  char path[256];
};

/* Adds those of `list` to RCVMI_PUT_FILE in `dir` that the guest has, by the bytes that it has answered in the file `results`. */
int rcvmi_puts_keep (int list, int results, int dir, struct rcvmi_puts_outcome *outcome, rcvm_error **err);

#endif
