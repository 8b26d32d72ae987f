/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sizes and signals as people write them. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int
parse_bytes (const char *text, uint64_t *bytes)
{
  static const char units[] = "kmgt";
  unsigned shift = 0;
  const char *unit;
  char *end;

  errno = 0;
  *bytes = strtoull (text, &end, 10);
  if (errno || !isdigit ((unsigned char) text[0]))
    return -1;
  if (*end && (unit = strchr (units, tolower ((unsigned char) *end))))
    {
      shift = 10 * (unsigned) (unit - units + 1);
      end++;
      if (strcasecmp (end, "ib") == 0)
        end += 2;
      else if (strcasecmp (end, "b") == 0)
        end++;
    }
  else if (strcasecmp (end, "b") == 0)
    end++;
  if (*end || *bytes > UINT64_MAX >> shift)
    return -1;
  *bytes <<= shift;
  return 0;
}

int
parse_signal (const char *text)
{
  static const char *const realtime[] = { "RTMIN", "RTMAX" };
  char *end;
  long number;

  if (isdigit ((unsigned char) text[0]))
    {
      number = strtol (text, &end, 10);
      return *end || number < 1 || number > 64 ? -1 : (int) number;
    }
  if (strncasecmp (text, "SIG", 3) == 0)
    text += 3;
  for (int i = 1; i < 32; i++)
    if (sigabbrev_np (i) && strcasecmp (text, sigabbrev_np (i)) == 0)
      return i;
  for (int i = 0; i < 2; i++)
    if (strncasecmp (text, realtime[i], 5) == 0)
      {
        number = text[5] ? strtol (text + 5, &end, 10) : 0;
        if (text[5] && (*end || (text[5] != '+' && text[5] != '-')))
          return -1;
        /* The container's libc may keep other signals for itself: the numbers are Linux's. */
        number += i == 0 ? 34 : 64;
        return number < 34 || number > 64 ? -1 : (int) number;
      }
  return -1;
}

int
parse_env (const char *text, char **pair)
{
  const char *value = *text && !strchr (text, '=') ? getenv (text) : NULL;

  *pair = NULL;
  if (!*text || strchr (text, '='))
    return (*pair = strdup (text)) ? 0 : -1;
  if (value && asprintf (pair, "%s=%s", text, value) < 0)
    {
      *pair = NULL;
      return -1;
    }
  return 0;
}
