/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pods, as containerd and CRI-O make them: one container is the pod's sandbox and does nothing but hold its namespaces, others
 * join those.  A VM that does nothing would cost the memory of one, and would have the pod's network in place of the container that
 * needs it.  So the sandbox is a process of the host, which runc (or crun) makes with the same command line, and every later call
 * on its ID is handed on.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Below the state root, and no name that a VM could have. */
#define SANDBOXES "sandboxes:"

static const char *const programs[] = { "runc", "crun", NULL };

/* What config.json says that this container is in its pod: "sandbox", "container"; NULL outside of pods. */
static char *
role_in_pod (const char *config)
{
  static const char *const containerd[] = { "annotations", "io.kubernetes.cri.container-type", NULL };
  static const char *const crio[] = { "annotations", "io.kubernetes.cri-o.ContainerType", NULL };
  char *role = json_get (config, containerd);

  return role ? role : json_get (config, crio);
}

static char *
read_config (const struct container *c)
{
  char *name, *text;

  if ((!c->bundle && c->rootfs) || asprintf (&name, "%s/config.json", c->bundle ? c->bundle : ".") < 0)
    return NULL;
  text = read_file (name);
  free (name);
  return text;
}

static bool
has_role (const char *config, const char *wanted)
{
  char *role = config ? role_in_pod (config) : NULL;
  bool has = role && strcmp (role, wanted) == 0;

  free (role);
  return has;
}

int
pod_is_sandbox (const struct container *c)
{
  char *config = read_config (c);
  bool is = has_role (config, "sandbox");

  free (config);
  return is;
}

static char *
sandboxes_of (const struct cli *cli)
{
  const char *root = cli->root && *cli->root ? cli->root : getenv ("RUNCVM_ROOT");
  char *path;

  return asprintf (&path, "%s/" SANDBOXES, root && *root ? root : "/run/runcvm") < 0 ? NULL : path;
}

int
pod_has_sandbox (const struct cli *cli, const struct command *command, const char *id)
{
  static const struct command *const handed_on[] = { &cmd_start, &cmd_state, &cmd_kill, &cmd_delete, &cmd_exec, &cmd_ps,
                                                     &cmd_events, &cmd_pause, &cmd_resume, &cmd_update, NULL };
  char *root, *path = NULL;
  struct stat st;
  size_t i = 0;
  int is;

  while (handed_on[i] && handed_on[i] != command)
    i++;
  if (!handed_on[i] || !*id || strchr (id, '/') || strcmp (id, ".") == 0 || strcmp (id, "..") == 0)
    return 0;
  root = sandboxes_of (cli);
  is = root && asprintf (&path, "%s/%s", root, id) >= 0 && stat (path, &st) == 0 && S_ISDIR (st.st_mode);
  free (path);
  free (root);
  return is;
}

int
pod_hand_over (const struct cli *cli, int argc, char **argv)
{
  const char **words = calloc ((size_t) argc + 10, sizeof *words);
  char *root = sandboxes_of (cli);
  size_t n = 1;

  if (words && root)
    {
      words[n++] = "--root";
      words[n++] = root;
      if (cli->log)
        words[n++] = "--log", words[n++] = cli->log;
      if (cli->log_format)
        words[n++] = "--log-format", words[n++] = cli->log_format;
      if (cli->debug)
        words[n++] = "--debug";
      if (cli->systemd_cgroup)
        words[n++] = "--systemd-cgroup";
      for (int i = 0; i < argc; i++)
        words[n++] = argv[i];
      for (size_t i = 0; programs[i]; i++)
        {
          words[0] = programs[i];
          execvp (programs[i], (char **) words);
        }
      complain ("cli", "the sandbox of a pod is a process of the host, and neither runc nor crun can be run to make it: %s",
                strerror (errno));
    }
  else
    complain ("cli", "out of memory");
  free (words);
  free (root);
  return 1;
}

/* The path of the UTS namespace that config.json names. */
static char *
uts_path (const char *config)
{
  static const char *const list_path[] = { "linux", "namespaces", NULL }, *const type_path[] = { "type", NULL },
                           *const path_path[] = { "path", NULL };
  char *list = json_get (config, list_path), *element, *found = NULL;
  const char *at = list;

  while (list && !found && (element = json_next (&at)))
    {
      char *type = json_get (element, type_path);

      if (type && strcmp (type, "uts") == 0)
        found = json_get (element, path_path);
      free (type);
      free (element);
    }
  free (list);
  return found;
}

/* Only who is in the namespace can ask it for its name: a child goes there. */
static int
host_name_of (const char *path, char name[HOST_NAME_MAX + 1])
{
  int ends[2], fd, status = -1;
  ssize_t n;
  pid_t pid;

  if (pipe2 (ends, O_CLOEXEC) < 0)
    return -1;
  pid = fork ();
  if (pid == 0)
    {
      fd = open (path, O_RDONLY | O_CLOEXEC);
      if (fd < 0 || setns (fd, CLONE_NEWUTS) < 0 || gethostname (name, HOST_NAME_MAX + 1) < 0)
        _exit (errno > 0 && errno < 255 ? errno : 255);
      n = write (ends[1], name, strnlen (name, HOST_NAME_MAX));
      _exit (n < 0 ? errno : 0);
    }
  close (ends[1]);
  n = pid < 0 ? -1 : read (ends[0], name, HOST_NAME_MAX);
  close (ends[0]);
  while (pid > 0 && waitpid (pid, &status, 0) < 0 && errno == EINTR)
    ;
  if (pid < 0 || n < 0)
    return -1;
  name[n] = 0;
  errno = WIFEXITED (status) ? WEXITSTATUS (status) : EIO;
  return errno ? -1 : 0;
}

int
pod_set_hostname (rcvm_vm *vm, const struct container *c)
{
  static const char *const own_path[] = { "hostname", NULL };
  char *config = c->hostname ? NULL : read_config (c), *own = NULL, *path = NULL, name[HOST_NAME_MAX + 1] = "";
  rcvm_error *err = NULL;
  int code = 0;

  if (has_role (config, "container") && (!(own = json_get (config, own_path)) || !*own) && (path = uts_path (config)) && *path)
    {
      if (host_name_of (path, name) < 0)
        {
          complain ("cli", "cannot ask the pod's namespace '%s' for its host name: %s", path, strerror (errno));
          code = -1;
        }
      else if (*name && rcvm_vm_set_hostname (vm, name, &err) < 0)
        {
          fail_with (err, 1);
          code = -1;
        }
    }
  free (path);
  free (own);
  free (config);
  return code;
}

/* The directory with the sandbox's config.json, as the program that made it has written down: runc, or crun. */
static char *
bundle_of (const char *sandboxes, const char *id)
{
  static const char *const labels_path[] = { "config", "labels", NULL }, *const bundle_path[] = { "bundle", NULL };
  char *name = NULL, *text, *labels = NULL, *label, *bundle = NULL;
  const char *at;

  if (asprintf (&name, "%s/%s/state.json", sandboxes, id) < 0)
    return NULL;
  text = read_file (name);
  free (name);
  at = labels = text ? json_get (text, labels_path) : NULL;
  while (labels && !bundle && (label = json_next (&at)))
    {
      size_t len = strlen (label);

      if (len > 9 && strncmp (label, "\"bundle=", 8) == 0)
        bundle = strndup (label + 8, len - 9);
      free (label);
    }
  free (labels);
  free (text);
  if (bundle || asprintf (&name, "%s/%s/status", sandboxes, id) < 0)
    return bundle;
  text = read_file (name);
  free (name);
  bundle = text ? json_get (text, bundle_path) : NULL;
  free (text);
  return bundle;
}

/* The sysctls of the sandbox of this container's pod, as they stand in its configuration. */
static char *
sandbox_sysctls (const struct cli *cli, const char *config)
{
  static const char *const containerd[] = { "annotations", "io.kubernetes.cri.sandbox-id", NULL },
                           *const crio[] = { "annotations", "io.kubernetes.cri-o.SandboxID", NULL },
                           *const sysctl_path[] = { "linux", "sysctl", NULL };
  char *id = json_get (config, containerd), *root = NULL, *bundle = NULL, *name = NULL, *text = NULL, *sysctls = NULL;

  if (!id)
    id = json_get (config, crio);
  if (id && *id && !strchr (id, '/') && strcmp (id, "..") != 0 && (root = sandboxes_of (cli)))
    bundle = bundle_of (root, id);
  if (bundle && asprintf (&name, "%s/config.json", bundle) >= 0)
    text = read_file (name);
  if (text)
    sysctls = json_get (text, sysctl_path);
  free (text);
  free (name);
  free (bundle);
  free (root);
  free (id);
  if (sysctls && sysctls[0] == '{' && sysctls[1 + strspn (sysctls + 1, " \t\r\n")] != '}')
    return sysctls;
  free (sysctls);
  return NULL;
}

/* On the host they are the network namespace's, which the sandbox has; the VM has a kernel of its own. */
int
pod_set_sysctls (rcvm_vm *vm, const struct cli *cli, const struct container *c)
{
  static const char *const linux_path[] = { "linux", NULL }, *const own_path[] = { "linux", "sysctl", NULL };
  char *config = read_config (c), *sysctls = NULL, *section = NULL, *own = NULL, *changed = NULL;
  rcvm_error *err = NULL;
  int code = 0;

  if (has_role (config, "container") && (sysctls = sandbox_sysctls (cli, config)) && (section = json_get (config, linux_path))
      && section[0] == '{' && section[1 + strspn (section + 1, " \t\r\n")] == '"' && !(own = json_get (config, own_path)))
    {
      /* Nothing else is written like it. */
      size_t before = (size_t) (strstr (config, section) - config) + 1;

      if (asprintf (&changed, "%.*s\"sysctl\":%s,%s", (int) before, config, sysctls, config + before) < 0)
        {
          changed = NULL;
          complain ("cli", "out of memory");
          code = -1;
        }
      else if (rcvm_vm_set_config_json (vm, changed, &err) < 0)
        {
          fail_with (err, 1);
          code = -1;
        }
    }
  free (changed);
  free (own);
  free (section);
  free (sysctls);
  free (config);
  return code;
}
