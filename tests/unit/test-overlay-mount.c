/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "overlay-mount.h"

static int
parse (const char *line, const char *place, struct rcvmi_overlay_mount *o)
{
  rcvm_error *err = NULL;
  int r;

  *o = (struct rcvmi_overlay_mount){ 0 };
  r = rcvmi_overlay_mount_parse (line, place, "/base", o, &err);
  check_ok (r < 0 ? r : 0, err);
  return r;
}

#define HEAD "59 30 0:48 / /var/lib/docker/overlay2/ab/merged rw,relatime shared:3 - overlay overlay "
#define PLACE "/var/lib/docker/overlay2/ab/merged"

static void
test_parse (void **state)
{
  struct rcvmi_overlay_mount o;

  (void) state;
  assert_int_equal (parse (HEAD "rw,lowerdir=/a/2:/a/1,upperdir=/u,workdir=/w,index=off\n", PLACE, &o), 1);
  assert_string_equal (o.lower[0], "/a/1");
  assert_string_equal (o.lower[1], "/a/2");
  assert_null (o.lower[2]);
  assert_string_equal (o.upper, "/u");
  rcvmi_overlay_mount_clear (&o);

  /* Names that are relative, as Docker's are where they would be too long. */
  assert_int_equal (parse (HEAD "rw,lowerdir=l/B:l/A,upperdir=ab/diff,workdir=ab/work", PLACE, &o), 1);
  assert_string_equal (o.lower[0], "/base/l/A");
  assert_string_equal (o.upper, "/base/ab/diff");
  rcvmi_overlay_mount_clear (&o);

  /* Read-only; one option a layer. */
  assert_int_equal (parse (HEAD "ro,lowerdir+=/top,lowerdir+=/bottom", PLACE, &o), 1);
  assert_string_equal (o.lower[0], "/bottom");
  assert_string_equal (o.lower[1], "/top");
  assert_null (o.upper);
  rcvmi_overlay_mount_clear (&o);

  /* A blank, a colon, a comma and a backslash in names. */
  assert_int_equal (parse (HEAD "rw,lowerdir=/a\\040b\\134:c\\134,d:/x\\134\\134y,upperdir=/u\\134,v", PLACE, &o), 1);
  assert_string_equal (o.lower[0], "/x\\y");
  assert_string_equal (o.lower[1], "/a b:c,d");
  assert_string_equal (o.upper, "/u,v");
  rcvmi_overlay_mount_clear (&o);
}

static void
test_not_taken_apart (void **state)
{
  static const char *const lines[] = {
    HEAD "rw,lowerdir=/a::/data,upperdir=/u,workdir=/w",
    HEAD "rw,lowerdir=/a,datadir+=/d,upperdir=/u",
    HEAD "rw,lowerdir=/a,upperdir=/u,redirect_dir=on",
    HEAD "rw,lowerdir=/a,upperdir=/u,metacopy=on",
    HEAD "rw,lowerdir=/a,upperdir=/u,workdir=/w,userxattr",
    HEAD "rw",
    "59 30 0:48 /sub " PLACE " rw - overlay overlay rw,lowerdir=/a,upperdir=/u",
  };
  struct rcvmi_overlay_mount o;

  (void) state;
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
    {
      assert_int_equal (parse (lines[i], PLACE, &o), 1);
      assert_null (o.lower);
      assert_null (o.upper);
    }
}

static void
test_other_lines (void **state)
{
  static const char *const lines[] = {
    "",
    "59",
    "59 30 0:48 / " PLACE,
    "59 30 0:48 / " PLACE " rw shared:1",
    "59 30 0:48 / " PLACE " rw - ",
    "59 30 0:48 / " PLACE " rw - overlay",
    "59 30 0:48 / " PLACE " rw - overlay overlay",
    "59 30 0:48 / " PLACE " rw - ext4 /dev/vda rw",
    "59 30 0:48 / /elsewhere rw - overlay overlay rw,lowerdir=/a",
  };
  struct rcvmi_overlay_mount o;

  (void) state;
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
    assert_int_equal (parse (lines[i], PLACE, &o), 0);
}

static void
test_find (void **state)
{
  static const char *const dirs[] = { "l:1", "l2", "up,per", "work", "merged" };
  char top[] = "/tmp/runcvm-overlay.XXXXXX", path[256], options[512];
  struct rcvmi_overlay_mount o;
  rcvm_error *err = NULL;

  (void) state;
  assert_non_null (mkdtemp (top));
  for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++)
    {
      snprintf (path, sizeof path, "%s/%s", top, dirs[i]);
      assert_int_equal (mkdir (path, 0755), 0);
    }
  check_ok (rcvmi_overlay_mount_find (path, &o, &err), err);
  assert_null (o.lower);
  snprintf (options, sizeof options, "lowerdir=%s/l2:%s/l\\:1,upperdir=%s/up\\,per,workdir=%s/work", top, top, top, top);
  if (mount ("overlay", path, "overlay", 0, options) == 0)
    {
      check_ok (rcvmi_overlay_mount_find (path, &o, &err), err);
      assert_non_null (o.lower);
      snprintf (options, sizeof options, "%s/l:1", top);
      assert_string_equal (o.lower[0], options);
      snprintf (options, sizeof options, "%s/l2", top);
      assert_string_equal (o.lower[1], options);
      snprintf (options, sizeof options, "%s/up,per", top);
      assert_string_equal (o.upper, options);
      rcvmi_overlay_mount_clear (&o);
      assert_int_equal (umount (path), 0);
    }
  else
    print_message ("no overlayfs can be mounted here: %s\n", strerror (errno));
  snprintf (path, sizeof path, "rm -rf %s", top);
  assert_int_equal (system (path), 0);
  assert_int_equal (rcvmi_overlay_mount_find (top, &o, &err), RCVM_E_NOT_FOUND);
  check_error (&err, RCVM_E_NOT_FOUND, "rootfs", "cannot open the root file system");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_parse),
    cmocka_unit_test (test_not_taken_apart),
    cmocka_unit_test (test_other_lines),
    cmocka_unit_test (test_find),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
