// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

// #include <stdint.h>
import "C"

import "runtime/cgo"

// In a file of their own: a file with exported functions may hold no C definitions.

//export runcvmGoLog
func runcvmGoLog(handle C.uintptr_t, level C.int, stage, message *C.char) {
	fn := cgo.Handle(handle).Value().(LogFunc)
	fn(LogLevel(level), C.GoString(stage), C.GoString(message))
}

//export runcvmGoFreeLog
func runcvmGoFreeLog(handle C.uintptr_t) {
	cgo.Handle(handle).Delete()
}
