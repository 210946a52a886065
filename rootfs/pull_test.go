//go:build integration

package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
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

// Whatever goes wrong with a layer, nothing is left of it, and the next try works.
func TestPullFails(t *testing.T) {
	r := registry.New(t)
	layer := registry.Tar(t, registry.Named("x", strings.Repeat("x", 1<<16)))
	r.Push("a:1", registry.Image{Layers: [][]byte{layer}})
	r.Push("dev:1", registry.Image{Layers: [][]byte{registry.Tar(t), layer, registry.Tar(t, registry.File{Header: nullDevice("x")})}})
	r.Push("sum:1", registry.Image{Layers: [][]byte{
		registry.Tar(t, registry.Named("x", strings.Repeat("x", 3<<19))), registry.Tar(t, registry.Named("y", strings.Repeat("y", 3<<19)))}})
	r.Push("big:1", registry.Image{Layers: [][]byte{registry.Tar(t, registry.Named("x", strings.Repeat("x", 3<<20)))}})
	i := containers(t)
	i.cfg.Container.Bytes = 2 << 20
	i.stall, i.retry.first = time.Second, time.Millisecond
	blob := func(f func(w http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.Contains(req.URL.Path, "/blobs/") || strings.Contains(req.Header.Get("Accept"), "json") {
				return false
			}
			f(w)
			return true
		}
	}
	for _, c := range []struct {
		ref, want string
		before    func(http.ResponseWriter, *http.Request) bool
	}{
		{"a:1", "configuration: is not what it should be", blob(func(w http.ResponseWriter) { w.Write([]byte("{}")) })},
		{"dev:1", "layer 3 of 3, sha256:", nil},
		{"dev:1", "a device", nil},
		{"sum:1", "holds more than", nil},
		{"big:1", "unpacks to more than", nil},
		{"none:1", "no such image", nil},
	} {
		r.Before(c.before)
		if _, err := i.Fetch(t.Context(), Want{Ref: r.Ref(c.ref)}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.ref, err, c.want)
		}
		if got := inLayers(t, i); len(got) != 0 {
			t.Errorf("%s: left %v", c.ref, got)
		}
	}
	r.Before(nil)
	pulled(t, i, r.Ref("a:1"))
}

// A layer that breaks off, stalls, or is another one is found out; one that breaks
// off once is fetched again.
func TestPullLayerBreaks(t *testing.T) {
	for name, c := range map[string]struct {
		want  string
		times int // so often
		do    func(w http.ResponseWriter, req *http.Request)
	}{
		"once":  {"", 1, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		"ever":  {"EOF", 100, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		"stall": {"no data for", 100, func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }},
		"other": {"ends after 5 of", 100, func(w http.ResponseWriter, req *http.Request) { w.Write([]byte("other")) }},
	} {
		t.Run(name, func(t *testing.T) {
			r := registry.New(t)
			r.Push("a:1", registry.Image{Layers: [][]byte{registry.Tar(t, registry.Named("x", ""))}})
			i := containers(t)
			i.stall, i.retry.first = 500*time.Millisecond, time.Millisecond
			var mu sync.Mutex
			blobs := 0
			r.Before(func(w http.ResponseWriter, req *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				if !strings.Contains(req.URL.Path, "/blobs/") {
					return false
				}
				if blobs++; blobs == 1 || blobs > c.times+1 { // the first is the configuration
					return false
				}
				c.do(w, req)
				return true
			})
			_, err := i.Fetch(t.Context(), Want{Ref: r.Ref("a:1")})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if got := inLayers(t, i); err != nil && len(got) != 0 {
				t.Errorf("left %v", got)
			}
		})
	}
}

// Nothing of a registry leads to where the policy forbids: not its address, not a
// redirect of it, not the server of its tokens.
func TestPullForbidden(t *testing.T) {
	i := newImages(t, ImagesConfig{AllowedNets: []netip.Prefix{}})
	for _, ref := range []string{
		"oci://127.0.0.1:5000/x:1", "oci://[::1]:5000/x", "oci://169.254.169.254/x", "oci://10.0.0.1/x", "oci://[::ffff:127.0.0.1]/x",
		"oci://[64:ff9b::7f00:1]/x", "oci://127.1:80/x", "oci://2130706433:80/x", "oci://0x7f000001:80/x", "oci://0177.0.0.1/x", "oci://192.168.1.1:5000/x",
		"oci://[fd00:ec2::254]/x", "oci://0.0.0.0/x",
	} {
		if err := i.Check(ref); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", ref, err)
		}
	}

	reached := 0
	secret := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	defer secret.Close()
	// On another address of loopback than the registry, which alone is allowed.
	elsewhere := strings.Replace(secret.URL, "127.0.0.1", "127.0.0.2", 1)
	i = newImages(t, ImagesConfig{AllowedNets: prefixes(t, "127.0.0.1/32")})
	for name, before := range map[string]func(w http.ResponseWriter, req *http.Request) bool{
		"redirect": func(w http.ResponseWriter, req *http.Request) bool {
			if req.URL.Path == "/v2/" {
				return false
			}
			http.Redirect(w, req, elsewhere+"/x", http.StatusTemporaryRedirect)
			return true
		},
		"redirect by name": func(w http.ResponseWriter, req *http.Request) bool {
			http.Redirect(w, req, "https://127.1/x", http.StatusTemporaryRedirect)
			return true
		},
		"token": func(w http.ResponseWriter, req *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+elsewhere+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		},
		"a file": func(w http.ResponseWriter, req *http.Request) bool {
			http.Redirect(w, req, "file:///etc/passwd", http.StatusTemporaryRedirect)
			return true
		},
	} {
		r := registry.New(t)
		r.Push("a:1", registry.Image{Layers: [][]byte{registry.Tar(t)}})
		r.Before(before)
		if _, err := i.Fetch(t.Context(), Want{Ref: r.Ref("a:1")}); err == nil {
			t.Errorf("%s: fetched", name)
		}
	}
	if reached != 0 {
		t.Errorf("a forbidden server was reached %d times", reached)
	}
}

// Over plain http nobody is asked that the operator has not allowed, public or not.
func TestPlainHTTPOnlyWhereAllowed(t *testing.T) {
	strict := guard{allowed: prefixes(t, "10.0.0.0/8"), only: true}
	for address, ok := range map[string]bool{"10.1.2.3:80": true, "93.184.216.34:80": false, "127.0.0.1:80": false} {
		if err := strict.control(context.Background(), "tcp4", address, nil); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// What was interrupted goes with the next start, and an image whose layer is lost is
// fetched again.
func TestPullRecovers(t *testing.T) {
	r := registry.New(t)
	r.Push("a:1", registry.Image{Layers: [][]byte{registry.Tar(t, registry.Named("x", ""))}})
	i := containers(t)
	img := pulled(t, i, r.Ref("a:1"))
	for _, name := range []string{".fetch-1/tree/x", ".evict-2/tree/y"} {
		if err := os.MkdirAll(filepath.Join(i.layersDir(), name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Dir(img.Container.Layers[0])); err != nil {
		t.Fatal(err)
	}
	i, err := OpenImages(i.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := inLayers(t, i); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	img = pulled(t, i, r.Ref("a:1"))
	if got := inLayers(t, i); len(got) != 1 {
		t.Errorf("layers: %v", got)
	}

	// A layer whose record is lost is set aside, and fetched again with an image
	// that has it.
	if err := os.Remove(filepath.Join(filepath.Dir(img.Container.Layers[0]), layerRecordName)); err != nil {
		t.Fatal(err)
	}
	r.Push("b:1", registry.Image{Config: v1.Config{User: "1"}, Layers: [][]byte{registry.Tar(t, registry.Named("x", ""))}})
	pulled(t, i, r.Ref("b:1"))
	if got := inLayers(t, i); len(got) != 2 || !strings.HasPrefix(got[0], damagedPrefix) {
		t.Errorf("layers: %v", got)
	}
}

func nullDevice(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}
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
	r.Push("a:1", registry.Image{Layers: [][]byte{registry.Tar(t, registry.Named("a", "")), registry.Tar(t, registry.Named("b", ""))}})
	r.Push("b:1", registry.Image{Layers: [][]byte{registry.Tar(t, registry.Named("c", ""))}})
	i := containers(t)
	other := pulled(t, i, r.Ref("b:1"))
	var blobs atomic.Int32
	r.Before(func(_ http.ResponseWriter, req *http.Request) bool {
		// The configuration, one layer, and the other, which waits for the one.
		if strings.Contains(req.URL.Path, "/v2/a/blobs/") && blobs.Add(1) == 3 {
			for len(slices.DeleteFunc(inLayers(t, i), func(name string) bool { return !idForm.MatchString(name) })) < 2 && req.Context().Err() == nil {
				time.Sleep(time.Millisecond) // until the deadline of the transfer
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
