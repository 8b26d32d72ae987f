// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

// #include <stdint.h>
import "C"

import "runtime/cgo"

//export runcvmGoProgress
func runcvmGoProgress(handle C.uintptr_t, phase *C.char, files, bytes C.uint64_t) C.int {
	fn := cgo.Handle(handle).Value().(func(phase string, files, bytes uint64) bool)
	if fn(C.GoString(phase), uint64(files), uint64(bytes)) {
		return 0
	}
	return 1
}
