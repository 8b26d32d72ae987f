/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a VM is, as requests of Firecracker's API (its src/firecracker/swagger/firecracker.yaml). */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm-firecracker.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"

enum
{
  MIB = 1024 * 1024
};

/* One keyboard controller, which is the reset line and has no keyboard; one serial line, the console; no time spent on the
   kernel's tests of its own ciphers. */
#define BOOT_ARGS                                                                                                    \
  "console=ttyS0 8250.nr_uarts=1 reboot=k panic=-1 i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd "               \
  "random.trust_cpu=on cryptomgr.notests"
/* Memory that comes is used, and can go again. */
#define MORE_MEMORY " memhp_default_state=online_movable"
/* Nothing is looked for where no PCI is. */
#define NO_PCI " pci=off"

void
rcvmi_fc_add (struct rcvmi_fc_requests *r, const char *method, const char *path, struct json_object *body, const char *what)
{
  struct rcvmi_fc_request *q = &r->list[r->n];
  const char *text = body ? json_object_to_json_string_ext (body, JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;

  if (r->n == RCVMI_FC_REQUESTS)
    r->failed = true;
  else
    {
      *q = (struct rcvmi_fc_request){ .method = method, .path = strdup (path), .body = text ? strdup (text) : NULL };
      snprintf (q->what_buf, sizeof q->what_buf, "%s", what);
      q->what = q->what_buf;
      r->failed |= !q->path || !q->body;
      r->n++;
    }
  json_object_put (body);
}

void
rcvmi_fc_requests_clear (struct rcvmi_fc_requests *r)
{
  for (size_t i = 0; i < r->n; i++)
    {
      free (r->list[i].path);
      free (r->list[i].body);
    }
  *r = (struct rcvmi_fc_requests){ 0 };
}

/* Objects that grow; a failure shows when they are printed: an object that lacks a member is not sent. */
struct object
{
  struct json_object *o;
  bool failed;
};

static struct object
new_object (void)
{
  struct object b = { .o = json_object_new_object () };

  b.failed = !b.o;
  return b;
}

static void
put (struct object *b, const char *name, struct json_object *value)
{
  if (b->failed || !value || json_object_object_add (b->o, name, value) < 0)
    {
      json_object_put (value);
      b->failed = true;
    }
}

static void
put_string (struct object *b, const char *name, const char *value)
{
  put (b, name, json_object_new_string (value));
}

static void
put_int (struct object *b, const char *name, uint64_t value)
{
  put (b, name, json_object_new_int64 ((int64_t) value));
}

static void
put_bool (struct object *b, const char *name, bool value)
{
  put (b, name, json_object_new_boolean (value));
}

static void
put_bucket (struct object *b, const char *name, uint64_t size, uint64_t ms)
{
  struct object bucket = new_object ();

  put_int (&bucket, "size", size);
  put_int (&bucket, "refill_time", ms);
  put (b, name, bucket.failed ? NULL : steal_ptr (bucket.o));
  json_object_put (bucket.o);
}

/* Refilled every 100 ms, so that a burst stays short.  But one request that takes more than a full bucket has makes Firecracker wait for
   what it lacks in whole milliseconds, and if that is less than one, for ever.  So either the bucket has room for the largest request, or
   what is lacking, which is whole sectors, is worth a millisecond. */
static void
put_bandwidth (struct object *b, uint64_t per_second, uint64_t largest, uint64_t unit)
{
  enum { MS = 100, SECOND = 1000, ENOUGH = 900 /* of which one is more than a thousandth */ };
  uint64_t size = per_second * MS / SECOND;

  if (per_second < unit * ENOUGH)
    size = (size / unit + 1) * unit;
  else if (size < largest)
    size = largest;
  put_bucket (b, "bandwidth", size, size * SECOND / per_second);
}

static void
put_ops (struct object *b, uint64_t per_second)
{
  enum { MANY = 10000 };
  uint64_t ms = per_second < MANY ? 1000 : 100;

  put_bucket (b, "ops", per_second * ms / 1000, ms);
}

/* What one request takes: of a disk, what Linux asks for at most (BLK_DEF_MAX_SECTORS), and in what it is counted; of an interface, any
   number of bytes up to a packet that is not cut yet, with its headers. */
enum
{
  DISK_LARGEST = 1280 * 1024,
  DISK_UNIT = 512,
  NIC_LARGEST = 65536 + 256,
  NIC_UNIT = 0
};

static void
put_limiter (struct object *b, const char *name, uint64_t bandwidth, uint64_t ops, uint64_t largest, uint64_t unit)
{
  struct object limiter;

  if (!bandwidth && !ops)
    return;
  limiter = new_object ();
  if (bandwidth)
    put_bandwidth (&limiter, bandwidth, largest, unit);
  if (ops)
    put_ops (&limiter, ops);
  put (b, name, limiter.failed ? NULL : steal_ptr (limiter.o));
  json_object_put (limiter.o);
}

static void
request (struct rcvmi_fc_requests *r, const char *path, struct object *b, const char *what)
{
  if (b->failed)
    {
      json_object_put (steal_ptr (b->o));
      r->failed = true;
      return;
    }
  rcvmi_fc_add (r, "PUT", path, steal_ptr (b->o), what);
}

static void
put_boot_source (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_config *c)
{
  struct object b = new_object ();
  autofree char *args = NULL;

  if (asprintf (&args, "%s%s%s %s rcvm.agent=vsock:%d%s%s", BOOT_ARGS, c->hotplug ? "" : NO_PCI, c->more_memory ? MORE_MEMORY : "",
                c->verbose ? "loglevel=7" : "quiet", RCVMI_FC_AGENT_PORT, c->kernel_args ? " " : "",
                c->kernel_args ? c->kernel_args : "")
      < 0)
    {
      args = NULL;
      b.failed = true;
    }
  put_string (&b, "kernel_image_path", c->kernel);
  put_string (&b, "initrd_path", c->initramfs);
  if (args)
    put_string (&b, "boot_args", args);
  request (r, "/boot-source", &b, "the kernel");
}

/* A CPU template of one's own, and not the name of one of Firecracker's. */
static bool
is_file (const char *cpu_template)
{
  return strchr (cpu_template, '/') != NULL;
}

static int
put_cpu_config (struct rcvmi_fc_requests *r, const char *path, rcvm_error **err)
{
  struct json_object *o = json_object_from_file (path);

  if (!o || !json_object_is_type (o, json_type_object))
    {
      json_object_put (o);
      return rcvmi_fail (err, RCVM_E_INVALID, 0,
                         "the CPU template %s is no file with a JSON object: give such a file, or the name of one of Firecracker's",
                         path);
    }
  rcvmi_fc_add (r, "PUT", "/cpu-config", o, "the CPU template");
  return 0;
}

static void
put_machine (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_config *c)
{
  struct object b = new_object ();

  put_int (&b, "vcpu_count", c->cpus);
  put_int (&b, "mem_size_mib", c->memory / MIB);
  put_bool (&b, "smt", false);
  if (c->tuning.track_memory)
    put_bool (&b, "track_dirty_pages", true);
  if (c->tuning.huge_pages)
    put_string (&b, "huge_pages", "2M");
  if (c->tuning.cpu_template && !is_file (c->tuning.cpu_template))
    put_string (&b, "cpu_template", c->tuning.cpu_template);
  request (r, "/machine-config", &b, "the number of CPUs and the memory");
}

/* The guest finds its disks by their order, which is that of the requests. */
static void
put_drive (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_disk *d, const struct rcvmi_tuning *t)
{
  struct object b = new_object ();
  char path[64], what[64];

  put_string (&b, "drive_id", d->serial);
  put_string (&b, "path_on_host", d->path);
  put_bool (&b, "is_root_device", false);
  put_bool (&b, "is_read_only", d->readonly);
  /* What the guest flushes is on the host's disk then, where it is to outlive the VM. */
  put_string (&b, "cache_type", d->readonly || d->passing ? "Unsafe" : "Writeback");
  put_string (&b, "io_engine", t->async_io ? "Async" : "Sync");
  put_limiter (&b, "rate_limiter", t->disk_bandwidth, t->disk_ops, DISK_LARGEST, DISK_UNIT);
  snprintf (path, sizeof path, "/drives/%s", d->serial);
  snprintf (what, sizeof what, "the drive '%s'", d->serial);
  request (r, path, &b, what);
}

void
rcvmi_fc_put_hot_disk (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_hot_disk *d, const char *path, const struct rcvmi_tuning *t)
{
  char id[16];
  struct rcvmi_vmm_disk disk = { .path = path, .serial = id, .readonly = d->readonly, .device = d->device };

  snprintf (id, sizeof id, "hot%u", d->slot);
  put_drive (r, &disk, t);
}

void
rcvmi_fc_change_hot_disk (struct rcvmi_fc_requests *r, unsigned slot, const char *path)
{
  struct object b = new_object ();
  char id[16], place[32], what[40];

  snprintf (id, sizeof id, "hot%u", slot);
  snprintf (place, sizeof place, "/drives/%s", id);
  snprintf (what, sizeof what, "the drive '%s'", id);
  put_string (&b, "drive_id", id);
  put_string (&b, "path_on_host", path);
  if (b.failed)
    {
      json_object_put (b.o);
      b.o = NULL;
    }
  rcvmi_fc_add (r, "PATCH", place, b.o, what);
}

void
rcvmi_fc_put_nic (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_nic *n, const struct rcvmi_tuning *t)
{
  struct object b = new_object ();
  char id[32], mac[18], path[64], what[64];
  const uint8_t *m = n->mac;

  snprintf (id, sizeof id, "nic%u", n->number);
  snprintf (mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
  put_string (&b, "iface_id", id);
  put_string (&b, "guest_mac", mac);
  put_string (&b, "host_dev_name", n->tap_name);
  put_limiter (&b, "rx_rate_limiter", t->net_bandwidth, 0, NIC_LARGEST, NIC_UNIT);
  put_limiter (&b, "tx_rate_limiter", t->net_bandwidth, 0, NIC_LARGEST, NIC_UNIT);
  snprintf (path, sizeof path, "/network-interfaces/%s", id);
  snprintf (what, sizeof what, "the network interface '%s'", n->tap_name);
  request (r, path, &b, what);
}

static void
put_vsock (struct rcvmi_fc_requests *r)
{
  struct object b = new_object ();

  put_int (&b, "guest_cid", RCVMI_FC_GUEST_CID);
  put_string (&b, "uds_path", RCVMI_FC_VSOCK);
  request (r, "/vsock", &b, "the vsock device");
}

static void
put_simple (struct rcvmi_fc_requests *r, const char *path, const char *name, const char *value, const char *what)
{
  struct object b = new_object ();

  if (name)
    put_string (&b, name, value);
  request (r, path, &b, what);
}

/* The balloon is empty at first; it also carries the guest's reports of pages that it has freed. */
static void
put_balloon (struct rcvmi_fc_requests *r)
{
  struct object b = new_object ();

  put_int (&b, "amount_mib", 0);
  put_bool (&b, "deflate_on_oom", true);
  put_bool (&b, "free_page_reporting", true);
  request (r, "/balloon", &b, "the balloon");
}

/* None of it is there at first. */
static void
put_more_memory (struct rcvmi_fc_requests *r, uint64_t bytes)
{
  struct object b = new_object ();

  put_int (&b, "total_size_mib", bytes / MIB);
  request (r, "/hotplug/memory", &b, "the memory that may be added");
}

/* What this version does not know. */
static int
check_version (const struct rcvmi_vmm_config *c, unsigned version, rcvm_error **err)
{
  const struct
  {
    bool wanted;
    unsigned since;
    const char *what;
  } features[] = {
    { c->balloon, RCVMI_FC_REPORTING_SINCE, "give the host memory that the guest has freed" },
    { c->more_memory > 0, RCVMI_FC_MEMORY_SINCE, "add memory to a VM that runs" },
    { c->hotplug, RCVMI_FC_HOTPLUG_SINCE, "attach devices to a VM that runs" },
    { c->tuning.track_memory, RCVMI_FC_TRACKING_SINCE, "be relied on to track the memory of a VM" },
  };

  for (size_t i = 0; i < sizeof features / sizeof features[0]; i++)
    if (features[i].wanted && version < features[i].since)
      return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "Firecracker %u.%u cannot %s: 1.%u is the first that can",
                         version / RCVMI_VMM_MINOR, version % RCVMI_VMM_MINOR, features[i].what,
                         features[i].since % RCVMI_VMM_MINOR);
  return 0;
}

int
rcvmi_fc_configure (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_config *c, unsigned version, rcvm_error **err)
{
  *r = (struct rcvmi_fc_requests){ .wait = true };
  if (c->cpus > RCVMI_FC_CPUS_MAX)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "Firecracker gives a VM at most %d CPUs, and %u were asked for",
                       RCVMI_FC_CPUS_MAX, c->cpus);
  if (check_version (c, version, err) < 0)
    return RCVM_E_UNSUPPORTED;
  put_boot_source (r, c);
  put_machine (r, c);
  if (c->tuning.cpu_template && is_file (c->tuning.cpu_template) && put_cpu_config (r, c->tuning.cpu_template, err) < 0)
    {
      rcvmi_fc_requests_clear (r);
      return RCVM_E_INVALID;
    }
  for (size_t i = 0; i < c->n_disks; i++)
    put_drive (r, &c->disks[i], &c->tuning);
  for (size_t i = 0; i < c->n_nics; i++)
    rcvmi_fc_put_nic (r, &c->nics[i], &c->tuning);
  put_vsock (r);
  if (c->balloon)
    put_balloon (r);
  if (c->more_memory)
    put_more_memory (r, c->more_memory);
  put_simple (r, "/entropy", NULL, NULL, "the entropy device");
  put_simple (r, "/actions", "action_type", "InstanceStart", "to start the VM");
  if (!r->failed)
    return 0;
  rcvmi_fc_requests_clear (r);
  return rcvmi_fail_nomem (err);
}
