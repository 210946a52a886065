//go:build integration

package rootfs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/registry"
	"github.com/gilliam/hypervisor/rootfs/oci"
)

// containers opens a cache that may ask registries on loopback.
func containers(t *testing.T) *Images {
	t.Helper()
	return newImages(t, ImagesConfig{AllowedNets: prefixes(t, "127.0.0.0/8")})
}

func pulled(t *testing.T, i *Images, ref string) Image {
	t.Helper()
	img, err := i.Fetch(t.Context(), Want{Ref: ref})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func inLayers(t *testing.T, i *Images) []string {
	t.Helper()
	entries, err := os.ReadDir(i.layersDir())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestPull(t *testing.T) {
	r := registry.New(t)
	base := registry.Tar(t, registry.Named("etc/os", "old"), registry.Named("etc/gone", ""))
	top := registry.Tar(t, registry.Named("etc/os", "new"), registry.Named("etc/.wh.gone", ""))
	digest := r.Push("blog:1", registry.Image{Config: v1.Config{Cmd: []string{"/run"}}, Layers: [][]byte{base, top, base, top}})
	i := containers(t)
	img := pulled(t, i, r.Ref("blog:1"))
	if img.Digest != digest || img.Container == nil || len(img.Container.Layers) != 2 || !slices.Equal(img.Container.Config.Args(), []string{"/run"}) {
		t.Fatalf("got %+v", img)
	}
	if b, err := os.ReadFile(filepath.Join(img.Container.Layers[0], "etc/os")); string(b) != "new" || err != nil {
		t.Errorf("the topmost layer is not the first: %q, %v", b, err)
	}
	if fi, err := os.Lstat(filepath.Join(img.Container.Layers[0], "etc/gone")); err != nil || fi.Mode()&fs.ModeCharDevice == 0 {
		t.Errorf("no whiteout: %v, %v", fi, err)
	}
	if got := inLayers(t, i); len(got) != 2 || i.Counts().Fetched != 1 {
		t.Errorf("layers %v, counts %+v", got, i.Counts())
	}

	// The tag is looked up each time, by asking for no content; a digest never.
	asked := r.Asked("GET /v2/blog/")
	pulled(t, i, r.Ref("blog:1"))
	if now := r.Asked("GET /v2/blog/"); now != asked || r.Asked("HEAD /v2/blog/manifests/1") != 2 {
		t.Errorf("asked for content %d times more, for the tag %d times", now-asked, r.Asked("HEAD /v2/blog/manifests/1"))
	}
	if pinned, err := i.Fetch(t.Context(), Want{Ref: r.Ref("blog:1"), Digest: digest}); err != nil || pinned.Dir != img.Dir {
		t.Errorf("pinned: %+v, %v", pinned, err)
	}
	pulled(t, i, r.Ref("blog@"+digest))
	all := r.Asked("")
	pulled(t, i, r.Ref("blog@"+digest))
	if r.Asked("") != all {
		t.Error("a digest that is known was asked for")
	}

	// Another image shares what is the same. The tag moves; the digest does not.
	more := registry.Tar(t, registry.Named("more", ""))
	r.Push("shop:1", registry.Image{Layers: [][]byte{base, more}, Zstd: true})
	pulled(t, i, r.Ref("shop:1"))
	r.Push("blog:1", registry.Image{Layers: [][]byte{base, more}})
	if again := pulled(t, i, r.Ref("blog:1")); again.Digest == digest || len(inLayers(t, i)) != 3 {
		t.Errorf("%+v, layers %v", again, inLayers(t, i))
	}
	if pinned, err := i.Fetch(t.Context(), Want{Ref: r.Ref("blog:1"), Digest: digest}); err != nil || pinned.Digest != digest {
		t.Errorf("pinned after the tag has moved: %+v, %v", pinned, err)
	}

	// With nobody there, what was fetched is used, by another hypervisor too.
	r.Close()
	i, err := OpenImages(i.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if img := pulled(t, i, r.Ref("blog:1")); len(img.Container.Layers) != 2 || i.Counts().Stale != 1 {
		t.Errorf("with nobody there: %+v, %+v", img, i.Counts())
	}
	var unreachable *unreachableError
	if _, err := i.Fetch(t.Context(), Want{Ref: r.Ref("blog:2")}); !errors.As(err, &unreachable) {
		t.Errorf("never fetched: %v", err)
	}
}

// Fifty who want it at once share one transfer of each layer; two images that share
// a layer too.
func TestPullTogether(t *testing.T) {
	r := registry.New(t)
	base := registry.Tar(t, registry.Named("base", strings.Repeat("x", 1<<20)))
	r.Push("a:1", registry.Image{Layers: [][]byte{base, registry.Tar(t, registry.Named("a", ""))}})
	r.Push("b:1", registry.Image{Layers: [][]byte{base, registry.Tar(t, registry.Named("b", ""))}})
	i := containers(t)
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			name := []string{"a:1", "b:1"}[n%2]
			if _, err := i.Fetch(t.Context(), Want{Ref: r.Ref(name)}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// Two configurations and three layers.
	if got := r.Asked("GET /v2/a/blobs/") + r.Asked("GET /v2/b/blobs/"); got != 5 || len(inLayers(t, i)) != 3 {
		t.Errorf("%d blobs were sent, and the layers are %v", got, inLayers(t, i))
	}
}

// An image that goes takes with it the layers that no other has and no proc runs
// from, and the cache counts a layer once.
func TestPullGC(t *testing.T) {
	r := registry.New(t)
	base := registry.Tar(t, registry.Named("base", strings.Repeat("x", 1<<20)))
	for _, name := range []string{"a", "b"} {
		r.Push(name+":1", registry.Image{Layers: [][]byte{base, registry.Tar(t, registry.Named(name, ""))}})
	}
	i := containers(t)
	a, err := i.Fetch(t.Context(), Want{Ref: r.Ref("a:1"), Holder: "proc"})
	if err != nil {
		t.Fatal(err)
	}
	b := pulled(t, i, r.Ref("b:1"))
	list, err := i.List()
	if err != nil || len(list) != 2 || len(list[0].Layers) != 2 {
		t.Fatalf("listed: %+v, %v", list, err)
	}
	if sum, err := i.onDisk(list); err != nil || sum < 1<<20 || sum > 1<<20+1<<16 {
		t.Errorf("on the disk: %d, %v", sum, err)
	}
	if gone, err := i.GC(2 << 20); err != nil || len(gone) != 0 {
		t.Errorf("removed though there is room: %+v, %v", gone, err)
	}
	if gone, err := i.GC(0); err != nil || len(gone) != 1 || gone[0].Digest != b.Digest || len(inLayers(t, i)) != 2 {
		t.Errorf("removed: %+v, %v; layers %v", gone, err, inLayers(t, i))
	}

	// The next hypervisor hears of the proc from its record, or from its sandbox
	// alone.
	for _, hold := range []func(*Images){
		func(i *Images) { i.Hold(a.Dir, "proc"); i.HoldLayers(append(a.Container.Layers, "/etc"), "proc") },
		func(i *Images) { i.HoldLayers(a.Container.Layers, "proc") },
	} {
		if i, err = OpenImages(i.cfg); err != nil {
			t.Fatal(err)
		}
		i.retry.first = time.Millisecond
		hold(i)
		if _, err := i.GC(0); err != nil || len(inLayers(t, i)) != 2 {
			t.Errorf("%v; layers %v", err, inLayers(t, i))
		}
	}
	i.Release("proc")
	pulled(t, i, r.Ref("b:1"))
	if gone, err := i.GC(0); err != nil || len(gone) != 1 || len(inLayers(t, i)) != 0 {
		t.Errorf("at the end: %+v, %v; layers %v", gone, err, inLayers(t, i))
	}
}

// Layers of an image that is being fetched stay, whatever goes meanwhile.
func TestPullWhileGC(t *testing.T) {
	r := registry.New(t)
	layers := [][]byte{registry.Tar(t, registry.Named("a", "")), registry.Tar(t, registry.Named("b", ""))}
	r.Push("a:1", registry.Image{Layers: layers})
	r.Push("b:1", registry.Image{Layers: [][]byte{registry.Tar(t, registry.Named("c", ""))}})
	i := containers(t)
	other := pulled(t, i, r.Ref("b:1"))
	var blobs atomic.Int32
	r.Before(func(_ http.ResponseWriter, req *http.Request) bool {
		// The configuration, one layer, and the other, which waits for the one.
		if strings.Contains(req.URL.Path, "/v2/a/blobs/") && blobs.Add(1) == 3 {
			there := make(chan error, len(layers))
			for _, l := range layers {
				// Joins the transfer of the layer, and ends with it or with this request.
				go func() {
					_, err := i.provideLayer(req.Context(), nil, oci.Reference{}, oci.Layer{DiffID: fmt.Sprintf("sha256:%x", sha256.Sum256(l))})
					there <- err
				}()
			}
			if err := <-there; err != nil {
				t.Error(err)
			}
			if err := i.Remove(idOf(other.Digest)); err != nil {
				t.Error(err)
			}
		}
		return false
	})
	if img := pulled(t, i, r.Ref("a:1")); len(img.Container.Layers) != 2 || len(inLayers(t, i)) != 2 {
		t.Errorf("%+v; layers %v", img, inLayers(t, i))
	}
}

// A layer that is not as it was unpacked is found out, set aside, and fetched again
// with the next image that has it.
func TestPullVerify(t *testing.T) {
	r := registry.New(t)
	base := registry.Tar(t, registry.Named("usr/bin/x", "right"), registry.Named("opt/.wh..wh..opq", ""), registry.Named("etc/.wh.x", ""))
	for _, name := range []string{"a", "b"} {
		r.Push(name+":1", registry.Image{Layers: [][]byte{base, registry.Tar(t, registry.Named(name, ""))}})
	}
	for what, spoil := range map[string]func(tree string) error{
		"usr/bin/x: ":          func(tree string) error { return os.WriteFile(filepath.Join(tree, "usr/bin/x"), []byte("wrong"), 0o755) },
		"etc/x: ":              func(tree string) error { return os.Remove(filepath.Join(tree, "etc/x")) },
		"opt: ":                func(tree string) error { return unix.Removexattr(filepath.Join(tree, "opt"), "trusted.overlay.opaque") },
		"manifest: is not the": func(tree string) error { return os.Remove(filepath.Join(filepath.Dir(tree), manifestName)) },
	} {
		i := containers(t)
		a, err := i.Fetch(t.Context(), Want{Ref: r.Ref("a:1"), Holder: "proc"})
		if err != nil {
			t.Fatal(err)
		}
		b := pulled(t, i, r.Ref("b:1"))
		if changes, err := i.Verify(t.Context(), idOf(a.Digest), nil); len(changes) != 0 || err != nil {
			t.Errorf("sound: %v, %v", changes, err)
		}
		base := a.Container.Layers[1]
		if err := spoil(base); err != nil {
			t.Fatal(err)
		}
		changes, err := i.Verify(t.Context(), idOf(a.Digest), nil)
		if err != nil || len(changes) != 1 || !strings.Contains(changes[0].String(), what) || !strings.HasPrefix(changes[0].String(), "layer ") {
			t.Errorf("%s: %v, %v", what, changes, err)
		}
		changes, err = i.Verify(t.Context(), idOf(b.Digest), nil)
		if err != nil || len(changes) != 1 || !strings.Contains(changes[0].String(), "missing") {
			t.Errorf("of the other image: %v, %v", changes, err)
		}
		if n, err := i.ClearAside(); n != 1 || err != nil { // of the other image, which nobody uses
			t.Errorf("cleared though a proc runs from it: %d, %v", n, err)
		}
		for _, name := range []string{"a:1", "b:1"} {
			if img := pulled(t, i, r.Ref(name)); img.Container.Layers[1] != base {
				t.Errorf("got %+v", img.Container)
			}
		}
		if b, err := os.ReadFile(filepath.Join(base, "usr/bin/x")); string(b) != "right" || err != nil {
			t.Errorf("%s: %q, %v", what, b, err)
		}
		i.Release("proc")
		if n, err := i.ClearAside(); n != 2 || err != nil {
			t.Errorf("cleared %d, %v", n, err)
		}
	}
}
