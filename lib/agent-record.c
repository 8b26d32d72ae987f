/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "agent"
#include "agent-record.h"

#include <string.h>

#include "agent-wire.h"
#include "err.h"
#include "tlv.h"

/* The length of the character at `s`, if it is one of UTF-8 that does nothing to a terminal; else 0. */
static size_t
printable (const unsigned char *s)
{
  uint32_t c = s[0];
  size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

  if (len > 1)
    c &= 0x7fU >> len;
  for (size_t i = 1; i < len; i++)
    {
      if ((s[i] & 0xc0) != 0x80)
        return 0;
      c = c << 6 | (s[i] & 0x3f);
    }
  if (len == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0) || (len == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000)))
      || (len == 4 && (c < 0x10000 || c > 0x10ffff)))
    return 0;
  return len;
}

/* What the guest says ends up in logs, on terminals and in JSON. */
static void
copy_text (char *to, size_t size, const char *from)
{
  size_t at = 0;

  while (*from)
    {
      size_t len = printable ((const unsigned char *) from);

      if (at + (len ? len : 1) >= size)
        break;
      if (len)
        memcpy (to + at, from, len);
      else
        to[at] = '?';
      at += len ? len : 1;
      from += len ? len : 1;
    }
  to[at] = 0;
}

int
rcvmi_agent_parse (struct rcvmi_agent_record *x, const unsigned char *data, size_t len, rcvm_error **err)
{
  struct tlv_reader r;
  struct tlv_field f;

  memset (x, 0, sizeof *x);
  tlv_reader_init (&r, data, len);
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case A_VERSION:
        x->version = tlv_get_u32 (&r, &f);
        break;
      case A_KERNEL:
        copy_text (x->kernel, sizeof x->kernel, tlv_get_str (&r, &f));
        break;
      case A_BOOT_USEC:
        x->boot_usec = tlv_get_u64 (&r, &f);
        break;
      case A_CLOCK_NSEC:
        x->clock_nsec = tlv_get_u64 (&r, &f);
        break;
      case A_PID:
        x->pid = tlv_get_u32 (&r, &f);
        break;
      case A_STAGE:
        copy_text (x->stage, sizeof x->stage, tlv_get_str (&r, &f));
        break;
      case A_ERRNO:
        x->errnum = tlv_get_u32 (&r, &f);
        break;
      case A_MESSAGE:
        copy_text (x->message, sizeof x->message, tlv_get_str (&r, &f));
        break;
      case A_EXIT_CODE:
        x->exit_code = tlv_get_u32 (&r, &f);
        x->has_exit_code = true;
        break;
      case A_SIGNAL:
        x->signum = tlv_get_u32 (&r, &f);
        x->has_signal = true;
        if (x->signum < 1 || x->signum > 127)
          r.bad = true;
        break;
      case A_BYTES:
        x->count = tlv_get_u32 (&r, &f);
        break;
      case A_LEVEL:
        x->level = tlv_get_u32 (&r, &f);
        break;
      default:
        break;
      }
  if (r.bad || x->exit_code > 255 || x->errnum > 4095)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest's agent sent a malformed record");
  return 0;
}
