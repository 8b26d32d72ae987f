/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libFuzzer: a layer's tar, packed or not, over itself, all the way to the image, which must then
 * be in order.
 *
 * The checksums of headers are put right unless the last byte is odd: most inputs would not come
 * far without.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rootfs-layer-names.h"
#include "rootfs.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
fix_headers (unsigned char *data, size_t size)
{
  for (size_t at = 0; at + 512 <= size; at += 512)
    {
      unsigned char *h = data + at;
      unsigned sum = 0;

      if (memcmp (h + 257, "ustar", 5) != 0)
        continue;
      memset (h + 148, ' ', 8);
      for (int i = 0; i < 512; i++)
        sum += h[i];
      snprintf ((char *) h + 148, 8, "%06o", sum);
    }
}

static void
fuzz_path (const uint8_t *data, size_t size)
{
  char name[300], *path = NULL;

  if (size >= sizeof name)
    size = sizeof name - 1;
  memcpy (name, data, size);
  name[size] = 0;
  if (rcvmi_layer_path_clean (name, &path, NULL) == 0 && (path[0] == '/' || strstr (path, "//")))
    abort ();
  free (path);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct rcvmi_rootfs_params params = RCVMI_ROOTFS_PARAMS_INIT;
  char layer[32], image[64];
  const char *layers[] = { layer, layer, NULL };
  rcvm_error *err = NULL;
  unsigned char *copy;
  int fd, r;

  fuzz_path (data, size);
  copy = malloc (size + 1);
  fd = memfd_create ("layer", MFD_CLOEXEC);
  if (!copy || fd < 0)
    abort ();
  memcpy (copy, data, size);
  if (size && !(data[size - 1] & 1))
    fix_headers (copy, size);
  if (write (fd, copy, size) != (ssize_t) size)
    abort ();
  free (copy);
  snprintf (layer, sizeof layer, "/proc/self/fd/%d", fd);
  snprintf (image, sizeof image, "fuzz-layer.%d.img", (int) getpid ());
  params.size = 8 << 20;
  params.sync = false;
  r = rcvmi_rootfs_build_layers (layers, image, &params, &err);
  if ((r == 0) != !err || (err && !*rcvm_error_get_message (err)))
    abort ();
  rcvm_error_free (err);
  err = NULL;
  if (r == 0 && rcvm_rootfs_verify (image, &err) < 0)
    {
      fprintf (stderr, "%s\n", rcvm_error_get_message (err));
      abort ();
    }
  if (r == 0 && unlink (image) < 0)
    abort ();
  if (r != 0 && access (image, F_OK) == 0)
    abort ();
  close (fd);
  return 0;
}
