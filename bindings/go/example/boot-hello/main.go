// SPDX-License-Identifier: LGPL-2.1-or-later

// boot-hello ROOTFS COMMAND...: runs a command in a directory's tree, in a VM; exits as it did.
package main

import (
	"errors"
	"fmt"
	"os"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func run(rootfs string, command []string) (int, error) {
	vm, err := runcvm.New("", fmt.Sprintf("boot-hello-%d", os.Getpid()))
	if err != nil {
		return 0, err
	}
	defer vm.Close()
	if err := vm.SetRootfs(rootfs); err != nil {
		return 0, err
	}
	if err := vm.SetArgs(command...); err != nil {
		return 0, err
	}
	if err := vm.SetStdio(os.Stdin, os.Stdout, os.Stderr); err != nil {
		return 0, err
	}
	if err := vm.Start(); err != nil {
		return 0, err
	}
	code, err := vm.Wait(-1)
	if deleteErr := vm.Delete(true); err == nil {
		err = deleteErr
	}
	return code, err
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: boot-hello ROOTFS COMMAND...")
		os.Exit(125)
	}
	code, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "boot-hello:", err)
		var failure *runcvm.Error
		code = 125
		if errors.As(err, &failure) {
			code = failure.ExitCode
		}
	}
	os.Exit(code)
}
