/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the unit tests share.  cmocka wants these headers before its own. */
#ifndef RCVM_TESTS_SUPPORT_H
#define RCVM_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <runcvm/error.h>

#define TEST(name) static void name (void **state __attribute__ ((unused)))

/* After this many seconds ($TEST_SECONDS wins) a test program is killed: nothing here waits for time to pass. */
enum
{
  TEST_SECONDS = 90
};

/* valgrind 3.19 knows neither pidfd_open nor openat2, and its vfork loses the error of an exec that fails; a forked child
   has leaks that are its parent's: what needs them is left to the sanitizers.  `make check-valgrind` sets the variable. */
#define SKIP_UNDER_VALGRIND()                                                                     \
  do                                                                                              \
    if (getenv ("UNDER_VALGRIND"))                                                                \
      skip ();                                                                                    \
  while (0)

/* Number of open fds of this process. */
int count_fds (void);
/* Those of them that an execve would hand on. */
int count_inheritable_fds (void);
/* Waits until the fd has one of the events, or fails the test. */
void await (int fd, short events);
/* Of /proc/PID/stat: 'T' while it is stopped. */
char process_state (pid_t pid);
bool is_ready (int fd, short events);
/* A new directory below $TMPDIR; remove_tree also frees the name. */
char *make_dir (void);
void remove_tree (char *path);
void write_file (const char *path, const void *data, size_t len);
/* The file's text, to be freed. */
char *read_text (const char *path);
/* Reads exactly `len` bytes, or fails the test. */
void read_full (int fd, void *buf, size_t len);
void write_full (int fd, const void *buf, size_t len);

/* The error has that code and stage, and `part` in its message (NULL: whatever); frees it. */
void check_error_at (rcvm_error **err, int code, const char *stage, const char *part, const char *file,
                     int line);
#define check_error(err, code, stage, part)                                                       \
  check_error_at (err, code, stage, part, __FILE__, __LINE__)
/* The call succeeded: 0 (or more), and no error was made. */
void check_ok_at (int64_t result, const rcvm_error *err, const char *file, int line);
/* The result first: it sets `err`. */
#define check_ok(result, err)                                                                     \
  do                                                                                              \
    {                                                                                             \
      int64_t check_ok_result = (result);                                                         \
                                                                                                  \
      check_ok_at (check_ok_result, err, __FILE__, __LINE__);                                     \
    }                                                                                             \
  while (0)

#endif
