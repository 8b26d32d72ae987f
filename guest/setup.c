/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "setup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent-wire.h"
#include "array.h"

static bool
parse_mount (struct setup *s, struct tlv_reader r)
{
  struct setup_mount *m = array_append (s->mounts, s->n_mounts);
  struct tlv_field f;

  if (!m)
    return false;
  m->destination = m->type = m->source = m->data = "";
  m->tree = -1;
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case M_DESTINATION:
        m->destination = tlv_get_str (&r, &f);
        break;
      case M_TYPE:
        m->type = tlv_get_str (&r, &f);
        break;
      case M_SOURCE:
        m->source = tlv_get_str (&r, &f);
        break;
      case M_FLAGS:
        m->flags = tlv_get_u64 (&r, &f);
        break;
      case M_PROPAGATION:
        m->propagation = tlv_get_u64 (&r, &f);
        break;
      case M_DATA:
        m->data = tlv_get_str (&r, &f);
        break;
      case M_OPTIONAL:
        m->optional = tlv_get_u32 (&r, &f) != 0;
        break;
      case M_COPY_UP:
        m->copy_up = tlv_get_u32 (&r, &f) != 0;
        break;
      }
  return !r.bad;
}

static bool
parse_device (struct setup *s, struct tlv_reader r)
{
  struct setup_device *d = array_append (s->devices, s->n_devices);
  struct tlv_field f;

  if (!d)
    return false;
  d->path = "";
  d->mode = 0666;
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case D_PATH:
        d->path = tlv_get_str (&r, &f);
        break;
      case D_TYPE:
        d->type = tlv_get_u32 (&r, &f);
        break;
      case D_MAJOR:
        d->major = tlv_get_u32 (&r, &f);
        break;
      case D_MINOR:
        d->minor = tlv_get_u32 (&r, &f);
        break;
      case D_MODE:
        d->mode = tlv_get_u32 (&r, &f);
        break;
      case D_UID:
        d->uid = tlv_get_u32 (&r, &f);
        break;
      case D_GID:
        d->gid = tlv_get_u32 (&r, &f);
        break;
      case D_DISK:
        d->disk = tlv_get_str (&r, &f);
        break;
      }
  return !r.bad;
}

/* One or more names, each followed by its value. */
static bool
parse_pairs (struct setup_pair **pairs, size_t *n, struct tlv_reader r)
{
  const char *name = NULL;
  struct tlv_field f;

  while (tlv_next (&r, &f))
    if (f.tag == K_NAME)
      name = tlv_get_str (&r, &f);
    else if (f.tag == K_VALUE && name)
      {
        struct setup_pair *p = array_append (*pairs, *n);

        if (!p)
          return false;
        p->name = name;
        p->value = tlv_get_str (&r, &f);
      }
  return !r.bad;
}

static bool
parse_idmap (struct setup_idmap **maps, size_t *n, struct tlv_reader r)
{
  struct setup_idmap *m = array_append (*maps, *n);
  struct tlv_field f;

  if (!m)
    return false;
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case I_CONTAINER:
        m->container = tlv_get_u32 (&r, &f);
        break;
      case I_HOST:
        m->host = tlv_get_u32 (&r, &f);
        break;
      case I_SIZE:
        m->size = tlv_get_u32 (&r, &f);
        break;
      }
  return !r.bad;
}

static bool
parse_interface (struct setup *s, struct tlv_reader r)
{
  struct net_interface *i = array_append (s->interfaces, s->n_interfaces);

  return i && net_interface_parse (i, r);
}

static bool
parse_string (const char ***list, size_t *n, const char *value)
{
  const char **p = array_append (*list, *n);

  if (p)
    *p = value;
  return p;
}

static bool
parse_field (struct setup *s, struct tlv_reader *r, const struct tlv_field *f)
{
  switch (f->tag)
    {
    case S_HOSTNAME:
      s->hostname = tlv_get_str (r, f);
      return true;
    case S_DOMAINNAME:
      s->domainname = tlv_get_str (r, f);
      return true;
    case S_ROOT_DISK:
      s->root_disk = tlv_get_str (r, f);
      return true;
    case S_ROOT_FSTYPE:
      s->root_fstype = tlv_get_str (r, f);
      return true;
    case S_ROOT_DATA:
      s->root_data = tlv_get_str (r, f);
      return true;
    case S_ROOT_DISK_RO:
      s->root_disk_readonly = tlv_get_u32 (r, f) != 0;
      return true;
    case S_UPPER_DISK:
      s->upper_disk = tlv_get_str (r, f);
      return true;
    case S_ROOT_READONLY:
      s->root_readonly = tlv_get_u32 (r, f) != 0;
      return true;
    case S_ROOT_PROPAGATION:
      s->root_propagation = tlv_get_u64 (r, f);
      return true;
    case S_MOUNT:
      return parse_mount (s, tlv_get_record (f));
    case S_DEVICE:
      return parse_device (s, tlv_get_record (f));
    case S_SYSCTL:
      return parse_pairs (&s->sysctls, &s->n_sysctls, tlv_get_record (f));
    case S_MASKED_PATH:
      return parse_string (&s->masked, &s->n_masked, tlv_get_str (r, f));
    case S_READONLY_PATH:
      return parse_string (&s->readonly, &s->n_readonly, tlv_get_str (r, f));
    case S_NAMESPACES:
      s->namespaces = tlv_get_u64 (r, f);
      return true;
    case S_CLOCK_NSEC:
      s->clock_nsec = tlv_get_u64 (r, f);
      return true;
    case S_ENTROPY:
      s->entropy = f->data;
      s->entropy_len = f->len;
      return true;
    case S_LOG_LEVEL:
      s->log_level = (int) tlv_get_u32 (r, f);
      return true;
    case S_UID_MAP:
      return parse_idmap (&s->uid_map, &s->n_uid_map, tlv_get_record (f));
    case S_GID_MAP:
      return parse_idmap (&s->gid_map, &s->n_gid_map, tlv_get_record (f));
    case S_NETWORK:
      return parse_interface (s, tlv_get_record (f));
    case S_LINK:
      net_interface_free (&s->link);
      return net_interface_parse (&s->link, tlv_get_record (f));
    case S_LINK_SERVER:
      s->link_server = tlv_get_str (r, f);
      return true;
    case S_LINK_PORT:
      s->link_port = tlv_get_u32 (r, f);
      return true;
    case S_FILE_STAGE:
      return parse_string (&s->file_stages, &s->n_file_stages, tlv_get_str (r, f));
    case S_MEMORY_COMES:
      s->memory_comes = tlv_get_u32 (r, f) != 0;
      return true;
    case S_COPIES_LIVE:
      s->copies_live = tlv_get_u32 (r, f) != 0;
      return true;
    case S_COPY_WATCHED:
      {
        uint32_t *n = array_append (s->copies_watched, s->n_copies_watched);

        if (n)
          *n = tlv_get_u32 (r, f);
        return n;
      }
    case S_RESOLV:
      s->resolv = tlv_get_str (r, f);
      return true;
    case S_SERVER:
      s->server = tlv_get_str (r, f);
      return true;
    case S_SERVER_PORT:
      s->server_port = tlv_get_u32 (r, f);
      return true;
    case S_PROGRAM:
      s->program = f->data;
      s->program_len = f->len;
      return true;
    case S_DISK_TYPE:
      return parse_pairs (&s->disk_types, &s->n_disk_types, tlv_get_record (f));
    case S_DISK_SIZE:
      return parse_pairs (&s->disk_sizes, &s->n_disk_sizes, tlv_get_record (f));
    case S_CGROUP:
      return parse_pairs (&s->cgroup, &s->n_cgroup, tlv_get_record (f));
    default:
      return true;
    }
}

/* Whoever made the record did not know yet, where it wrote the mount, what is on the disk. */
static int
name_disk_types (struct setup *s, struct failure *f)
{
  for (size_t i = 0; i < s->n_mounts; i++)
    {
      struct setup_mount *m = &s->mounts[i];

      for (size_t j = 0; j < s->n_disk_types && strcmp (m->type, "auto") == 0; j++)
        if (strcmp (m->source, s->disk_types[j].name) == 0)
          m->type = s->disk_types[j].value;
      if (strcmp (m->type, "auto") == 0)
        return fail (f, "setup", EINVAL, "the SETUP record does not say what \"%.100s\" holds", m->source);
    }
  return 0;
}

int
setup_parse (struct setup *s, const void *record, size_t len, struct failure *f)
{
  struct tlv_reader r;
  struct tlv_field field;

  memset (s, 0, sizeof *s);
  s->root_fstype = "ext4";
  s->root_data = "";
  s->log_level = -1;
  tlv_reader_init (&r, record, len);
  while (tlv_next (&r, &field))
    if (!parse_field (s, &r, &field))
      return fail (f, "setup", EPROTO, "the SETUP record has a malformed field %u", field.tag);
  if (r.bad)
    return fail (f, "setup", EPROTO, "the SETUP record is malformed");
  if (!s->root_disk)
    return fail (f, "setup", EINVAL, "the SETUP record names no root disk");
  return name_disk_types (s, f);
}

void
setup_free (struct setup *s)
{
  for (size_t i = 0; i < s->n_interfaces; i++)
    net_interface_free (&s->interfaces[i]);
  free (s->interfaces);
  net_interface_free (&s->link);
  free (s->mounts);
  free (s->devices);
  free (s->sysctls);
  free (s->cgroup);
  free (s->disk_types);
  free (s->disk_sizes);
  free (s->uid_map);
  free (s->gid_map);
  free (s->masked);
  free (s->file_stages);
  free (s->copies_watched);
  free (s->readonly);
  memset (s, 0, sizeof *s);
}
