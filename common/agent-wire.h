/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The agent protocol: what the monitor on the host and rcvm-init in the guest say to each
 * other over one byte stream (virtio-serial port "org.runcvm.agent", or vsock).
 *
 * The stream is a sequence of frames.  A frame is a 12-byte header (payload length, type, a
 * reserved zero, process number; little endian) and its payload.  Process number 0 is the
 * container's own process, others are execs and are chosen by the host; a number is free again
 * after its EXIT or FAILED frame.
 *
 *   guest                                  host
 *     HELLO            ------------------>              once, when the agent runs
 *                      <------------------  SETUP       once: mounts, names, devices, sysctls
 *     READY | FAILED   ------------------>
 *                      <------------------  EXEC n      start process n
 *     STARTED n | FAILED n -------------->
 *     STDOUT n, STDERR n  <-->  STDIN n     SIGNAL n, RESIZE n
 *     EXIT n           ------------------>              always after the last STDOUT/STDERR byte
 *                      <------------------  SHUTDOWN    sync, unmount
 *     GOODBYE          ------------------>              the disk is quiet: the VMM may be killed
 *
 * Flow control is per process and stream: a sender may have AGENT_WINDOW unacknowledged bytes
 * under way, and WINDOW frames from the receiver give back what it has passed on.  So a
 * reader that stalls holds up its own stream and no other, and buffers are bounded.  An empty
 * STDIN, STDOUT or STDERR frame is that stream's end.  CLOSE says that the receiver of a stream has
 * gone away: the sender drops what is left (the guest closes its end of the pipe, so that the
 * process sees EPIPE as it would anywhere).
 *
 * Tunnels carry the connections of the guest's kernel to the volume server of this VM (docs/volumes.md).  They have a
 * stream of their own, port "org.runcvm.volumes" or the next vsock port, and in the guest a process of its own: the
 * agent may wait for a pipe that somebody has locked while he waits for a volume.  The guest chooses their numbers:
 *
 *     CONNECT n        ------------------>              at once followed by data, if there is any
 *     TUNNEL_DATA n    <----------------->              TUNNEL_WINDOW n gives credit back, as with streams
 *     TUNNEL_CLOSE n   <----------------->              each side says it once; then the number is free again
 *
 * A machine that goes on from a snapshot finds its connections by vsock reset.  An agent that has had no SETUP yet connects once
 * more then, and begins with HELLO (docs/templates.md).  So does one that is quiet, with all that it had (docs/snapshots.md):
 *
 *                      <------------------  QUIESCE n   the last that the host says
 *     QUIESCED n       ------------------>              the last that the guest says, unless it could not
 *     HELLO            ------------------>              by a new connection, if the old one was reset
 *                      <------------------  GO_ON n     what is another's now: time, random numbers, names, interfaces
 *     GONE_ON n        ------------------>              from here on as before
 *
 * The host treats everything in guest-to-host frames as hostile.
 */
#ifndef RCVM_COMMON_AGENT_WIRE_H
#define RCVM_COMMON_AGENT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_VERSION 1
#define AGENT_NAME_SERVER "127.0.0.11" /* where Docker's is */
#define AGENT_PORT_NAME "org.runcvm.agent"
#define AGENT_VOLUMES_PORT_NAME "org.runcvm.volumes"

enum
{
  AGENT_HEADER = 12,
  AGENT_WINDOW = 256 * 1024,
  AGENT_TUNNEL_CREDIT = 1024 * 1024,  /* unacknowledged bytes of a tunnel, each way */
  AGENT_TUNNELS_MAX = 16,             /* at once */
  AGENT_NAME_QUERY_MIN = 12, /* a DNS message's header */
  AGENT_NAME_QUERY_MAX = 4096,
  AGENT_DISKS_MAX = 8,                /* that come and go, at once */
  AGENT_DATA_MAX = 64 * 1024,         /* payload of a stream frame, and of any guest frame */
  AGENT_REQUEST_MAX = 8 * 1024 * 1024 /* payload of SETUP and EXEC (argv and env live there) */
};

enum agent_frame
{
  /* guest to host */
  AGENT_HELLO = 1,   /* record: A_VERSION, A_KERNEL, A_BOOT_USEC */
  AGENT_READY = 2,   /* record: A_SETUP_USEC */
  AGENT_STARTED = 3, /* record: A_PID (in the guest's root PID namespace) */
  AGENT_FAILED = 4,  /* record: A_STAGE, A_ERRNO, A_MESSAGE, A_EXIT_CODE; answers SETUP or EXEC */
  AGENT_EXIT = 5,    /* record: A_EXIT_CODE or A_SIGNAL (and A_CORE) */
  AGENT_GOODBYE = 6, /* empty */
  AGENT_LOG = 7,     /* record: A_LEVEL, A_MESSAGE */
  AGENT_NET_ANSWER = 8, /* answers NET_ADD, NET_DEL and NET_QUERY of the same number.  Record: A_STAGE, A_ERRNO,
                           A_MESSAGE if it failed; else S_NETWORK, repeated: what there is (none for NET_DEL) */
  AGENT_CGROUP_ANSWER = 12, /* answers CGROUP_SET and CGROUP_GET of the same number.  Record: A_STAGE, A_ERRNO, A_MESSAGE
                               if it failed; else K_NAME/K_VALUE pairs: what the files hold (none for CGROUP_SET) */
  AGENT_OOM = 13,           /* record: A_BYTES: how many processes of the container the kernel has killed for want of
                               memory, by now */
  AGENT_NAME_QUERY = 14,    /* a DNS message, at least AGENT_NAME_QUERY_MIN bytes; the number is the guest's for the answer */
  AGENT_FROZEN = 10,        /* answers FREEZE.  Record: A_STAGE, A_ERRNO, A_MESSAGE if it failed; else A_CLOCK_NSEC: what is
                               written after the thaw has this time of change or a later one */
  AGENT_THAWED = 11,        /* follows FROZEN that was no failure, once.  Record: A_STAGE, A_ERRNO, A_MESSAGE if it did not
                               stay frozen until THAW came */
  AGENT_CHANGED = 15,       /* empty: there are changes in the copies that are watched; not said again before the next FROZEN */
  AGENT_SYNCED = 37,        /* answers SYNC of the same number.  Record: A_STAGE, A_ERRNO, A_MESSAGE if it failed; else
                               A_CLOCK_NSEC: the guest's CLOCK_REALTIME_COARSE before */
  AGENT_DISK_ANSWER = 38,   /* answers DISK_ADD and DISK_DEL of the same number.  Record: A_STAGE, A_ERRNO, A_MESSAGE if it failed; else
                               empty */
  AGENT_QUIESCED = 48,      /* answers QUIESCE of the same number: no process of the container runs, what was written is on the disks.
                               Record: A_STAGE, A_ERRNO, A_MESSAGE if that cannot be, and all goes on as before; else empty */
  AGENT_GONE_ON = 49,       /* answers GO_ON of the same number.  Record: A_STAGE, A_ERRNO, A_MESSAGE if it failed; else empty */
  AGENT_CONNECT = 9,    /* record: A_SHARE, or empty; the process number is here, and in the TUNNEL frames, that of a tunnel */
  /* host to guest */
  AGENT_SETUP = 16,    /* record: enum agent_setup_tag */
  AGENT_EXEC = 17,     /* record: enum agent_exec_tag */
  AGENT_SIGNAL = 18,   /* record: A_SIGNAL, A_ALL (1: every process of the container) */
  AGENT_RESIZE = 19,   /* record: A_ROWS, A_COLS */
  AGENT_SHUTDOWN = 20, /* empty */
  /* The process number is here one that the host chooses for the answer. */
  AGENT_NET_ADD = 21,   /* record: enum agent_net_tag: an interface that was attached */
  AGENT_NET_DEL = 22,   /* record: N_MAC: one that will be detached */
  AGENT_NET_QUERY = 23, /* empty */
  AGENT_NOTIFY = 24,    /* record: V_DESTINATION, V_PATH: somebody else has changed this in a volume */
  AGENT_CGROUP_SET = 26, /* record: K_NAME/K_VALUE pairs: files of the container's cgroup, and what to write */
  AGENT_CGROUP_GET = 27, /* record: K_NAME, repeated: files of it that are to be read; those that are missing are left out */
  AGENT_SYNC = 25,       /* empty: what was written until now shall be on the disks */
  AGENT_NAME_ANSWER = 29, /* a DNS message */
  AGENT_FREEZE = 30, /* empty: nobody shall write to the disk of copies, and all that was written be on it */
  AGENT_THAW = 31,   /* empty: of the same number */
  AGENT_DISK_ADD = 44, /* record: enum agent_disk_tag: a disk that was attached */
  AGENT_DISK_DEL = 45, /* record: B_SLOT: one that will be detached */
  AGENT_QUIESCE = 46, /* empty: the machine is about to be saved */
  AGENT_GO_ON = 47,   /* record: S_CLOCK_NSEC, S_ENTROPY; of another machine: S_HOSTNAME, and S_NETWORK, repeated, whose N_DEVICE is
                         the MAC that the interface had */
  AGENT_CLOCK = 28, /* record: A_CLOCK_NSEC: the guest was paused, its clock is late */
  /* both */
  AGENT_STDIN = 32,
  AGENT_STDOUT = 33, /* also the one output stream of a terminal */
  AGENT_STDERR = 34,
  AGENT_FRAME_WINDOW = 35, /* record: A_STREAM (AGENT_STDIN/OUT/ERR), A_BYTES */
  AGENT_CLOSE = 36,        /* record: A_STREAM */
  AGENT_TUNNEL_DATA = 40,  /* never empty */
  AGENT_TUNNEL_WINDOW = 41, /* record: A_BYTES */
  AGENT_TUNNEL_CLOSE = 42  /* empty */
};

/* Fields of the small records above. */
enum agent_tag
{
  A_VERSION = 1,     /* u32 */
  A_KERNEL = 2,      /* str: uname release */
  A_BOOT_USEC = 3,   /* u64: CLOCK_BOOTTIME when the agent was ready */
  A_SETUP_USEC = 4,  /* u64: what SETUP took */
  A_PID = 5,         /* u32 */
  A_STAGE = 6,       /* str: "mount", "user", "cwd", "exec", ... */
  A_ERRNO = 7,       /* u32 */
  A_MESSAGE = 8,     /* str: one sentence */
  A_EXIT_CODE = 9,   /* u32: 0..255; in FAILED what a shell would report (126, 127, 125) */
  A_SIGNAL = 10,     /* u32 */
  A_CORE = 11,       /* u32: 1 if it dumped core */
  A_LEVEL = 12,      /* u32: enum rcvm_log_level */
  A_ROWS = 13,       /* u32 */
  A_COLS = 14,       /* u32 */
  A_STREAM = 15,     /* u32 */
  A_BYTES = 16,      /* u32 */
  A_ALL = 17,        /* u32 */
  A_SHARE = 40,      /* u32: to number N - 1 of the servers of 9P; absent or 0: to the volume server */
  A_CLOCK_NSEC = 18  /* u64: the host's CLOCK_REALTIME when sent */
};

enum agent_notify_tag
{
  V_DESTINATION = 1, /* str: where the volume is, in the container */
  V_PATH = 2         /* str: in the volume, relative; "": itself */
};

/* A disk that comes to a machine that runs. */
enum agent_disk_tag
{
  B_SLOT = 1,   /* u32: below AGENT_DISKS_MAX; its own until DISK_DEL has been answered */
  B_SERIAL = 2, /* str: the device has this serial; absent: it is a new one of so many bytes */
  B_KEPT = 3,   /* u32: 1: the device of that slot was there before, and now has another size */
  B_BYTES = 4,  /* u64 */
  B_TARGET = 5, /* str: absolute, in the container */
  B_TYPE = 6,   /* str: the file system; "raw": the target is to be its device node */
  B_FLAGS = 7   /* u64: MS_* */
};

/*
 * SETUP: what the guest makes before any process runs.  A disk is named by a locator:
 * "serial:NAME" (virtio-blk serial) or "dev:vda".
 */
enum agent_setup_tag
{
  S_HOSTNAME = 1,    /* str */
  S_DOMAINNAME = 2,  /* str */
  S_ROOT_DISK = 3,   /* str: locator of the root file system's disk */
  S_ROOT_FSTYPE = 4, /* str: "ext4" */
  S_ROOT_DATA = 5,   /* str: mount data */
  S_ROOT_DISK_RO = 6, /* u32: 1: mount the disk read-only (a shared base under an overlay) */
  S_UPPER_DISK = 7,  /* str: locator; present: overlay of this writable disk over the root disk.
                        The disk holds the directories "upper" and "work" */
  S_ROOT_READONLY = 8, /* u32: the container sees its root read-only (OCI root.readonly) */
  S_ROOT_PROPAGATION = 9, /* u64: MS_SHARED|MS_SLAVE|MS_PRIVATE|MS_UNBINDABLE [|MS_REC], or 0 */
  S_MOUNT = 10,      /* record, repeated, in order: enum agent_mount_tag */
  S_DEVICE = 11,     /* record, repeated: enum agent_device_tag (OCI linux.devices) */
  S_SYSCTL = 12,     /* record, repeated: K_NAME (with dots; with slashes if it has one), K_VALUE */
  S_MASKED_PATH = 13,   /* str, repeated */
  S_READONLY_PATH = 14, /* str, repeated */
  S_NAMESPACES = 15, /* u64: CLONE_NEW* of the container; PID and mount are always on */
  S_CLOCK_NSEC = 16, /* u64: the host's CLOCK_REALTIME when sent */
  S_ENTROPY = 17,    /* bytes, credited to the guest's pool */
  S_LOG_LEVEL = 18,  /* u32: enum rcvm_log_level: LOG frames above it are not sent */
  S_NETWORK = 19,    /* record, repeated: enum agent_net_tag: an interface of the container's */
  S_UID_MAP = 20,    /* record, repeated: M_* of enum agent_idmap_tag (user namespace) */
  S_GID_MAP = 21,    /* record, repeated */
  S_CGROUP = 22,     /* record: K_NAME/K_VALUE pairs, repeated: cgroup v2 file and what to write
                        for the container's cgroup in the guest (pids.max ...) */
  S_FILE_STAGE = 23, /* str, repeated: "stage:NAME/FILE": a bind whose source is "stage:NAME" is of that file */
  S_DISK_TYPE = 24,  /* record, repeated: K_NAME (locator), K_VALUE: the file system of a disk whose M_TYPE is "auto" */
  S_COPIES_LIVE = 25, /* u32: 1: FREEZE will come */
  S_COPY_WATCHED = 26, /* u32, repeated: number of a copy that goes back; CHANGED is sent for it */
  S_MEMORY_COMES = 27, /* u32: 1: memory will be added while the machine runs, so there has to be a driver for that */
  S_DISK_SIZE = 28,  /* record, repeated: K_NAME (locator), K_VALUE (bytes): of a disk that was exchanged while the machine stood
                        still; nothing is read of it before the kernel has seen that */
  S_RESOLV = 40,     /* str: what the container sees as /etc/resolv.conf; "": DHCP fills it in.  Sent only
                        where no mount covers that path */
  S_SERVER = 41,     /* str: an address that the container's network leads to: there volumes "tcp:NAME" are served ... */
  S_SERVER_PORT = 42, /* u32: ... at this port */
  S_PROGRAM = 43,     /* record: E_ARG, E_CWD, E_ENV of the container's process, as far as the program is found by them: FAILED
                         (A_EXIT_CODE 127) in place of READY where it is not there */
  S_LINK = 44,       /* record: enum agent_net_tag: an interface of the agent's own, which leads to the host and no further: there
                        volumes "volume:NAME" are served in the place of the tunnel, ... */
  S_LINK_SERVER = 45, /* str: ... at this address ... */
  S_LINK_PORT = 46   /* u32: ... and this port */
};

/*
 * An interface: what the container has of it, in both directions.  The guest finds the device by its MAC, moves
 * it into the container's network namespace and gives it all of this.
 */
enum agent_net_tag
{
  N_NAME = 1,      /* str: at most 15 bytes */
  N_MAC = 2,       /* 6 bytes */
  N_MTU = 3,       /* u32; absent: what the device says */
  N_DHCP = 4,      /* u32: address, routes and name servers come from a DHCP server, which has so many
                      seconds for a first answer; 0: no DHCP */
  N_ADDRESS = 5,   /* record, repeated: enum agent_net_address_tag */
  N_ROUTE = 6,     /* record, repeated: enum agent_net_route_tag */
  N_NEIGHBOUR = 7, /* record, repeated: enum agent_net_neighbour_tag */
  /* from the guest alone */
  N_FLAGS = 8,     /* u32: IFF_* */
  N_LEASE = 9,     /* record: enum agent_net_lease_tag */
  N_CUT = 10,      /* u32: 1: it has more addresses or routes than one answer holds */
  /* to the guest alone */
  N_DEVICE = 11    /* 6 bytes: the device's own MAC, by which it is found, and which N_MAC replaces */
};

/* An address has 4 or 16 bytes, and so have all others in its record. */
enum agent_net_address_tag
{
  NA_ADDRESS = 1,   /* bytes */
  NA_PREFIX = 2,    /* u32 */
  NA_PEER = 3,      /* bytes */
  NA_BROADCAST = 4, /* 4 bytes */
  NA_SCOPE = 5,     /* u32: RT_SCOPE_* */
  NA_FLAGS = 6,     /* u32: IFA_F_* */
  NA_VALID = 7,     /* u32: seconds; absent: for ever */
  NA_PREFERRED = 8  /* u32 */
};

enum agent_net_route_tag
{
  NR_DESTINATION = 1, /* 4 or 16 bytes; they may be zero */
  NR_PREFIX = 2,      /* u32 */
  NR_GATEWAY = 3,     /* 4 or 16 bytes, not necessarily as many as the destination */
  NR_SOURCE = 4,      /* as many bytes as the destination: the preferred source */
  NR_METRIC = 5,      /* u32 */
  NR_SCOPE = 6,       /* u32: RT_SCOPE_* */
  NR_TABLE = 7,       /* u32; absent: main */
  NR_TYPE = 8,        /* u32: RTN_*; absent: unicast */
  NR_FLAGS = 9,       /* u32: RTNH_F_ONLINK */
  NR_MTU = 10,        /* u32 */
  NR_PROTOCOL = 11    /* u32: RTPROT_*; absent: static */
};

enum agent_net_neighbour_tag
{
  NN_ADDRESS = 1, /* 4 or 16 bytes */
  NN_MAC = 2,     /* 6 bytes */
  NN_STATE = 3,   /* u32: NUD_* */
  NN_FLAGS = 4    /* u32: NTF_* */
};

enum agent_net_lease_tag
{
  NL_SERVER = 1,  /* 4 bytes */
  NL_SECONDS = 2, /* u32: what was granted */
  NL_AGE = 3,     /* u32: seconds since */
  NL_RENEWALS = 4, /* u32: how often it was granted again */
  NL_DNS = 5,     /* 4 bytes, repeated */
  NL_DOMAIN = 6,  /* str */
  NL_HOSTNAME = 7 /* str */
};

enum agent_kv_tag
{
  K_NAME = 1, /* str */
  K_VALUE = 2 /* str */
};

enum agent_mount_tag
{
  M_DESTINATION = 1, /* str: absolute, inside the container; or "stage:NAME": out of the container's
                        sight, for later binds whose source is "stage:NAME" or "stage:NAME/PATH" */
  M_TYPE = 2,        /* str: file system type; "bind" for a bind within the container's tree: both
                        paths are in the container and may be the same (to give a directory flags) */
  M_SOURCE = 3,      /* str: device, or locator ("serial:", "dev:") for a disk; "volume:NAME": an export of the
                        volume server, through a tunnel; "tcp:NAME": the same, over the container's network;
                        "9p:N": what number N of the servers of 9P shares (M_TYPE is "9p", and the transport is added to M_DATA); "copy:N": number N of the disk of copies, which is mounted at
                        "stage:copies", with what is changed of it beside it (M_TYPE is then "overlay"); M_TYPE is then "nfs", and ports and addresses are
                        added to M_DATA */
  M_FLAGS = 4,       /* u64: MS_* */
  M_PROPAGATION = 5, /* u64: MS_SHARED etc. applied in a call of its own, or 0 */
  M_DATA = 6,        /* str: options that are not flags */
  M_OPTIONAL = 7,    /* u32: 1: a failure is logged, not fatal */
  M_COPY_UP = 8      /* u32: tmpcopyup: a tmpfs filled with what it covers */
};

enum agent_device_tag
{
  D_PATH = 1,  /* str */
  D_TYPE = 2,  /* u32: S_IFCHR, S_IFBLK or S_IFIFO */
  D_MAJOR = 3, /* u32 */
  D_MINOR = 4, /* u32 */
  D_MODE = 5,  /* u32 */
  D_UID = 6,   /* u32 */
  D_GID = 7,   /* u32 */
  D_DISK = 8   /* str: locator of a disk, whose numbers it has */
};

enum agent_idmap_tag
{
  I_CONTAINER = 1, /* u32 */
  I_HOST = 2,      /* u32 */
  I_SIZE = 3       /* u32 */
};

/* EXEC: one process, OCI's process object resolved to what the kernel wants. */
enum agent_exec_tag
{
  E_ARG = 1,          /* str, repeated */
  E_ENV = 2,          /* str, repeated: NAME=VALUE as given */
  E_CWD = 3,          /* str */
  E_UID = 4,          /* u32 */
  E_GID = 5,          /* u32 */
  E_GROUP = 6,        /* u32, repeated: additional groups */
  E_USER_NAME = 7,    /* str: "name", "name:group", "1000", "1000:group", looked up in the container's
                         /etc/passwd and /etc/group; instead of E_UID and E_GID */
  E_UMASK = 8,        /* u32 */
  E_TERMINAL = 9,     /* u32: 1: a pty; streams STDIN and STDOUT only */
  E_ROWS = 10,        /* u32 */
  E_COLS = 11,        /* u32 */
  E_CAP_BOUNDING = 12,    /* u64 bit masks, all five or none */
  E_CAP_EFFECTIVE = 13,
  E_CAP_INHERITABLE = 14,
  E_CAP_PERMITTED = 15,
  E_CAP_AMBIENT = 16,
  E_RLIMIT = 17,      /* record, repeated: R_TYPE (RLIMIT_*), R_SOFT, R_HARD */
  E_NO_NEW_PRIVS = 18, /* u32 */
  E_OOM_SCORE_ADJ = 19, /* u32, two's complement of the signed value */
  E_NO_STDIN = 20,    /* u32: 1: stdin is /dev/null, no stream */
  E_SECCOMP = 21,     /* bytes: struct sock_filter array for this architecture */
  E_SECCOMP_FLAGS = 22, /* u32 */
  E_IOPRIO = 23,      /* u32: value for ioprio_set(2) */
  E_SCHEDULER = 24,   /* record: enum agent_sched_tag, for sched_setattr(2) */
  E_NAMES = 25,       /* u32: 1, of the container's own process: AGENT_NAME_SERVER is to answer in the container, by NAME_QUERY */
  E_UNPACK = 26,      /* u32: 1: no program: what comes on stdin (put-wire.h) is put into the container's root */
  E_HOOK = 40,        /* record, repeated: enum agent_hook_tag: a startContainer hook */
  E_STATE = 41        /* str: what hooks read on stdin */
};

enum agent_hook_tag
{
  H_PATH = 1,   /* str */
  H_ARG = 2,    /* str, repeated */
  H_ENV = 3,    /* str, repeated */
  H_TIMEOUT = 4 /* u32: seconds; absent: none */
};

enum agent_rlimit_tag
{
  R_TYPE = 1, /* u32 */
  R_SOFT = 2, /* u64 */
  R_HARD = 3  /* u64 */
};

enum agent_sched_tag
{
  P_POLICY = 1,   /* u32: SCHED_* */
  P_NICE = 2,     /* u32, two's complement */
  P_PRIORITY = 3, /* u32 */
  P_FLAGS = 4,    /* u64 */
  P_RUNTIME = 5,  /* u64 ns */
  P_DEADLINE = 6, /* u64 ns */
  P_PERIOD = 7    /* u64 ns */
};

struct agent_header
{
  uint32_t len;
  uint16_t type;
  uint32_t process;
};

void agent_header_pack (unsigned char out[AGENT_HEADER], const struct agent_header *h);
/* False if the reserved bytes are not zero. */
bool agent_header_unpack (struct agent_header *h, const unsigned char in[AGENT_HEADER]);

#endif
