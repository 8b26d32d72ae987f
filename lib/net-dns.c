/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* resolv.conf of a namespace, or of the host. */
#include "config.h"

#define RCVMI_STAGE "net"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "net-read.h"

enum
{
  MAX_FILE = 64 * 1024,
  MAX_WORDS = 64, /* of each list */
  MAX_WORD = 255
};

void
rcvmi_net_dns_clear (struct rcvmi_net_dns *dns)
{
  rcvmi_net_strv_free (dns->servers);
  rcvmi_net_strv_free (dns->search);
  rcvmi_net_strv_free (dns->options);
  *dns = (struct rcvmi_net_dns){ .servers = NULL };
}

static int
add (char ***list, const char *word)
{
  size_t n = 0;
  char **grown, *copy;

  while (*list && (*list)[n])
    n++;
  if (n == MAX_WORDS)
    return 0;
  copy = strdup (word);
  grown = copy ? reallocarray (*list, n + 2, sizeof *grown) : NULL;
  if (!grown)
    {
      free (copy);
      return -1;
    }
  grown[n] = copy;
  grown[n + 1] = NULL;
  *list = grown;
  return 0;
}

static bool
is_server (const char *word)
{
  unsigned char bytes[16];
  char address[INET6_ADDRSTRLEN];
  const char *zone = strchr (word, '%');
  size_t n = zone ? (size_t) (zone - word) : strlen (word);

  if (n >= sizeof address)
    return false;
  memcpy (address, word, n);
  address[n] = '\0';
  return inet_pton (AF_INET6, address, bytes) == 1 || (!zone && inet_pton (AF_INET, address, bytes) == 1);
}

static bool
is_word (const char *word)
{
  if (strlen (word) > MAX_WORD)
    return false;
  for (const unsigned char *c = (const unsigned char *) word; *c; c++)
    if (*c <= ' ' || *c >= 0x7f)
      return false;
  return true;
}

static int
parse_line (struct rcvmi_net_dns *dns, char *line)
{
  char *save, *key = strtok_r (line, " \t\r", &save), *word;
  char ***list;

  if (!key)
    return 0;
  if (!strcmp (key, "nameserver"))
    {
      word = strtok_r (NULL, " \t\r", &save);
      return word && is_word (word) && is_server (word) ? add (&dns->servers, word) : 0;
    }
  if (!strcmp (key, "search") || !strcmp (key, "domain"))
    {
      /* The last of these lines counts. */
      list = &dns->search;
      rcvmi_net_strv_free (dns->search);
      dns->search = NULL;
    }
  else if (!strcmp (key, "options"))
    list = &dns->options;
  else
    return 0;
  while ((word = strtok_r (NULL, " \t\r", &save)))
    if (is_word (word) && add (list, word) < 0)
      return -1;
  return 0;
}

int
rcvmi_net_dns_parse (struct rcvmi_net_dns *dns, const char *text, size_t size, rcvm_error **err)
{
  autofree char *copy = malloc (size + 1);
  char *line, *next;

  *dns = (struct rcvmi_net_dns){ .servers = NULL };
  if (!copy)
    return rcvmi_fail_nomem (err);
  for (size_t i = 0; i < size; i++)
    copy[i] = text[i] ? text[i] : '\n';
  copy[size] = '\0';
  for (line = copy; line; line = next)
    {
      next = strchr (line, '\n');
      if (next)
        *next++ = '\0';
      if (*line == '#' || *line == ';')
        continue;
      if (parse_line (dns, line) < 0)
        {
          rcvmi_net_dns_clear (dns);
          return rcvmi_fail_nomem (err);
        }
    }
  return 0;
}

int
rcvmi_net_dns_read (struct rcvmi_net_dns *dns, const char *path, rcvm_error **err)
{
  autoclose int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  autofree char *text = malloc (MAX_FILE);
  size_t size = 0;
  ssize_t n = 0;

  *dns = (struct rcvmi_net_dns){ .servers = NULL };
  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
    return 0;
  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%s'", path);
  if (!text)
    return rcvmi_fail_nomem (err);
  while (size < MAX_FILE && (n = read (fd, text + size, MAX_FILE - size)) > 0)
    size += (size_t) n;
  if (n < 0)
    return rcvmi_fail_errno (err, errno, "cannot read '%s'", path);
  return rcvmi_net_dns_parse (dns, text, size, err);
}

int
rcvmi_net_dns_of_netns (struct rcvmi_net_dns *dns, const char *path, rcvm_error **err)
{
  static const char *const dirs[] = { "/var/run/netns/", "/run/netns/" };
  autofree char *file = NULL;

  *dns = (struct rcvmi_net_dns){ .servers = NULL };
  for (size_t i = 0; path && i < 2; i++)
    {
      const char *name = path + strlen (dirs[i]);

      if (strncmp (path, dirs[i], strlen (dirs[i])) != 0 || !*name || strchr (name, '/')
          || !strcmp (name, "..") || !strcmp (name, "."))
        continue;
      if (asprintf (&file, "/etc/netns/%s/resolv.conf", name) < 0)
        {
          file = NULL;
          return rcvmi_fail_nomem (err);
        }
      return rcvmi_net_dns_read (dns, file, err);
    }
  return 0;
}

static size_t
drop_loopback (char **servers)
{
  size_t kept = 0;

  for (char **s = servers; s && *s; s++)
    if (!strncmp (*s, "127.", 4) || !strcmp (*s, "::1"))
      free (*s);
    else
      servers[kept++] = *s;
  if (servers)
    servers[kept] = NULL;
  return kept;
}

int
rcvmi_net_dns_of_host (struct rcvmi_net_dns *dns, rcvm_error **err)
{
  /* The second one is where systemd-resolved says whom it asks itself. */
  static const char *const files[] = { "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf" };

  *dns = (struct rcvmi_net_dns){ .servers = NULL };
  for (size_t i = 0; i < 2; i++)
    {
      rcvmi_net_dns_clear (dns);
      if (rcvmi_net_dns_read (dns, files[i], err) < 0)
        return RCVM_E_SYSTEM;
      if (drop_loopback (dns->servers) > 0)
        return 0;
    }
  return 0;
}
