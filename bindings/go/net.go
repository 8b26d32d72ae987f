// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

// #include <runcvm/runcvm.h>
import "C"

import (
	"os"
	"sync"
)

// Netns names a network namespace by the first of its fields that is set; the zero value is the calling thread's own.
type Netns struct {
	File *os.File
	Pid  int
	Path string // "/var/run/netns/ID"
}

func (n Netns) open() (*C.rcvm_net_ns, error) {
	var cerr *C.rcvm_error
	var ns *C.rcvm_net_ns
	switch {
	case n.File != nil:
		ns = C.rcvm_net_ns_open_fd(C.int(n.File.Fd()), &cerr)
	case n.Pid != 0:
		ns = C.rcvm_net_ns_open_pid(C.int(n.Pid), &cerr)
	default:
		path := optionalString(n.Path)
		defer freeString(path)
		ns = C.rcvm_net_ns_open(path, &cerr)
	}
	if ns == nil {
		return nil, takeError(cerr)
	}
	return ns, nil
}

// Owner is who may open a TAP beside root; a negative number is nobody.
type Owner struct {
	UID, GID int
}

// TapOptions are the options of TapInNetns; the zero value is the default.
type TapOptions struct {
	Name   string // "": a free one
	MAC    string // "": a random one
	MTU    uint   // 0: 1500
	Owner  *Owner
	Queues uint // more than one: a multi-queue device
	// NoVnetHdr: frames without a virtio_net_hdr.  Persistent: it stays until DeleteTap, for a VMM that opens it by
	// name.  Down: it is not set up.
	NoVnetHdr, Persistent, Down bool
}

func (o *TapOptions) apply(coptions *C.rcvm_net_tap_options) error {
	var cerr *C.rcvm_error
	name, mac := optionalString(o.Name), optionalString(o.MAC)
	defer freeString(name)
	defer freeString(mac)
	result := C.rcvm_net_tap_options_set_name(coptions, name, &cerr)
	if result == 0 {
		result = C.rcvm_net_tap_options_set_mac(coptions, mac, &cerr)
	}
	if result == 0 {
		result = C.rcvm_net_tap_options_set_mtu(coptions, C.uint(o.MTU), &cerr)
	}
	if result == 0 && o.Owner != nil {
		result = C.rcvm_net_tap_options_set_owner(coptions, C.long(o.Owner.UID), C.long(o.Owner.GID), &cerr)
	}
	if result == 0 && o.Queues != 0 {
		result = C.rcvm_net_tap_options_set_queues(coptions, C.uint(o.Queues), &cerr)
	}
	if result == 0 {
		result = C.rcvm_net_tap_options_set_vnet_hdr(coptions, flag(!o.NoVnetHdr), &cerr)
	}
	if result == 0 {
		result = C.rcvm_net_tap_options_set_persistent(coptions, flag(o.Persistent), &cerr)
	}
	if result == 0 {
		result = C.rcvm_net_tap_options_set_up(coptions, flag(!o.Down), &cerr)
	}
	return status(result, cerr)
}

// Tap is a TAP device.  One that is not persistent goes when it is closed.
type Tap struct {
	Name  string
	Index int
	MAC   string

	mu  sync.Mutex
	tap *C.rcvm_net_tap
}

// TapInNetns makes a TAP in a network namespace; nothing else there is touched.  options may be nil.
func TapInNetns(netns Netns, options *TapOptions) (*Tap, error) {
	var cerr *C.rcvm_error
	ns, err := netns.open()
	if err != nil {
		return nil, err
	}
	defer C.rcvm_net_ns_free(ns)
	coptions := C.rcvm_net_tap_options_new(&cerr)
	if coptions == nil {
		return nil, takeError(cerr)
	}
	defer C.rcvm_net_tap_options_free(coptions)
	if options != nil {
		if err := options.apply(coptions); err != nil {
			return nil, err
		}
	}
	tap := C.rcvm_net_tap_in_netns(ns, coptions, &cerr)
	if tap == nil {
		return nil, takeError(cerr)
	}
	return &Tap{
		Name:  C.GoString(C.rcvm_net_tap_get_name(tap)),
		Index: int(C.rcvm_net_tap_get_index(tap)),
		MAC:   C.GoString(C.rcvm_net_tap_get_mac(tap)),
		tap:   tap,
	}, nil
}

// Fd returns the fd of a queue, which stays the TAP's; -1 where there is none.
func (t *Tap) Fd(queue uint) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(C.rcvm_net_tap_get_fd(t.tap, C.uint(queue)))
}

// TakeFd returns the fd of a queue, which is the caller's from now on; -1 where there is none.
func (t *Tap) TakeFd(queue uint) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(C.rcvm_net_tap_take_fd(t.tap, C.uint(queue)))
}

// Close may be called twice.
func (t *Tap) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	C.rcvm_net_tap_free(t.tap)
	t.tap = nil
	return nil
}

// DeleteTap deletes a TAP, persistent or in use.
func DeleteTap(netns Netns, name string) error {
	var cerr *C.rcvm_error
	ns, err := netns.open()
	if err != nil {
		return err
	}
	defer C.rcvm_net_ns_free(ns)
	cname := C.CString(name)
	defer freeString(cname)
	return status(C.rcvm_net_tap_delete(ns, cname, &cerr), cerr)
}
