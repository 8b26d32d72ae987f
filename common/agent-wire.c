/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent-wire.h"

void
agent_header_pack (unsigned char out[AGENT_HEADER], const struct agent_header *h)
{
  for (int i = 0; i < 4; i++)
    {
      out[i] = (unsigned char) (h->len >> (8 * i));
      out[8 + i] = (unsigned char) (h->process >> (8 * i));
    }
  out[4] = (unsigned char) h->type;
  out[5] = (unsigned char) (h->type >> 8);
  out[6] = out[7] = 0;
}

bool
agent_header_unpack (struct agent_header *h, const unsigned char in[AGENT_HEADER])
{
  h->len = h->process = 0;
  for (int i = 0; i < 4; i++)
    {
      h->len |= (uint32_t) in[i] << (8 * i);
      h->process |= (uint32_t) in[8 + i] << (8 * i);
    }
  h->type = (uint16_t) (in[4] | in[5] << 8);
  return in[6] == 0 && in[7] == 0;
}
