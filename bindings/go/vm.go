// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

/*
#include <stdlib.h>
#include <runcvm/runcvm.h>

extern void runcvmGoFreeLog (uintptr_t handle);
extern void runcvmGoLog (uintptr_t handle, int level, char *stage, char *message);

static void
log_call (void *user, int level, const char *stage, const char *message)
{
  runcvmGoLog ((uintptr_t) user, level, (char *) stage, (char *) message);
}

static void
log_free (void *user)
{
  runcvmGoFreeLog ((uintptr_t) user);
}

// A cgo.Handle is a number.  It travels as `user`, and never as a pointer in Go, whose runtime looks
// at what its pointers point to.
static int
set_log (rcvm_vm *vm, int level, uintptr_t handle, rcvm_error **err)
{
  if (!handle)
    return rcvm_vm_set_log (vm, level, NULL, NULL, NULL, err);
  return rcvm_vm_set_log (vm, level, log_call, (void *) handle, log_free, err);
}
*/
import "C"

import (
	"encoding/json"
	"os"
	"runtime/cgo"
	"syscall"
	"time"
	"unsafe"
)

// Status is a VM's status.
type Status int

const (
	StatusNew      Status = C.RCVM_STATUS_NEW
	StatusCreating Status = C.RCVM_STATUS_CREATING
	StatusCreated  Status = C.RCVM_STATUS_CREATED
	StatusRunning  Status = C.RCVM_STATUS_RUNNING
	StatusPaused   Status = C.RCVM_STATUS_PAUSED
	StatusStopped  Status = C.RCVM_STATUS_STOPPED
)

// String returns the word of the OCI runtime spec, such as "running".
func (s Status) String() string {
	return C.GoString(C.rcvm_status_name(C.int(s)))
}

// VM is a handle for a VM and the container in it.
type VM struct {
	h handle
}

func newVM(pointer *C.rcvm_vm, cerr *C.rcvm_error) (*VM, error) {
	if pointer == nil {
		return nil, takeError(cerr)
	}
	free := func(p unsafe.Pointer) { C.rcvm_vm_free((*C.rcvm_vm)(p)) }
	return &VM{h: handle{pointer: unsafe.Pointer(pointer), free: free}}, nil
}

// New makes a handle for a VM that is not there yet.  root is the directory that holds the state of
// VMs; "" is the default.
func New(root, id string) (*VM, error) {
	croot, cid := optionalString(root), C.CString(id)
	defer freeString(croot)
	defer freeString(cid)
	var cerr *C.rcvm_error
	return newVM(C.rcvm_vm_new(croot, cid, &cerr), cerr)
}

// Open makes a handle for a VM that some process created.
func Open(root, id string) (*VM, error) {
	croot, cid := optionalString(root), C.CString(id)
	defer freeString(croot)
	defer freeString(cid)
	var cerr *C.rcvm_error
	return newVM(C.rcvm_vm_open(croot, cid, &cerr), cerr)
}

// Close frees the handle.  A VM that runs goes on.  Calls that are under way on other goroutines
// are not disturbed.  Closing twice does nothing.
func (vm *VM) Close() error {
	vm.h.close()
	return nil
}

// call runs fn with the pointer, which stays valid meanwhile.
func (vm *VM) call(fn func(p *C.rcvm_vm, cerr **C.rcvm_error) C.int) error {
	p, err := vm.h.acquire()
	if err != nil {
		return err
	}
	defer vm.h.release()
	var cerr *C.rcvm_error
	return status(fn((*C.rcvm_vm)(p), &cerr), cerr)
}

func (vm *VM) callString(value string,
	fn func(p *C.rcvm_vm, s *C.char, cerr **C.rcvm_error) C.int) error {
	s := C.CString(value)
	defer freeString(s)
	return vm.call(func(p *C.rcvm_vm, cerr **C.rcvm_error) C.int { return fn(p, s, cerr) })
}

// What to run.

// SetBundle names the directory with config.json.
func (vm *VM) SetBundle(path string) error {
	return vm.callString(path, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_bundle(p, s, e)
	})
}

// SetConfigJSON gives the text of a config.json, in place of the bundle's file.
func (vm *VM) SetConfigJSON(text string) error {
	return vm.callString(text, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_config_json(p, s, e)
	})
}

// SetRootfs names the container's root directory; it wins over root.path.
func (vm *VM) SetRootfs(path string) error {
	return vm.callString(path, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_rootfs(p, s, e)
	})
}

// SetArgs replaces process.args.
func (vm *VM) SetArgs(args ...string) error {
	if args == nil {
		args = []string{}
	}
	argv := stringVector(args)
	defer freeVector(argv, len(args))
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int { return C.rcvm_vm_set_args(p, argv, e) })
}

// AddEnv sets variables, each NAME=VALUE.
func (vm *VM) AddEnv(variables ...string) error {
	for _, variable := range variables {
		err := vm.callString(variable, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
			return C.rcvm_vm_add_env(p, s, e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// SetUser takes "uid", "uid:gid", "name" or "name:group".
func (vm *VM) SetUser(user string) error {
	return vm.callString(user, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_user(p, s, e)
	})
}

// SetCwd sets the process's working directory.
func (vm *VM) SetCwd(path string) error {
	return vm.callString(path, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_cwd(p, s, e)
	})
}

// SetHostname sets the container's host name.
func (vm *VM) SetHostname(name string) error {
	return vm.callString(name, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_hostname(p, s, e)
	})
}

// SetTerminal says whether the process gets a terminal.
func (vm *VM) SetTerminal(on bool) error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_terminal(p, flag(on), e)
	})
}

// SetReadonlyRootfs says whether the container sees its root file system read-only.
func (vm *VM) SetReadonlyRootfs(on bool) error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_readonly_rootfs(p, flag(on), e)
	})
}

// SetAnnotation sets an annotation, as if it stood in config.json.
func (vm *VM) SetAnnotation(key, value string) error {
	ckey := C.CString(key)
	defer freeString(ckey)
	return vm.callString(value, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_annotation(p, ckey, s, e)
	})
}

// SetStdio sets the process's standard streams; nil is /dev/null.  The files stay the caller's, and
// the VM's monitor keeps duplicates of its own.
func (vm *VM) SetStdio(stdin, stdout, stderr *os.File) error {
	return withFds(stdin, stdout, stderr, func(in, out, errFd C.int) error {
		return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
			return C.rcvm_vm_set_stdio(p, in, out, errFd, e)
		})
	})
}

// SetConsole makes a terminal the process's: the slave of a pseudo-terminal.  The VM's monitor relays it and follows its size.
func (vm *VM) SetConsole(terminal *os.File) error {
	return withFds(terminal, nil, nil, func(fd, _, _ C.int) error {
		return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
			return C.rcvm_vm_set_console(p, fd, e)
		})
	})
}

// The machine.

// SetHypervisor takes "auto", "qemu" or "firecracker".
func (vm *VM) SetHypervisor(name string) error {
	return vm.callString(name, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_hypervisor(p, s, e)
	})
}

// SetConfinement takes "auto" (default), "own", "jailer" or "off": what the VMM's process may see and do on the host.
func (vm *VM) SetConfinement(how string) error {
	return vm.callString(how, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_confinement(p, s, e)
	})
}

// SetKernel names a bzImage or vmlinux.
func (vm *VM) SetKernel(path string) error {
	return vm.callString(path, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_kernel(p, s, e)
	})
}

// SetInitramfs names the guest's initramfs.
func (vm *VM) SetInitramfs(path string) error {
	return vm.callString(path, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_initramfs(p, s, e)
	})
}

// SetKernelArgs appends to the kernel's command line.
func (vm *VM) SetKernelArgs(args string) error {
	return vm.callString(args, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_kernel_args(p, s, e)
	})
}

// SetMemory sets the VM's memory.
func (vm *VM) SetMemory(bytes uint64) error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_memory(p, C.uint64_t(bytes), e)
	})
}

// SetCPUs sets the number of virtual CPUs.
func (vm *VM) SetCPUs(cpus uint) error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_cpus(p, C.uint(cpus), e)
	})
}

// SetRootfsDisk says what the root lies on: "overlay" or "single".
func (vm *VM) SetRootfsDisk(kind string) error {
	return vm.callString(kind, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_rootfs_disk(p, s, e)
	})
}

// SetBinds says what bind mounts become: "live" volumes or "copy".
func (vm *VM) SetBinds(what string) error {
	return vm.callString(what, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_binds(p, s, e)
	})
}

// SetRootfsChanges says what becomes of the changes to the root: "writeback", "discard" or "keep".
func (vm *VM) SetRootfsChanges(what string) error {
	return vm.callString(what, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_rootfs_changes(p, s, e)
	})
}

// AddRootfsDigest names a layer that the root, unchanged, is made of; the lowest first.
func (vm *VM) AddRootfsDigest(digest string) error {
	return vm.callString(digest, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_add_rootfs_digest(p, s, e)
	})
}

// SetRootfsSize sets what the root can hold, in bytes; 0: the default.
func (vm *VM) SetRootfsSize(bytes uint64) error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_rootfs_size(p, C.uint64_t(bytes), e)
	})
}

// LogLevel says how much is logged.
type LogLevel int

const (
	LogError   LogLevel = C.RCVM_LOG_ERROR
	LogWarning LogLevel = C.RCVM_LOG_WARNING
	LogInfo    LogLevel = C.RCVM_LOG_INFO
	LogDebug   LogLevel = C.RCVM_LOG_DEBUG
)

// LogFunc gets a message.  It must not call methods of the VM that it is called for.
type LogFunc func(level LogLevel, stage, message string)

// SetLog has messages up to level passed to fn, from within calls on this VM; nil turns that off.
func (vm *VM) SetLog(level LogLevel, fn LogFunc) error {
	p, err := vm.h.acquire()
	if err != nil {
		return err
	}
	defer vm.h.release()
	var h cgo.Handle
	if fn != nil {
		h = cgo.NewHandle(fn)
	}
	var cerr *C.rcvm_error
	// The library owns the handle from here on, also if the call fails.
	return status(C.set_log((*C.rcvm_vm)(p), C.int(level), C.uintptr_t(h), &cerr), cerr)
}

// Life.

// Create boots the VM and prepares the container; the process is not started.
func (vm *VM) Create() error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int { return C.rcvm_vm_create(p, e) })
}

// Start starts the process; it creates the VM first where that was not done.
func (vm *VM) Start() error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int { return C.rcvm_vm_start(p, e) })
}

// Wait waits until the container has stopped, at most for timeout (negative: for ever), and returns
// its exit code.  An error with code VMMFailed, GuestFailed or NoMonitor says that no exit code is
// known, which comes with 125; one with Timeout that the container has not stopped.
func (vm *VM) Wait(timeout time.Duration) (int, error) {
	code := C.int(0)
	err := vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
		return C.rcvm_vm_wait(p, milliseconds(timeout), &code, e)
	})
	return int(code), err
}

// Kill sends a signal to the container's process.
func (vm *VM) Kill(signal syscall.Signal) error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
		return C.rcvm_vm_kill(p, C.int(signal), e)
	})
}

// KillAll sends a signal to every process of the container.
func (vm *VM) KillAll(signal syscall.Signal) error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
		return C.rcvm_vm_kill_all(p, C.int(signal), e)
	})
}

// Resize sets the size of the process's terminal, in characters.
func (vm *VM) Resize(rows, cols uint) error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
		return C.rcvm_vm_resize(p, C.uint(rows), C.uint(cols), e)
	})
}

// Delete removes a stopped VM; with force also one that runs, or that is gone already.
func (vm *VM) Delete(force bool) error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
		return C.rcvm_vm_delete(p, flag(force), e)
	})
}

// Events.

// FD polls readable when Dispatch has something to do.  It stays the handle's; -1 before Create.
func (vm *VM) FD() int {
	p, err := vm.h.acquire()
	if err != nil {
		return -1
	}
	defer vm.h.release()
	return int(C.rcvm_vm_get_fd((*C.rcvm_vm)(p)))
}

// Dispatch takes in what has happened, without waiting.
func (vm *VM) Dispatch() (Status, error) {
	result := C.int(0)
	err := vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
		result = C.rcvm_vm_dispatch(p, e)
		return result
	})
	return Status(result), err
}

// What is known of it.

// ID is the VM's id, or "" if the handle is closed.
func (vm *VM) ID() string {
	p, err := vm.h.acquire()
	if err != nil {
		return ""
	}
	defer vm.h.release()
	return C.GoString(C.rcvm_vm_get_id((*C.rcvm_vm)(p)))
}

// Status is the status as last seen.
func (vm *VM) Status() Status {
	p, err := vm.h.acquire()
	if err != nil {
		return StatusNew
	}
	defer vm.h.release()
	return Status(C.rcvm_vm_get_status((*C.rcvm_vm)(p)))
}

// PID is the host's PID of the container (its monitor), or -1 if it does not run.
func (vm *VM) PID() int {
	p, err := vm.h.acquire()
	if err != nil {
		return -1
	}
	defer vm.h.release()
	return int(C.rcvm_vm_get_pid((*C.rcvm_vm)(p)))
}

// State is the OCI state of a container (runtime.md#state).
type State struct {
	OCIVersion  string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Status      string            `json:"status"`
	PID         int               `json:"pid"`
	Bundle      string            `json:"bundle"`
	Annotations map[string]string `json:"annotations"`
	Runcvm      json.RawMessage   `json:"org.runcvm"` // what this library adds
}

// StateJSON asks for the state, as text.
func (vm *VM) StateJSON() (string, error) {
	return vm.text(func(p *C.rcvm_vm, e **C.rcvm_error) *C.char { return C.rcvm_vm_state(p, e) })
}

// State asks for the state.
func (vm *VM) State() (*State, error) {
	text, err := vm.StateJSON()
	if err != nil {
		return nil, err
	}
	state := &State{}
	return state, json.Unmarshal([]byte(text), state)
}

// Phase is a part of the start and how long it took.
type Phase struct {
	Name     string
	Duration time.Duration
}

// Phases returns the phases of the start, in order.
func (vm *VM) Phases() []Phase {
	p, err := vm.h.acquire()
	if err != nil {
		return nil
	}
	defer vm.h.release()
	cvm := (*C.rcvm_vm)(p)
	phases := make([]Phase, int(C.rcvm_vm_phase_count(cvm)))
	for i := range phases {
		phases[i].Name = C.GoString(C.rcvm_vm_phase_name(cvm, C.size_t(i)))
		phases[i].Duration = time.Duration(C.rcvm_vm_phase_usec(cvm, C.size_t(i))) * time.Microsecond
	}
	return phases
}

// Metrics returns the same and more as Prometheus text.
func (vm *VM) Metrics() (string, error) {
	return vm.text(func(p *C.rcvm_vm, e **C.rcvm_error) *C.char { return C.rcvm_vm_metrics(p, e) })
}

func (vm *VM) text(fn func(p *C.rcvm_vm, cerr **C.rcvm_error) *C.char) (string, error) {
	p, err := vm.h.acquire()
	if err != nil {
		return "", err
	}
	defer vm.h.release()
	var cerr *C.rcvm_error
	text := fn((*C.rcvm_vm)(p), &cerr)
	return takeString(text, cerr)
}

// milliseconds rounds up, so that a time-out is never early.
func milliseconds(timeout time.Duration) C.int {
	const most = time.Duration(1<<31-1) * time.Millisecond
	if timeout < 0 {
		return -1
	}
	if timeout > most {
		timeout = most
	}
	return C.int((timeout + time.Millisecond - 1) / time.Millisecond)
}

// withFds runs fn with the files' descriptors, which stay open and in their mode meanwhile.
func withFds(stdin, stdout, stderr *os.File, fn func(in, out, errFd C.int) error) error {
	files := [3]*os.File{stdin, stdout, stderr}
	var fds [3]C.int
	call := func() error { return fn(fds[0], fds[1], fds[2]) }
	for i, file := range files {
		fds[i] = -1
		if file == nil {
			continue
		}
		raw, err := file.SyscallConn()
		if err != nil {
			return err
		}
		inner, at := call, &fds[i]
		call = func() error {
			var result error
			err := raw.Control(func(fd uintptr) {
				*at = C.int(fd)
				result = inner()
			})
			if err != nil {
				return err
			}
			return result
		}
	}
	return call()
}
