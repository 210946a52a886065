//go:build integration

package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gilliam/hypervisor/integration/registry"
)

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
