// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func writeTar(t *testing.T, path string, names ...string) {
	t.Helper()
	file, err := os.Create(path)
	must(t, err)
	w := tar.NewWriter(file)
	for _, name := range names {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: 6}))
		_, err = w.Write([]byte("lower\n"))
		must(t, err)
	}
	must(t, w.Close())
	must(t, file.Close())
}

func TestRootfs015(t *testing.T) {
	work := t.TempDir()
	tree, image, extra := filepath.Join(work, "tree"), filepath.Join(work, "image"), filepath.Join(work, "extra")
	must(t, os.MkdirAll(filepath.Join(tree, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(tree, "big"), bytes.Repeat([]byte("0123456789abcdef"), 3<<16), 0o644))
	must(t, os.WriteFile(extra, []byte("extra\n"), 0o644))

	phases, most := map[string]bool{}, uint64(0)
	must(t, runcvm.BuildRootfs(tree, image, &runcvm.RootfsOptions{
		Size:   64 << 20,
		Copies: []runcvm.Copy{{Source: extra, Destination: "/etc/extra"}},
		Progress: func(phase string, files, bytes uint64) bool {
			phases[phase] = true
			if bytes > most {
				most = bytes
			}
			return true
		},
	}))
	info, err := os.Stat(image)
	must(t, err)
	if info.Size() != 64<<20 || len(phases) != 3 || most < 3<<20 {
		t.Fatal(info.Size(), phases, most)
	}
	out, err := exec.Command("debugfs", "-R", "cat /etc/extra", image).Output()
	must(t, err)
	if string(out) != "extra\n" {
		t.Fatalf("%q", out)
	}
	fails(t, runcvm.Exists, runcvm.BuildRootfs(tree, image, nil))
	about, err := runcvm.InspectRootfs(image)
	must(t, err)
	if !strings.Contains(about, `"type":"ext4"`) {
		t.Fatal(about)
	}
	must(t, runcvm.VerifyRootfs(image))
	must(t, runcvm.GrowRootfs(image, 1<<30))
	must(t, runcvm.VerifyRootfs(image))
	if info, err = os.Stat(image); err != nil || info.Size() != 1<<30 {
		t.Fatal(info, err)
	}
	fails(t, runcvm.Invalid, runcvm.GrowRootfs(image, 1<<20))
	fails(t, runcvm.BadImage, runcvm.VerifyRootfs(extra))
	must(t, os.Remove(image))

	lower, upper := filepath.Join(work, "lower.tar"), filepath.Join(work, "upper")
	writeTar(t, lower, "a", "b")
	must(t, os.MkdirAll(upper, 0o755))
	must(t, os.WriteFile(filepath.Join(upper, "b"), []byte("upper\n"), 0o644))
	must(t, runcvm.BuildRootfsLayers([]string{lower, upper}, image, &runcvm.RootfsOptions{
		Copies: []runcvm.Copy{
			{Source: "/nonexistent", Destination: "/dir", Missing: runcvm.MissingDirectory},
			{Source: "/nonexistent", Destination: "/file", Missing: runcvm.MissingFile},
		},
	}))
	out, err = exec.Command("debugfs", "-R", "cat /b", image).Output()
	must(t, err)
	if string(out) != "upper\n" {
		t.Fatalf("%q", out)
	}
	must(t, os.Remove(image))
	fails(t, runcvm.BadImage, runcvm.BuildRootfsLayers([]string{extra}, image, nil))
	fails(t, runcvm.Invalid, runcvm.BuildRootfsLayers(nil, image, nil))
	fails(t, runcvm.NotFound, runcvm.BuildRootfsLayers([]string{lower}, image, &runcvm.RootfsOptions{
		Copies: []runcvm.Copy{{Source: "/nonexistent", Destination: "/x", Missing: runcvm.MissingFails}},
	}))
	layer, rootfs := filepath.Join(work, "layer"), filepath.Join(work, "rootfs")
	must(t, os.MkdirAll(filepath.Join(layer, "upper", "etc"), 0o755))
	must(t, os.Mkdir(rootfs, 0o755))
	must(t, os.WriteFile(filepath.Join(layer, "upper", "etc", "motd"), []byte("changed\n"), 0o644))
	must(t, runcvm.BuildRootfs(layer, image, nil))
	must(t, runcvm.WriteBackRootfs(image, rootfs))
	motd, err := os.ReadFile(filepath.Join(rootfs, "etc", "motd"))
	must(t, err)
	if string(motd) != "changed\n" {
		t.Fatalf("%q", motd)
	}
	if _, err := os.Stat(image + ".write-back"); !os.IsNotExist(err) {
		t.Fatal("a note is left of a write-back that is done")
	}
	must(t, os.Remove(image))
	fails(t, runcvm.NotFound, runcvm.WriteBackRootfs(image, rootfs))
	must(t, runcvm.BuildRootfs(tree, image, nil))
	fails(t, runcvm.BadImage, runcvm.WriteBackRootfs(image, rootfs))
	must(t, os.Remove(image))

	fails(t, runcvm.Cancelled, runcvm.BuildRootfs(tree, image, &runcvm.RootfsOptions{
		Progress: func(string, uint64, uint64) bool { return false },
	}))
	fails(t, runcvm.NotFound, runcvm.BuildRootfs(filepath.Join(work, "nothing"), image, nil))
	fails(t, runcvm.NoSpace, runcvm.BuildRootfs(tree, image, &runcvm.RootfsOptions{Size: 1 << 20}))
	fails(t, runcvm.Invalid, runcvm.BuildRootfs(tree, image, &runcvm.RootfsOptions{
		Copies: []runcvm.Copy{{Source: tree, Destination: "relative"}},
	}))
	if _, err := os.Stat(image); !os.IsNotExist(err) {
		t.Fatal("a failed build leaves its image")
	}
}
