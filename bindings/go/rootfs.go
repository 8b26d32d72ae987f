// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

/*
#include <runcvm/runcvm.h>

extern int runcvmGoProgress (uintptr_t handle, char *phase, uint64_t files, uint64_t bytes);

static int
progress_call (void *user, const char *phase, uint64_t files, uint64_t bytes)
{
  return runcvmGoProgress ((uintptr_t) user, (char *) phase, files, bytes);
}

static int
set_progress (rcvm_rootfs_options *options, uintptr_t handle, rcvm_error **err)
{
  return rcvm_rootfs_options_set_progress (options, progress_call, (void *) handle, err);
}
*/
import "C"

import "runtime/cgo"

// MissingSource says what becomes of a Copy whose source does not exist.
type MissingSource int

const (
	MissingFails     MissingSource = C.RCVM_ROOTFS_MISSING_FAILS     // the build fails
	MissingDirectory MissingSource = C.RCVM_ROOTFS_MISSING_DIRECTORY // an empty directory of root's
	MissingFile      MissingSource = C.RCVM_ROOTFS_MISSING_FILE      // an empty file of root's
)

// Copy is a directory or file of the host that goes into an image.
type Copy struct {
	Source      string
	Destination string // absolute, in the image
	Missing     MissingSource
}

// RootfsOptions are the options of BuildRootfs; the zero value is the default.
type RootfsOptions struct {
	Size     uint64 // of the image in bytes; 0: what the contents need, and some room
	Headroom uint   // that room in percent; 0 stands for the library's default
	// NoJournal makes an image that is good for mounting read-only; NoSync lets the host write it at its leisure.
	NoJournal, NoSync bool
	Copies            []Copy
	// Progress is called as the build goes on; false cancels it.
	Progress func(phase string, files, bytes uint64) bool
}

// BuildRootfs builds the ext4 image file image from the directory source.  options may be nil.
func BuildRootfs(source, image string, options *RootfsOptions) error {
	csource, cimage := C.CString(source), C.CString(image)
	defer freeString(csource)
	defer freeString(cimage)
	return withOptions(options, func(coptions *C.rcvm_rootfs_options, cerr **C.rcvm_error) C.int {
		return C.rcvm_rootfs_build(csource, cimage, coptions, cerr)
	})
}

// BuildRootfsLayers builds the ext4 image file image from the layers of an OCI image, the lowest first: each a tar
// (plain, gzip, zstd), or a directory as overlayfs has its upper ones.  options may be nil.
func BuildRootfsLayers(layers []string, image string, options *RootfsOptions) error {
	clayers := stringVector(layers)
	defer freeVector(clayers, len(layers))
	cimage := C.CString(image)
	defer freeString(cimage)
	return withOptions(options, func(coptions *C.rcvm_rootfs_options, cerr **C.rcvm_error) C.int {
		return C.rcvm_rootfs_build_layers(clayers, cimage, coptions, cerr)
	})
}

func withOptions(options *RootfsOptions, build func(*C.rcvm_rootfs_options, **C.rcvm_error) C.int) error {
	var cerr *C.rcvm_error
	coptions := C.rcvm_rootfs_options_new(&cerr)
	if coptions == nil {
		return takeError(cerr)
	}
	defer C.rcvm_rootfs_options_free(coptions)
	if options != nil {
		if err := options.apply(coptions); err != nil {
			return err
		}
		if options.Progress != nil {
			h := cgo.NewHandle(options.Progress)
			defer h.Delete()
			if err := status(C.set_progress(coptions, C.uintptr_t(h), &cerr), cerr); err != nil {
				return err
			}
		}
	}
	result := build(coptions, &cerr)
	return status(result, cerr)
}

// InspectRootfs says what an image is, as JSON: type, usage, uuid, label, size; of ext4 also free, blockSize, inodes,
// freeInodes, journal, checksums, clean.
func InspectRootfs(image string) (string, error) {
	var cerr *C.rcvm_error
	cimage := C.CString(image)
	defer freeString(cimage)
	return takeString(C.rcvm_rootfs_inspect_json(cimage, &cerr), cerr)
}

// GrowRootfs makes an image that BuildRootfs has made, and that is not in use, larger.
func GrowRootfs(image string, size uint64) error {
	var cerr *C.rcvm_error
	cimage := C.CString(image)
	defer freeString(cimage)
	return status(C.rcvm_rootfs_grow(cimage, C.uint64_t(size), &cerr), cerr)
}

// VerifyRootfs reads all metadata of an unmounted image; the error says what is wrong with them.
func VerifyRootfs(image string) error {
	var cerr *C.rcvm_error
	cimage := C.CString(image)
	defer freeString(cimage)
	return status(C.rcvm_rootfs_verify(cimage, &cerr), cerr)
}

// WriteBackRootfs applies what a VM has changed, in the upper layer of its root, to the directory that it was started from.
// What failed or was interrupted is done again by the same call; until it is done, upperImage + ".write-back" exists.
func WriteBackRootfs(upperImage, rootfs string) error {
	var cerr *C.rcvm_error
	cimage, crootfs := C.CString(upperImage), C.CString(rootfs)
	defer freeString(cimage)
	defer freeString(crootfs)
	return status(C.rcvm_rootfs_write_back(cimage, crootfs, &cerr), cerr)
}

func (options *RootfsOptions) apply(coptions *C.rcvm_rootfs_options) error {
	var cerr *C.rcvm_error
	result := C.rcvm_rootfs_options_set_size(coptions, C.uint64_t(options.Size), &cerr)
	if result == 0 && options.Headroom != 0 {
		result = C.rcvm_rootfs_options_set_headroom(coptions, C.uint(options.Headroom), &cerr)
	}
	if result == 0 {
		result = C.rcvm_rootfs_options_set_journal(coptions, flag(!options.NoJournal), &cerr)
	}
	if result == 0 {
		result = C.rcvm_rootfs_options_set_sync(coptions, flag(!options.NoSync), &cerr)
	}
	for _, c := range options.Copies {
		if result != 0 {
			break
		}
		result = C.rcvm_rootfs_options_set_missing_source(coptions, C.int(c.Missing), &cerr)
		if result != 0 {
			break
		}
		source, destination := C.CString(c.Source), C.CString(c.Destination)
		result = C.rcvm_rootfs_options_add_copy(coptions, source, destination, &cerr)
		freeString(source)
		freeString(destination)
	}
	return status(result, cerr)
}
