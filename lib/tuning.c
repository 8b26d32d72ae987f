/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "tuning.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "err.h"

#define FREE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"

enum
{
  HUGE_PAGE = 2 * 1024 * 1024
};

void
rcvmi_tuning_clear (struct rcvmi_tuning *t)
{
  free (t->cpu_template);
  *t = (struct rcvmi_tuning){ 0 };
}

int
rcvmi_tuning_check_huge_pages (uint64_t memory, rcvm_error **err)
{
  uint64_t pages = memory / HUGE_PAGE, free_pages = 0;
  FILE *f = fopen (FREE_PAGES, "re");
  int n;

  if (!f)
    return rcvmi_fail (err, RCVM_E_HOST, errno, "huge pages are wanted, and the host's kernel has none of 2 MiB (%s)", FREE_PAGES);
  n = fscanf (f, "%" SCNu64, &free_pages);
  fclose (f);
  if (n == 1 && free_pages >= pages)
    return 0;
  return rcvmi_fail (err, RCVM_E_HOST, 0,
                     "the VM takes %" PRIu64 " huge pages of 2 MiB and the host has %" PRIu64
                     " that are free: raise the sysctl vm.nr_hugepages",
                     pages, free_pages);
}
