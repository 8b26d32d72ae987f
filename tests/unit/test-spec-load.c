/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where config.json comes from, and the documents that the library gives out. */
#include "config.h"

#include "config-text.h"

#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include <runcvm/runcvm.h>

#include "spec-json.h"

/* A private directory with a bundle in it. */
struct bundle
{
  char dir[64];
  char path[128];
};

static struct bundle
make_bundle (const char *config)
{
  struct bundle b;
  FILE *f;

  strcpy (b.dir, "/tmp/rcvm-test-spec.XXXXXX");
  assert_non_null (mkdtemp (b.dir));
  snprintf (b.path, sizeof b.path, "%s/config.json", b.dir);
  if (config)
    {
      f = fopen (b.path, "w");
      assert_non_null (f);
      fputs (config, f);
      fclose (f);
    }
  return b;
}

static void
remove_bundle (struct bundle *b)
{
  if (unlink (b->path) < 0)
    rmdir (b->path);
  assert_int_equal (rmdir (b->dir), 0);
}

static void
load_fails (struct rcvmi_options *o, int code, const char *needle)
{
  rcvm_error *err = NULL;

  assert_null (rcvmi_spec_load (o, &err));
  assert_error (&err, code, "spec", needle);
}

static void
test_load_bundle (void **state)
{
  char *json = config_text (NULL, NULL, NULL);
  struct bundle b = make_bundle (json);
  struct rcvmi_options o = RCVMI_OPTIONS_INIT;
  rcvm_error *err = NULL;
  struct rcvmi_spec *s;

  (void) state;
  o.bundle = b.dir;
  s = rcvmi_spec_load (&o, &err);
  assert_no_error (err);
  assert_string_equal (s->bundle, b.dir);
  assert_string_equal (s->root->path, "/srv/root");
  rcvmi_spec_free (s);
  /* The text wins over the file, and still belongs to the bundle. */
  o.config_json = config_text ("'hostname':'text'", NULL, NULL);
  s = rcvmi_spec_load (&o, &err);
  assert_string_equal (s->hostname, "text");
  assert_string_equal (s->bundle, b.dir);
  rcvmi_spec_free (s);
  free (o.config_json);
  free (json);
  remove_bundle (&b);
}

static void
test_load_errors (void **state)
{
  struct rcvmi_options o = RCVMI_OPTIONS_INIT;
  struct bundle b;

  (void) state;
  load_fails (&o, RCVM_E_INVALID, "nothing to run");
  o.bundle = (char *) "relative";
  load_fails (&o, RCVM_E_INVALID, "the bundle 'relative' must be an absolute path");
  o.bundle = (char *) "/no/such/bundle";
  load_fails (&o, RCVM_E_NOT_FOUND, "cannot open the bundle '/no/such/bundle'");
  b = make_bundle (NULL);
  o.bundle = b.dir;
  load_fails (&o, RCVM_E_NOT_FOUND, "cannot open config.json in the bundle");
  assert_int_equal (mkdir (b.path, 0700), 0);
  load_fails (&o, RCVM_E_SPEC, "is not a regular file");
  assert_int_equal (rmdir (b.path), 0);
  assert_int_equal (mkfifo (b.path, 0600), 0);
  load_fails (&o, RCVM_E_SPEC, "is not a regular file");
  remove_bundle (&b);
  b = make_bundle ("x");
  o.bundle = b.path;
  load_fails (&o, RCVM_E_NOT_FOUND, "cannot open the bundle");
  o.bundle = b.dir;
  load_fails (&o, RCVM_E_SPEC, "config.json is not JSON");
  assert_int_equal (truncate (b.path, 16 * 1024 * 1024), 0);
  load_fails (&o, RCVM_E_SPEC, "a NUL byte");
  assert_int_equal (truncate (b.path, 16 * 1024 * 1024 + 1), 0);
  load_fails (&o, RCVM_E_SPEC, "is larger than 16 MiB");
  if (geteuid () == 0)
    {
      /* Not readable for others than root: as such a one. */
      assert_int_equal (chmod (b.path, 0), 0);
      assert_int_equal (seteuid (65534), 0);
      load_fails (&o, RCVM_E_PERMISSION, "cannot open");
      assert_int_equal (seteuid (0), 0);
    }
  remove_bundle (&b);
}

/* The bundle may be the root file system itself. */
static void
test_load_config_in_rootfs (void **state)
{
  char *json = text ("{'ociVersion':'1.0.0','root':{'path':'.'},'process':{'args':['a'],'cwd':'/'}}");
  struct bundle b = make_bundle (json);
  struct rcvmi_options o = RCVMI_OPTIONS_INIT;
  rcvm_error *err = NULL;
  struct rcvmi_spec *s;

  (void) state;
  o.bundle = b.dir;
  s = rcvmi_spec_load (&o, &err);
  assert_no_error (err);
  assert_string_equal (s->root->path, ".");
  rcvmi_spec_free (s);
  free (json);
  remove_bundle (&b);
}

static void
test_load_rootfs (void **state)
{
  char *args[] = { (char *) "id", NULL };
  struct rcvmi_options o = RCVMI_OPTIONS_INIT;
  rcvm_error *err = NULL;
  struct rcvmi_spec *s;

  (void) state;
  o.rootfs = (char *) "/srv/tree";
  load_fails (&o, RCVM_E_INVALID, "does not say what to run");
  o.args = args;
  s = rcvmi_spec_load (&o, &err);
  assert_no_error (err);
  assert_string_equal (s->hostname, "runcvm");
  assert_null (s->bundle);
  assert_null (s->warnings);
  rcvmi_spec_free (s);
}

/* Options stand in for what config.json lacks. */
static void
test_load_given (void **state)
{
  char *args[] = { (char *) "id", NULL };
  struct rcvmi_options o = RCVMI_OPTIONS_INIT;
  rcvm_error *err = NULL;
  struct rcvmi_spec *s;

  (void) state;
  o.config_json = text ("{'ociVersion':'1.0.0'}");
  load_fails (&o, RCVM_E_SPEC, "'process' is missing");
  o.args = args;
  load_fails (&o, RCVM_E_SPEC, "'root' is missing");
  o.rootfs = (char *) "/srv/tree";
  s = rcvmi_spec_load (&o, &err);
  assert_no_error (err);
  assert_string_equal (s->process->cwd, "/");
  rcvmi_spec_free (s);
  free (o.config_json);
  o.config_json = text ("{'ociVersion':'1.0.0','process':{}}");
  load_fails (&o, RCVM_E_SPEC, "'process.cwd' is missing");
  o.cwd = (char *) "/x";
  s = rcvmi_spec_load (&o, &err);
  assert_no_error (err);
  rcvmi_spec_free (s);
  free (o.config_json);
}

static void
test_default_json (void **state)
{
  rcvm_error *err = NULL;
  char *json = rcvm_spec_default_json (&err);
  struct rcvmi_spec *s;

  (void) state;
  assert_non_null (json);
  assert_int_equal (rcvm_spec_check (json, &err), 0);
  s = rcvmi_spec_parse (json, strlen (json), &err);
  assert_no_error (err);
  assert_null (s->warnings);
  assert_false (s->process->terminal);
  assert_int_equal (rcvmi_strv_length (s->process->capabilities->bounding), 14);
  assert_int_equal (rcvmi_strv_length (s->process->capabilities->effective), 14);
  assert_int_equal (rcvmi_strv_length (s->process->capabilities->permitted), 14);
  assert_int_equal (s->n_mounts, 7);
  assert_string_equal (s->root->path, "rootfs");
  rcvmi_spec_free (s);
  rcvm_free (json);
}

static void
test_check (void **state)
{
  rcvm_error *err = NULL;
  char *json = config_text (NULL, NULL, NULL);

  (void) state;
  assert_int_equal (rcvm_spec_check (json, &err), 0);
  assert_int_equal (rcvm_spec_check (json, NULL), 0);
  free (json);
  assert_int_equal (rcvm_spec_check (NULL, &err), RCVM_E_INVALID);
  assert_error (&err, RCVM_E_INVALID, "spec", "no text");
  assert_int_equal (rcvm_spec_check ("{", &err), RCVM_E_SPEC);
  assert_error (&err, RCVM_E_SPEC, "spec", "cut short");
  assert_int_equal (rcvm_spec_check ("{", NULL), RCVM_E_SPEC);
  json = config_text (NULL, NULL, "'intelRdt':{'closID':'x'}");
  assert_int_equal (rcvm_spec_check (json, &err), RCVM_E_UNSUPPORTED);
  assert_error (&err, RCVM_E_UNSUPPORTED, "spec", "intelRdt");
  free (json);
  /* What the plan finds. */
  json = config_text (NULL, "'rlimits':[{'type':'RLIMIT_X','soft':1,'hard':1}]", NULL);
  assert_int_equal (rcvm_spec_check (json, &err), RCVM_E_SPEC);
  assert_error (&err, RCVM_E_SPEC, "plan", "'process.rlimits[0].type'");
  free (json);
}

static struct json_object *
member (struct json_object *o, const char *name)
{
  struct json_object *value = NULL;

  if (!json_object_object_get_ex (o, name, &value))
    fail_msg ("no '%s'", name);
  return value;
}

static bool
has_string (struct json_object *array, const char *s)
{
  for (size_t i = 0; i < json_object_array_length (array); i++)
    if (strcmp (json_object_get_string (json_object_array_get_idx (array, i)), s) == 0)
      return true;
  return false;
}

/* What the features document promises, config.json can ask for. */
static void
test_features (void **state)
{
  rcvm_error *err = NULL;
  char *json = rcvm_features_json (&err);
  struct json_object *o, *lx, *list;

  (void) state;
  assert_no_error (err);
  o = json_tokener_parse (json);
  assert_non_null (o);
  assert_string_equal (json_object_get_string (member (o, "ociVersionMin")), "1.0.0");
  assert_string_equal (json_object_get_string (member (o, "ociVersionMax")), "1.3.0");
  assert_int_equal (json_object_array_length (member (o, "hooks")), 6);
  lx = member (o, "linux");
  assert_int_equal (json_object_array_length (member (lx, "capabilities")), 41);
  assert_int_equal (json_object_array_length (member (lx, "namespaces")), 8);
  assert_true (has_string (member (o, "potentiallyUnsafeConfigAnnotations"), "org.runcvm."));
  assert_true (json_object_get_boolean (member (member (lx, "seccomp"), "enabled")));
  list = member (o, "mountOptions");
  assert_true (has_string (list, "rro"));
  assert_true (has_string (list, "rslave"));
  assert_false (has_string (list, "idmap"));
  for (size_t i = 0; i < json_object_array_length (list); i++)
    {
      const char *option = json_object_get_string (json_object_array_get_idx (list, i));
      char mount[256];
      char *text_;

      if (strcmp (option, "remount") == 0 || strcmp (option, "bind") == 0 || strcmp (option,
                                                                                     "rbind") == 0)
        continue;
      snprintf (mount, sizeof mount,
                "'mounts':[{'destination':'/a','type':'tmpfs','options':['%s']}]", option);
      text_ = config_text (mount, NULL, NULL);
      if (rcvm_spec_check (text_, &err) < 0)
        fail_msg ("%s: %s", option, rcvm_error_get_message (err));
      free (text_);
    }
  list = member (member (lx, "seccomp"), "actions");
  for (size_t i = 0; i < json_object_array_length (list); i++)
    {
      char seccomp[256];
      char *text_;

      snprintf (seccomp, sizeof seccomp, "'seccomp':{'defaultAction':'%s'}",
                json_object_get_string (json_object_array_get_idx (list, i)));
      text_ = config_text (NULL, NULL, seccomp);
      if (rcvm_spec_check (text_, &err) < 0)
        fail_msg ("%s: %s", seccomp, rcvm_error_get_message (err));
      free (text_);
    }
  json_object_put (o);
  rcvm_free (json);
}

static void
test_fixtures (void **state)
{
  rcvm_error *err = NULL;
  char *json = read_source_file ("tests/fixtures/docker-config.json");
  struct rcvmi_spec *s;

  (void) state;
  assert_int_equal (rcvm_spec_check (json, &err), 0);
  s = rcvmi_spec_parse (json, strlen (json), &err);
  assert_int_equal (s->hooks->n_prestart, 1);
  assert_string_equal (s->hooks->prestart[0].args[0], "libnetwork-setkey");
  rcvmi_spec_free (s);
  free (json);
  json = read_source_file ("tests/fixtures/engine-spec-config.json");
  s = rcvmi_spec_parse (json, strlen (json), &err);
  assert_no_error (err);
  assert_null (s->warnings);
  rcvmi_spec_free (s);
  free (json);
}

/* docs/oci-fields.md has a row for every property that the tables know. */
static size_t
check_documented (const char *doc, const char *prefix, const struct rcvmi_json_schema *schema)
{
  size_t missing = 0;

  for (const struct rcvmi_json_field *f = schema->fields; f->name; f++)
    {
      char path[256], row[264];
      bool is_many = f->kind == RCVMI_JSON_LIST, is_map = f->kind == RCVMI_JSON_OBJ_MAP;

      snprintf (path, sizeof path, "%s%s%s", prefix, f->name, is_many ? "[]" : is_map ? ".*" : "");
      snprintf (row, sizeof row, "| `%s` |", path);
      if (!strstr (doc, row) && strcmp (f->name, "hwconfig") != 0)
        {
          print_error ("docs/oci-fields.md has no row %s\n", row);
          missing++;
        }
      if (!f->sub || strcmp (f->name, "hwconfig") == 0)
        continue;
      strcat (path, ".");
      missing += check_documented (doc, path, f->sub);
    }
  return missing;
}

static void
test_documented (void **state)
{
  char *doc = read_source_file ("docs/oci-fields.md");

  (void) state;
  assert_int_equal (check_documented (doc, "", &rcvmi_spec_schema), 0);
  free (doc);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_load_bundle),
    cmocka_unit_test (test_load_errors),
    cmocka_unit_test (test_load_config_in_rootfs),
    cmocka_unit_test (test_load_rootfs),
    cmocka_unit_test (test_load_given),
    cmocka_unit_test (test_default_json),
    cmocka_unit_test (test_check),
    cmocka_unit_test (test_features),
    cmocka_unit_test (test_fixtures),
    cmocka_unit_test (test_documented),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
