/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include "support.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

TEST (test_fields)
{
  rcvm_error *e = NULL;

  assert_int_equal (rcvmi_fail (&e, RCVM_E_SPEC, 0, "field '%s' is %d", "x", 3), RCVM_E_SPEC);
  assert_int_equal (rcvm_error_get_code (e), RCVM_E_SPEC);
  assert_int_equal (rcvm_error_get_errno (e), 0);
  assert_int_equal (rcvm_error_get_exit_code (e), 125);
  assert_string_equal (rcvm_error_get_stage (e), "volumes");
  assert_string_equal (rcvm_error_get_message (e), "field 'x' is 3");
  rcvm_error_free (e);
}

TEST (test_errno)
{
  rcvm_error *e = NULL;

  assert_int_equal (rcvmi_fail_errno (&e, EACCES, "cannot open it"), RCVM_E_PERMISSION);
  assert_int_equal (rcvm_error_get_errno (e), EACCES);
  assert_string_equal (rcvm_error_get_message (e), "cannot open it: Permission denied");
  rcvm_error_free (e);
  e = NULL;
  rcvmi_fail (&e, RCVM_E_SYSTEM, 4000, "odd");
  assert_string_equal (rcvm_error_get_message (e), "odd: error 4000");
  rcvm_error_free (e);
}

TEST (test_code_from_errno)
{
  assert_int_equal (rcvmi_code_from_errno (ENOENT), RCVM_E_NOT_FOUND);
  assert_int_equal (rcvmi_code_from_errno (ENOTDIR), RCVM_E_NOT_FOUND);
  assert_int_equal (rcvmi_code_from_errno (EPERM), RCVM_E_PERMISSION);
  assert_int_equal (rcvmi_code_from_errno (EROFS), RCVM_E_PERMISSION);
  assert_int_equal (rcvmi_code_from_errno (ENOSPC), RCVM_E_NO_SPACE);
  assert_int_equal (rcvmi_code_from_errno (EDQUOT), RCVM_E_NO_SPACE);
  assert_int_equal (rcvmi_code_from_errno (ENOMEM), RCVM_E_NOMEM);
  assert_int_equal (rcvmi_code_from_errno (EIO), RCVM_E_SYSTEM);
  assert_int_equal (rcvmi_code_from_errno (0), RCVM_E_SYSTEM);
}

TEST (test_nobody_asks)
{
  assert_int_equal (rcvmi_fail (NULL, RCVM_E_HOST, 0, "x"), RCVM_E_HOST);
  assert_int_equal (rcvmi_error_restore (NULL, RCVM_E_HOST, 0, 0, "a", "b"), RCVM_E_HOST);
}

/* The lowest failure is the one that counts. */
TEST (test_first_wins)
{
  rcvm_error *e = NULL;

  rcvmi_fail (&e, RCVM_E_HOST, 0, "first");
  assert_int_equal (rcvmi_fail (&e, RCVM_E_SPEC, 0, "second"), RCVM_E_SPEC);
  assert_string_equal (rcvm_error_get_message (e), "first");
  rcvm_error_free (e);
}

TEST (test_null)
{
  assert_int_equal (rcvm_error_get_code (NULL), RCVM_OK);
  assert_int_equal (rcvm_error_get_errno (NULL), 0);
  assert_int_equal (rcvm_error_get_exit_code (NULL), 0);
  assert_string_equal (rcvm_error_get_stage (NULL), "");
  assert_string_equal (rcvm_error_get_message (NULL), "");
  rcvm_error_free (NULL);
  rcvm_free (NULL);
  rcvmi_error_set_exit_code (NULL, 1);
}

TEST (test_restore)
{
  rcvm_error *e = NULL;

  assert_int_equal (rcvmi_error_restore (&e, RCVM_E_PROCESS, ENOENT, 127, "process", "no such program"),
                    RCVM_E_PROCESS);
  assert_int_equal (rcvm_error_get_errno (e), ENOENT);
  assert_int_equal (rcvm_error_get_exit_code (e), 127);
  assert_string_equal (rcvm_error_get_stage (e), "process");
  assert_string_equal (rcvm_error_get_message (e), "no such program");
  rcvmi_error_set_exit_code (e, 126);
  assert_int_equal (rcvm_error_get_exit_code (e), 126);
  rcvm_error_free (e);
}

TEST (test_pass)
{
  rcvm_error *from = NULL, *to = NULL, *again = NULL;

  rcvmi_fail (&from, RCVM_E_HOST, 0, "x");
  assert_int_equal (rcvmi_error_pass (&to, from), RCVM_E_HOST);
  assert_ptr_equal (to, from);
  /* An error that has no place is freed: valgrind sees it if not. */
  rcvmi_fail (&again, RCVM_E_SPEC, 0, "y");
  assert_int_equal (rcvmi_error_pass (&to, again), RCVM_E_SPEC);
  again = NULL;
  rcvmi_fail (&again, RCVM_E_VMM, 0, "z");
  assert_int_equal (rcvmi_error_pass (NULL, again), RCVM_E_VMM);
  assert_string_equal (rcvm_error_get_message (to), "x");
  rcvm_error_free (to);
}

TEST (test_long_message)
{
  rcvm_error *e = NULL;
  char *text = malloc (10001);

  assert_non_null (text);
  memset (text, 'x', 10000);
  text[10000] = 0;
  rcvmi_fail (&e, RCVM_E_SYSTEM, EIO, "%s", text);
  assert_in_range (strlen (rcvm_error_get_message (e)), 1000, 5000);
  rcvm_error_free (e);
  free (text);
}

TEST (test_names)
{
  assert_string_equal (rcvm_code_name (RCVM_OK), "RCVM_OK");
  assert_string_equal (rcvm_code_name (RCVM_E_INVALID), "RCVM_E_INVALID");
  assert_string_equal (rcvm_code_name (RCVM_E_SPEC), "RCVM_E_SPEC");
  assert_string_equal (rcvm_code_name (RCVM_E_TIMEOUT), "RCVM_E_TIMEOUT");
  assert_string_equal (rcvm_code_name (RCVM_E_IMAGE), "RCVM_E_IMAGE");
  assert_string_equal (rcvm_code_name (RCVM_E_IMAGE - 1), "RCVM_E_UNKNOWN");
  assert_string_equal (rcvm_code_name (1), "RCVM_E_UNKNOWN");
  assert_string_equal (rcvm_code_name (INT_MIN), "RCVM_E_UNKNOWN");
  assert_string_equal (rcvm_code_name (INT_MAX), "RCVM_E_UNKNOWN");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_fields),
    cmocka_unit_test (test_errno),
    cmocka_unit_test (test_code_from_errno),
    cmocka_unit_test (test_nobody_asks),
    cmocka_unit_test (test_first_wins),
    cmocka_unit_test (test_null),
    cmocka_unit_test (test_restore),
    cmocka_unit_test (test_pass),
    cmocka_unit_test (test_long_message),
    cmocka_unit_test (test_names),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
