//go:build integration

package rootfs

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gilliam/hypervisor/integration/registry"
)

// blobOf is the only layer of the registry's image a:1, as it is sent.
func blobOf(t *testing.T, r *registry.Registry) []byte {
	t.Helper()
	base := strings.Replace(strings.TrimSuffix(r.Ref("a:1"), "a:1"), "oci", "http", 1) + "v2/a/"
	get := func(what string) []byte {
		resp, err := http.Get(base + what)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var m v1.Manifest
	if err := json.Unmarshal(get("manifests/1"), &m); err != nil || len(m.Layers) != 1 {
		t.Fatalf("got %+v, %v", m, err)
	}
	return get("blobs/" + m.Layers[0].Digest.String())
}

// A layer that breaks off goes on where it was, if its registry sends parts, and
// begins again if it does not. Parts of another one are found out.
func TestPullLayerGoesOn(t *testing.T) {
	noise := make([]byte, 1<<20)
	rand.Read(noise)
	for name, c := range map[string]struct {
		// answers to the layer's first requests; the registry answers the others
		answers []func(w http.ResponseWriter, req *http.Request, blob []byte)
		asked   string // what parts; - is the whole
		once    bool   // each byte is sent once
		want    string
	}{
		"cut":                {[]func(http.ResponseWriter, *http.Request, []byte){cut}, "- 300000", true, ""},
		"cut again":          {[]func(http.ResponseWriter, *http.Request, []byte){cut, down, cut}, "- 300000 300000 600000", true, ""},
		"stalled":            {[]func(http.ResponseWriter, *http.Request, []byte){stall}, "- 300000", true, ""},
		"sends no parts":     {[]func(http.ResponseWriter, *http.Request, []byte){cut, whole}, "- 300000 -", false, ""},
		"sends another part": {[]func(http.ResponseWriter, *http.Request, []byte){cut, another}, "- 300000 -", false, ""},
		"sends other bytes":  {[]func(http.ResponseWriter, *http.Request, []byte){cut, lie}, "- 300000", false, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			r := registry.New(t)
			r.Push("a:1", registry.Image{Layers: [][]byte{registry.Tar(t, registry.Named("x", string(noise)))}})
			blob := blobOf(t, r)
			i := containers(t)
			i.stall, i.retry.first = 500*time.Millisecond, time.Millisecond
			var mu sync.Mutex
			var asked []string
			r.Before(func(w http.ResponseWriter, req *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				if !strings.HasSuffix(req.URL.Path, idOf(digestOf(blob))) {
					return false
				}
				n := len(asked)
				part, _, _ := strings.Cut(strings.TrimPrefix(req.Header.Get("Range"), "bytes="), "-")
				if part == "" {
					part = "-"
				}
				asked = append(asked, part)
				if n >= len(c.answers) {
					return false
				}
				c.answers[n](w, req, blob)
				return true
			})
			_, err := i.Fetch(t.Context(), Want{Ref: r.Ref("a:1")})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(asked, " "); got != c.asked {
				t.Errorf("asked for %s, want %s", got, c.asked)
			}
			if got := i.Counts().Bytes; c.once != (got == uint64(len(blob))) {
				t.Errorf("%d bytes were sent of %d", got, len(blob))
			}
			if got := inLayers(t, i); err != nil && len(got) != 0 {
				t.Errorf("left %v", got)
			}
		})
	}
}

// partFrom begins to answer with a part, and tells from where on.
func partFrom(w http.ResponseWriter, req *http.Request, blob []byte) (at int) {
	fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-", &at)
	w.Header().Set("Content-Length", fmt.Sprint(len(blob)-at))
	if at > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, len(blob)-1, len(blob)))
		w.WriteHeader(http.StatusPartialContent)
	}
	return at
}

// some sends the next 300,000 bytes.
func some(w http.ResponseWriter, req *http.Request, blob []byte) {
	at := partFrom(w, req, blob)
	w.Write(blob[at : at+300_000])
	w.(http.Flusher).Flush()
}

func cut(w http.ResponseWriter, req *http.Request, blob []byte) {
	some(w, req, blob)
	panic(http.ErrAbortHandler)
}

func stall(w http.ResponseWriter, req *http.Request, blob []byte) {
	some(w, req, blob)
	<-req.Context().Done()
}

func down(w http.ResponseWriter, _ *http.Request, _ []byte) {
	w.WriteHeader(http.StatusServiceUnavailable)
}
func whole(w http.ResponseWriter, _ *http.Request, blob []byte) { w.Write(blob) }

func another(w http.ResponseWriter, _ *http.Request, blob []byte) {
	w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(blob)-1, len(blob)))
	w.WriteHeader(http.StatusPartialContent)
	w.Write(blob)
}

func lie(w http.ResponseWriter, req *http.Request, blob []byte) {
	at := partFrom(w, req, blob)
	w.Write(bytes.Repeat([]byte("x"), len(blob)-at))
}

// A layer that is more than it may be for what has come of it is refused, and
// nothing is left.
func TestPullBomb(t *testing.T) {
	const much = ratioFrom + 1<<20
	hole := newArchive(t)
	hole.raw(gnuSparse("f", much), "")
	for name, layer := range map[string][]byte{
		"zeros": registry.Tar(t, registry.Named("f", string(make([]byte, much)))),
		"hole":  hole.tar(),
		"end":   append(registry.Tar(t, registry.Named("f", "")), make([]byte, much)...),
	} {
		t.Run(name, func(t *testing.T) {
			r := registry.New(t)
			r.Push("a:1", registry.Image{Layers: [][]byte{layer}, Zstd: true})
			i := containers(t)
			if _, err := i.Fetch(t.Context(), Want{Ref: r.Ref("a:1")}); err == nil || !strings.Contains(err.Error(), "a bomb: ") {
				t.Errorf("got %v", err)
			}
			if got := inLayers(t, i); len(got) != 0 {
				t.Errorf("left %v", got)
			}
		})
	}
}
