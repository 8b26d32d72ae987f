// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"fmt"
	"math/rand"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func TestStreams030AllThree(t *testing.T) {
	vm := newVM(t, "streams", "cat; echo to stderr >&2; exit 3")
	buffer := make([]byte, 1<<20)
	rand.New(rand.NewSource(30)).Read(buffer)
	out, err := collect(t), collect(t)
	r, w, failure := os.Pipe()
	must(t, failure)
	must(t, vm.SetStdio(r, out.W, err.W))
	r.Close()
	go func() {
		w.Write(buffer)
		w.Close()
	}()
	must(t, vm.Start())
	expectExit(t, vm.Wait, 3)
	must(t, vm.Delete(false))
	must(t, vm.Close())
	if out.text(t) != string(buffer) {
		t.Fatal("the output is not the input")
	}
	if got := err.text(t); got != "to stderr\n" {
		t.Fatalf("%q", got)
	}
}

func TestStreams030Nothing(t *testing.T) {
	vm := newVM(t, "nothing", `test -z "$(cat)" && echo lost && echo lost >&2`)
	must(t, vm.Start())
	expectExit(t, vm.Wait, 0)
}

func control(t *testing.T, file *os.File, request uintptr, argument unsafe.Pointer) {
	t.Helper()
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), request, uintptr(argument)); e != 0 {
		t.Fatal(e)
	}
}

func TestStreams030Terminal(t *testing.T) {
	vm := newVM(t, "terminal", "trap 'stty size; exit 4' WINCH; stty size; while :; do sleep 1; done")
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	defer master.Close()
	var unlock, number int32
	control(t, master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	control(t, master, syscall.TIOCGPTN, unsafe.Pointer(&number))
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	control(t, master, syscall.TIOCSWINSZ, unsafe.Pointer(&[4]uint16{31, 72}))
	must(t, vm.SetConsole(slave))
	slave.Close()
	must(t, vm.Start())
	text, piece := "", make([]byte, 4096)
	for !strings.Contains(text, "31 72\r\n") {
		n, err := master.Read(piece)
		must(t, err)
		text += string(piece[:n])
	}
	// Nobody but the monitor hears of this.
	control(t, master, syscall.TIOCSWINSZ, unsafe.Pointer(&[4]uint16{41, 82}))
	expectExit(t, vm.Wait, 4)
	n, err := master.Read(piece)
	must(t, err)
	if !strings.Contains(string(piece[:n]), "41 82\r\n") {
		t.Fatalf("%q", piece[:n])
	}
	must(t, vm.Delete(false))

	none := newVM(t, "no-terminal", "true")
	null, err := os.Open(os.DevNull)
	must(t, err)
	fails(t, runcvm.Invalid, none.SetConsole(null))
	null.Close()
}

func TestStreams030Environment(t *testing.T) {
	vm := newVM(t, "env", `echo "$WHO in $(pwd)"`)
	out := collect(t)
	must(t, vm.AddEnv("WHO=wörld", "UNUSED="))
	must(t, vm.SetCwd("/tmp"))
	must(t, vm.SetStdio(nil, out.W, nil))
	must(t, vm.Start())
	expectExit(t, vm.Wait, 0)
	must(t, vm.Delete(false))
	must(t, vm.Close())
	if got := out.text(t); got != "wörld in /tmp\n" {
		t.Fatalf("%q", got)
	}
}
