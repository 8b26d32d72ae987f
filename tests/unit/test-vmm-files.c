/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernels and initramfs as they are looked at before a VMM is started on them. */
#include "config.h"

#include "support.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "vmm.h"

#define MIB ((uint64_t) 1024 * 1024)

struct files
{
  char *dir;
  char *kernel;
  char *initramfs;
};

static int
set_up (void **state)
{
  struct files *f = calloc (1, sizeof *f);

  f->dir = make_dir ();
  if (asprintf (&f->kernel, "%s/kernel", f->dir) < 0 || asprintf (&f->initramfs, "%s/initramfs", f->dir) < 0)
    return -1;
  write_file (f->initramfs, "070701 and so on", 16);
  *state = f;
  return 0;
}

static int
tear_down (void **state)
{
  struct files *f = *state;

  remove_tree (f->dir);
  free (f->kernel);
  free (f->initramfs);
  free (f);
  return 0;
}

#define FILES_TEST(name) static void name (void **state)

static void
write_bzimage (const struct files *f, uint32_t init_size)
{
  unsigned char head[0x264] = { 0 };

  head[0x1fe] = 0x55;
  head[0x1ff] = 0xaa;
  memcpy (head + 0x202, "HdrS", 4);
  for (int i = 0; i < 4; i++)
    head[0x260 + i] = (unsigned char) (init_size >> 8 * i);
  write_file (f->kernel, head, sizeof head);
}

/* Segments at the given physical addresses. */
static void
write_elf (const struct files *f, const uint64_t segments[][2], uint16_t n)
{
  unsigned char buf[sizeof (Elf64_Ehdr) + 8 * sizeof (Elf64_Phdr)];
  Elf64_Ehdr header = { .e_ident = ELFMAG, .e_type = ET_EXEC, .e_phoff = sizeof header,
                        .e_phentsize = sizeof (Elf64_Phdr), .e_phnum = n };

  header.e_ident[EI_CLASS] = ELFCLASS64;
  memcpy (buf, &header, sizeof header);
  for (uint16_t i = 0; i < n; i++)
    {
      Elf64_Phdr p = { .p_type = PT_LOAD, .p_paddr = segments[i][0], .p_memsz = segments[i][1] };

      memcpy (buf + sizeof header + i * sizeof p, &p, sizeof p);
    }
  write_file (f->kernel, buf, sizeof header + n * sizeof (Elf64_Phdr));
}

static void
check_fine (const struct files *f, uint64_t memory)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_vmm_check_files (f->kernel, f->initramfs, memory, &e), e);
}

static void
check_refused (const struct files *f, uint64_t memory, int code, const char *part)
{
  int before = count_fds ();
  rcvm_error *e = NULL;

  assert_int_equal (rcvmi_vmm_check_files (f->kernel, f->initramfs, memory, &e), code);
  check_error (&e, code, "vmm", part);
  assert_int_equal (count_fds (), before);
}

FILES_TEST (test_bzimage)
{
  const struct files *f = *state;

  write_bzimage (f, 50 * MIB);
  check_fine (f, 512 * MIB);
  check_refused (f, 49 * MIB, RCVM_E_INVALID, "49 MiB of memory are too little");
  check_refused (f, 0, RCVM_E_INVALID, "too little");
}

FILES_TEST (test_elf)
{
  const struct files *f = *state;
  static const uint64_t segments[][2] = { { 16 * MIB, 20 * MIB }, { 60 * MIB, 4 * MIB } };

  write_elf (f, segments, 2);
  check_fine (f, 512 * MIB);
  check_refused (f, 48 * MIB, RCVM_E_INVALID, "too little");
}

/* Sizes that no machine has do not wrap around to small ones. */
FILES_TEST (test_hostile_elf)
{
  const struct files *f = *state;
  static const uint64_t wraps[][2] = { { 0, UINT64_MAX } }, wraps_twice[][2] = { { MIB, UINT64_MAX }, { 0, 1 } };
  Elf64_Ehdr header = { .e_ident = ELFMAG, .e_type = ET_EXEC, .e_phentsize = sizeof (Elf64_Phdr), .e_phnum = 2,
                        .e_phoff = INT64_MAX - 10 };

  write_elf (f, wraps, 1);
  check_refused (f, 512 * MIB, RCVM_E_HOST, "neither a bzImage nor a vmlinux");
  write_elf (f, wraps_twice, 2);
  check_refused (f, 512 * MIB, RCVM_E_HOST, "neither a bzImage nor a vmlinux");
  write_elf (f, wraps, 0);
  check_refused (f, 512 * MIB, RCVM_E_HOST, "neither a bzImage nor a vmlinux");
  header.e_ident[EI_CLASS] = ELFCLASS64;
  write_file (f->kernel, &header, sizeof header);
  check_refused (f, 512 * MIB, RCVM_E_HOST, "neither a bzImage nor a vmlinux");
  /* Somebody else's machine, and an object file. */
  header.e_ident[EI_CLASS] = ELFCLASS32;
  write_file (f->kernel, &header, sizeof header);
  check_refused (f, 512 * MIB, RCVM_E_HOST, "neither a bzImage nor a vmlinux");
}

FILES_TEST (test_garbage)
{
  const struct files *f = *state;
  unsigned char head[0x264] = { 0 };

  /* Every cut of a bzImage is none. */
  write_bzimage (f, 50 * MIB);
  {
    autofree char *whole = read_text (f->kernel);

    for (size_t len = 0; len < 0x260; len += 7)
      {
        write_file (f->kernel, whole, len);
        check_refused (f, 512 * MIB, RCVM_E_HOST, "neither a bzImage nor a vmlinux");
      }
  }
  for (size_t i = 0; i < sizeof head; i++)
    head[i] = (unsigned char) (i * 37);
  write_file (f->kernel, head, sizeof head);
  check_refused (f, 512 * MIB, RCVM_E_HOST, "runcvm-mkguest");
  write_file (f->kernel, ELFMAG, SELFMAG);
  check_refused (f, 512 * MIB, RCVM_E_HOST, "runcvm-mkguest");
}

FILES_TEST (test_not_files)
{
  struct files f = *(struct files *) *state;
  autofree char *fifo = NULL;

  write_bzimage (&f, 50 * MIB);
  assert_true (asprintf (&fifo, "%s/fifo", f.dir) > 0);
  assert_int_equal (mkfifo (fifo, 0600), 0);
  f.kernel = (char *) "/does/not/exist";
  check_refused (&f, 512 * MIB, RCVM_E_HOST, "cannot open the kernel '/does/not/exist'");
  f.kernel = f.dir;
  check_refused (&f, 512 * MIB, RCVM_E_HOST, "not a regular file");
  /* Nobody writes there: opening it must not hang. */
  f.kernel = fifo;
  check_refused (&f, 512 * MIB, RCVM_E_HOST, "not a regular file");
  f.kernel = ((struct files *) *state)->kernel;
  f.initramfs = (char *) "/does/not/exist";
  check_refused (&f, 512 * MIB, RCVM_E_HOST, "cannot open the initramfs");
  f.initramfs = fifo;
  check_refused (&f, 512 * MIB, RCVM_E_HOST, "the initramfs");
}

FILES_TEST (test_initramfs)
{
  const struct files *f = *state;
  autofree char *big = calloc (1, 40 * MIB);

  write_bzimage (f, 10 * MIB);
  write_file (f->initramfs, "", 0);
  check_refused (f, 512 * MIB, RCVM_E_HOST, "is empty");
  check_fine (&(struct files){ f->dir, f->kernel, f->kernel }, 512 * MIB);
  /* A compressed one takes more than its size. */
  write_file (f->initramfs, big, 40 * MIB);
  check_refused (f, 150 * MIB, RCVM_E_INVALID, "too little");
  memcpy (big, "070701", 6);
  write_file (f->initramfs, big, 40 * MIB);
  check_fine (f, 150 * MIB);
}

FILES_TEST (test_guest_json)
{
  static const struct
  {
    const char *text;
    int n;
  } cases[] = {
    { "{\"release\":\"6.1\",\"modules\":[\"a\",\"b\"]}", 2 },
    { "{\"release\":\"6.1\",\"modules\":[]}", 0 },
    { "{\"release\":null,\"modules\":[]}", -1 },
    { "{\"release\":1,\"modules\":[]}", -1 },
    { "{\"release\":\"6.1\",\"modules\":{}}", -1 },
    { "{\"release\":\"6.1\"}", -1 },
    { "[]", -1 },
    { "", -1 },
  };
  const struct files *f = *state;

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      char *release = NULL;

      write_file (f->kernel, cases[i].text, strlen (cases[i].text));
      assert_int_equal (rcvmi_vmm_guest_modules (f->kernel, &release), cases[i].n);
      if (cases[i].n >= 0)
        assert_string_equal (release, "6.1");
      else
        assert_null (release);
      free (release);
    }
}

#define files_test(f) cmocka_unit_test_setup_teardown (f, set_up, tear_down)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    files_test (test_bzimage),   files_test (test_elf),       files_test (test_hostile_elf),
    files_test (test_garbage),   files_test (test_not_files), files_test (test_initramfs),
    files_test (test_guest_json),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
