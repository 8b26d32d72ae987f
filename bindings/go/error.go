// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

// #include <runcvm/runcvm.h>
import "C"

import "syscall"

// Code is the kind of an error.  Codes are errors themselves, so that
//
//	errors.Is(err, runcvm.NotFound)
//
// asks for one.
type Code int

const (
	Invalid     Code = C.RCVM_E_INVALID     // an argument or option makes no sense
	NoMemory    Code = C.RCVM_E_NOMEM       // out of memory
	System      Code = C.RCVM_E_SYSTEM      // a system call failed; see Errno
	NotFound    Code = C.RCVM_E_NOT_FOUND   // no VM, bundle, file or program of that name
	Exists      Code = C.RCVM_E_EXISTS      // that id is in use
	BadState    Code = C.RCVM_E_STATE       // the VM or process is not in a state that allows the call
	Permission  Code = C.RCVM_E_PERMISSION  // the caller may not do that
	BadSpec     Code = C.RCVM_E_SPEC        // config.json is missing a field, or holds a wrong one
	Unsupported Code = C.RCVM_E_UNSUPPORTED // the driver, the host or this version lacks the feature
	NoHost      Code = C.RCVM_E_HOST        // the host lacks a VMM, a kernel, an initramfs or a device
	NoSpace     Code = C.RCVM_E_NO_SPACE    // a disk or quota is full, or an image is too small
	VMMFailed   Code = C.RCVM_E_VMM         // the VMM failed or died
	GuestFailed Code = C.RCVM_E_GUEST       // the guest's kernel or agent failed or died
	NotStarted  Code = C.RCVM_E_PROCESS     // the container's process could not be started
	NoMonitor   Code = C.RCVM_E_MONITOR     // the VM's monitor died, or could not be started
	Timeout     Code = C.RCVM_E_TIMEOUT     // the time given is over
	Cancelled   Code = C.RCVM_E_CANCELLED   // the caller cancelled
	Protocol    Code = C.RCVM_E_PROTOCOL    // a peer said what it must not say
	BadImage    Code = C.RCVM_E_IMAGE       // a disk image is damaged or of a wrong kind
)

// Error returns the code's name in C, such as "RCVM_E_NOT_FOUND".
func (c Code) Error() string {
	return C.GoString(C.rcvm_code_name(C.int(c)))
}

// Error is a failure of the library.
type Error struct {
	Code     Code
	Stage    string        // where: "spec", "rootfs", "vmm", "agent", ...
	Errno    syscall.Errno // of the failed system call, or 0
	ExitCode int           // what a command line tool should exit with
	Message  string        // one sentence: what failed and what to do
}

func (e *Error) Error() string {
	return e.Message
}

// Is makes errors.Is work with codes and with errnos.
func (e *Error) Is(target error) bool {
	switch t := target.(type) {
	case Code:
		return t == e.Code
	case syscall.Errno:
		return t != 0 && t == e.Errno
	}
	return false
}

// takeError copies and frees an error of the library.
func takeError(cerr *C.rcvm_error) error {
	if cerr == nil {
		return nil
	}
	defer C.rcvm_error_free(cerr)
	return &Error{
		Code:     Code(C.rcvm_error_get_code(cerr)),
		Stage:    C.GoString(C.rcvm_error_get_stage(cerr)),
		Errno:    syscall.Errno(C.rcvm_error_get_errno(cerr)),
		ExitCode: int(C.rcvm_error_get_exit_code(cerr)),
		Message:  C.GoString(C.rcvm_error_get_message(cerr)),
	}
}

// status turns the result of a call into an error.
func status(result C.int, cerr *C.rcvm_error) error {
	if result >= 0 {
		return nil
	}
	return takeError(cerr)
}
