/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A user and group for one VM, out of a range that belongs to nobody.
 *
 * Whoever has one holds a lock on the byte of that number of one file, the same for all state directories of the host.  The
 * kernel lets go of it however the holder ends.
 */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "confine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "defaults.h"
#include "err.h"

#define LOCK_FILE "/run/runcvm-users"

static int
open_locks (rcvm_error **err)
{
  int fd = open (LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
  struct stat st;

  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '" LOCK_FILE "', which says who has which user");
  if (fstat (fd, &st) < 0 || !S_ISREG (st.st_mode) || st.st_uid != geteuid () || st.st_mode & 077)
    {
      close (fd);
      return rcvmi_fail (err, RCVM_E_PERMISSION, 0,
                         "'" LOCK_FILE "' is not root's alone, so it cannot say who has which user: remove it");
    }
  return fd;
}

int
rcvmi_confine_take_user (uid_t *id, int *fd_out, rcvm_error **err)
{
  autoclose int fd = -1;
  uint32_t first, n, start;

  if (rcvmi_default_users (&first, &n) < 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "RUNCVM_USERS is '%.60s', and should be a range of users that are nobody's, as '1900000000-1900065535'",
                       secure_getenv ("RUNCVM_USERS"));
  fd = open_locks (err);
  if (fd < 0)
    return fd;
  /* Not the one that was given back last: what it left behind somewhere is nobody's for long. */
  if (getrandom (&start, sizeof start, 0) != sizeof start)
    return rcvmi_fail_errno (err, errno, "cannot draw a random number");
  for (uint32_t i = 0; i < n; i++)
    {
      uint32_t number = first + (uint32_t) (((uint64_t) start + i) % n);
      struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = number, .l_len = 1 };

      if (fcntl (fd, F_OFD_SETLK, &l) == 0)
        {
          *id = number;
          *fd_out = steal_fd (&fd);
          return 0;
        }
      if (errno != EAGAIN && errno != EACCES)
        return rcvmi_fail_errno (err, errno, "cannot lock '" LOCK_FILE "'");
    }
  return rcvmi_fail (err, RCVM_E_STATE, 0, "all %u users for VMMs are taken: give RUNCVM_USERS a larger range", (unsigned) n);
}
