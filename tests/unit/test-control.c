/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors on their way through the control protocol. */
#include "config.h"

#include "support.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "control.h"
#include "err.h"

TEST (test_round_trip)
{
  rcvm_error *e = NULL, *back = NULL;
  struct tlv_writer w = TLV_WRITER_INIT;

  rcvmi_error_restore (&e, RCVM_E_PROCESS, ENOENT, 127, "process", "there is no program 'x'");
  rcvmi_control_put_error (&w, e);
  assert_false (w.failed);
  assert_int_equal (rcvmi_control_get_error (w.data, w.len, &back), RCVM_E_PROCESS);
  assert_int_equal (rcvm_error_get_errno (back), ENOENT);
  assert_int_equal (rcvm_error_get_exit_code (back), 127);
  check_error (&back, RCVM_E_PROCESS, "process", "there is no program 'x'");
  rcvm_error_free (e);
  tlv_writer_free (&w);
}

/* Every code arrives as itself. */
TEST (test_codes)
{
  for (int code = RCVM_E_IMAGE; code < 0; code++)
    {
      struct tlv_writer w = TLV_WRITER_INIT;
      rcvm_error *e = NULL, *back = NULL;

      rcvmi_error_restore (&e, code, 0, 125, "vmm", "x");
      rcvmi_control_put_error (&w, e);
      assert_int_equal (rcvmi_control_get_error (w.data, w.len, &back), code);
      check_error (&back, code, "vmm", "x");
      rcvm_error_free (e);
      tlv_writer_free (&w);
    }
}

TEST (test_no_error)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *e = NULL;

  tlv_put_u32 (&w, A_EXIT_CODE, 3);
  assert_int_equal (rcvmi_control_get_error (w.data, w.len, &e), 0);
  assert_null (e);
  assert_int_equal (rcvmi_control_get_error (w.data, 0, &e), 0);
  assert_null (e);
  tlv_writer_free (&w);
}

TEST (test_bare_code)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *e = NULL;

  tlv_put_u32 (&w, CE_CODE, (uint32_t) -RCVM_E_STATE);
  assert_int_equal (rcvmi_control_get_error (w.data, w.len, &e), RCVM_E_STATE);
  assert_int_equal (rcvm_error_get_exit_code (e), 125);
  check_error (&e, RCVM_E_STATE, "monitor", "no reason");
  tlv_writer_free (&w);
}

/* Never an error whose code reads as success, or the other way round. */
TEST (test_hostile)
{
  static const uint32_t values[] = { 0x7fffffff, 0x80000000, 0xffffffff, 0x10000 };
  static const uint16_t tags[] = { CE_CODE, CE_ERRNO, CE_EXIT_CODE };

  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
    for (size_t j = 0; j < sizeof tags / sizeof tags[0]; j++)
      {
        struct tlv_writer w = TLV_WRITER_INIT;
        rcvm_error *e = NULL;

        tlv_put_u32 (&w, tags[j], values[i]);
        tlv_put_str (&w, CE_MESSAGE, "x");
        assert_int_equal (rcvmi_control_get_error (w.data, w.len, &e), RCVM_E_PROTOCOL);
        check_error (&e, RCVM_E_PROTOCOL, "monitor", "malformed");
        tlv_writer_free (&w);
      }
}

TEST (test_every_cut)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *e = NULL, *back = NULL;

  rcvmi_error_restore (&e, RCVM_E_VMM, 0, 125, "vmm", "it died");
  rcvmi_control_put_error (&w, e);
  for (size_t len = 1; len < w.len; len++)
    {
      int code = rcvmi_control_get_error (w.data, len, &back);

      /* Cut between fields, it is a shorter record. */
      assert_true (code == RCVM_E_PROTOCOL || code == RCVM_E_VMM);
      assert_int_equal (rcvm_error_get_code (back), code);
      rcvm_error_free (back);
      back = NULL;
    }
  rcvm_error_free (e);
  tlv_writer_free (&w);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_round_trip), cmocka_unit_test (test_codes),   cmocka_unit_test (test_no_error),
    cmocka_unit_test (test_bare_code),  cmocka_unit_test (test_hostile), cmocka_unit_test (test_every_cut),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
