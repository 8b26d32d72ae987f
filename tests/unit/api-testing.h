/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of the public functions: a state root of one's own, and handles in it. */
#ifndef API_TESTING_H
#define API_TESTING_H

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <runcvm/runcvm.h>

#include "cleanup.h"
#include "fake-monitor.h"

static inline int
set_up (void **state)
{
  *state = make_dir ();
  return 0;
}

static inline int
tear_down (void **state)
{
  remove_tree (*state);
  return 0;
}

#define API_TEST(name) static void name (void **state)

static inline rcvm_vm *
new_vm (const char *root)
{
  rcvm_error *e = NULL;
  rcvm_vm *vm = rcvm_vm_new (root, "vm", &e);

  check_ok (vm ? 0 : -1, e);
  return vm;
}

static inline rcvm_vm *
open_vm (const char *root)
{
  rcvm_error *e = NULL;
  rcvm_vm *vm = rcvm_vm_open (root, "vm", &e);

  check_ok (vm ? 0 : -1, e);
  return vm;
}

#define api_test(f) cmocka_unit_test_setup_teardown (f, set_up, tear_down)

#endif
