/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A namespace's resolv.conf, and a record of what was done that somebody has damaged. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net-parts.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct rcvmi_net_record record;
  struct rcvmi_net_dns dns;
  struct rcvmi_net_ip ip;
  uint8_t mac[6], prefix;
  char *text = malloc (size + 1);

  if (!text)
    return 0;
  if (size)
    memcpy (text, data, size);
  text[size] = 0;
  if (rcvmi_net_dns_parse (&dns, text, size, NULL) == 0)
    rcvmi_net_dns_clear (&dns);
  if (rcvmi_net_record_parse (&record, text, NULL) == 0)
    rcvmi_net_record_clear (&record);
  rcvmi_net_mac_parse (mac, text, NULL);
  rcvmi_net_ip_parse (&ip, &prefix, text, NULL);
  rcvmi_net_check_name (text, NULL);
  free (text);
  return 0;
}
