// SPDX-License-Identifier: LGPL-2.1-or-later

// Package runcvm runs OCI containers as microVMs.
//
//	vm, err := runcvm.New("", "hello")
//	if err != nil {
//		return err
//	}
//	defer vm.Close()
//	vm.SetRootfs("/srv/alpine")
//	vm.SetArgs("echo", "hello")
//	vm.SetStdio(nil, os.Stdout, os.Stderr)
//	if err := vm.Start(); err != nil {
//		return err
//	}
//	code, err := vm.Wait(-1)
//	vm.Delete(false)
//
// A VM is a handle: closing it does not stop the VM, and Open finds it again from any process.
// Every handle is closed by its user; nothing is left to finalizers.  All methods may be called
// from several goroutines at once.  Calls that wait block one thread of the operating system each.
// The man pages (libruncvm(3), rcvm_vm_create(3), ...) have the details.
package runcvm

/*
#cgo pkg-config: runcvm
#include <stdlib.h>
#include <runcvm/runcvm.h>
*/
import "C"

import (
	"errors"
	"strings"
	"sync"
	"unsafe"
)

// Version is the library's version, "MAJOR.MINOR.PATCH".
func Version() string {
	return C.GoString(C.rcvm_version())
}

// List returns the ids of the VMs below root, or below the default for "".
func List(root string) ([]string, error) {
	croot := optionalString(root)
	defer freeString(croot)
	var cerr *C.rcvm_error
	text, err := takeString(C.rcvm_vm_list(croot, &cerr), cerr)
	if err != nil {
		return nil, err
	}
	return strings.Fields(text), nil
}

// DefaultSpec returns a config.json to start from.
func DefaultSpec() (string, error) {
	var cerr *C.rcvm_error
	return takeString(C.rcvm_spec_default_json(&cerr), cerr)
}

// CheckSpec says what is wrong with the text of a config.json.
func CheckSpec(json string) error {
	cjson := C.CString(json)
	defer freeString(cjson)
	var cerr *C.rcvm_error
	return status(C.rcvm_spec_check(cjson, &cerr), cerr)
}

// Features returns the OCI features document of the library.
func Features() (string, error) {
	var cerr *C.rcvm_error
	return takeString(C.rcvm_features_json(&cerr), cerr)
}

// ErrClosed is what methods of a closed handle return.
var ErrClosed = errors.New("runcvm: the handle is closed")

// A handle lets Close come while other goroutines are in a call: the last one out frees.
type handle struct {
	mu      sync.Mutex
	pointer unsafe.Pointer
	free    func(unsafe.Pointer)
	users   int
	closed  bool
}

func (h *handle) acquire() (unsafe.Pointer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	h.users++
	return h.pointer, nil
}

func (h *handle) release() {
	h.mu.Lock()
	h.users--
	h.freeIfLast()
}

func (h *handle) close() {
	h.mu.Lock()
	h.closed = true
	h.freeIfLast()
}

// freeIfLast unlocks the mutex: freeing runs the log function's release, and need not be under a lock.
func (h *handle) freeIfLast() {
	pointer := h.pointer
	last := h.closed && h.users == 0 && pointer != nil
	if last {
		h.pointer = nil
	}
	h.mu.Unlock()
	if last {
		h.free(pointer)
	}
}

func freeString(s *C.char) {
	C.free(unsafe.Pointer(s))
}

// optionalString returns NULL for "".
func optionalString(s string) *C.char {
	if s == "" {
		return nil
	}
	return C.CString(s)
}

// takeString copies and frees a string that the library returned.
func takeString(s *C.char, cerr *C.rcvm_error) (string, error) {
	if s == nil {
		return "", takeError(cerr)
	}
	defer C.rcvm_free(unsafe.Pointer(s))
	return C.GoString(s), nil
}

// stringVector makes a NULL-terminated array, to be freed with freeVector; nil stays NULL.
func stringVector(list []string) **C.char {
	if list == nil {
		return nil
	}
	size := unsafe.Sizeof((*C.char)(nil))
	array := (**C.char)(C.calloc(C.size_t(len(list)+1), C.size_t(size)))
	for i, s := range list {
		*(**C.char)(unsafe.Add(unsafe.Pointer(array), uintptr(i)*size)) = C.CString(s)
	}
	return array
}

func freeVector(array **C.char, n int) {
	if array == nil {
		return
	}
	for _, s := range unsafe.Slice(array, n) {
		freeString(s)
	}
	C.free(unsafe.Pointer(array))
}

func flag(on bool) C.int {
	if on {
		return 1
	}
	return 0
}
