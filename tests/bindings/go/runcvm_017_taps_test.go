// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func TestTaps017(t *testing.T) {
	if _, err := os.Stat("/dev/net/tun"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and /dev/net/tun")
	}
	holder := exec.Command("unshare", "-n", "sleep", "120")
	must(t, holder.Start())
	defer holder.Wait()
	defer holder.Process.Kill()
	path := fmt.Sprintf("/proc/%d/ns/net", holder.Process.Pid)
	own, err := os.Readlink("/proc/thread-self/ns/net")
	must(t, err)
	for {
		if now, err := os.Readlink(path); err == nil && now != own {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	links := func() string {
		t.Helper()
		out, err := exec.Command("nsenter", "--net="+path, "cat", "/proc/net/dev").Output()
		must(t, err)
		var names []string
		for _, line := range strings.Split(string(out), "\n")[2:] {
			if name, _, found := strings.Cut(line, ":"); found {
				names = append(names, strings.TrimSpace(name))
			}
		}
		return strings.Join(names, " ")
	}
	ns := runcvm.Netns{Path: path}

	tap, err := runcvm.TapInNetns(ns, &runcvm.TapOptions{
		Name: "b9fc_12345678", MAC: "02:00:5e:10:00:01", MTU: 1400, Owner: &runcvm.Owner{UID: 1, GID: 2},
	})
	must(t, err)
	if tap.Name != "b9fc_12345678" || tap.MAC != "02:00:5e:10:00:01" || tap.Index < 2 || tap.Fd(0) < 0 || tap.Fd(1) != -1 {
		t.Fatal(tap)
	}
	if links() != "lo b9fc_12345678" {
		t.Fatal(links())
	}
	_, err = runcvm.TapInNetns(ns, &runcvm.TapOptions{Name: tap.Name})
	fails(t, runcvm.Exists, err)
	must(t, tap.Close())
	must(t, tap.Close())

	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	one, err := runcvm.TapInNetns(runcvm.Netns{Pid: holder.Process.Pid}, &runcvm.TapOptions{Queues: 2})
	must(t, err)
	two, err := runcvm.TapInNetns(runcvm.Netns{File: file}, &runcvm.TapOptions{NoVnetHdr: true})
	must(t, err)
	if one.Fd(1) < 0 || len(strings.Fields(links())) != 3 {
		t.Fatal(links())
	}
	taken := os.NewFile(uintptr(one.TakeFd(0)), "tap")
	if one.Fd(0) != -1 {
		t.Fatal("a taken fd is still there")
	}
	must(t, taken.Close())
	must(t, one.Close())
	must(t, two.Close())
	if links() != "lo" {
		t.Fatal(links())
	}

	stays, err := runcvm.TapInNetns(ns, &runcvm.TapOptions{Name: "stays", Persistent: true, Down: true})
	must(t, err)
	must(t, stays.Close())
	if links() != "lo stays" {
		t.Fatal(links())
	}
	must(t, runcvm.DeleteTap(ns, "stays"))
	fails(t, runcvm.NotFound, runcvm.DeleteTap(ns, "stays"))
	fails(t, runcvm.Invalid, runcvm.DeleteTap(ns, "lo"))

	_, err = runcvm.TapInNetns(runcvm.Netns{Path: "/run/netns/nonesuch"}, nil)
	fails(t, runcvm.NotFound, err)
	for _, path := range []string{"/etc/passwd", "/proc/self/ns/mnt"} {
		_, err = runcvm.TapInNetns(runcvm.Netns{Path: path}, nil)
		fails(t, runcvm.Invalid, err)
	}
	for _, options := range []runcvm.TapOptions{{Name: "sixteen-bytes-xx"}, {MAC: "01:00:5e:10:00:01"}, {MTU: 1}, {Queues: 1000}} {
		_, err = runcvm.TapInNetns(ns, &options)
		fails(t, runcvm.Invalid, err)
	}
	for i := 0; i < 20; i++ {
		tap, err := runcvm.TapInNetns(ns, nil)
		must(t, err)
		must(t, tap.Close())
	}
	if links() != "lo" {
		t.Fatal(links())
	}
}
