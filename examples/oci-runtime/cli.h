/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * runcvm: an OCI runtime on libruncvm.
 *
 * Each subcommand is a file cmd-NAME.c with one `const struct command`, and a line in the table of
 * main.c.  A command's options are a table too: each says where in the command's own struct its
 * value goes.
 */
#ifndef RUNCVM_CLI_H
#define RUNCVM_CLI_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <runcvm/runcvm.h>

/* What stands before the command. */
struct cli
{
  const char *root;
  const char *log;
  const char *log_format;
  const char *rootless;
  const char *criu;
  int debug;
  int systemd_cgroup;
  int version;
  int help;
};

enum kind
{
  FLAG,  /* int: 1 */
  TEXT,  /* const char *, the last one given */
  LIST,  /* struct list, all */
  BYTES, /* uint64_t: 512M, 2G */
  NUMBER /* unsigned, 1 or more */
};

struct list
{
  const char **items;
  size_t n;
};

struct option_spec
{
  const char *name;
  char letter; /* 0: none */
  enum kind kind;
  size_t offset;
  const char *value; /* what the help calls the value; NULL for a flag */
  const char *help;
};

enum
{
  OPTION_TABLES = 3
};

struct command
{
  const char *name;                                 /* one word, or two */
  const char *usage;                                /* what comes after the name */
  const char *summary;                              /* one line */
  const char *details;                              /* further lines of its help; may be NULL */
  const char *examples;                             /* may be NULL */
  const struct option_spec *options[OPTION_TABLES]; /* each ended by a NULL name */
  size_t values_size; /* of the struct that the options go into; 0: int */
  int failure;        /* exit code where the command line itself is wrong */
  /* Arguments after the options.  Returns the exit code. */
  int (*run) (const struct cli *cli, void *values, int argc, char **argv);
};

extern const struct command cmd_run, cmd_create, cmd_start, cmd_exec, cmd_state, cmd_list, cmd_kill,
    cmd_delete, cmd_spec, cmd_features, cmd_check, cmd_rootfs_build, cmd_rootfs_inspect,
    cmd_rootfs_grow, cmd_rootfs_verify, cmd_rootfs_write_back, cmd_metrics, cmd_net, cmd_volume_list, cmd_volume_attach, cmd_volume_detach, cmd_cache_add,
    cmd_cache_list, cmd_cache_path, cmd_cache_prune, cmd_cache_verify, cmd_template_create, cmd_template_list, cmd_template_remove, cmd_flush, cmd_pause, cmd_resume, cmd_ps, cmd_events,
    cmd_update, cmd_checkpoint, cmd_restore, cmd_install_docker,
    cmd_help;

/* main.c */

extern const struct command *const commands[]; /* ended by NULL */
extern const struct option_spec *const global_tables[OPTION_TABLES];
/* The command that the first one or two arguments name; *words is how many. */
const struct command *find_command (int argc, char **argv, int *words);

/* cmd-help.c */

int print_command_help (const struct command *c);

/* options.c */

/* The index of the first argument that is no option.  A mistake has been reported where it returns
   -1; with -2 the help was asked for. */
int parse_options (const struct option_spec *const *tables, void *values, const char *who, int argc,
                   char **argv);
void free_options (const struct option_spec *const *tables, void *values);
void print_options (FILE *to, const struct option_spec *const *tables);

/* parse.c */

/* 512, 64k, 512M, 2G, 2GiB; powers of 1024. */
int parse_bytes (const char *text, uint64_t *bytes);
/* 15, TERM, SIGTERM, RTMIN+1; -1 for what is no signal. */
int parse_signal (const char *text);
/* For --env: NAME=VALUE, or NAME alone, which is passed on from our environment.  *pair is
   malloc'd, NULL for a variable that is not set; -1: out of memory. */
int parse_env (const char *text, char **pair);

/* message.c */

/* Where messages go: the globals say it, and `--log-level` of a command. */
int messages_open (const struct cli *cli);
void messages_close (void);
int messages_level (void);
/* The log's fd, or -1. */
int messages_fd (void);
int messages_set_level (const char *name);
void message (int level, const char *stage, const char *text);
void complain (const char *stage, const char *fmt, ...) __attribute__ ((format (printf, 2, 3)));
/* Reports the error and frees it; returns `exit_code`, or if that is 0 the error's own. */
int fail_with (rcvm_error *err, int exit_code);
/* A mistake on the command line: one sentence and where to read on.  Returns `exit_code`. */
int usage_error (const struct command *command, const char *fmt, ...)
    __attribute__ ((format (printf, 2, 3)));
/* Where a command takes an ID and nothing else; -1 has been reported. */
int check_one_id (const struct command *command, int argc, char **argv);
/* Flushes stdout; a full disk or a reader that has gone is not silently taken for success. */
int finish_output (int exit_code);
/* For rcvm_vm_set_log. */
void on_log (void *user, int level, const char *stage, const char *text);

/* json.c */

void json_print_string (FILE *to, const char *text);
/* The value at a path of keys (ended by NULL) in a JSON document: a string without its quotes and
   escapes, or the text of what is no string.  NULL if it is not there. */
char *json_get (const char *document, const char *const *path);
/* The elements of an array, one after the other: *at is the document first.  Their text, to be freed; NULL behind
   the last. */
char *json_next (const char **at);

/* state.c */

/* What rcvm_vm_state says, with the members that runc's state has besides; to be freed. */
char *state_as_runc (const char *state, int pretty);

/* terminal.c */

/* Makes `fd` raw if it is a terminal; it is as it was when the program ends, however it does. */
void terminal_set_raw (int fd);
void terminal_restore (void);
/* The size of the first of the standard streams that is a terminal; -1 if none is. */
int terminal_size (unsigned *rows, unsigned *cols);
/* What ends a line on stderr just now. */
const char *terminal_newline (void);

/* console.c */

/* Makes a pseudo-terminal of that size, raw, and passes its master to whoever listens at `path`.  The slave; -1 has been
   reported. */
int console_open (const char *path, unsigned rows, unsigned cols);
/* What an OCI process object says of it; 0 and 0 where that is nothing. */
void console_size (const char *process, unsigned *rows, unsigned *cols);
/* For --preserve-fds; -1 has been reported. */
int no_preserved_fds (const struct command *command, const char *preserve_fds);

/* foreground.c */

/* A VM or a further process in one: what the loop in foreground.c waits for. */
struct target
{
  void *object;
  int (*get_fd) (void *object);
  /* 1 if it has ended. */
  int (*has_ended) (void *object, rcvm_error **err);
  int (*wait) (void *object, int *exit_code, rcvm_error **err);
  int (*kill) (void *object, int signum, rcvm_error **err);
  int (*resize) (void *object, unsigned rows, unsigned cols, rcvm_error **err);
};

struct target target_of_vm (rcvm_vm *vm);
struct target target_of_process (rcvm_process *process);
/* Blocks the signals that are passed on, and returns an fd that they are read from; -1 has been
   reported. */
int foreground_open (void);
/* rcvm_vm_create, with nothing left of it where a signal comes meanwhile: *signum is then its
   number, else 0. */
int foreground_create (rcvm_vm *vm, const char *root, int signal_fd, int *signum, rcvm_error **err);
/* Passes signals on until the target ends, and returns its exit code; -1: see *err. */
int foreground_wait (const struct target *target, int signal_fd, rcvm_error **err);

/* shepherd.c */

/* Starts the process under a process of the host that stays until it ends, exits as it does, and kills it by being killed.  Its
   PID goes into the file (may be NULL), and it follows the size of the terminal (-1: none).  The exit code of this command. */
int shepherd_process (rcvm_process *p, const char *pid_file, int console);
/* Nothing that the caller had left open stays open in a process that lives on. */
void shepherd_close_leaked (void);

/* container.c: the options of a new container, for `run` and `create` */

struct container
{
  const char *bundle, *rootfs, *user, *cwd, *hostname, *hypervisor, *confine, *kernel, *initramfs,
      *kernel_args, *log_level, *pid_file, *binds, *template, *rootfs_disk, *rootfs_changes, *netns, *net_mode, *tap,
      *console_socket, *preserve_fds;
  struct list env, annotations, rootfs_digests, nics, ports, volumes, mounts;
  uint64_t memory, rootfs_size;
  unsigned cpus, dhcp_timeout;
  int tty, read_only, dhcp, no_pivot, no_new_keyring;
};

extern const struct option_spec container_options[];
/* The arguments are [ID] [-- COMMAND...].  Sets all that was given; the handle, or NULL and an exit
   code. */
rcvm_vm *container_new (const struct cli *cli, const struct command *command,
                        const struct container *c, int argc, char **argv, int need_id,
                        int *exit_code);

/* Of these options, the network, and the annotations; -1 without an error: that has been reported. */
int container_set_network (rcvm_vm *vm, const struct container *c, rcvm_error **err);
int container_set_annotations (rcvm_vm *vm, const struct container *c, rcvm_error **err);
/* Whether its process has a terminal, by --tty or by config.json. */
int container_has_terminal (const struct container *c);
/* With --console-socket: a new terminal becomes the process's.  -1 has been reported. */
int container_set_console (rcvm_vm *vm, const struct command *command, const struct container *c);

/* pod.c: the containers of a pod (docs/containerd.md) */

/* Whether config.json says that it is the sandbox of a pod. */
int pod_is_sandbox (const struct container *c);
/* Whether the command is one that is handed on, and the ID that of a sandbox. */
int pod_has_sandbox (const struct cli *cli, const struct command *command, const char *id);
/* Becomes the program that makes sandboxes, with the command and its arguments; returns 1 if there is none. */
int pod_hand_over (const struct cli *cli, int argc, char **argv);
/* A pod's container has the host name of its sandbox.  -1 has been reported. */
int pod_set_hostname (rcvm_vm *vm, const struct container *c);
/* And its sysctls; after all else that sets the container's configuration.  -1 has been reported. */
int pod_set_sysctls (rcvm_vm *vm, const struct cli *cli, const struct container *c);

/* volumes.c */

/* What --volume and --mount say; -1 has been reported, or is in *err. */
int attach_volumes (rcvm_vm *vm, const struct list *volumes, const struct list *mounts, rcvm_error **err);

/* files.c */

/* The text of a file; NULL with errno. */
char *read_file (const char *path);
/* Written whole or not at all; 0 or -1 with errno. */
int write_pid_file (const char *path, pid_t pid);

#endif
