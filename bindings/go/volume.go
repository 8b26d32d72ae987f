// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

// #include <runcvm/runcvm.h>
import "C"

// VolumeOptions are the options of volumes; the zero value is the default.  One that means nothing to a kind is an error.
type VolumeOptions struct {
	ReadOnly  bool
	Squash    *Owner // everyone in the VM is this one of the host
	Cached    uint   // seconds for which the VM may rely on what it has seen
	Notify    bool   // watchers in the VM hear of what others change
	Transport string // "link", "tunnel", "tcp" or "tcp:FIRST-LAST"; "" for the link or, where there can be none, the tunnel
	Server    string // "own" or "unfsd"; "" for our own
	FSType    string // of a disk: "raw" for the disk itself, "" for what is found on it
	WriteBack string // of a copy: "none", "exit", "periodic:SECONDS" or "change:SECONDS"
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
	if result == 0 {
		result = C.rcvm_volume_options_set_notify(coptions, flag(o.Notify), &cerr)
	}
	if result == 0 && o.Transport != "" {
		text := C.CString(o.Transport)
		result = C.rcvm_volume_options_set_transport(coptions, text, &cerr)
		freeString(text)
	}
	if result == 0 && o.Server != "" {
		text := C.CString(o.Server)
		result = C.rcvm_volume_options_set_server(coptions, text, &cerr)
		freeString(text)
	}
	if result == 0 && o.FSType != "" {
		text := C.CString(o.FSType)
		result = C.rcvm_volume_options_set_fstype(coptions, text, &cerr)
		freeString(text)
	}
	if result == 0 && o.WriteBack != "" {
		text := C.CString(o.WriteBack)
		result = C.rcvm_volume_options_set_write_back(coptions, text, &cerr)
		freeString(text)
	}
	return status(result, cerr)
}

// attach is one of the calls that take a source, a target and options.
func (vm *VM) attach(source, target string, options *VolumeOptions,
	call func(vm *C.rcvm_vm, source, target *C.char, options *C.rcvm_volume_options, err **C.rcvm_error) C.int) error {
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
		return call(p, s, ctarget, coptions, e)
	})
}

// AttachNFS shares a directory or file of the host, live, with a VM that has not been created.  options may be nil.
func (vm *VM) AttachNFS(source, target string, options *VolumeOptions) error {
	return vm.attach(source, target, options, func(p *C.rcvm_vm, s, t *C.char, o *C.rcvm_volume_options, e **C.rcvm_error) C.int {
		return C.rcvm_volume_attach_nfs(p, s, t, o, e)
	})
}

// AttachVirtiofs shares a directory of the host, live, with a VM that QEMU runs.  options may be nil.
func (vm *VM) AttachVirtiofs(source, target string, options *VolumeOptions) error {
	return vm.attach(source, target, options, func(p *C.rcvm_vm, s, t *C.char, o *C.rcvm_volume_options, e **C.rcvm_error) C.int {
		return C.rcvm_volume_attach_virtiofs(p, s, t, o, e)
	})
}

// Attach9P shares a directory of the host, live, by 9P, which takes a guest kernel that has it.  options may be nil.
func (vm *VM) Attach9P(source, target string, options *VolumeOptions) error {
	return vm.attach(source, target, options, func(p *C.rcvm_vm, s, t *C.char, o *C.rcvm_volume_options, e **C.rcvm_error) C.int {
		return C.rcvm_volume_attach_9p(p, s, t, o, e)
	})
}

// AttachBlock gives the VM a block device or an image file of the host.  options may be nil.
func (vm *VM) AttachBlock(source, target string, options *VolumeOptions) error {
	return vm.attach(source, target, options, func(p *C.rcvm_vm, s, t *C.char, o *C.rcvm_volume_options, e **C.rcvm_error) C.int {
		return C.rcvm_volume_attach_block(p, s, t, o, e)
	})
}

// AttachDisk gives a VM that is there a block device or an image file of the host, and returns when the guest has it.  options may
// be nil.
func (vm *VM) AttachDisk(source, target string, options *VolumeOptions) error {
	return vm.attach(source, target, options, func(p *C.rcvm_vm, s, t *C.char, o *C.rcvm_volume_options, e **C.rcvm_error) C.int {
		return C.rcvm_vm_attach_disk(p, s, t, o, e)
	})
}

// DetachDisk takes a disk away that came by AttachDisk.
func (vm *VM) DetachDisk(target string) error {
	return vm.callString(target, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_detach_disk(p, s, e)
	})
}

// AttachCopy gives the VM a copy of a directory or file of the host.  options may be nil.
func (vm *VM) AttachCopy(source, target string, options *VolumeOptions) error {
	return vm.attach(source, target, options, func(p *C.rcvm_vm, s, t *C.char, o *C.rcvm_volume_options, e **C.rcvm_error) C.int {
		return C.rcvm_volume_attach_copy(p, s, t, o, e)
	})
}

// AttachScratch gives the VM a disk that is empty at first: its own where source is "", else that image file, which stays.
func (vm *VM) AttachScratch(source, target string, size uint64) error {
	ctarget := C.CString(target)
	defer freeString(ctarget)
	return vm.callString(source, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_volume_attach_scratch(p, s, ctarget, C.uint64_t(size), e)
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
