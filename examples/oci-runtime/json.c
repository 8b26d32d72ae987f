/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What little JSON the tool needs: strings out, and single values out of documents.  One that is
   not well-formed is the library's to refuse; here its values are just not found. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

void
json_print_string (FILE *to, const char *text)
{
  fputc ('"', to);
  for (; *text; text++)
    switch (*text)
      {
      case '"':
      case '\\':
        fprintf (to, "\\%c", *text);
        break;
      case '\n':
        fputs ("\\n", to);
        break;
      default:
        if ((unsigned char) *text < ' ' || *text == 127)
          fprintf (to, "\\u%04x", (unsigned char) *text);
        else
          fputc (*text, to);
      }
  fputc ('"', to);
}

static const char *
skip_space (const char *p)
{
  return p + strspn (p, " \t\r\n");
}

/* From the opening quote to behind the closing one. */
static const char *
skip_string (const char *p)
{
  for (p++; *p && *p != '"'; p++)
    if (*p == '\\' && p[1])
      p++;
  return *p ? p + 1 : p;
}

static const char *
skip_value (const char *p)
{
  int depth = 0;

  do
    {
      p = skip_space (p);
      if (*p == '{' || *p == '[')
        depth++, p++;
      else if (*p == '}' || *p == ']')
        depth--, p++;
      else if (*p == '"')
        p = skip_string (p);
      else if (*p == ',' || *p == ':')
        p++;
      else if (*p)
        p += strcspn (p, ",:]}[{\" \t\r\n");
    }
  while (*p && depth > 0);
  return p;
}

/* The library escapes as json-c does: \", \\, \/, the control characters, and no more. */
static char *
unescape (const char *p, const char *end)
{
  static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
  char *copy = end < p ? NULL : malloc ((size_t) (end - p) + 1), *q = copy;

  if (!copy)
    return NULL;
  while (p < end)
    {
      const char *special;
      unsigned code;

      if (*p != '\\')
        {
          *q++ = *p++;
          continue;
        }
      p++;
      special = *p ? strchr (from, *p) : NULL;
      if (*p == 'u' && sscanf (p + 1, "%4x", &code) == 1)
        {
          *q++ = code < 128 ? (char) code : '?';
          p += 5;
        }
      else
        *q++ = special ? to[special - from] : *p, p++;
    }
  *q = 0;
  return copy;
}

char *
json_get (const char *document, const char *const *path)
{
  const char *p = skip_space (document), *end;

  for (; *path; path++)
    {
      size_t n = strlen (*path);
      int found = 0;

      if (*p != '{')
        return NULL;
      for (p = skip_space (p + 1); *p == '"' && !found;)
        {
          const char *key = p + 1;

          end = skip_string (p);
          found = (size_t) (end - 1 - key) == n && memcmp (key, *path, n) == 0;
          p = skip_space (end);
          if (*p != ':')
            return NULL;
          p = skip_space (p + 1);
          if (found)
            break;
          p = skip_space (skip_value (p));
          if (*p == ',')
            p = skip_space (p + 1);
        }
      if (!found)
        return NULL;
    }
  end = skip_value (p);
  return *p == '"' ? unescape (p + 1, end - 1) : strndup (p, (size_t) (end - p));
}

char *
json_next (const char **at)
{
  const char *p = skip_space (*at), *end;

  if (*p != '[' && *p != ',')
    return NULL;
  p = skip_space (p + 1);
  if (!*p || *p == ']')
    return NULL;
  end = skip_value (p);
  *at = end;
  return strndup (p, (size_t) (end - p));
}
