/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each allocation of spec, plan and options fails in turn: the result is RCVM_E_NOMEM, and under a
 * sanitizer or valgrind nothing leaks.  Linked with --wrap for the functions below, which takes in
 * the project's code alone.
 */
#include "config.h"

#include "plan-testing.h"

#include <stdarg.h>

#include <runcvm/spec.h>

static size_t countdown; /* 0: off; 1: the next one fails */
static bool hit;

static bool
fails (void)
{
  if (countdown == 0 || --countdown > 0)
    return false;
  hit = true;
  return true;
}

void *__real_malloc (size_t size);
void *__real_calloc (size_t n, size_t size);
void *__real_realloc (void *p, size_t size);
void *__real_reallocarray (void *p, size_t n, size_t size);
char *__real_strdup (const char *s);
char *__real_strndup (const char *s, size_t n);
void *__wrap_malloc (size_t size);
void *__wrap_calloc (size_t n, size_t size);
void *__wrap_realloc (void *p, size_t size);
void *__wrap_reallocarray (void *p, size_t n, size_t size);
char *__wrap_strdup (const char *s);
char *__wrap_strndup (const char *s, size_t n);
int __wrap_asprintf (char **out, const char *fmt, ...);

void *
__wrap_malloc (size_t size)
{
  return fails () ? NULL : __real_malloc (size);
}

void *
__wrap_calloc (size_t n, size_t size)
{
  return fails () ? NULL : __real_calloc (n, size);
}

void *
__wrap_realloc (void *p, size_t size)
{
  return fails () ? NULL : __real_realloc (p, size);
}

void *
__wrap_reallocarray (void *p, size_t n, size_t size)
{
  return fails () ? NULL : __real_reallocarray (p, n, size);
}

char *
__wrap_strdup (const char *s)
{
  return fails () ? NULL : __real_strdup (s);
}

char *
__wrap_strndup (const char *s, size_t n)
{
  return fails () ? NULL : __real_strndup (s, n);
}

int
__wrap_asprintf (char **out, const char *fmt, ...)
{
  va_list ap;
  int n;

  if (fails ())
    {
      *out = (char *) 1; /* undefined, says asprintf(3) */
      return -1;
    }
  va_start (ap, fmt);
  n = vasprintf (out, fmt, ap);
  va_end (ap);
  return n;
}

/* Runs `work` with the first, second ... allocation failing, until it gets through. */
static void
torture (const char *what, int (*work) (void *data, rcvm_error **err), void *data)
{
  for (size_t n = 1;; n++)
    {
      rcvm_error *err = NULL;
      int rc;

      hit = false;
      countdown = n;
      rc = work (data, &err);
      countdown = 0;
      if (!hit)
        {
          if (rc < 0)
            fail_msg ("%s: %s", what, rcvm_error_get_message (err));
          /* Otherwise nothing was tortured. */
          assert_true (n > 1);
          return;
        }
      if (rc != RCVM_E_NOMEM)
        fail_msg ("%s: %d (%s) when allocation %zu failed", what, rc, rcvm_error_get_message (err),
                  n);
      assert_int_equal (rcvm_error_get_code (err), RCVM_E_NOMEM);
      rcvm_error_free (err);
    }
}

struct input
{
  struct rcvmi_options options;
  struct rcvmi_plan *plan;
  struct rcvmi_exec_options exec;
  const void *record;
  size_t len;
};

static int
make_plan (void *data, rcvm_error **err)
{
  struct input *in = data;
  struct rcvmi_spec *spec = rcvmi_spec_load (&in->options, err);
  struct rcvmi_plan *plan = spec ? rcvmi_plan_new (spec, &in->options, &defaults, err) : NULL;

  rcvmi_plan_free (plan);
  return plan ? 0 : rcvm_error_get_code (*err);
}

static int
make_exec (void *data, rcvm_error **err)
{
  struct input *in = data;
  struct tlv_writer w = TLV_WRITER_INIT;
  bool terminal;
  int rc = rcvmi_plan_exec (in->plan, &in->exec, &w, &terminal, err);

  tlv_writer_free (&w);
  return rc;
}

static int
decode_options (void *data, rcvm_error **err)
{
  struct input *in = data;
  struct rcvmi_options o;
  int rc = rcvmi_options_decode (&o, in->record, in->len, err);

  rcvmi_options_clear (&o);
  return rc;
}

static int
change_lists (void *data, rcvm_error **err)
{
  char **list = NULL, **copy = NULL;
  int rc = 0;

  (void) data;
  (void) err;
  if (rcvmi_strv_append (&list, "A=1") < 0 || rcvmi_strv_append (&list, "B=1") < 0
      || rcvmi_strv_set_env (&list, "A=2") < 0 || rcvmi_strv_set_env (&list, "C=3") < 0
      || !(copy = rcvmi_strv_copy (list)))
    rc = RCVM_E_NOMEM;
  rcvmi_strv_free (list);
  rcvmi_strv_free (copy);
  return rc;
}

static void
test_lists (void **state)
{
  (void) state;
  for (size_t n = 1;; n++)
    {
      int rc;

      hit = false;
      countdown = n;
      rc = change_lists (NULL, NULL);
      countdown = 0;
      assert_int_equal (rc, hit ? RCVM_E_NOMEM : 0);
      if (!hit)
        break;
    }
}

static void
test_plan (void **state)
{
  static const char *const fixtures[]
      = { "tests/fixtures/docker-config.json", "tests/fixtures/engine-spec-config.json",
          "tests/fixtures/all-fields-config.json" };
  struct input in = { .options = OPTIONS (.id = (char *) "t", .bundle = (char *) "/b",
                                          .args = LIST ("a", "b"), .env = LIST ("A=1"),
                                          .annotations = LIST ("k=v"), .user = (char *) "u:g",
                                          .cwd = (char *) "/", .terminal = 1, .rows = 1,
                                          .cols = 1) };

  (void) state;
  for (size_t i = 0; i < sizeof fixtures / sizeof fixtures[0]; i++)
    {
      in.options.config_json = read_source_file (fixtures[i]);
      torture (fixtures[i], make_plan, &in);
      free (in.options.config_json);
    }
  in.options = OPTIONS (.id = (char *) "t", .rootfs = (char *) "/r", .args = LIST ("a"));
  torture ("a bare rootfs", make_plan, &in);
}

static void
test_bundle (void **state)
{
  char *json = config_text (NULL, NULL, NULL), dir[] = "/tmp/rcvm-test-torture.XXXXXX", path[64];
  struct input in = { .options = OPTIONS (.id = (char *) "t", .bundle = dir) };
  FILE *f;

  (void) state;
  assert_non_null (mkdtemp (dir));
  snprintf (path, sizeof path, "%s/config.json", dir);
  f = fopen (path, "w");
  assert_non_null (f);
  fputs (json, f);
  fclose (f);
  free (json);
  torture ("a bundle", make_plan, &in);
  remove (path);
  remove (dir);
}

static void
test_exec (void **state)
{
  struct input in
      = { .exec = { .args = LIST ("id"), .env = LIST ("A=1"), .user = (char *) "5:5",
                    .cwd = (char *) "/", .terminal = 1, .rows = 1, .cols = 1 } };
  char *process = quotes (strdup ("{'args':['a'],'cwd':'/','env':['A=1'],'capabilities':{'bounding':['X']}}"));

  (void) state;
  in.plan = plan_ok (read_source_file ("tests/fixtures/docker-config.json"), NO_OPTIONS);
  torture ("a further process", make_exec, &in);
  in.exec = RCVMI_EXEC_OPTIONS_INIT;
  in.exec.process_json = process;
  torture ("a process object", make_exec, &in);
  rcvmi_plan_free (in.plan);
  free (process);
}

static void
test_decode (void **state)
{
  struct rcvmi_options o = OPTIONS (.id = (char *) "t", .args = LIST ("a", "b"),
                                    .env = LIST ("A=1"),
                                    .annotations = LIST ("k=v"), .user = (char *) "u:g");
  struct tlv_writer w = TLV_WRITER_INIT;
  struct input in;

  (void) state;
  rcvmi_options_encode (&o, &w);
  in.record = w.data;
  in.len = w.len;
  torture ("decoding options", decode_options, &in);
  tlv_writer_free (&w);
}

static int
check (void *data, rcvm_error **err)
{
  return rcvm_spec_check (data, err);
}

static int
give_documents (void *data, rcvm_error **err)
{
  char *a = rcvm_spec_default_json (err), *b = a ? rcvm_features_json (err) : NULL;

  (void) data;
  free (a);
  free (b);
  return b ? 0 : rcvm_error_get_code (*err);
}

static void
test_documents (void **state)
{
  char *json = config_text (NULL, NULL, NULL);

  (void) state;
  torture ("a check", check, json);
  torture ("documents", give_documents, NULL);
  free (json);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_lists),
    cmocka_unit_test (test_plan),
    cmocka_unit_test (test_bundle),
    cmocka_unit_test (test_exec),
    cmocka_unit_test (test_decode),
    cmocka_unit_test (test_documents),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
