// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"math/rand"
	"os"
	"testing"
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
