/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `install-docker`: a line in dockerd's settings, and out of them. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct install_values
{
  const char *config, *name, *path;
  int uninstall, is_default;
};

#define AT(field) offsetof (struct install_values, field)

static const struct option_spec options[] = {
  { "config", 0, TEXT, AT (config), "FILE", "dockerd's settings (default: /etc/docker/daemon.json)" },
  { "name", 0, TEXT, AT (name), "NAME", "what Docker calls the runtime (default: runcvm)" },
  { "path", 0, TEXT, AT (path), "PROGRAM", "the runtime's program (default: this one)" },
  { "default", 0, FLAG, AT (is_default), NULL, "make it the runtime of containers that name none" },
  { "uninstall", 0, FLAG, AT (uninstall), NULL, "take it out again" },
  { NULL, 0, FLAG, 0, NULL, NULL },
};

/* The settings; an empty object where there is no file.  NULL has been reported. */
static struct json_object *
read_settings (const char *path)
{
  char *text = read_file (path);
  struct json_tokener *parser;
  struct json_object *settings = NULL;
  enum json_tokener_error wrong;

  if (!text && (errno == ENOENT || errno == EINVAL)) /* an empty file, too */
    return json_object_new_object ();
  if (!text || !(parser = json_tokener_new ()))
    {
      complain ("cli", "cannot read '%s': %s", path, strerror (errno));
      free (text);
      return NULL;
    }
  json_tokener_set_flags (parser, JSON_TOKENER_STRICT);
  settings = json_tokener_parse_ex (parser, text, (int) strlen (text) + 1);
  wrong = json_tokener_get_error (parser);
  if (wrong != json_tokener_success)
    complain ("cli", "'%s' is not valid JSON (%s at byte %zu), and is left as it is", path,
              json_tokener_error_desc (wrong), json_tokener_get_parse_end (parser));
  else if (!json_object_is_type (settings, json_type_object))
    complain ("cli", "'%s' is no JSON object, and is left as it is", path);
  if (wrong != json_tokener_success || !json_object_is_type (settings, json_type_object))
    {
      json_object_put (settings);
      settings = NULL;
    }
  json_tokener_free (parser);
  free (text);
  return settings;
}

/* The member of that name; it is made where it is missing.  NULL has been reported. */
static struct json_object *
get_object (struct json_object *in, const char *name, const char *file)
{
  struct json_object *value = NULL;

  if (json_object_object_get_ex (in, name, &value))
    {
      if (json_object_is_type (value, json_type_object))
        return value;
      complain ("cli", "\"%s\" in '%s' is no object, and is left as it is", name, file);
      return NULL;
    }
  value = json_object_new_object ();
  if (!value || json_object_object_add (in, name, value) < 0)
    {
      complain ("cli", "out of memory");
      return NULL;
    }
  return value;
}

static int
is_text (struct json_object *in, const char *name, const char *text)
{
  struct json_object *value = NULL;

  return json_object_object_get_ex (in, name, &value) && json_object_is_type (value, json_type_string)
         && strcmp (json_object_get_string (value), text) == 0;
}

/* 1: changed; 0: it was so already; -1 has been reported. */
static int
set_text (struct json_object *in, const char *name, const char *text)
{
  if (is_text (in, name, text))
    return 0;
  if (json_object_object_add (in, name, json_object_new_string (text)) == 0)
    return 1;
  complain ("cli", "out of memory");
  return -1;
}

static int
add (struct json_object *settings, const struct install_values *v, const char *file, const char *name, const char *program)
{
  struct json_object *runtimes = get_object (settings, "runtimes", file);
  struct json_object *runtime = runtimes ? get_object (runtimes, name, file) : NULL;
  int changed = runtime ? set_text (runtime, "path", program) : -1, more = 0;

  if (changed >= 0 && v->is_default)
    more = set_text (settings, "default-runtime", name);
  return changed < 0 || more < 0 ? -1 : changed || more;
}

static int
take_out (struct json_object *settings, const char *name)
{
  struct json_object *runtimes = NULL;
  int changed = 0;

  if (json_object_object_get_ex (settings, "runtimes", &runtimes) && json_object_is_type (runtimes, json_type_object)
      && json_object_object_get_ex (runtimes, name, NULL))
    {
      json_object_object_del (runtimes, name);
      if (json_object_object_length (runtimes) == 0)
        json_object_object_del (settings, "runtimes");
      changed = 1;
    }
  if (is_text (settings, "default-runtime", name))
    {
      json_object_object_del (settings, "default-runtime");
      changed = 1;
    }
  return changed;
}

/* Whole or not at all, with the owner and mode of what it replaces. */
static int
replace (const char *path, const char *text)
{
  struct stat st = { .st_mode = 0644 };
  int existed = stat (path, &st) == 0, fd, code = -1, e;
  char *temporary = NULL;
  FILE *f;

  if (asprintf (&temporary, "%s.%ld", path, (long) getpid ()) < 0)
    return -1;
  fd = open (temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  f = fd < 0 ? NULL : fdopen (fd, "w");
  if (f)
    {
      code = (!existed || fchown (fd, st.st_uid, st.st_gid) == 0) && fchmod (fd, st.st_mode & 07777) == 0
                     && fprintf (f, "%s\n", text) > 0 && fflush (f) == 0 && fsync (fd) == 0
                 ? 0
                 : -1;
      e = errno;
      if (fclose (f) != 0 && code == 0)
        code = -1;
      else
        errno = e;
      if (code == 0)
        code = rename (temporary, path);
      e = errno;
      if (code < 0)
        unlink (temporary);
      errno = e;
    }
  e = errno;
  free (temporary);
  errno = e;
  return code;
}

/* The directory, where it is missing. */
static void
make_directory (const char *path)
{
  char *directory = strdup (path), *slash = directory ? strrchr (directory, '/') : NULL;

  if (slash && slash != directory)
    {
      *slash = 0;
      mkdir (directory, 0755); /* what is wrong with it shows when the file is written */
    }
  free (directory);
}

static int
edit (const struct install_values *v, const char *file, const char *name, const char *program)
{
  struct json_object *settings = read_settings (file);
  int changed = -1;

  if (settings)
    changed = v->uninstall ? take_out (settings, name) : add (settings, v, file, name, program);
  if (changed > 0)
    {
      make_directory (file);
      if (replace (file, json_object_to_json_string_ext (settings, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED
                                                                       | JSON_C_TO_STRING_NOSLASHESCAPE))
          < 0)
        {
          complain ("cli", "cannot write '%s': %s", file, strerror (errno));
          changed = -1;
        }
    }
  json_object_put (settings);
  return changed;
}

static void
tell (const struct install_values *v, const char *file, const char *name, int changed)
{
  if (!changed)
    printf ("'%s' is as it should be; nothing was changed.\n", file);
  else if (v->uninstall)
    printf ("The runtime '%s' is no longer in '%s'.\n"
            "Containers that use it have to be removed first; then `systemctl reload docker`, or SIGHUP to dockerd.\n",
            name, file);
  else
    printf ("The runtime '%s' is in '%s'.\n"
            "`systemctl reload docker`, or SIGHUP to dockerd, makes it known; no container is stopped by that.\n"
            "Then: docker run --runtime=%s ...\n",
            name, file, name);
}

static int
install_docker (const struct cli *cli, void *values, int argc, char **argv)
{
  const struct install_values *v = values;
  const char *file = v->config ? v->config : "/etc/docker/daemon.json", *name = v->name ? v->name : "runcvm";
  char *program = NULL, *target = NULL;
  int changed = -1;

  (void) cli;
  if (argc > 0)
    return usage_error (&cmd_install_docker, "'%s' is one argument too many", argv[0]);
  if (strcmp (name, "runc") == 0 || !*name)
    return usage_error (&cmd_install_docker, "'%s' is no name for this runtime", name);
  /* A link stays one. */
  target = realpath (file, NULL);
  program = realpath (v->path ? v->path : "/proc/self/exe", NULL);
  if (!program || access (program, X_OK) < 0)
    complain ("cli", "the runtime's program '%s' cannot be used: %s", v->path ? v->path : "/proc/self/exe", strerror (errno));
  else
    changed = edit (v, target ? target : file, name, program);
  if (changed >= 0)
    tell (v, target ? target : file, name, changed);
  free (target);
  free (program);
  return finish_output (changed < 0);
}

const struct command cmd_install_docker = {
  .name = "install-docker",
  .usage = "[--uninstall] [--default] [--config FILE] [--name NAME] [--path PROGRAM]",
  .summary = "add this runtime to Docker's settings, or take it out",
  .details = "The rest of the settings stays what it is.  dockerd is not restarted: what to do is said.",
  .examples = "  runcvm install-docker && systemctl reload docker\n"
              "  docker run --rm --runtime=runcvm IMAGE COMMAND",
  .options = { options },
  .values_size = sizeof (struct install_values),
  .failure = 1,
  .run = install_docker,
};
