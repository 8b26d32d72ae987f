/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an image is, of whatever kind: libblkid's low-level probe, which mounts and trusts nothing. */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
/* Defines what linux/fs.h does, too. */
#include <linux/fs.h>

#include <runcvm/rootfs.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-ext4.h"
#include "rootfs.h"
#include "visibility.h"

static void
free_probe (blkid_probe *probe)
{
  blkid_free_probe (*probe);
}

/* Bytes of a UTF-8 sequence that is in order; 0 where there is none. */
static size_t
utf8_length (const unsigned char *p)
{
  size_t n = *p < 0x80                 ? 1
             : *p >= 0xc2 && *p < 0xe0 ? 2
             : (*p & 0xf0) == 0xe0     ? 3
             : *p >= 0xf0 && *p < 0xf5 ? 4
                                       : 0;

  for (size_t i = 1; i < n; i++)
    if ((p[i] & 0xc0) != 0x80)
      return 0;
  if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] >= 0xa0) || (*p == 0xf0 && p[1] < 0x90)
      || (*p == 0xf4 && p[1] >= 0x90))
    return 0;
  return n;
}

static void
put_text (FILE *f, const char *text)
{
  const unsigned char *p = (const unsigned char *) text;

  fputc ('"', f);
  while (*p)
    {
      size_t n = utf8_length (p);

      if (n == 0)
        fputs ("\xef\xbf\xbd", f);
      else if (*p < 0x20 || *p == 0x7f)
        fprintf (f, "\\u%04x", *p);
      else if (*p == '"' || *p == '\\')
        fprintf (f, "\\%c", *p);
      else
        fwrite (p, 1, n, f);
      p += n ? n : 1;
    }
  fputc ('"', f);
}

static int
open_image (const char *image, uint64_t *size, rcvm_error **err)
{
  /* Looked at before it is opened: a FIFO would wait, and a device may do anything. */
  autoclose int path = open (image, O_PATH | O_CLOEXEC), fd = -1;
  char self[32];
  struct stat st;

  if (path < 0 || fstat (path, &st) < 0)
    {
      rcvmi_fail_errno (err, errno, "cannot open the image '%s'", image);
      return -1;
    }
  if (!S_ISREG (st.st_mode) && !S_ISBLK (st.st_mode))
    {
      rcvmi_fail (err, RCVM_E_IMAGE, 0, "'%s' is neither an image file nor a block device", image);
      return -1;
    }
  snprintf (self, sizeof self, "/proc/self/fd/%d", path);
  fd = open (self, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  *size = (uint64_t) st.st_size;
  if (fd < 0 || (S_ISBLK (st.st_mode) && ioctl (fd, BLKGETSIZE64, size) < 0))
    {
      rcvmi_fail_errno (err, errno, "cannot open the image '%s'", image);
      return -1;
    }
  return steal_fd (&fd);
}

static int
probe_image (blkid_probe probe, int fd, const char *image, rcvm_error **err)
{
  int r;

  errno = 0;
  if (blkid_probe_set_device (probe, fd, 0, 0) < 0 || blkid_probe_enable_superblocks (probe, 1) < 0
      || blkid_probe_set_superblocks_flags (probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_UUID | BLKID_SUBLKS_LABEL
                                                       | BLKID_SUBLKS_VERSION | BLKID_SUBLKS_USAGE)
             < 0)
    return rcvmi_fail_errno (err, errno ? errno : EIO, "cannot probe the image '%s'", image);
  r = blkid_do_safeprobe (probe);
  if (r == -2)
    return rcvmi_fail (err, RCVM_E_IMAGE, 0,
                       "the image '%s' looks like several file systems at once; make it anew", image);
  if (r < 0)
    return rcvmi_fail_errno (err, errno ? errno : EIO, "cannot probe the image '%s'", image);
  return r;
}

static const char *
value_of (blkid_probe probe, const char *name)
{
  const char *value;

  return blkid_probe_lookup_value (probe, name, &value, NULL) == 0 ? value : "";
}

static char *
print (blkid_probe probe, const char *type, uint64_t size, const char *details, rcvm_error **err)
{
  char *json = NULL;
  size_t len;
  FILE *f = open_memstream (&json, &len);
  int failed;

  if (!f)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  fputs ("{\"type\":", f);
  put_text (f, type);
  fputs (",\"usage\":", f);
  put_text (f, value_of (probe, "USAGE"));
  fputs (",\"uuid\":", f);
  put_text (f, value_of (probe, "UUID"));
  fputs (",\"label\":", f);
  put_text (f, value_of (probe, "LABEL"));
  if (details)
    fprintf (f, ",%s}", details);
  else
    fprintf (f, ",\"size\":%" PRIu64 "}", size);
  failed = ferror (f);
  if (fclose (f) != 0 || failed)
    {
      free (json);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  return json;
}

int
rcvmi_rootfs_probe (int fd, const char *where, char type[RCVMI_ROOTFS_TYPE], char usage[RCVMI_ROOTFS_TYPE],
                    rcvm_error **err)
{
  __attribute__ ((cleanup (free_probe))) blkid_probe probe = blkid_new_probe ();
  int r;

  *type = *usage = 0;
  if (!probe)
    return rcvmi_fail_nomem (err);
  r = probe_image (probe, fd, where, err);
  if (r < 0)
    return r;
  snprintf (type, RCVMI_ROOTFS_TYPE, "%s", value_of (probe, "TYPE"));
  snprintf (usage, RCVMI_ROOTFS_TYPE, "%s", value_of (probe, "USAGE"));
  return 0;
}

RCVM_PUBLIC char *
rcvm_rootfs_inspect_json (const char *image, rcvm_error **err)
{
  __attribute__ ((cleanup (free_probe))) blkid_probe probe = NULL;
  autofree char *details = NULL;
  autoclose int fd = -1;
  const char *type;
  uint64_t size;
  int r;

  if (!image || !*image)
    {
      rcvmi_fail (err, RCVM_E_INVALID, 0, "no image was named");
      return NULL;
    }
  fd = open_image (image, &size, err);
  if (fd < 0)
    return NULL;
  probe = blkid_new_probe ();
  if (!probe)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  r = probe_image (probe, fd, image, err);
  if (r < 0)
    return NULL;
  type = value_of (probe, "TYPE");
  /* One of ours that is damaged is not recognised: it has more to tell. */
  if (r == 1 || strncmp (type, "ext", 3) == 0)
    {
      details = rcvmi_ext4_describe (image, &type, err);
      if (!details)
        return NULL;
    }
  return print (probe, type, size, details, err);
}
