/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest may say of its network: it becomes JSON, or an error; and what is read can be written. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>

#include "agent-wire.h"
#include "net-guest.h"
#include "net-record.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
once_more (const void *data, size_t size)
{
  struct net_interface n, again;
  struct tlv_writer w = TLV_WRITER_INIT;
  struct tlv_reader r;

  tlv_reader_init (&r, data, size);
  if (net_interface_parse (&n, r))
    {
      net_interface_put (&w, &n, 0);
      tlv_reader_init (&r, w.data, w.len);
      if (w.failed || !net_interface_parse (&again, r) || again.n_routes != n.n_routes
          || again.n_addresses != n.n_addresses)
        abort ();
      net_interface_free (&again);
    }
  net_interface_free (&n);
  tlv_writer_free (&w);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  rcvm_error *err = NULL;
  char *json;

  if (size == 0)
    data = (const uint8_t *) "";
  json = rcvmi_net_guest_json (data, size, &err);

  for (const char *s = json; s && *s; s++)
    if ((unsigned char) *s < 0x20 || (unsigned char) *s > 0x7e)
      abort (); /* would reach a terminal */
  if (!json == !err)
    abort ();
  free (json);
  rcvm_error_free (err);
  once_more (data, size);
  return 0;
}
