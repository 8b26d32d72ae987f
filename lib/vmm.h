/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Virtual machine monitors: one table of functions per driver, and what all drivers share: the child
 * process, its output, the guest's console, and the sentence that says how it died.
 *
 * A driver that lacks a function leaves it NULL; the caller gets RCVM_E_UNSUPPORTED with the names of the
 * driver and of the feature.  HACKING says how to add a driver.
 */
#ifndef RCVM_LIB_VMM_H
#define RCVM_LIB_VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <runcvm/error.h>

#include "confine.h"
#include "digest.h"
#include "ev.h"
#include "log.h"
#include "plan.h"
#include "proc.h"
#include "tsc.h"

enum
{
  RCVMI_VMM_DISKS = 24,
  RCVMI_VMM_SHARES = 8,
  RCVMI_VMM_NICS = 20,       /* at once */
  RCVMI_VMM_MORE_FDS = RCVMI_VMM_DISKS + RCVMI_VMM_SHARES + RCVMI_VMM_NICS + 2, /* for shares, NICs, a link, disks and a control socket */
  RCVMI_VMM_SPARE_NICS = 6,  /* for which there is room beyond those of the start; disks that come take theirs (QEMU) */
  RCVMI_VMM_HOT_DISKS = 8,   /* that come and go, at once */
  RCVMI_VMM_TEXT = 16 * 1024,   /* what is kept of the console and of the VMM's own output */
  RCVMI_VMM_LOG = 1024 * 1024   /* and of the console in a file */
};

/* In the VM's directory, from the guest's first word on. */
#define RCVMI_VMM_CONSOLE_LOG "console.log"

/* The last RCVMI_VMM_TEXT bytes of a stream of text. */
struct rcvmi_vmm_text
{
  int fd;
  struct rcvmi_ev_source *source;
  char *buf;
  size_t len;
  int dir_fd; /* where the log is to be; -1: it is not wanted, or could not be written */
  int log_fd;
  size_t logged;
};

#define RCVMI_VMM_TEXT_INIT ((struct rcvmi_vmm_text){ .fd = -1, .dir_fd = -1, .log_fd = -1 })

struct rcvmi_vmm_disk
{
  const char *path;
  const char *serial; /* what the guest finds it by; at most 20 characters */
  bool readonly;
  bool device;  /* a block device of the host */
  bool passing; /* gone with the VM: nothing of it need ever be on the disk of the host */
  bool own;     /* the library's own file, so that it may say whose it is */
};

/* One that comes to a VM that runs. */
struct rcvmi_vmm_hot_disk
{
  const char *path; /* on the host */
  int fd;           /* open there; stays the caller's */
  bool readonly;
  bool device;
  uint64_t bytes;
  /* What the driver says: */
  unsigned slot;   /* by which it is removed */
  char serial[16]; /* by which the guest finds it; "": it has none */
  bool kept;       /* the guest has the slot's device already */
};

struct rcvmi_vmm_nic
{
  unsigned number; /* of the VM's NICs; not used twice */
  int tap_fd;      /* stays the caller's; -1 for drivers that open TAPs by name */
  const char *tap_name;
  uint8_t mac[6];
  /* Of the link alone.  The guest could never give an interface a larger one than its device has, and that may grow outside, or be another
     where a saved VM goes on: its agent sets that of all others. */
  unsigned mtu;
};

/* A directory of the host that a server of its own shares with the guest. */
struct rcvmi_vmm_share
{
  int fd;       /* a connection to the server (vhost-user); stays the caller's */
  char tag[36]; /* by which the guest mounts it */
};

/* A machine that stands still, in files. */
struct rcvmi_vmm_saved
{
  const char *memory;           /* the guest's; NULL: there is none */
  const char *state;            /* all the rest; to go on from it: NULL, and it is ... */
  int state_fd;                 /* ... in this file */
  uint64_t state_at, state_len; /* from here on */
  const char *what;             /* "the template" in "Firecracker refused %s"; NULL: that */
};

struct rcvmi_vmm_config
{
  const char *id;
  int dir_fd; /* the VM's directory, where sockets may be made; the driver removes them */
  const char *kernel; /* as the VMM sees it, as all paths here */
  const char *initramfs;
  const char *host_kernel; /* NULL: the same */
  const char *kernel_args; /* of the user; may be NULL */
  uint64_t memory;         /* bytes */
  uint64_t more_memory;    /* that may be added later; of whole 128 MiB */
  unsigned cpus;
  struct rcvmi_vmm_disk disks[RCVMI_VMM_DISKS];
  size_t n_disks;
  char seen[RCVMI_VMM_DISKS][32]; /* for paths in a confinement */
  struct rcvmi_vmm_nic nics[RCVMI_VMM_NICS];
  size_t n_nics;
  struct rcvmi_vmm_nic link; /* to the volumes' server and nowhere else; without a tap_name there is none */
  struct rcvmi_vmm_share shares[RCVMI_VMM_SHARES];
  size_t n_shares;
  struct rcvmi_tuning tuning; /* its strings stay the caller's */
  bool hotplug;     /* devices may come later; */
  bool nic_hotplug; /* NICs, too */
  bool balloon;     /* memory that the guest frees goes back to the host */
  bool volumes;     /* the guest gets the port of the volumes' tunnels */
  bool verbose; /* the guest's kernel talks on the console */
  struct rcvmi_vmm_saved from; /* it does not boot, but goes on from there */
  struct rcvmi_vmm_saved into; /* for rcvmi_vmm_save: files that are there, and empty */
};

struct rcvmi_vmm_ops;

enum rcvmi_vmm_channel
{
  RCVMI_VMM_AGENT,
  RCVMI_VMM_VOLUMES,
  RCVMI_VMM_CHANNELS
};

/* Where the guest connects to a channel, until it has. */
struct rcvmi_vmm_listener
{
  struct rcvmi_vmm *vmm;
  int fd;
  struct rcvmi_ev_source *source;
};

#define RCVMI_VMM_LISTENERS_INIT { { .fd = -1 }, { .fd = -1 } }

/* What a VMM reports.  None is called from within a function of this header. */
struct rcvmi_vmm_handler
{
  /* The VMM has accepted its configuration and runs the guest. */
  void (*running) (void *user);
  /* The guest has connected to a channel: rcvmi_vmm_take_agent, rcvmi_vmm_take_volumes. */
  void (*connected) (void *user);
  /* It has ended, by whatever cause but rcvmi_vmm_stop. */
  void (*died) (void *user, rcvm_error *err);
};

struct rcvmi_vmm
{
  const struct rcvmi_vmm_ops *ops;
  struct rcvmi_ev *ev;
  const struct rcvmi_log *log;
  const struct rcvmi_vmm_handler *handler;
  void *user;

  char *program; /* path of the VMM's executable */
  unsigned version; /* of it, as RCVMI_VMM_VERSION; 0: not asked */
  const char *accel; /* "kvm" or "tcg" */
  char *accel_reason; /* why it is not kvm, or NULL */
  bool killed;        /* it has ended by a signal */
  bool confined;      /* the process shall be (docs/confinement.md) */
  struct rcvmi_confine *confine; /* from its start on, where it is */
  char *jailer; /* the program that does a part of that; NULL: none */
  struct rcvmi_tsc tsc; /* of when it was looked for */
  struct rcvmi_proc proc;
  struct rcvmi_ev_source *proc_source;
  int agent_fd;   /* our end of the agent channel, until it is taken; -1: not yet there */
  int volumes_fd; /* and of the volumes' */
  struct rcvmi_vmm_listener listeners[RCVMI_VMM_CHANNELS];
  struct rcvmi_vmm_text output;
  struct rcvmi_vmm_text console;
  void *state; /* of the driver */
};

struct rcvmi_vmm_ops
{
  const char *name;
  bool needs_kvm;
  uint64_t overhead;         /* bytes that the VMM and its helpers take beyond the guest's memory, at most */
  uint64_t overhead_per_cpu;
  const char *complaint; /* how a line of its output begins that says why it ended; NULL: the last line */
  bool has_virtiofs;
  bool has_link;   /* takes config->link */
  bool opens_taps; /* by their names, in the caller's network namespace */
  bool hotplug_is_slow; /* a VM boots slower with it: for those that may need it */
  bool nics_stay;  /* those that were detached, as devices that nobody drives: a MAC cannot come twice */
  unsigned nic_hotplug_since; /* the version of which NICs can come to a VM that runs; 0: any, where there is add_nic */
  /* Finds vmm->program, and asks it for what has to be known. */
  int (*probe) (struct rcvmi_vmm *vmm, rcvm_error **err);
  /* Finds vmm->jailer. */
  int (*find_jailer) (struct rcvmi_vmm *vmm, rcvm_error **err);
  /* Starts the process; `running` follows. */
  int (*start) (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, rcvm_error **err);
  int (*pause) (struct rcvmi_vmm *vmm, rcvm_error **err);
  int (*resume) (struct rcvmi_vmm *vmm, rcvm_error **err);
  /* Makes the machine boot once more. */
  int (*reset) (struct rcvmi_vmm *vmm, rcvm_error **err);
  /* Of a VM with a balloon: `taken` bytes of its memory go back to the host. */
  int (*set_balloon) (struct rcvmi_vmm *vmm, uint64_t memory, uint64_t taken, rcvm_error **err);
  /* So many bytes of what may be added are. */
  int (*set_more_memory) (struct rcvmi_vmm *vmm, uint64_t more, rcvm_error **err);
  /* To a guest that runs.  The guest is told by the agent protocol; before a NIC is removed it has let go of it. */
  int (*add_nic) (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_nic *nic, rcvm_error **err);
  int (*remove_nic) (struct rcvmi_vmm *vmm, unsigned number, rcvm_error **err);
  /* A disk, to a guest that runs; before it is removed the guest has let go of it. */
  int (*add_disk) (struct rcvmi_vmm *vmm, struct rcvmi_vmm_hot_disk *disk, rcvm_error **err);
  int (*remove_disk) (struct rcvmi_vmm *vmm, unsigned slot, rcvm_error **err);
  /* What the VMM has counted, as Prometheus text about the VM `id`, to be freed.  `stands_still`: it is paused. */
  char *(*figures) (struct rcvmi_vmm *vmm, const char *id, bool stands_still, rcvm_error **err);
  /* What a machine is that goes on where another one was saved, as this driver would tell it to the VMM: equal for machines that
     may.  Of disks, TAPs and files it takes what rcvmi_vmm_generalise makes of them. */
  int (*shape) (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, struct rcvmi_sha256 *sha, rcvm_error **err);
  /* Stops a machine and writes it into config->into of its start.  Blocks. */
  int (*save) (struct rcvmi_vmm *vmm, rcvm_error **err);
  /* A VM that runs is saved, and goes on.  In the monitor: these empty files of the host are the VMM's to write to, until they are
     withdrawn; what the other two need, in a worker, as its RCVMI_PROC_FORK_FD; and the guest will connect once more. */
  int (*offer) (struct rcvmi_vmm *vmm, const char *memory, const char *state, rcvm_error **err);
  void (*withdraw) (struct rcvmi_vmm *vmm);
  int (*control) (struct rcvmi_vmm *vmm);
  int (*listen_again) (struct rcvmi_vmm *vmm, rcvm_error **err);
  /* In a worker, and without a limit of time.  `noted`: of the memory no more is written than what the VMM has noted as changed, over the
     file that is there (tuning.track_memory); it then begins to note anew, and so it does after one that is whole. */
  int (*save_running) (bool noted, rcvm_error **err);
  int (*go_on_running) (rcvm_error **err);
  /* Lets go of what start made; the process is dead already. */
  void (*clear) (struct rcvmi_vmm *vmm);
};

extern const struct rcvmi_vmm_ops rcvmi_vmm_firecracker;
extern const struct rcvmi_vmm_ops rcvmi_vmm_qemu;

/* What a VM will need of its driver, or will probably. */
enum rcvmi_vmm_need
{
  RCVMI_VMM_NEEDS_MORE_NICS = 1, /* network interfaces come later */
  RCVMI_VMM_NEEDS_VIRTIOFS = 2,
  RCVMI_VMM_NEEDS_LINK = 4
};
/* Chooses a driver and an accelerator: what was asked for, or (auto) the best that can run here and has what is needed. */
int rcvmi_vmm_choose (struct rcvmi_vmm *vmm, enum rcvmi_hypervisor wanted, unsigned needs, rcvm_error **err);
/* Whether the driver that was chosen can attach network interfaces to a VM that runs. */
bool rcvmi_vmm_can_attach_nics (const struct rcvmi_vmm *vmm);
/* RCVM_E_UNSUPPORTED for a VMM that has no jailer, RCVM_E_HOST where its program is missing. */
int rcvmi_vmm_find_jailer (struct rcvmi_vmm *vmm, rcvm_error **err);
/* Starts the guest.  The caller has set ev, log, handler and user. */
int rcvmi_vmm_start (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, rcvm_error **err);
/* Our end of a channel, the caller's from then on; -1: `connected` of the handler will say when. */
int rcvmi_vmm_take_agent (struct rcvmi_vmm *vmm);
/* What is to be added to the guest's memory for a limit that the VMM does not run into. */
uint64_t rcvmi_vmm_overhead (const struct rcvmi_vmm *vmm, unsigned cpus);
int rcvmi_vmm_take_volumes (struct rcvmi_vmm *vmm);
/* The last line that the guest's console has shown, in printable ASCII; "" for none. */
void rcvmi_vmm_last_words (struct rcvmi_vmm *vmm, char *line, size_t size);
/* RCVM_E_UNSUPPORTED where the driver cannot. */
int rcvmi_vmm_pause (struct rcvmi_vmm *vmm, rcvm_error **err);
int rcvmi_vmm_resume (struct rcvmi_vmm *vmm, rcvm_error **err);
int rcvmi_vmm_reset (struct rcvmi_vmm *vmm, rcvm_error **err);
/* Of a VM that was made with `memory` bytes and a balloon: `taken` of them go back to the host, as far as the guest can do without. */
int rcvmi_vmm_set_balloon (struct rcvmi_vmm *vmm, uint64_t memory, uint64_t taken, rcvm_error **err);
/* Of a VM that was made with as many bytes of more_memory at least. */
int rcvmi_vmm_set_more_memory (struct rcvmi_vmm *vmm, uint64_t more, rcvm_error **err);
int rcvmi_vmm_add_nic (struct rcvmi_vmm *vmm, const struct rcvmi_vmm_nic *nic, rcvm_error **err);
int rcvmi_vmm_remove_nic (struct rcvmi_vmm *vmm, unsigned number, rcvm_error **err);
int rcvmi_vmm_add_disk (struct rcvmi_vmm *vmm, struct rcvmi_vmm_hot_disk *disk, rcvm_error **err);
/* After a failure the slot stays taken, and the VMM may still have the disk. */
int rcvmi_vmm_remove_disk (struct rcvmi_vmm *vmm, unsigned slot, rcvm_error **err);
/* Stops the guest for good and writes the machine into config->into of its start; blocks.  RCVM_E_UNSUPPORTED. */
int rcvmi_vmm_save (struct rcvmi_vmm *vmm, rcvm_error **err);
/* Whether VMs of it can go on from what others have saved.  RCVM_E_UNSUPPORTED, with a sentence. */
int rcvmi_vmm_check_restore (const struct rcvmi_vmm *vmm, const struct rcvmi_tuning *tuning, rcvm_error **err);
/* The same for one that runs a container, and can go on. */
int rcvmi_vmm_check_save (const struct rcvmi_vmm *vmm, rcvm_error **err);
/* vmm-offer.c: the files of the host appear in the VMM's working directory, over empty ones of these names; and go. */
int rcvmi_vmm_offer (struct rcvmi_vmm *vmm, int dir_fd, const char *const *names, const char *const *files, size_t n, rcvm_error **err);
void rcvmi_vmm_withdraw (struct rcvmi_vmm *vmm, int dir_fd, const char *const *names, size_t n);
/* Takes out of a configuration what is one VM's own; seen[] holds what is put in its place. */
void rcvmi_vmm_generalise (struct rcvmi_vmm_config *config);
/* The MAC that a NIC has in the place of its own then. */
void rcvmi_vmm_general_mac (unsigned number, uint8_t mac[6]);
/* Kills the process if it runs, and frees everything.  No handler is called any more. */
void rcvmi_vmm_stop (struct rcvmi_vmm *vmm);

/* For drivers. */

/* vmm-confine.c */

/* Makes vmm->confine, with what every VMM has to see; in `config`, paths become those that it sees. */
int rcvmi_vmm_confine (struct rcvmi_vmm *vmm, struct rcvmi_vmm_config *config, rcvm_error **err);
/* Spawns vmm->proc, confined where the VMM is; `how` says the rest. */
int rcvmi_vmm_spawn_as (struct rcvmi_vmm *vmm, struct rcvmi_proc_how *how, rcvm_error **err);

/* Spawns vmm->program with `argv`, the console's, the agent's and the volumes' ends as fd 3, 4 and 5, then `more`. */
int rcvmi_vmm_spawn (struct rcvmi_vmm *vmm, char *const argv[], const int *more, size_t n_more,
                     rcvm_error **err);
/* The same for a VMM whose standard output is the console, in the directory `dir_fd`, and without channels.  With `log`, its
   other output comes from a FIFO of that name there, which it can open. */
int rcvmi_vmm_spawn_plain (struct rcvmi_vmm *vmm, char *const argv[], int dir_fd, const char *log, rcvm_error **err);
/* Makes the socket dir_fd/NAME, to which the VMM connects for the guest; `connected` follows.  One connection is taken. */
int rcvmi_vmm_listen (struct rcvmi_vmm *vmm, enum rcvmi_vmm_channel channel, int dir_fd, const char *name, rcvm_error **err);

/* vmm-program.c */

enum
{
  RCVMI_VMM_MINOR = 1000
};
#define RCVMI_VMM_VERSION(major, minor) ((unsigned) (major) * RCVMI_VMM_MINOR + (unsigned) (minor))

/* Looks for a program: the environment's variable, then PATH.  A path to free, or NULL. */
char *rcvmi_vmm_find_program (const char *variable, const char *name);
/* Runs PROGRAM --version, and reads "PREFIX1.7" in what it says as RCVMI_VMM_VERSION (1, 7). */
int rcvmi_vmm_ask_version (const char *program, const char *prefix, unsigned *version, rcvm_error **err);

/* Whether a guest can really run on /dev/kvm; if not, *reason (to be freed) says why. */
bool rcvmi_vmm_kvm_usable (char **reason);

/* The number of modules that a guest.json lists, and the kernel's release (to be freed); -1 if it cannot be read. */
int rcvmi_vmm_guest_modules (const char *path, char **release);

/* Whether it is a vmlinux (and no bzImage). */
bool rcvmi_vmm_kernel_is_elf (const char *kernel);
/* Whether these words are somewhere in it; one that is not compressed. */
bool rcvmi_vmm_kernel_has (const char *kernel, const char *text);

/* What the files at hand allow: RCVM_E_HOST for a kernel that is none and an initramfs that is missing,
   RCVM_E_INVALID for memory below what they need. */
int rcvmi_vmm_check_files (const char *kernel, const char *initramfs, uint64_t memory, rcvm_error **err);

#endif
