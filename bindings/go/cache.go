// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

/*
#include <stdlib.h>
#include <runcvm/runcvm.h>
*/
import "C"

import (
	"encoding/json"
	"os"
	"unsafe"
)

// Cache is the cache of base images that the VMs of a host share.
type Cache struct {
	h handle
}

// CachedImage is an image of a cache, in use (never removed) until it is closed.
type CachedImage struct {
	Key       string `json:"key"`
	Path      string `json:"path"`
	Size      uint64 `json:"size"`      // bytes of the file system
	Allocated uint64 `json:"allocated"` // bytes on disk
	Hit       bool   `json:"hit"`       // it was there already
	Note      string `json:"note"`      // a damaged image was replaced, or ""
	// File holds the image: another process that has a copy of it holds it, too.
	File *os.File `json:"-"`
}

// Close ends the use of the image.
func (image *CachedImage) Close() error {
	return image.File.Close()
}

// OpenCache opens the cache in a directory, or for "" the one that VMs use.
func OpenCache(directory string) (*Cache, error) {
	cdirectory := optionalString(directory)
	defer freeString(cdirectory)
	var cerr *C.rcvm_error
	p := C.rcvm_cache_open(cdirectory, &cerr)
	if p == nil {
		return nil, takeError(cerr)
	}
	return &Cache{handle{
		pointer: unsafe.Pointer(p),
		free:    func(p unsafe.Pointer) { C.rcvm_cache_free((*C.rcvm_cache)(p)) },
	}}, nil
}

// Close frees the handle; images in use stay so.
func (cache *Cache) Close() {
	cache.h.close()
}

func (cache *Cache) call(fn func(p *C.rcvm_cache) error) error {
	p, err := cache.h.acquire()
	if err != nil {
		return err
	}
	defer cache.h.release()
	return fn((*C.rcvm_cache)(p))
}

// Path is the directory, or "" for a closed handle.
func (cache *Cache) Path() (path string) {
	cache.call(func(p *C.rcvm_cache) error {
		path = C.GoString(C.rcvm_cache_get_path(p))
		return nil
	})
	return path
}

// SetLimit says how many bytes on disk Add through this handle lets all images have together.
func (cache *Cache) SetLimit(bytes uint64) error {
	return cache.call(func(p *C.rcvm_cache) error {
		var cerr *C.rcvm_error
		return status(C.rcvm_cache_set_limit(p, C.uint64_t(bytes), &cerr), cerr)
	})
}

// Add has an image of the directory rootfs: found, waited for, or built.  digests ("sha256:...", of its layers) name
// the contents; with nil the metadata of the tree do.
func (cache *Cache) Add(rootfs string, digests []string) (*CachedImage, error) {
	crootfs, cdigests := C.CString(rootfs), stringVector(digests)
	defer freeString(crootfs)
	defer freeVector(cdigests, len(digests))
	image := &CachedImage{}
	err := cache.call(func(p *C.rcvm_cache) error {
		var cerr *C.rcvm_error
		fd := C.int(-1)
		text, err := takeString(C.rcvm_cache_add_json(p, crootfs, cdigests, &fd, &cerr), cerr)
		if err != nil {
			return err
		}
		image.File = os.NewFile(uintptr(fd), "cached image")
		if err := json.Unmarshal([]byte(text), image); err != nil {
			image.File.Close()
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return image, nil
}

// List returns the images as a JSON array, the one used last first; see rcvm_cache_list_json(3).
func (cache *Cache) List() (list string, err error) {
	err = cache.call(func(p *C.rcvm_cache) error {
		var cerr *C.rcvm_error
		list, err = takeString(C.rcvm_cache_list_json(p, &cerr), cerr)
		return err
	})
	return list, err
}

// Prune removes unused images, the oldest first, until keep bytes are left.  It returns the bytes that are free now.
func (cache *Cache) Prune(keep uint64) (uint64, error) {
	var freed C.uint64_t
	err := cache.call(func(p *C.rcvm_cache) error {
		var cerr *C.rcvm_error
		return status(C.rcvm_cache_prune(p, C.uint64_t(keep), &freed, &cerr), cerr)
	})
	return uint64(freed), err
}

// Remove removes the image or the template with that key, which must not be in use.
func (cache *Cache) Remove(key string) error {
	return cache.call(func(p *C.rcvm_cache) error {
		k := C.CString(key)
		defer C.free(unsafe.Pointer(k))
		var cerr *C.rcvm_error
		return status(C.rcvm_cache_remove(p, k, &cerr), cerr)
	})
}

// Verify reads all metadata of all images, and returns a JSON array of key, good, problem, removed; see
// rcvm_cache_verify_json(3).
func (cache *Cache) Verify(remove bool) (list string, err error) {
	err = cache.call(func(p *C.rcvm_cache) error {
		var cerr *C.rcvm_error
		list, err = takeString(C.rcvm_cache_verify_json(p, flag(remove), &cerr), cerr)
		return err
	})
	return list, err
}
