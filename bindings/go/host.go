// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

// #include <runcvm/runcvm.h>
import "C"

// CheckResult is what came of a check.
type CheckResult int

const (
	CheckOK      CheckResult = C.RCVM_CHECK_OK
	CheckMissing CheckResult = C.RCVM_CHECK_MISSING // something works less well, or not at all
	CheckFatal   CheckResult = C.RCVM_CHECK_FATAL   // no VM can start
)

// Check is one thing that the host offers, or lacks.
type Check struct {
	Name   string // "kvm", "qemu", ...
	Result CheckResult
	Detail string // what was found
	Advice string // what to do about it, or ""
}

// HostCheck looks at what this host offers.
func HostCheck() ([]Check, error) {
	var cerr *C.rcvm_error
	host := C.rcvm_host_check(&cerr)
	if host == nil {
		return nil, takeError(cerr)
	}
	defer C.rcvm_host_free(host)
	checks := make([]Check, int(C.rcvm_host_count(host)))
	for i := range checks {
		n := C.size_t(i)
		checks[i] = Check{
			Name:   C.GoString(C.rcvm_host_get_name(host, n)),
			Result: CheckResult(C.rcvm_host_get_result(host, n)),
			Detail: C.GoString(C.rcvm_host_get_detail(host, n)),
			Advice: C.GoString(C.rcvm_host_get_advice(host, n)),
		}
	}
	return checks, nil
}
