// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func TestLimits048(t *testing.T) {
	vm := newVM(t, "limits", "sleep 1000")
	must(t, vm.SetCgroupDriver("cgroupfs"))
	fails(t, runcvm.BadState, vm.Pause())
	must(t, vm.Start())
	must(t, vm.Pause())
	if vm.Status() != runcvm.StatusPaused {
		t.Fatal(vm.Status())
	}
	fails(t, runcvm.BadState, vm.Pause())
	must(t, vm.Resume())
	if vm.Status() != runcvm.StatusRunning {
		t.Fatal(vm.Status())
	}
	fails(t, runcvm.BadState, vm.Resume())
	text, err := vm.ProcessesJSON()
	must(t, err)
	var pids []int
	must(t, json.Unmarshal([]byte(text), &pids))
	if len(pids) < 2 || pids[0] != vm.PID() {
		t.Fatal(text)
	}
	must(t, vm.Update(`{"pids":{"limit":60}}`))
	stats, err := vm.StatsJSON()
	must(t, err)
	if !strings.Contains(stats, `"pids":{"current":1,"limit":60}`) {
		t.Fatal(stats)
	}
	if vm.OOMKills() != 0 {
		t.Fatal(vm.OOMKills())
	}
	fails(t, runcvm.Unsupported, vm.Update(`{"memory":{"limit":1099511627776}}`))
	fails(t, runcvm.BadSpec, vm.Update("[]"))
	must(t, vm.Flush())
	must(t, vm.Pause())
	must(t, vm.Flush())
	must(t, vm.Delete(true))
	fails(t, runcvm.BadState, vm.Flush())
	_, err = vm.StatsJSON()
	fails(t, runcvm.BadState, err)
}

func TestLimits048Refused(t *testing.T) {
	for i, c := range []struct {
		driver string
		code   runcvm.Code
	}{{"other", runcvm.Invalid}} {
		vm := newVM(t, fmt.Sprint("refused", i), "true")
		must(t, vm.SetCgroupDriver(c.driver))
		fails(t, c.code, vm.Start())
	}
}
