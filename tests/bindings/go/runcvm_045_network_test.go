// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

func TestNetwork045(t *testing.T) {
	vm := newVM(t, "network", "sleep 1000")
	name := fmt.Sprintf("gonet%d", os.Getpid())
	ip(t, "netns", "add", name)
	defer exec.Command("ip", "netns", "del", name).Run()
	ip(t, "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
	ip(t, "-n", name, "addr", "add", "192.0.2.7/24", "dev", "eth0")
	ip(t, "-n", name, "link", "set", "eth0", "up")
	must(t, vm.SetNetwork("/var/run/netns/"+name))
	must(t, vm.SetNetworkJoin("tc"))
	must(t, vm.SetTapName("gotap0"))
	must(t, vm.Start())
	net, err := vm.NetJSON()
	must(t, err)
	for _, word := range []string{`"tap":"gotap0"`, `"address":"192.0.2.7/24"`, `"guest":{"interfaces":[`} {
		if !strings.Contains(net, word) {
			t.Fatalf("%s is not in %s", word, net)
		}
	}
	// The guest's half is the last of the document.
	guestHas := func(name string) bool {
		text, err := vm.NetJSON()
		must(t, err)
		return strings.Contains(text[strings.LastIndex(text, `"guest":{"interfaces"`):], fmt.Sprintf(`"name":"%s"`, name))
	}
	must(t, vm.DetachNIC("eth0"))
	if guestHas("eth0") {
		t.Fatal("the interface is still there")
	}
	must(t, vm.AttachNIC("eth0"))
	if !guestHas("eth0") {
		t.Fatal("the interface is not there again")
	}
	fails(t, runcvm.NotFound, vm.AttachNIC("eth9"))
	must(t, vm.Delete(true))
}

func TestNetwork045Refused(t *testing.T) {
	for i, set := range []func(vm *runcvm.VM) error{
		func(vm *runcvm.VM) error { return vm.SetNetwork("wifi") },
		func(vm *runcvm.VM) error { return vm.SetDHCP(5) },
		func(vm *runcvm.VM) error { return vm.AddNIC("eth0") },
		func(vm *runcvm.VM) error { return vm.AddPort("1:1") },
	} {
		vm := newVM(t, fmt.Sprint("refused", i), "true")
		must(t, set(vm))
		fails(t, runcvm.Invalid, vm.Start())
	}
}
