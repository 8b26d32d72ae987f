/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "control.h"

#include "err.h"

enum
{
  MAX_CODE = 4095 /* of ours, and of errno */
};

void
rcvmi_control_put_error (struct tlv_writer *w, const rcvm_error *e)
{
  tlv_put_u32 (w, CE_CODE, (uint32_t) -rcvm_error_get_code (e));
  tlv_put_u32 (w, CE_ERRNO, (uint32_t) rcvm_error_get_errno (e));
  tlv_put_u32 (w, CE_EXIT_CODE, (uint32_t) rcvm_error_get_exit_code (e));
  tlv_put_str (w, CE_STAGE, rcvm_error_get_stage (e));
  tlv_put_str (w, CE_MESSAGE, rcvm_error_get_message (e));
}

int
rcvmi_control_get_error (const unsigned char *data, size_t len, rcvm_error **err)
{
  const char *stage = "monitor", *message = "the monitor gave no reason";
  uint32_t code = 0, errnum = 0, exit_code = 125;
  struct tlv_reader r;
  struct tlv_field f;

  tlv_reader_init (&r, data, len);
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case CE_CODE:
        code = tlv_get_u32 (&r, &f);
        break;
      case CE_ERRNO:
        errnum = tlv_get_u32 (&r, &f);
        break;
      case CE_EXIT_CODE:
        exit_code = tlv_get_u32 (&r, &f);
        break;
      case CE_STAGE:
        stage = tlv_get_str (&r, &f);
        break;
      case CE_MESSAGE:
        message = tlv_get_str (&r, &f);
        break;
      default:
        break;
      }
  if (r.bad || code > MAX_CODE || errnum > MAX_CODE || exit_code > 255)
    return rcvmi_fail_at (err, "monitor", RCVM_E_PROTOCOL, 0, "the monitor sent a malformed record");
  if (code == 0)
    return 0;
  return rcvmi_error_restore (err, -(int) code, (int) errnum, (int) exit_code, stage, message);
}
