/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --volume SOURCE:TARGET[:OPTION,...] and --mount KEY=VALUE,... */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct mount
{
  const char *type, *source, *target, *fstype, *write_back, *transport, *server;
  int readonly, notify;
  long uid, gid;
  unsigned cached, mode;
  uint64_t size;
};

static int
parse_squash (const char *text, struct mount *m)
{
  char *end;

  errno = 0;
  m->uid = strtol (text, &end, 10);
  if (errno || end == text || *end != ':' || text[0] < '0' || text[0] > '9')
    return -1;
  text = end + 1;
  m->gid = strtol (text, &end, 10);
  return errno || end == text || *end || text[0] < '0' || text[0] > '9' ? -1 : 0;
}

static int
parse_unsigned (const char *text, int base, unsigned *value)
{
  unsigned long number;
  char *end;

  errno = 0;
  number = strtoul (text, &end, base);
  *value = (unsigned) number;
  return errno || *end || text[0] < '0' || text[0] > '9' || number > 0xffffffff ? -1 : 0;
}

/* One of the options that both spellings have. */
static int
parse_common (const char *key, const char *value, struct mount *m)
{
  /* Of --volume: another way to share the same. */
  if ((strcmp (key, "virtiofs") == 0 || strcmp (key, "9p") == 0) && !value && m->type && strcmp (m->type, "bind") == 0)
    {
      m->type = key;
      return 0;
    }
  if (strcmp (key, "ro") == 0 || strcmp (key, "readonly") == 0)
    {
      m->readonly = !value || strcmp (value, "true") == 0 || strcmp (value, "1") == 0;
      return m->readonly || strcmp (value, "false") == 0 || strcmp (value, "0") == 0 ? 0 : -1;
    }
  if (strcmp (key, "squash") == 0 && value)
    return parse_squash (value, m);
  if (strcmp (key, "cached") == 0 && value)
    return parse_unsigned (value, 10, &m->cached);
  if (strcmp (key, "transport") == 0 && value)
    {
      m->transport = value;
      return 0;
    }
  if (strcmp (key, "server") == 0 && value)
    {
      m->server = value;
      return 0;
    }
  if (strcmp (key, "notify") == 0)
    {
      m->notify = 1;
      return value ? -1 : 0;
    }
  if (strcmp (key, "rw") == 0 || strcmp (key, "strict") == 0 || strcmp (key, "preserve") == 0)
    return value ? -1 : 0;
  return -1;
}

static int
parse_mount_field (const char *key, const char *value, struct mount *m)
{
  if (!value || strcmp (key, "readonly") == 0)
    return parse_common (key, value, m);
  if (strcmp (key, "type") == 0)
    m->type = value;
  else if (strcmp (key, "src") == 0 || strcmp (key, "source") == 0)
    m->source = value;
  else if (strcmp (key, "dst") == 0 || strcmp (key, "destination") == 0 || strcmp (key, "target") == 0)
    m->target = value;
  else if (strcmp (key, "fstype") == 0)
    m->fstype = value;
  else if (strcmp (key, "write-back") == 0)
    m->write_back = value;
  else if (strcmp (key, "tmpfs-size") == 0 || strcmp (key, "size") == 0)
    return parse_bytes (value, &m->size);
  else if (strcmp (key, "tmpfs-mode") == 0)
    return parse_unsigned (value, 8, &m->mode);
  /* What Docker says of propagation and of the Mac has no meaning here. */
  else if (strcmp (key, "bind-propagation") != 0 && strcmp (key, "consistency") != 0)
    return parse_common (key, value, m);
  return 0;
}

static int
attach_bind (rcvm_vm *vm, const struct mount *m, const rcvm_volume_options *options, rcvm_error **err)
{
  return rcvm_volume_attach_nfs (vm, m->source, m->target, options, err);
}

static int
attach_block (rcvm_vm *vm, const struct mount *m, const rcvm_volume_options *options, rcvm_error **err)
{
  return rcvm_volume_attach_block (vm, m->source, m->target, options, err);
}

static int
attach_copy (rcvm_vm *vm, const struct mount *m, const rcvm_volume_options *options, rcvm_error **err)
{
  return rcvm_volume_attach_copy (vm, m->source, m->target, options, err);
}

static int
attach_9p (rcvm_vm *vm, const struct mount *m, const rcvm_volume_options *options, rcvm_error **err)
{
  return rcvm_volume_attach_9p (vm, m->source, m->target, options, err);
}

static int
attach_virtiofs (rcvm_vm *vm, const struct mount *m, const rcvm_volume_options *options, rcvm_error **err)
{
  return rcvm_volume_attach_virtiofs (vm, m->source, m->target, options, err);
}

static int
attach_scratch (rcvm_vm *vm, const struct mount *m, const rcvm_volume_options *options, rcvm_error **err)
{
  (void) options;
  return rcvm_volume_attach_scratch (vm, m->source, m->target, m->size, err);
}

static int
attach_tmpfs (rcvm_vm *vm, const struct mount *m, const rcvm_volume_options *options, rcvm_error **err)
{
  (void) options;
  return rcvm_volume_attach_tmpfs (vm, m->target, m->size, m->mode, err);
}

/* What --mount has. */
static const struct mount_kind
{
  const char *type;
  int (*attach) (rcvm_vm *vm, const struct mount *m, const rcvm_volume_options *options, rcvm_error **err);
  int has_source; /* -1: may have one */
} kinds[] = {
  { "bind", attach_bind, 1 },
  { "block", attach_block, 1 },
  { "copy", attach_copy, 1 },
  { "scratch", attach_scratch, -1 },
  { "tmpfs", attach_tmpfs, 0 },
  { "9p", attach_9p, 1 },
  { "virtiofs", attach_virtiofs, 1 },
};

static const struct mount_kind *
find_kind (const char *type)
{
  for (size_t i = 0; type && i < sizeof kinds / sizeof kinds[0]; i++)
    if (strcmp (kinds[i].type, type) == 0)
      return &kinds[i];
  return NULL;
}

static int
attach (rcvm_vm *vm, const struct mount *m, rcvm_error **err)
{
  rcvm_volume_options *options = rcvm_volume_options_new (err);
  int code = -1;

  if (options && rcvm_volume_options_set_readonly (options, m->readonly, err) == 0
      && rcvm_volume_options_set_squash (options, m->uid, m->gid, err) == 0
      && rcvm_volume_options_set_cached (options, m->cached, err) == 0
      && rcvm_volume_options_set_notify (options, m->notify, err) == 0
      && rcvm_volume_options_set_transport (options, m->transport, err) == 0
      && rcvm_volume_options_set_server (options, m->server, err) == 0
      && rcvm_volume_options_set_fstype (options, m->fstype, err) == 0
      && rcvm_volume_options_set_write_back (options, m->write_back, err) == 0)
    code = find_kind (m->type)->attach (vm, m, options, err);
  rcvm_volume_options_free (options);
  return code;
}

/* Fields that commas separate, each KEY or KEY=VALUE. */
static int
parse_fields (char *text, struct mount *m, int (*field) (const char *key, const char *value, struct mount *m),
              const char *what)
{
  char *save = NULL;

  for (char *f = strtok_r (text, ",", &save); f; f = strtok_r (NULL, ",", &save))
    {
      char *value = strchr (f, '=');

      if (value)
        *value++ = 0;
      if (field (f, value, m) < 0)
        {
          complain ("cli", "'%s%s%s' of --%s is not known, or lacks its value", f, value ? "=" : "", value ? value : "",
                    what);
          return -1;
        }
    }
  return 0;
}

static int
attach_volume (rcvm_vm *vm, const char *text, rcvm_error **err)
{
  struct mount m = { .type = "bind", .uid = -1, .gid = -1 };
  char *copy = strdup (text), *options;
  int code = -1;

  if (!copy)
    {
      complain ("cli", "out of memory");
      return -1;
    }
  m.source = copy;
  m.target = strchr (copy, ':');
  if (!m.target || m.target == copy)
    complain ("cli", "--volume is SOURCE:TARGET[:OPTION,...], and not '%s'", text);
  else
    {
      copy[m.target++ - copy] = 0;
      options = strchr (m.target, ':');
      if (options)
        *options++ = 0;
      if (!options || parse_fields (options, &m, parse_common, "volume") == 0)
        code = attach (vm, &m, err);
    }
  free (copy);
  return code;
}

static int
attach_mount (rcvm_vm *vm, const char *text, rcvm_error **err)
{
  struct mount m = { .uid = -1, .gid = -1 };
  const struct mount_kind *kind = NULL;
  char *copy = strdup (text);
  int code = -1;

  if (!copy)
    complain ("cli", "out of memory");
  else if (parse_fields (copy, &m, parse_mount_field, "mount") < 0)
    ;
  else if (!(kind = find_kind (m.type)))
    complain ("cli", "--mount needs type=bind, block, copy, scratch, tmpfs, virtiofs or 9p, in '%s'", text);
  else if (!m.target || (!m.source && kind->has_source > 0))
    complain ("cli", "--mount needs a %s, in '%s'", m.target ? "source" : "target", text);
  else if (m.source && !kind->has_source)
    complain ("cli", "a %s has no source, in '%s'", kind->type, text);
  else if (m.readonly && kind->has_source != 1)
    complain ("cli", "a %s that cannot be written to would stay empty, in '%s'", kind->type, text);
  else
    code = attach (vm, &m, err);
  free (copy);
  return code;
}

int
attach_volumes (rcvm_vm *vm, const struct list *volumes, const struct list *mounts, rcvm_error **err)
{
  for (size_t i = 0; i < volumes->n; i++)
    if (attach_volume (vm, volumes->items[i], err) < 0)
      return -1;
  for (size_t i = 0; i < mounts->n; i++)
    if (attach_mount (vm, mounts->items[i], err) < 0)
      return -1;
  return 0;
}
