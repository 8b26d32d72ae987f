// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

// #include <stdlib.h>
// #include <runcvm/runcvm.h>
import "C"

// SetNetwork says what the VM is connected to: "none", "host", "netns", "pid:NUMBER", or the path of a network namespace
// whose interfaces become the VM's.
func (vm *VM) SetNetwork(network string) error {
	return vm.callString(network, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_network(p, s, e)
	})
}

// SetNetworkJoin says how interfaces are joined to the VM's: "tc" or "bridge".
func (vm *VM) SetNetworkJoin(join string) error {
	return vm.callString(join, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_network_join(p, s, e)
	})
}

// SetTapName names the first TAP.
func (vm *VM) SetTapName(name string) error {
	return vm.callString(name, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_tap_name(p, s, e)
	})
}

// SetDHCP gives a DHCP server so many seconds for its first answer; 0: no DHCP.
func (vm *VM) SetDHCP(seconds uint) error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_dhcp(p, C.uint(seconds), e)
	})
}

// AddNIC says what the VM has in place of what an interface of the namespace has: "eth0,address=192.0.2.7/24,...".
func (vm *VM) AddNIC(nic string) error {
	return vm.callString(nic, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_add_nic(p, s, e)
	})
}

// AddPort makes a port of the host lead to the VM: "[ADDRESS:]HOST:VM[/tcp|/udp]".
func (vm *VM) AddPort(port string) error {
	return vm.callString(port, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_add_port(p, s, e)
	})
}

// NetJSON returns what was taken from where, and what the guest has, as JSON.
func (vm *VM) NetJSON() (string, error) {
	return vm.text(func(p *C.rcvm_vm, e **C.rcvm_error) *C.char { return C.rcvm_vm_net_json(p, e) })
}

// AttachNIC returns when the VM has the interface of its network namespace.
func (vm *VM) AttachNIC(name string) error {
	return vm.callString(name, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_attach_nic(p, s, e)
	})
}

// DetachNIC takes it away, until it is attached again.
func (vm *VM) DetachNIC(name string) error {
	return vm.callString(name, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_detach_nic(p, s, e)
	})
}
