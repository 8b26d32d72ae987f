/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file of a template: sealed, found, and not found where it is not what it was made as. */
#include "config.h"

#include "cache-testing.h"
#include "template.h"

#define KEY "template-0123456789abcdef"
#define STATE "the state of a machine"

enum
{
  MEMORY = 3 * 1024 * 1024 + 4096,
  RELEASE = RCVMI_VMM_VERSION (1, 16)
};

struct machine
{
  const char *state;
  unsigned version;
};

static int
build (void *user, const char *path, rcvm_error **err)
{
  const struct machine *m = user;
  char *state = NULL, *memory = calloc (1, MEMORY);
  int code;

  assert_true (asprintf (&state, "%s.state", path) > 0);
  memcpy (memory, "head", 4);
  memcpy (memory + MEMORY - 4096, "tail", 4);
  write_file (path, memory, MEMORY);
  write_file (state, m->state, strlen (m->state));
  code = rcvmi_template_seal (path, state, m->version, err);
  unlink (state);
  free (memory);
  free (state);
  return code;
}

static void
make (struct fixture *f, const struct machine *m)
{
  struct rcvmi_cache_build b = { .build = build, .user = (void *) m };
  struct rcvmi_cache_entry entry = RCVMI_CACHE_ENTRY_INIT;
  rcvm_error *err = NULL;

  check_ok (rcvmi_cache_acquire (&f->cache, KEY, &b, &entry, &err), err);
  rcvmi_cache_entry_clear (&entry);
}

static char *
path_of (const struct fixture *f)
{
  return path_in (f->cache.path, KEY ".vm");
}

static int
setup (void **state)
{
  static const struct machine good = { STATE, RELEASE };
  struct fixture *f;
  int r = fixture_setup (state);

  f = *state;
  setenv ("RUNCVM_CACHE_DIR", f->cache.path, 1);
  make (f, &good);
  return r;
}

static int
teardown (void **state)
{
  unsetenv ("RUNCVM_CACHE_DIR");
  return fixture_teardown (state);
}

static const struct rcvmi_vmm vmm = { .version = RELEASE };

/* Nothing is found, the file is gone, and why. */
static void
check_refused (struct fixture *f, const char *why)
{
  struct rcvmi_template t = RCVMI_TEMPLATE_INIT;
  char *path = path_of (f), *note = NULL;
  rcvm_error *err = NULL;

  assert_int_equal (rcvmi_template_find (&vmm, KEY, &t, &note, &err), RCVM_E_NOT_FOUND);
  rcvm_error_free (err);
  assert_int_equal (t.fd, -1);
  assert_non_null (note);
  assert_non_null (strstr (note, why));
  assert_int_equal (access (path, F_OK), -1);
  free (note);
  free (path);
}

static void
test_found (void **state)
{
  struct rcvmi_template t = RCVMI_TEMPLATE_INIT;
  struct fixture *f = *state;
  char buf[sizeof STATE], *note = NULL, *path = path_of (f);
  rcvm_error *err = NULL;
  struct stat st;

  check_ok (rcvmi_template_find (&vmm, KEY, &t, &note, &err), err);
  assert_null (note);
  assert_string_equal (t.path, path);
  assert_int_equal (t.memory, MEMORY);
  assert_int_equal (t.state_len, strlen (STATE));
  assert_int_equal (pread (t.fd, buf, t.state_len, (off_t) t.state_at), (ssize_t) t.state_len);
  assert_memory_equal (buf, STATE, strlen (STATE));
  assert_int_equal (pread (t.fd, buf, 4, MEMORY - 4096), 4);
  assert_memory_equal (buf, "tail", 4);
  assert_int_equal (fstat (t.fd, &st), 0);
  assert_true ((uint64_t) st.st_blocks * 512 < MEMORY / 2);
  /* In use: it stays. */
  assert_int_equal (rcvmi_cache_take_out (&f->cache, KEY, &err), RCVM_E_STATE);
  rcvm_error_free (err);
  rcvmi_template_discard (&t);
  assert_int_equal (access (path, F_OK), -1);
  err = NULL;
  assert_int_equal (rcvmi_template_find (&vmm, KEY, &t, &note, &err), RCVM_E_NOT_FOUND);
  assert_null (note);
  rcvm_error_free (err);
  free (path);
}

static void
test_truncated (void **state)
{
  struct fixture *f = *state;
  char *path = path_of (f);

  assert_int_equal (truncate (path, MEMORY / 2), 0);
  free (path);
  check_refused (f, "changed after it had been made");
}

/* Changes something, and makes it look untouched to the cache: whoever restores files from elsewhere may do that. */
static void
forge (struct fixture *f, off_t offset, const void *data, size_t len, bool cut)
{
  char *path = path_of (f);
  rcvm_error *err = NULL;
  struct stat st;
  int fd = open (path, O_RDWR | O_CLOEXEC);

  assert_true (fd >= 0 && fstat (fd, &st) == 0);
  assert_int_equal (ftruncate (fd, cut ? MEMORY : st.st_size - RCVMI_CACHE_RECORD_SIZE), 0);
  if (len)
    assert_int_equal (pwrite (fd, data, len, offset), (ssize_t) len);
  check_ok (rcvmi_cache_record_write (fd, KEY, true, &err), err);
  close (fd);
  free (path);
}

static void
test_damaged_state (void **state)
{
  forge (*state, MEMORY + 4, "x", 1, false);
  check_refused (*state, "its state is damaged");
}

static void
test_damaged_index (void **state)
{
  forge (*state, MEMORY + 4096 + 24, "\1", 1, false);
  check_refused (*state, "its index is missing or damaged");
}

static void
test_memory_alone (void **state)
{
  forge (*state, 0, NULL, 0, true);
  check_refused (*state, "its index is missing or damaged");
}

static void
test_other_version (void **state)
{
  static const struct machine other = { STATE, RCVMI_VMM_VERSION (1, 15) };
  struct fixture *f = *state;
  rcvm_error *err = NULL;

  check_ok (rcvmi_cache_take_out (&f->cache, KEY, &err), err);
  make (f, &other);
  check_refused (f, "another version of the VMM has made it");
}

static void
test_what_cannot_be_one (void **state)
{
  struct fixture *f = *state;
  char *memory = path_in (f->top, "memory"), *saved = path_in (f->top, "state");
  rcvm_error *err = NULL;

  write_file (memory, "odd", 3);
  write_file (saved, "", 0);
  assert_int_equal (rcvmi_template_seal (memory, saved, RELEASE, &err), RCVM_E_VMM);
  rcvm_error_free (err);
  err = NULL;
  assert_int_equal (rcvmi_template_seal ("/nonexistent", saved, RELEASE, &err), RCVM_E_NOT_FOUND);
  rcvm_error_free (err);
  free (memory);
  free (saved);
}

static void
test_list (void **state)
{
  struct fixture *f = *state;
  rcvm_error *err = NULL;
  char *text = rcvmi_cache_list_json (&f->cache, &err);

  assert_non_null (text);
  assert_non_null (strstr (text, "\"" KEY "\""));
  assert_non_null (strstr (text, KEY ".vm\""));
  assert_null (strstr (text, "damaged"));
  free (text);
  text = rcvmi_cache_verify_json (&f->cache, false, &err);
  assert_non_null (text);
  assert_non_null (strstr (text, "\"good\":true"));
  free (text);
  forge (f, MEMORY + 4, "x", 1, false);
  text = rcvmi_cache_verify_json (&f->cache, true, &err);
  assert_non_null (text);
  assert_non_null (strstr (text, "its state is damaged"));
  assert_non_null (strstr (text, "\"removed\":true"));
  free (text);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_found, setup, teardown),
    cmocka_unit_test_setup_teardown (test_truncated, setup, teardown),
    cmocka_unit_test_setup_teardown (test_damaged_state, setup, teardown),
    cmocka_unit_test_setup_teardown (test_damaged_index, setup, teardown),
    cmocka_unit_test_setup_teardown (test_memory_alone, setup, teardown),
    cmocka_unit_test_setup_teardown (test_other_version, setup, teardown),
    cmocka_unit_test_setup_teardown (test_what_cannot_be_one, setup, teardown),
    cmocka_unit_test_setup_teardown (test_list, setup, teardown),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
