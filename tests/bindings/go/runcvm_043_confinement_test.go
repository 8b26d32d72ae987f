// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

// user is that of the VMM's process.
func user(t *testing.T, vm *runcvm.VM) int {
	var state struct {
		Ours struct {
			PID int `json:"vmmPid"`
		} `json:"org.runcvm"`
	}
	text, err := vm.StateJSON()
	must(t, err)
	must(t, json.Unmarshal([]byte(text), &state))
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", state.Ours.PID))
	must(t, err)
	var id int
	for i := range info {
		if n, _ := fmt.Sscanf(string(info[i:]), "Uid:\t%d", &id); n == 1 {
			return id
		}
	}
	t.Fatal(string(info))
	return 0
}

func TestConfinement043(t *testing.T) {
	for _, how := range []string{"auto", "off"} {
		vm := newVM(t, "confined-"+how, "sleep 1000")
		must(t, vm.SetConfinement(how))
		must(t, vm.Start())
		id := user(t, vm)
		if confined := how == "auto" && os.Geteuid() == 0; confined != (id >= 1900000000) {
			t.Fatal(how, id)
		}
		must(t, vm.Delete(true))
	}
}

func TestConfinement043Refused(t *testing.T) {
	vm := newVM(t, "loose", "true")
	must(t, vm.SetConfinement("loosely"))
	fails(t, runcvm.Invalid, vm.Start())
}
