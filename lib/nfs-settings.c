/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include "nfs-settings.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "nfs-control.h"

enum
{
  RECORD_MAX = 1 << 20,
  WORKERS = 4
};

bool
rcvmi_nfs_settings_parse_export (const struct tlv_field *field, struct nfs_export_settings *e)
{
  struct tlv_reader r = tlv_get_record (field);
  bool has_uid = false, has_gid = false;
  struct tlv_field f;

  *e = (struct nfs_export_settings){ .fd = -1 };
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case NFS_EXPORT_PATH:
        e->path = tlv_get_str (&r, &f);
        break;
      case NFS_EXPORT_NAME:
        e->name = tlv_get_str (&r, &f);
        break;
      case NFS_EXPORT_FD:
        e->fd = (int) tlv_get_u32 (&r, &f);
        break;
      case NFS_EXPORT_READ_ONLY:
        e->options.read_only = tlv_get_u32 (&r, &f) != 0;
        break;
      case NFS_EXPORT_UID:
        e->options.uid = tlv_get_u32 (&r, &f);
        has_uid = true;
        break;
      case NFS_EXPORT_GID:
        e->options.gid = tlv_get_u32 (&r, &f);
        has_gid = true;
        break;
      case NFS_EXPORT_CACHED:
        e->options.cached = tlv_get_u32 (&r, &f);
        break;
      case NFS_EXPORT_DURABLE:
        e->options.durable = tlv_get_u32 (&r, &f) != 0;
        break;
      }
  e->options.squash = has_uid;
  return !r.bad && e->path && has_uid == has_gid;
}

static bool
add_fd (int *fds, unsigned *n, uint32_t fd)
{
  if (*n >= RCVMI_NFS_FDS || fd > INT32_MAX)
    return false;
  fds[(*n)++] = (int) fd;
  return true;
}

static void
set_defaults (struct nfs_settings *s)
{
  *s = (struct nfs_settings){ .control_fd = -1, .workers = WORKERS };
}

static bool
parse (struct nfs_settings *s, size_t len)
{
  struct tlv_reader r;
  struct tlv_field f;
  bool ok = true;

  tlv_reader_init (&r, s->record, len);
  while (ok && tlv_next (&r, &f))
    switch (f.tag)
      {
      case NFS_CONFIG_KEY:
        ok = f.len == RCVMI_NFS_KEY;
        if (ok)
          memcpy (s->key, f.data, RCVMI_NFS_KEY);
        s->has_key = ok;
        break;
      case NFS_CONFIG_LISTEN_FD:
        ok = add_fd (s->listen_fds, &s->n_listen_fds, tlv_get_u32 (&r, &f));
        break;
      case NFS_CONFIG_STREAM_FD:
        ok = add_fd (s->stream_fds, &s->n_stream_fds, tlv_get_u32 (&r, &f));
        break;
      case NFS_CONFIG_CONTROL_FD:
        s->control_fd = (int) tlv_get_u32 (&r, &f);
        break;
      case NFS_CONFIG_EXPORT:
        ok = s->n_exports < RCVMI_NFS_EXPORTS
             && rcvmi_nfs_settings_parse_export (&f, &s->exports[s->n_exports]);
        s->n_exports += ok;
        break;
      case NFS_CONFIG_WORKERS:
        s->workers = tlv_get_u32 (&r, &f);
        break;
      case NFS_CONFIG_NO_SANDBOX:
        s->no_sandbox = tlv_get_u32 (&r, &f) != 0;
        break;
      }
  return ok && !r.bad && s->has_key;
}

int
rcvmi_nfs_settings_read (int fd, struct nfs_settings *s, rcvm_error **err)
{
  size_t len = 0;
  int rc = 0;

  set_defaults (s);
  s->record = malloc (RECORD_MAX);
  if (!s->record)
    rc = rcvmi_fail_nomem (err);
  while (rc == 0)
    {
      ssize_t n = read (fd, s->record + len, RECORD_MAX - len);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        rc = rcvmi_fail_errno (err, errno, "cannot read the volume server's configuration");
      if (n <= 0)
        break;
      len += (size_t) n;
    }
  close (fd);
  if (rc == 0 && !parse (s, len))
    rc = rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the volume server's configuration does not decode");
  return rc;
}

static bool
parse_u32 (const char *text, uint32_t *value)
{
  char *end;
  unsigned long v;

  errno = 0;
  v = strtoul (text, &end, 10);
  *value = (uint32_t) v;
  return *text >= '0' && *text <= '9' && !*end && errno == 0 && v <= UINT32_MAX;
}

/* PATH[:OPTION,...]: ro, uid=N and gid=N, name=NAME, cached=SECONDS, durable */
static bool
parse_export_text (char *text, struct nfs_export_settings *e)
{
  char *options = strrchr (text, ':'), *option, *save;
  bool has_uid = false, has_gid = false, ok = true;

  *e = (struct nfs_export_settings){ .path = text, .fd = -1 };
  if (!options)
    return true;
  *options++ = 0;
  for (option = strtok_r (options, ",", &save); ok && option; option = strtok_r (NULL, ",", &save))
    if (strcmp (option, "ro") == 0)
      e->options.read_only = true;
    else if (strcmp (option, "durable") == 0)
      e->options.durable = true;
    else if (strncmp (option, "name=", 5) == 0)
      e->name = option + 5;
    else if (strncmp (option, "uid=", 4) == 0)
      ok = has_uid = parse_u32 (option + 4, &e->options.uid);
    else if (strncmp (option, "gid=", 4) == 0)
      ok = has_gid = parse_u32 (option + 4, &e->options.gid);
    else if (strncmp (option, "cached=", 7) == 0)
      ok = parse_u32 (option + 7, &e->options.cached);
    else
      ok = false;
  e->options.squash = has_uid;
  return ok && has_uid == has_gid;
}

static bool
parse_key (const char *hex, uint8_t key[RCVMI_NFS_KEY])
{
  for (unsigned i = 0; i < 2 * RCVMI_NFS_KEY; i++)
    {
      static const char digits[] = "0123456789abcdef";
      const char *d = hex[i] ? strchr (digits, hex[i]) : NULL;

      if (!d)
        return false;
      key[i / 2] = (uint8_t) (key[i / 2] << 4 | (d - digits));
    }
  return !hex[2 * RCVMI_NFS_KEY];
}

int
rcvmi_nfs_settings_command_line (int argc, char **argv, struct nfs_settings *s, rcvm_error **err)
{
  set_defaults (s);
  for (int i = 1; i < argc; i++)
    {
      char *value = i + 1 < argc ? argv[i + 1] : NULL;
      bool ok = true;
      uint32_t number;

      if (strcmp (argv[i], "--no-sandbox") == 0)
        {
          s->no_sandbox = true;
          continue;
        }
      if (!value)
        return rcvmi_fail (err, RCVM_E_INVALID, 0, "option '%.40s' is unknown or lacks its value", argv[i]);
      if (strcmp (argv[i], "--listen") == 0 && s->n_listen < RCVMI_NFS_FDS)
        s->listen[s->n_listen++] = value;
      else if (strcmp (argv[i], "--export") == 0 && s->n_exports < RCVMI_NFS_EXPORTS)
        ok = parse_export_text (value, &s->exports[s->n_exports++]);
      else if (strcmp (argv[i], "--key") == 0)
        ok = s->has_key = parse_key (value, s->key);
      else if (strcmp (argv[i], "--workers") == 0)
        {
          ok = parse_u32 (value, &number);
          s->workers = number;
        }
      else if (strcmp (argv[i], "--control-fd") == 0)
        {
          ok = parse_u32 (value, &number) && number <= INT32_MAX;
          s->control_fd = (int) number;
        }
      else if (strcmp (argv[i], "--config-fd") == 0)
        {
          if (!parse_u32 (value, &number) || number > INT32_MAX || argc != 3)
            return rcvmi_fail (err, RCVM_E_INVALID, 0,
                               "--config-fd wants the number of an fd, and stands alone");
          return rcvmi_nfs_settings_read ((int) number, s, err);
        }
      else
        return rcvmi_fail (err, RCVM_E_INVALID, 0, "option '%.40s' is unknown or too frequent", argv[i]);
      if (!ok)
        return rcvmi_fail (err, RCVM_E_INVALID, 0, "option '%.40s' cannot be '%.200s'", argv[i], value);
      i++;
    }
  return 0;
}

void
rcvmi_nfs_settings_free (struct nfs_settings *s)
{
  free (s->record);
  s->record = NULL;
}
