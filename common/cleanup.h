/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Resources that let go of themselves at the end of a scope. */
#ifndef RCVM_COMMON_CLEANUP_H
#define RCVM_COMMON_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void
cleanup_free (void *p)
{
  free (*(void **) p);
}

static inline void
cleanup_close (const int *fd)
{
  if (*fd >= 0)
    close (*fd);
}

static inline void
cleanup_fclose (FILE **f)
{
  if (*f)
    fclose (*f);
}

#define autofree __attribute__ ((cleanup (cleanup_free)))
#define autoclose __attribute__ ((cleanup (cleanup_close)))
#define autofclose __attribute__ ((cleanup (cleanup_fclose)))

/* Returns the fd and leaves -1, so that its scope does not close it. */
static inline int
steal_fd (int *fd)
{
  int stolen = *fd;

  *fd = -1;
  return stolen;
}

/* Returns the pointer and leaves NULL. */
#define steal_ptr(p)                                                                              \
  ({                                                                                              \
    __typeof__ (p) stolen_ = (p);                                                                 \
    (p) = NULL;                                                                                   \
    stolen_;                                                                                      \
  })

#endif
