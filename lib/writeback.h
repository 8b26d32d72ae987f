/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Write-back: what a VM changed in its root, from the upper image of its overlay into a directory of the host.
 * docs/write-back.md has the whole story.  In the order of the work:
 *
 *   writeback.c           opens, locks, the order of the steps, what an error says
 *   writeback-intent.c    the durable note next to the image that a write-back has begun
 *   writeback-parser.c    a process without rights that reads the image, and the pipe from it
 *   writeback-sandbox.c   takes those rights away
 *   writeback-ext4*.c     walks upper/ in the image with libext2fs; -journal replays a journal in memory, -changes leaves out what
 *                         has been told before (-known, -known-file: what that was)
 *   writeback-wire.c      the records between the two processes, and the checks of each
 *   writeback-apply.c     records in, changes of the host's tree out
 *   writeback-tree.c      directories beneath the rootfs, and nothing else
 *   writeback-file.c      one new file, complete, in the staging directory
 *   writeback-links.c     hard links that the base had
 */
#ifndef RCVM_LIB_WRITEBACK_H
#define RCVM_LIB_WRITEBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include <runcvm/error.h>

struct rcvmi_puts;

enum
{
  RCVMI_WRITEBACK_DELTAS = 2
};

struct rcvmi_writeback_options
{
  /* The image of the overlay's lower layer.  With it, names of hard links that the guest has only changed through
     another name are known; without it (NULL) they are looked for on the host as far as they can be. */
  const char *base;
  /* Layers of the overlayfs that `rootfs` is a mount of, whose contents were in the image when the VM started, at the
     time `since`: what is gone from the image since is to go from there.  NULL: none. */
  const char *deltas[RCVMI_WRITEBACK_DELTAS];
  struct timespec since;
  /* Absolute paths in the container that stay what they are, with all that is below them; without "//", ".." and a
     '/' at the end. */
  const char *const *exclude;
  size_t n_exclude;
  /* The directory of the image that overlayfs has written; NULL: "upper". */
  const char *top;
  /* What stands for the image in the name of the note; NULL: the image.  For an image with several such directories. */
  const char *note;
  /* It is one of several write-backs of the image: only what has changed since the last one goes back, and for the next one it is
     kept beside the image what there was.  `frozen`: when, by the clock that wrote the image, the last change may have been made. */
  bool repeated;
  struct timespec frozen;
  /* Names of the rootfs that others have put there, and that the image has had since: those that it has not any more go, if they are
     still what was put there.  NULL: none. */
  struct rcvmi_puts *puts;
};

/* Applies the changes in `image` to the directory `rootfs`.  The VM must have stopped.  After a failure, or a death
   of this process, the same call does all of it again, with the same result.  It forks one process and waits for it;
   options may be NULL. */
int rcvmi_writeback (const char *image, const char *rootfs,
                     const struct rcvmi_writeback_options *options, rcvm_error **err);

/* The same in two steps, for an image that does not change meanwhile, but will: after the first the image is no longer needed.
   The strings and the options have to last as long.  The second makes it last, and forgets how to repeat it; without it, the next write-back does all of this one again. */
struct rcvmi_writeback;
struct rcvmi_writeback *rcvmi_writeback_apply (const char *image, const char *rootfs, const struct rcvmi_writeback_options *options,
                                               rcvm_error **err);
int rcvmi_writeback_commit (struct rcvmi_writeback *w, rcvm_error **err);
/* Whether anything had changed. */
bool rcvmi_writeback_is_empty (const struct rcvmi_writeback *w);
/* NULL is nothing. */
void rcvmi_writeback_free (struct rcvmi_writeback *w);
/* 1: a write-back of this image has begun and has not ended; 0: none has; or an error. */
int rcvmi_writeback_pending (const char *image, rcvm_error **err);

#endif
