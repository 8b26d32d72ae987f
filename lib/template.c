/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "template"
#include "template.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <runcvm/version.h>

#include "cache-priv.h"
#include "cleanup.h"
#include "err.h"
#include "fullio.h"

#define MAGIC "libruncvm vm"
/* Part of every key: raised when the machine that is saved, or its file, becomes another for the same input. */
#define FORMAT 1

enum
{
  BLOCK = 4096,
  CHUNK = 1024 * 1024,
  STATE_MAX = 16 * 1024 * 1024,
  CPUINFO_MAX = 16 * 1024
};

/* The last block of the file, but for the cache's record. */
struct index
{
  char magic[16];
  uint32_t format;
  uint32_t version; /* of the VMM */
  uint64_t memory;
  uint64_t state_len; /* it begins where the memory ends */
  uint8_t state[RCVMI_SHA256_BYTES];
  uint8_t zero[BLOCK - 104];
  uint8_t digest[RCVMI_SHA256_BYTES]; /* of all before it */
};
_Static_assert (sizeof (struct index) == BLOCK, "one block");

void
rcvmi_template_clear (struct rcvmi_template *t)
{
  free (t->key);
  free (t->path);
  cleanup_close (&t->fd);
  *t = RCVMI_TEMPLATE_INIT;
}

/* Keys. */

static int
add_file (struct rcvmi_sha256 *sha, const char *path, rcvm_error **err)
{
  uint64_t id[6];
  struct stat st;

  if (stat (path, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot look at '%.200s'", path);
  id[0] = st.st_dev;
  id[1] = st.st_ino;
  id[2] = (uint64_t) st.st_size;
  id[3] = (uint64_t) st.st_mtim.tv_sec;
  id[4] = (uint64_t) st.st_mtim.tv_nsec;
  id[5] = (uint64_t) st.st_ctim.tv_sec;
  rcvmi_sha256_update (sha, id, sizeof id);
  return 0;
}

static bool
starts_with (const char *line, const char *word)
{
  return strncmp (line, word, strlen (word)) == 0;
}

/* What the processor is, but not how fast it happens to be. */
int
rcvmi_template_add_cpu (struct rcvmi_sha256 *sha, rcvm_error **err)
{
  static const char *const told[] = { "vendor_id", "cpu family", "model", "stepping", "microcode", "flags", "CPU ", "Features" };
  autoclose int fd = open ("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
  autofree char *text = malloc (CPUINFO_MAX + 1);
  struct utsname host;
  size_t len = 0;
  ssize_t n = 0;

  if (!text)
    return rcvmi_fail_nomem (err);
  while (fd >= 0 && len < CPUINFO_MAX && (n = read (fd, text + len, CPUINFO_MAX - len)) > 0)
    len += (size_t) n;
  if (fd < 0 || n < 0)
    return rcvmi_fail_errno (err, errno, "cannot read /proc/cpuinfo");
  text[len] = 0;
  /* The first of them. */
  for (char *line = text, *end; *line && *line != '\n'; line = end)
    {
      end = line + strcspn (line, "\n");
      end += *end == '\n';
      for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
        if (starts_with (line, told[i]))
          {
            rcvmi_sha256_update (sha, line, (size_t) (end - line));
            break;
          }
    }
  uname (&host);
  rcvmi_sha256_update (sha, host.release, strlen (host.release) + 1);
  rcvmi_sha256_update (sha, host.version, strlen (host.version) + 1);
  return 0;
}

int
rcvmi_template_key (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, char **key, rcvm_error **err)
{
  uint8_t digest[RCVMI_SHA256_BYTES];
  char hex[RCVMI_SHA256_HEX + 1], head[128];
  struct rcvmi_sha256 sha;
  int n, code;

  n = snprintf (head, sizeof head, "libruncvm %s template %d %s %u", RCVM_VERSION_STRING, FORMAT, vmm->ops->name, vmm->version);
  rcvmi_sha256_init (&sha);
  rcvmi_sha256_update (&sha, head, (size_t) n + 1);
  code = add_file (&sha, vmm->program, err);
  if (code == 0)
    code = add_file (&sha, config->kernel, err);
  if (code == 0)
    code = add_file (&sha, config->initramfs, err);
  if (code == 0)
    code = rcvmi_template_add_cpu (&sha, err);
  if (code == 0)
    code = vmm->ops->shape (vmm, config, &sha, err);
  if (code < 0)
    return code;
  rcvmi_sha256_final (&sha, digest);
  rcvmi_sha256_hex (digest, hex);
  if (asprintf (key, RCVMI_CACHE_MACHINE "%s", hex) < 0)
    {
      *key = NULL;
      return rcvmi_fail_nomem (err);
    }
  return 0;
}

/* The file. */

static int
bad (const char **why, const char *what)
{
  *why = what;
  return 1;
}

int
rcvmi_template_check (int fd, uint64_t size, struct rcvmi_template *t, const char **why)
{
  uint8_t digest[RCVMI_SHA256_BYTES];
  autofree char *state = NULL;
  struct index x;
  uint64_t memory, len;

  if (size < 2 * BLOCK || size % BLOCK || rcvmi_pread_all (fd, &x, sizeof x, size - BLOCK) < 0)
    return bad (why, "it is cut short");
  rcvmi_sha256 (&x, offsetof (struct index, digest), digest);
  if (memcmp (x.magic, MAGIC, sizeof MAGIC) != 0 || memcmp (digest, x.digest, sizeof digest) != 0)
    return bad (why, "its index is missing or damaged");
  memory = le64toh (x.memory);
  len = le64toh (x.state_len);
  if (le32toh (x.format) != FORMAT || memory % BLOCK || len == 0 || len > STATE_MAX || memory > size
      || size - memory != (len + BLOCK - 1) / BLOCK * BLOCK + BLOCK)
    return bad (why, "it is of another version");
  state = malloc (len);
  if (!state || rcvmi_pread_all (fd, state, len, memory) < 0)
    return bad (why, "its state cannot be read");
  rcvmi_sha256 (state, len, digest);
  if (memcmp (digest, x.state, sizeof digest) != 0)
    return bad (why, "its state is damaged");
  if (t)
    {
      t->memory = memory;
      t->state_at = memory;
      t->state_len = len;
    }
  return 0;
}

static bool
is_of_version (int fd, uint64_t size, unsigned version)
{
  struct index x;

  return rcvmi_pread_all (fd, &x, sizeof x, size - BLOCK) == 0 && le32toh (x.version) == version;
}

/* Where the guest has written nothing but zeros, the file needs no blocks. */
int
rcvmi_template_dig_holes (int fd, uint64_t size)
{
  static const char zeros[BLOCK];
  autofree char *chunk = malloc (CHUNK);

  if (!chunk)
    return -1;
  for (uint64_t at = 0; at < size; at += CHUNK)
    {
      size_t len = size - at < CHUNK ? (size_t) (size - at) : CHUNK, hole = 0;

      if (rcvmi_pread_all (fd, chunk, len, at) < 0)
        return -1;
      for (size_t i = 0; i <= len; i += BLOCK)
        if (i < len && memcmp (chunk + i, zeros, BLOCK) == 0)
          hole += BLOCK;
        else if (hole)
          {
            if (fallocate (fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) (at + i - hole), (off_t) hole) < 0)
              return errno == EOPNOTSUPP ? 0 : -1;
            hole = 0;
          }
    }
  return 0;
}

int
rcvmi_template_seal (const char *path, const char *state, unsigned version, rcvm_error **err)
{
  struct index x = { .magic = MAGIC, .format = htole32 (FORMAT), .version = htole32 (version) };
  autoclose int fd = open (path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  autoclose int state_fd = open (state, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  autofree char *text = NULL;
  struct stat st, state_st;
  uint64_t at;

  if (fd < 0 || state_fd < 0 || fstat (fd, &st) < 0 || fstat (state_fd, &state_st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the new template '%.200s'", path);
  if (st.st_size == 0 || st.st_size % BLOCK || state_st.st_size == 0 || state_st.st_size > STATE_MAX)
    return rcvmi_fail (err, RCVM_E_VMM, 0, "the VMM saved a machine of %jd bytes of memory and %jd bytes of state, which cannot be",
                       (intmax_t) st.st_size, (intmax_t) state_st.st_size);
  text = malloc ((size_t) state_st.st_size);
  if (!text)
    return rcvmi_fail_nomem (err);
  if (rcvmi_pread_all (state_fd, text, (size_t) state_st.st_size, 0) < 0 || rcvmi_template_dig_holes (fd, (uint64_t) st.st_size) < 0)
    return rcvmi_fail_errno (err, errno, "cannot read the new template '%.200s'", path);
  x.memory = htole64 ((uint64_t) st.st_size);
  x.state_len = htole64 ((uint64_t) state_st.st_size);
  rcvmi_sha256 (text, (size_t) state_st.st_size, x.state);
  rcvmi_sha256 (&x, offsetof (struct index, digest), x.digest);
  at = (uint64_t) st.st_size + ((uint64_t) state_st.st_size + BLOCK - 1) / BLOCK * BLOCK;
  /* From here on it is ours alone again. */
  if (rcvmi_pwrite_all (fd, text, (size_t) state_st.st_size, (uint64_t) st.st_size) < 0 || rcvmi_pwrite_all (fd, &x, sizeof x, at) < 0
      || fchown (fd, geteuid (), getegid ()) < 0 || fchmod (fd, 0600) < 0)
    return rcvmi_fail_errno (err, errno, "cannot write the new template '%.200s'", path);
  return 0;
}

/* In the cache. */

int
rcvmi_template_find (const struct rcvmi_vmm *vmm, const char *key, struct rcvmi_template *t, char **note, rcvm_error **err)
{
  __attribute__ ((cleanup (rcvmi_cache_close))) struct rcvmi_cache cache = RCVMI_CACHE_INIT;
  struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_OMIT } };
  struct rcvmi_cache_record record = { 0 };
  char name[RCVMI_CACHE_NAME_SIZE];
  const char *why = NULL;
  int code = rcvmi_cache_open (&cache, NULL, err);

  if (code < 0)
    return code;
  code = rcvmi_cache_open_image (&cache, key, &t->fd, err);
  if (code < 0)
    return code;
  if (code > 0)
    {
      code = rcvmi_cache_record_check (t->fd, key, &record, &why);
      if (code == 0)
        code = rcvmi_template_check (t->fd, record.size, t, &why);
      if (code == 0 && !is_of_version (t->fd, record.size, vmm->version))
        code = bad (&why, "another version of the VMM has made it");
      if (code < 0)
        why = "it cannot be read";
      if (why)
        {
          rcvmi_template_clear (t);
          rcvmi_cache_remove (&cache, key, NULL);
          if (asprintf (note, "the template '%s' is made again, for %s", key, why) < 0)
            *note = NULL;
        }
    }
  if (t->fd < 0)
    return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "there is no template '%s'", key);
  futimens (t->fd, times);
  rcvmi_cache_name (key, name);
  t->key = strdup (key);
  if (!t->key || asprintf (&t->path, "%s/%s", cache.path, name) < 0)
    {
      t->path = NULL;
      rcvmi_template_clear (t);
      return rcvmi_fail_nomem (err);
    }
  return 0;
}

void
rcvmi_template_discard (struct rcvmi_template *t)
{
  __attribute__ ((cleanup (rcvmi_cache_close))) struct rcvmi_cache cache = RCVMI_CACHE_INIT;

  /* Our own lock would keep it. */
  cleanup_close (&t->fd);
  t->fd = -1;
  if (rcvmi_cache_open (&cache, NULL, NULL) == 0)
    rcvmi_cache_remove (&cache, t->key, NULL);
  rcvmi_template_clear (t);
}
