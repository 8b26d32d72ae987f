/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "spec"

#include "spec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "spec-check.h"
#include "spec-json.h"

enum
{
  CONFIG_MAX = 16 * 1024 * 1024
};

static struct rcvmi_spec *
parse (const char *json, size_t len, const struct rcvmi_spec_given *given, rcvm_error **err)
{
  struct rcvmi_spec *spec = calloc (1, sizeof *spec);

  if (!spec)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  if (rcvmi_json_read (spec, "config.json", json, len, &rcvmi_spec_schema, spec, err) < 0)
    goto fail;
  if (!spec->process)
    {
      if (!given->args)
        {
          rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json: 'process' is missing");
          goto fail;
        }
      /* Everything about the process may come from the caller. */
      spec->process = rcvmi_arena_alloc (&spec->arena, 1, sizeof *spec->process);
      if (!spec->process || !(spec->process->cwd = rcvmi_arena_strdup (&spec->arena, "/")))
        {
          rcvmi_fail_nomem (err);
          goto fail;
        }
    }
  if (rcvmi_spec_check (spec, given, err) < 0)
    goto fail;
  return spec;

fail:
  rcvmi_spec_free (spec);
  return NULL;
}

/* The text of a bundle's config.json.  The bundle may be anybody's: only a regular file is read,
   and only so much of it. */
static char *
read_config (const char *bundle, size_t *len, rcvm_error **err)
{
  autoclose int dir = -1;
  autoclose int fd = -1;
  autofree char *text = NULL;
  struct stat st;
  size_t size;

  dir = open (bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0)
    {
      rcvmi_fail_errno (err, errno, "cannot open the bundle '%s'", bundle);
      return NULL;
    }
  /* O_NONBLOCK: a FIFO of that name must not hold up the caller. */
  fd = openat (dir, "config.json", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0)
    {
      rcvmi_fail_errno (err, errno, "cannot open config.json in the bundle '%s'", bundle);
      return NULL;
    }
  if (fstat (fd, &st) < 0)
    {
      rcvmi_fail_errno (err, errno, "cannot stat config.json in the bundle '%s'", bundle);
      return NULL;
    }
  if (!S_ISREG (st.st_mode))
    {
      rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json in the bundle '%s' is not a regular file",
                  bundle);
      return NULL;
    }
  if (st.st_size > CONFIG_MAX)
    {
      rcvmi_fail (err, RCVM_E_SPEC, 0, "config.json in the bundle '%s' is larger than %d MiB",
                  bundle,
                  CONFIG_MAX / (1024 * 1024));
      return NULL;
    }
  size = (size_t) st.st_size;
  text = malloc (size + 1);
  if (!text)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  for (*len = 0; *len < size;)
    {
      ssize_t n = read (fd, text + *len, size - *len);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        {
          rcvmi_fail_errno (err, errno, "cannot read config.json in the bundle '%s'", bundle);
          return NULL;
        }
      if (n == 0)
        break;
      *len += (size_t) n;
    }
  text[*len] = 0;
  return steal_ptr (text);
}

struct rcvmi_spec *
rcvmi_spec_load (const struct rcvmi_options *options, rcvm_error **err)
{
  struct rcvmi_spec_given given
      = { .root = options->rootfs, .args = options->args, .cwd = options->cwd };
  autofree char *text = NULL;
  struct rcvmi_spec *spec;
  const char *json;
  size_t len;

  if (options->bundle && options->bundle[0] != '/')
    {
      rcvmi_fail (err, RCVM_E_INVALID, 0, "the bundle '%s' must be an absolute path",
                  options->bundle);
      return NULL;
    }
  if (options->config_json)
    {
      json = options->config_json;
      len = strlen (json);
    }
  else if (options->bundle)
    {
      text = read_config (options->bundle, &len, err);
      if (!text)
        return NULL;
      json = text;
    }
  else if (options->rootfs)
    {
      if (!options->args)
        {
          rcvmi_fail (err, RCVM_E_INVALID, 0,
                      "a root file system alone does not say what to run: give the program's "
                      "arguments");
          return NULL;
        }
      json = rcvmi_spec_default;
      len = strlen (json);
    }
  else
    {
      rcvmi_fail (err, RCVM_E_INVALID, 0,
                  "nothing to run: give a bundle, the text of a config.json, or a root file "
                  "system");
      return NULL;
    }
  spec = parse (json, len, &given, err);
  if (!spec)
    return NULL;
  if (options->bundle && !(spec->bundle = rcvmi_arena_strdup (&spec->arena, options->bundle)))
    {
      rcvmi_fail_nomem (err);
      rcvmi_spec_free (spec);
      return NULL;
    }
  return spec;
}

struct rcvmi_spec *
rcvmi_spec_parse (const char *json, size_t len, rcvm_error **err)
{
  return parse (json, len, &(struct rcvmi_spec_given){ 0 }, err);
}

struct rcvmi_spec *
rcvmi_spec_parse_process (const char *json, const struct rcvmi_spec_given *given, rcvm_error **err)
{
  struct rcvmi_spec *spec = calloc (1, sizeof *spec);

  if (!spec)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  spec->process = rcvmi_arena_alloc (&spec->arena, 1, sizeof *spec->process);
  if (!spec->process)
    rcvmi_fail_nomem (err);
  else if (rcvmi_json_read (spec, "the process object", json, strlen (json),
                            &rcvmi_spec_process_schema, spec->process, err)
               == 0
           && rcvmi_spec_check_process (spec->process, given, "process", err) == 0)
    return spec;
  rcvmi_spec_free (spec);
  return NULL;
}

void
rcvmi_spec_free (struct rcvmi_spec *spec)
{
  if (!spec)
    return;
  rcvmi_strv_free (spec->warnings);
  rcvmi_arena_free (&spec->arena);
  free (spec);
}

const char *
rcvmi_spec_get_oci_version (const struct rcvmi_spec *spec)
{
  return spec->oci_version;
}
