// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// added has an image in the cache; it stays in use until it is closed.
func added(t *testing.T, cache *runcvm.Cache, rootfs string, digests []string, hit bool) *runcvm.CachedImage {
	t.Helper()
	image, err := cache.Add(rootfs, digests)
	must(t, err)
	if image.Hit != hit {
		t.Fatal("hit is", image.Hit)
	}
	return image
}

func listed(t *testing.T, cache *runcvm.Cache, part string, count int) {
	t.Helper()
	list, err := cache.List()
	must(t, err)
	if strings.Count(list, part) != count {
		t.Fatal(part, count, list)
	}
}

func TestCache018(t *testing.T) {
	work := t.TempDir()
	tree, directory := filepath.Join(work, "tree"), filepath.Join(work, "cache")
	file := filepath.Join(tree, "file")
	must(t, os.MkdirAll(tree, 0o755))
	must(t, os.WriteFile(file, []byte("contents\n"), 0o644))

	cache, err := runcvm.OpenCache(directory)
	must(t, err)
	defer cache.Close()
	if cache.Path() != directory {
		t.Fatal(cache.Path())
	}
	image := added(t, cache, tree, nil, false)
	if image.Path != filepath.Join(directory, image.Key+".ext4") || image.Note != "" {
		t.Fatal(image)
	}
	must(t, runcvm.VerifyRootfs(image.Path))
	again := added(t, cache, tree, nil, true)
	if again.Key != image.Key {
		t.Fatal(again.Key, image.Key)
	}
	must(t, again.Close())
	// Every change is another image.
	must(t, os.Chmod(file, 0o600))
	changed := added(t, cache, tree, nil, false)
	if changed.Key == image.Key {
		t.Fatal(changed.Key)
	}
	must(t, changed.Close())
	must(t, added(t, cache, tree, []string{digest}, false).Close())
	must(t, added(t, cache, "/nonexistent", []string{digest}, true).Close())
	listed(t, cache, `"key"`, 3)
	listed(t, cache, `"inUse":true`, 1)

	// One that is held stays.
	freed, err := cache.Prune(0)
	must(t, err)
	listed(t, cache, image.Key+`"`, 1)
	listed(t, cache, `"key"`, 1)
	if err := cache.Remove(image.Key); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatal(err)
	}
	must(t, image.Close())
	must(t, cache.Remove(image.Key))
	if err := cache.Remove(image.Key); err == nil || !strings.Contains(err.Error(), "has no") {
		t.Fatal(err)
	}
	must(t, added(t, cache, tree, nil, false).Close())
	if more, err := cache.Prune(0); err != nil || freed == 0 || more == 0 {
		t.Fatal(freed, more, err)
	}
	listed(t, cache, `"key"`, 0)

	must(t, cache.SetLimit(0))
	must(t, added(t, cache, tree, nil, false).Close())
	named := added(t, cache, tree, []string{digest}, false)
	path := named.Path
	must(t, named.Close())
	listed(t, cache, `"key"`, 1)

	damage := func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(t, err)
		_, err = f.Write(make([]byte, 4096))
		must(t, err)
		must(t, f.Close())
	}
	verified := func(remove bool, part string) {
		t.Helper()
		list, err := cache.Verify(remove)
		must(t, err)
		if !strings.Contains(list, part) {
			t.Fatal(part, list)
		}
	}
	verified(false, `"good":true`)
	damage()
	listed(t, cache, `"damaged"`, 1)
	verified(false, `"problem"`)
	mended := added(t, cache, tree, []string{digest}, false)
	if !strings.Contains(mended.Note, "built again") {
		t.Fatal(mended)
	}
	must(t, mended.Close())
	damage()
	verified(true, `"removed":true`)
	listed(t, cache, `"key"`, 0)

	_, err = runcvm.OpenCache(file)
	fails(t, runcvm.NotFound, err)
	_, err = cache.Add(filepath.Join(work, "nothing"), nil)
	fails(t, runcvm.NotFound, err)
	_, err = cache.Add(tree, []string{"latest"})
	fails(t, runcvm.Invalid, err)
	_, err = cache.Add("", nil)
	fails(t, runcvm.Invalid, err)
	cache.Close()
	if _, err = cache.List(); err != runcvm.ErrClosed {
		t.Fatal(err)
	}
}
