/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the guest boots from, looked at before a VMM is started on it: a VMM that is given a text file as a
   kernel may just hang. */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  MIB = 1024 * 1024,
  /* Offsets of the x86 boot protocol (Documentation/arch/x86/boot.rst). */
  BOOT_FLAG = 0x1fe,
  BOOT_MAGIC = 0x202,
  BOOT_INIT_SIZE = 0x260,
  BOOT_HEAD = 0x264,
  /* The kernel's own tables and the agent.  Measured: Debian's cloud kernel ran true in 88 MiB, and not in 84. */
  MEMORY_SLACK = 20 * MIB,
  /* The packed initramfs and the unpacked one are there at the same time. */
  PLAIN_FACTOR = 2,
  COMPRESSED_FACTOR = 5
};

/* No machine has more memory; sums of such numbers do not wrap around. */
#define MAX_ADDRESS (UINT64_C (1) << 52)

static uint32_t
le32 (const unsigned char *p)
{
  return p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static int
open_file (const char *what, const char *path, const char *advice, off_t *size, rcvm_error **err)
{
  int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;

  if (fd < 0)
    {
      rcvmi_fail (err, RCVM_E_HOST, errno, "cannot open the %s '%s' (%s)", what, path, advice);
      return -1;
    }
  if (fstat (fd, &st) < 0 || !S_ISREG (st.st_mode))
    {
      rcvmi_fail (err, RCVM_E_HOST, 0, "the %s '%s' is not a regular file (%s)", what, path, advice);
      close (fd);
      return -1;
    }
  *size = st.st_size;
  return fd;
}

/* What an ELF kernel's segments take in memory; 0 if it is not for this kind of machine. */
static uint64_t
elf_memory (int fd)
{
  Elf64_Ehdr header;
  Elf64_Phdr segment;
  uint64_t low = UINT64_MAX, high = 0;

  if (pread (fd, &header, sizeof header, 0) != sizeof header || header.e_ident[EI_CLASS] != ELFCLASS64
      || header.e_type != ET_EXEC || header.e_phentsize != sizeof segment)
    return 0;
  for (unsigned i = 0; i < header.e_phnum; i++)
    {
      uint64_t at = header.e_phoff + i * sizeof segment;

      if (pread (fd, &segment, sizeof segment, (off_t) at) != sizeof segment)
        return 0;
      if (segment.p_type != PT_LOAD)
        continue;
      if (segment.p_paddr > MAX_ADDRESS || segment.p_memsz > MAX_ADDRESS)
        return 0;
      if (segment.p_paddr < low)
        low = segment.p_paddr;
      if (segment.p_paddr + segment.p_memsz > high)
        high = segment.p_paddr + segment.p_memsz;
    }
  return high > low ? high - low : 0;
}

bool
rcvmi_vmm_kernel_is_elf (const char *kernel)
{
  autoclose int fd = open (kernel, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  char magic[SELFMAG];

  return fd >= 0 && pread (fd, magic, sizeof magic, 0) == sizeof magic && memcmp (magic, ELFMAG, SELFMAG) == 0;
}

bool
rcvmi_vmm_kernel_has (const char *kernel, const char *text)
{
  autoclose int fd = open (kernel, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  bool has;
  void *all;

  if (fd < 0 || fstat (fd, &st) < 0 || st.st_size <= 0)
    return false;
  all = mmap (NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (all == MAP_FAILED)
    return false;
  has = memmem (all, (size_t) st.st_size, text, strlen (text)) != NULL;
  munmap (all, (size_t) st.st_size);
  return has;
}

int
rcvmi_vmm_check_files (const char *kernel, const char *initramfs, uint64_t memory, rcvm_error **err)
{
  static const char advice[] = "runcvm-mkguest makes one";
  autoclose int kernel_fd = -1, initramfs_fd = -1;
  unsigned char head[BOOT_HEAD] = { 0 };
  char magic[6];
  bool plain;
  ssize_t n;
  uint64_t needed;
  off_t size, initramfs_size;

  kernel_fd = open_file ("kernel", kernel, advice, &size, err);
  if (kernel_fd < 0)
    return RCVM_E_HOST;
  n = pread (kernel_fd, head, sizeof head, 0);
  if (n < 0)
    return rcvmi_fail (err, RCVM_E_HOST, errno, "cannot read the kernel '%s'", kernel);
  if (n == sizeof head && head[BOOT_FLAG] == 0x55 && head[BOOT_FLAG + 1] == 0xaa && memcmp (head + BOOT_MAGIC, "HdrS", 4) == 0)
    needed = le32 (head + BOOT_INIT_SIZE);
  else
    {
      needed = elf_memory (kernel_fd);
      if (needed == 0)
        return rcvmi_fail (err, RCVM_E_HOST, 0, "'%s' is neither a bzImage nor a vmlinux (%s)", kernel, advice);
    }
  initramfs_fd = open_file ("initramfs", initramfs, advice, &initramfs_size, err);
  if (initramfs_fd < 0)
    return RCVM_E_HOST;
  if (pread (initramfs_fd, magic, sizeof magic, 0) != sizeof magic)
    return rcvmi_fail (err, RCVM_E_HOST, 0, "the initramfs '%s' is empty or cannot be read (%s)", initramfs, advice);
  plain = memcmp (magic, "070701", sizeof magic) == 0;
  needed += (uint64_t) initramfs_size * (plain ? PLAIN_FACTOR : COMPRESSED_FACTOR) + MEMORY_SLACK;
  needed = (needed + MIB - 1) / MIB;
  if (memory / MIB < needed)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%llu MiB of memory are too little for the kernel '%s' and its initramfs, which need "
                       "%llu MiB",
                       (unsigned long long) (memory / MIB), kernel, (unsigned long long) needed);
  return 0;
}
