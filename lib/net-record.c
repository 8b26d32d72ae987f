/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What was done to a namespace, as JSON, and its undoing: by the process that did it, or by another after
 * its death.
 *
 * The record says what may have been done, as it is written first.  So nothing is believed: an ingress
 * filter is ours if it has the cookie, a TAP or bridge if it has the alias that is made of it, an address
 * is put back if the record has it and it is missing.  A namespace that cannot be found any more took
 * everything with it.
 */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-parts.h"

#include <dirent.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  MAX_DEPTH = 8
};

void
rcvmi_net_done_clear (struct rcvmi_net_done *d)
{
  rcvmi_net_strv_free (d->saved);
  *d = (struct rcvmi_net_done){ .index = 0 };
}

void
rcvmi_net_record_clear (struct rcvmi_net_record *r)
{
  for (size_t i = 0; i < r->n; i++)
    rcvmi_net_done_clear (&r->nics[i]);
  free (r->nics);
  free (r->path);
  *r = (struct rcvmi_net_record){ .n = 0 };
}

static void
hex (const uint8_t *bytes, size_t n, char *text)
{
  for (size_t i = 0; i < n; i++)
    sprintf (text + 2 * i, "%02x", bytes[i]);
}

void
rcvmi_net_alias (const uint8_t *cookie, char *buf, size_t size)
{
  char text[2 * RCVMI_NET_COOKIE_SIZE + 1];

  hex (cookie, RCVMI_NET_COOKIE_SIZE, text);
  snprintf (buf, size, "runcvm %s", text);
}

/* Writing. */

static bool
put (struct json_object *o, const char *key, struct json_object *value)
{
  if (o && value && json_object_object_add (o, key, value) == 0)
    return true;
  json_object_put (value);
  return false;
}

static struct json_object *
done_to_json (const struct rcvmi_net_done *d)
{
  struct json_object *o = json_object_new_object (), *saved;
  char mac[18];
  bool ok = put (o, "index", json_object_new_int (d->index))
            && put (o, "name", json_object_new_string (d->name))
            && put (o, "tap", json_object_new_string (d->tap))
            && put (o, "qdisc", json_object_new_boolean (d->qdisc));

  if (ok && d->bridge[0])
    {
      saved = json_object_new_array ();
      ok = put (o, "bridge", json_object_new_string (d->bridge))
           && put (o, "oldMac", json_object_new_string (rcvmi_net_mac_text (d->old_mac, mac)))
           && put (o, "newMac", json_object_new_string (rcvmi_net_mac_text (d->new_mac, mac)))
           && put (o, "saved", saved);
      for (char **s = d->saved; ok && s && *s; s++)
        {
          struct json_object *text = json_object_new_string (*s);

          ok = text && json_object_array_add (saved, text) == 0;
          if (!ok)
            json_object_put (text);
        }
    }
  if (ok)
    return o;
  json_object_put (o);
  return NULL;
}

char *
rcvmi_net_record_to_json (const struct rcvmi_net *net, rcvm_error **err)
{
  struct json_object *o = json_object_new_object (), *nics = json_object_new_array ();
  char cookie[2 * RCVMI_NET_COOKIE_SIZE + 1];
  char *text = NULL;
  bool ok;

  hex (net->cookie, RCVMI_NET_COOKIE_SIZE, cookie);
  ok = put (o, "version", json_object_new_int (1))
       && put (o, "dev", json_object_new_int64 ((int64_t) net->ns.dev))
       && put (o, "ino", json_object_new_int64 ((int64_t) net->ns.ino))
       && put (o, "cookie", json_object_new_string (cookie));
  if (ok && net->ns_path)
    ok = put (o, "path", json_object_new_string (net->ns_path));
  if (ok && net->table[0])
    ok = put (o, "table", json_object_new_string (net->table));
  for (size_t i = 0; ok && i < net->n; i++)
    {
      struct json_object *nic = done_to_json (&net->nics[i]->priv->done);

      ok = nic && json_object_array_add (nics, nic) == 0;
      if (!ok)
        json_object_put (nic);
    }
  if (ok && put (o, "nics", nics))
    {
      nics = NULL;
      text = (char *) json_object_to_json_string_ext (o, JSON_C_TO_STRING_PLAIN
                                                             | JSON_C_TO_STRING_NOSLASHESCAPE);
      text = text ? strdup (text) : NULL;
    }
  json_object_put (nics);
  json_object_put (o);
  if (!text)
    rcvmi_fail_nomem (err);
  return text;
}

/* Reading. */

static const char *
get_string (struct json_object *o, const char *key)
{
  struct json_object *v;

  return json_object_object_get_ex (o, key, &v) && json_object_is_type (v, json_type_string)
             ? json_object_get_string (v)
             : NULL;
}

static int64_t
get_int (struct json_object *o, const char *key)
{
  struct json_object *v;

  return json_object_object_get_ex (o, key, &v) && json_object_is_type (v, json_type_int)
             ? json_object_get_int64 (v)
             : 0;
}

static bool
get_name (struct json_object *o, const char *key, char *name)
{
  const char *s = get_string (o, key);

  if (!s || (*s && rcvmi_net_check_name (s, NULL) < 0))
    return false;
  snprintf (name, RCVMI_NET_NAME_SIZE, "%s", s);
  return true;
}

static bool
get_cookie (struct json_object *o, uint8_t *cookie)
{
  const char *s = get_string (o, "cookie");

  if (!s || strlen (s) != 2 * RCVMI_NET_COOKIE_SIZE || strspn (s, "0123456789abcdef") != strlen (s))
    return false;
  for (size_t i = 0; i < RCVMI_NET_COOKIE_SIZE; i++)
    {
      char two[3] = { s[2 * i], s[2 * i + 1], '\0' };

      cookie[i] = (uint8_t) strtoul (two, NULL, 16);
    }
  return true;
}

/* Returns 0, -1 for a record that is none, or -2 without memory. */
static int
parse_done (struct rcvmi_net_done *d, struct json_object *o)
{
  struct json_object *v;
  const char *s;

  if (!json_object_is_type (o, json_type_object) || !get_name (o, "name", d->name)
      || !get_name (o, "tap", d->tap))
    return -1;
  d->index = (int) get_int (o, "index");
  d->qdisc = json_object_object_get_ex (o, "qdisc", &v) && json_object_get_boolean (v);
  if (!get_string (o, "bridge"))
    return 0;
  if (!get_name (o, "bridge", d->bridge) || !(s = get_string (o, "oldMac"))
      || rcvmi_net_mac_parse (d->old_mac, s, NULL) < 0 || !(s = get_string (o, "newMac"))
      || rcvmi_net_mac_parse (d->new_mac, s, NULL) < 0 || !json_object_object_get_ex (o, "saved", &v)
      || !json_object_is_type (v, json_type_array))
    return -1;
  for (size_t i = 0; i < json_object_array_length (v); i++)
    {
      struct json_object *e = json_object_array_get_idx (v, i);

      if (!json_object_is_type (e, json_type_string))
        return -1;
      if (rcvmi_net_warn (&d->saved, "%s", json_object_get_string (e)) < 0)
        return -2;
    }
  return 0;
}

static int
parse_record (struct rcvmi_net_record *r, struct json_object *o)
{
  struct json_object *nics;
  const char *s;
  int code = 0;

  if (!json_object_is_type (o, json_type_object) || get_int (o, "version") != 1
      || !get_cookie (o, r->cookie) || !json_object_object_get_ex (o, "nics", &nics)
      || !json_object_is_type (nics, json_type_array)
      || json_object_array_length (nics) > RCVMI_NET_MAX_NICS)
    return -1;
  r->dev = (uint64_t) get_int (o, "dev");
  r->ino = (uint64_t) get_int (o, "ino");
  s = get_string (o, "table");
  if (s)
    snprintf (r->table, sizeof r->table, "%s", s);
  s = get_string (o, "path");
  r->path = s ? strdup (s) : NULL;
  r->nics = calloc (json_object_array_length (nics) + 1, sizeof *r->nics);
  if (!r->nics || (s && !r->path))
    return -2;
  while (code == 0 && r->n < json_object_array_length (nics))
    {
      code = parse_done (&r->nics[r->n], json_object_array_get_idx (nics, r->n));
      r->n++;
    }
  return code;
}

int
rcvmi_net_record_parse (struct rcvmi_net_record *r, const char *json, rcvm_error **err)
{
  struct json_tokener *t = json_tokener_new_ex (MAX_DEPTH);
  struct json_object *o = t ? json_tokener_parse_ex (t, json, -1) : NULL;
  int code = t ? -1 : -2;

  *r = (struct rcvmi_net_record){ .n = 0 };
  if (o && json_tokener_get_error (t) == json_tokener_success)
    code = parse_record (r, o);
  json_object_put (o);
  if (t)
    json_tokener_free (t);
  if (code == 0)
    return 0;
  rcvmi_net_record_clear (r);
  if (code == -2)
    return rcvmi_fail_nomem (err);
  return rcvmi_fail (err, RCVM_E_INVALID, 0, "the record of what was done to the network is damaged");
}

/* Undoing. */

int
rcvmi_net_undo_done (struct rcvmi_nl *nl, const struct rcvmi_net_done *d, const uint8_t *cookie)
{
  struct rcvmi_net_link link;
  char alias[64];
  int first = 0, r;

  rcvmi_net_alias (cookie, alias, sizeof alias);
  if (d->index > 0 && !d->bridge[0])
    first = rcvmi_net_ingress_restore (nl, d->index, cookie, d->qdisc);
  if (d->bridge[0])
    first = rcvmi_net_bridge_part (nl, d, alias);
  if (d->tap[0] && rcvmi_net_link_get (nl, 0, d->tap, &link) == 0 && !strcmp (link.alias, alias))
    {
      r = rcvmi_net_link_delete (nl, link.index);
      if (r < 0 && r != -ENODEV && first == 0)
        first = r;
    }
  return first;
}

static bool
is_it (const char *path, const struct rcvmi_net_record *r)
{
  struct stat st;

  return stat (path, &st) == 0 && st.st_dev == r->dev && st.st_ino == r->ino;
}

/* Namespaces that are mounted somewhere have their number in the field of the mount's root. */
static bool
find_mount (const struct rcvmi_net_record *r, char **path)
{
  autofclose FILE *f = fopen ("/proc/self/mountinfo", "re");
  autofree char *line = NULL;
  char want[48];
  size_t size = 0;

  snprintf (want, sizeof want, " net:[%llu] ", (unsigned long long) r->ino);
  while (f && getline (&line, &size, f) > 0)
    {
      char *at = strstr (line, want), *end;

      if (!at)
        continue;
      at += strlen (want);
      end = strchr (at, ' ');
      if (!end)
        continue;
      *end = '\0';
      if (is_it (at, r))
        return (*path = strdup (at)) != NULL;
    }
  return false;
}

static bool
find_process (const struct rcvmi_net_record *r, char **path)
{
  DIR *proc = opendir ("/proc");
  struct dirent *e;
  bool found = false;
  char link[300];

  while (proc && !found && (e = readdir (proc)))
    {
      if (e->d_name[0] < '1' || e->d_name[0] > '9')
        continue;
      snprintf (link, sizeof link, "/proc/%s/ns/net", e->d_name);
      found = is_it (link, r) && (*path = strdup (link));
    }
  if (proc)
    closedir (proc);
  return found;
}

/* 1: open; 0: there is none any more. */
static int
find_namespace (struct rcvmi_netns *ns, const struct rcvmi_net_record *r, rcvm_error **err)
{
  autofree char *path = NULL;
  rcvm_error *e = NULL;

  *ns = RCVMI_NETNS_INIT;
  if (r->path && is_it (r->path, r))
    path = strdup (r->path);
  if (!path && !is_it ("/proc/thread-self/ns/net", r) && !find_mount (r, &path) && !find_process (r, &path))
    return 0;
  if (rcvmi_netns_open (ns, path, 0, -1, &e) == 0 && ns->dev == r->dev && ns->ino == r->ino)
    return 1;
  rcvmi_netns_close (ns);
  if (!e || rcvm_error_get_code (e) == RCVM_E_NOT_FOUND || rcvm_error_get_code (e) == RCVM_E_INVALID)
    {
      rcvm_error_free (e);
      return 0; /* it went at this moment */
    }
  return rcvmi_error_pass (err, e);
}

int
rcvmi_net_undo_record (const char *record, rcvm_error **err)
{
  struct rcvmi_net_record r;
  struct rcvmi_netns ns = RCVMI_NETNS_INIT;
  struct rcvmi_nl nl = RCVMI_NL_INIT, nft = RCVMI_NL_INIT;
  int code = rcvmi_net_record_parse (&r, record, err), e, first = 0;

  if (code < 0)
    return code;
  code = find_namespace (&ns, &r, err);
  if (code > 0)
    {
      code = rcvmi_net_open_nl (&ns, &nl, err);
      for (size_t i = 0; code == 0 && i < r.n; i++)
        {
          e = rcvmi_net_undo_done (&nl, &r.nics[i], r.cookie);
          if (first == 0)
            first = e;
        }
      if (code == 0 && r.table[0])
        {
          e = rcvmi_net_nft_delete (&ns, &nft, r.table);
          if (first == 0)
            first = e;
        }
      if (first < 0)
        code = rcvmi_fail_errno (err, -first, "cannot take back all that was done to the network%s",
                                 nl.text);
    }
  rcvmi_nl_close (&nft);
  rcvmi_nl_close (&nl);
  rcvmi_netns_close (&ns);
  rcvmi_net_record_clear (&r);
  return code;
}
