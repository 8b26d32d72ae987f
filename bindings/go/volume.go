// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

// #include <runcvm/runcvm.h>
import "C"

// VolumeOptions are the options of AttachNFS; the zero value is the default.
type VolumeOptions struct {
	ReadOnly bool
	Squash   *Owner // everyone in the VM is this one of the host
	Cached   uint   // seconds for which the VM may rely on what it has seen
}

func (o *VolumeOptions) apply(coptions *C.rcvm_volume_options) error {
	var cerr *C.rcvm_error
	result := C.rcvm_volume_options_set_readonly(coptions, flag(o.ReadOnly), &cerr)
	if result == 0 && o.Squash != nil {
		result = C.rcvm_volume_options_set_squash(coptions, C.long(o.Squash.UID), C.long(o.Squash.GID), &cerr)
	}
	if result == 0 {
		result = C.rcvm_volume_options_set_cached(coptions, C.uint(o.Cached), &cerr)
	}
	return status(result, cerr)
}

// AttachNFS shares a directory or file of the host, live, with a VM that has not been created.  options may be nil.
func (vm *VM) AttachNFS(source, target string, options *VolumeOptions) error {
	var cerr *C.rcvm_error
	coptions := C.rcvm_volume_options_new(&cerr)
	if coptions == nil {
		return takeError(cerr)
	}
	defer C.rcvm_volume_options_free(coptions)
	if options != nil {
		if err := options.apply(coptions); err != nil {
			return err
		}
	}
	ctarget := C.CString(target)
	defer freeString(ctarget)
	return vm.callString(source, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_volume_attach_nfs(p, s, ctarget, coptions, e)
	})
}

// AttachTmpfs gives a VM that has not been created a tmpfs.  size 0: half of its memory; mode 0: 01777.
func (vm *VM) AttachTmpfs(target string, size uint64, mode uint) error {
	return vm.callString(target, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_volume_attach_tmpfs(p, s, C.uint64_t(size), C.uint(mode), e)
	})
}

// VolumesJSON returns the volumes and what their server has done, as JSON.
func (vm *VM) VolumesJSON() (string, error) {
	return vm.text(func(p *C.rcvm_vm, e **C.rcvm_error) *C.char { return C.rcvm_vm_volumes_json(p, e) })
}
