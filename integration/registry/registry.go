package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// A Registry serves until its test ends.
type Registry struct {
	t      testing.TB
	server *httptest.Server

	mu     sync.Mutex
	asked  map[string]int // by method and path
	before func(w http.ResponseWriter, r *http.Request) bool
}

// New starts one.
func New(t testing.TB) *Registry {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r := &Registry{t: t, asked: map[string]int{}}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.asked[req.Method+" "+req.URL.Path]++
		before := r.before
		r.mu.Unlock()
		if before == nil || !before(w, req) {
			inner.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(r.server.Close)
	return r
}

// Host is where it is, as HOST:PORT.
func (r *Registry) Host() string { return strings.TrimPrefix(r.server.URL, "http://") }

// Ref is what an image of the registry is called.
func (r *Registry) Ref(name string) string {
	return "oci://" + r.Host() + "/" + name
}

// Before lets f answer, or not, before the registry does. Nil ends that.
func (r *Registry) Before(f func(w http.ResponseWriter, req *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = f
}

// Close ends the registry: nobody answers any more.
func (r *Registry) Close() { r.server.Close() }

// Asked counts the requests so far whose method and path hold part.
func (r *Registry) Asked(part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for what, times := range r.asked {
		if strings.Contains(what, part) {
			n += times
		}
	}
	return n
}

// An Image is one to push.
type Image struct {
	Config v1.Config
	Layers [][]byte // tars, the lowest first; they are sent with gzip
	Zstd   bool     // or with zstd
}

// Push puts an image under a name and a tag, and returns its manifest's digest.
func (r *Registry) Push(name string, image Image) string {
	r.t.Helper()
	repository, _, _ := strings.Cut(name, ":")
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	cf := v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, Config: image.Config}
	for _, layer := range image.Layers {
		cf.RootFS.DiffIDs = append(cf.RootFS.DiffIDs, hashOf(layer))
		kind := types.OCILayer
		if image.Zstd {
			kind = types.OCILayerZStd
		}
		m.Layers = append(m.Layers, r.Blob(repository, r.compress(layer, image.Zstd), kind))
	}
	m.Config = r.Blob(repository, r.json(cf), types.OCIConfigJSON)
	return r.Manifest(name, m, m.MediaType)
}

// Manifest puts what is sent as a manifest under a name and a tag, and returns its
// digest.
func (r *Registry) Manifest(name string, m any, kind types.MediaType) string {
	r.t.Helper()
	repository, tag, _ := strings.Cut(name, ":")
	content := r.json(m)
	r.put(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, string(kind), content)
	return hashOf(content).String()
}

// Blob puts content into a repository.
func (r *Registry) Blob(repository string, content []byte, kind types.MediaType) v1.Descriptor {
	r.t.Helper()
	h := hashOf(content)
	r.put(http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+h.String(), "application/octet-stream", content)
	return v1.Descriptor{MediaType: kind, Digest: h, Size: int64(len(content))}
}

func (r *Registry) json(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *Registry) compress(b []byte, asZstd bool) []byte {
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if asZstd {
		var err error
		if w, err = zstd.NewWriter(&out); err != nil {
			r.t.Fatal(err)
		}
	}
	if _, err := w.Write(b); err != nil {
		r.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		r.t.Fatal(err)
	}
	return out.Bytes()
}

func (r *Registry) put(method, path, kind string, content []byte) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.server.URL+path, bytes.NewReader(content))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		r.t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
}

func hashOf(b []byte) v1.Hash {
	h, _, err := v1.SHA256(bytes.NewReader(b))
	if err != nil {
		panic("bug: memory cannot be read: " + err.Error())
	}
	return h
}

// A File is an entry of a layer; what is not said is a regular file's.
type File struct {
	tar.Header
	Body string
}

// Tar is a layer of these files.
func Tar(t testing.TB, files ...File) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		f.Size = int64(len(f.Body))
		if f.Typeflag == 0 {
			f.Typeflag = tar.TypeReg
		}
		if f.Mode == 0 {
			f.Mode = 0o755
		}
		if f.ModTime.IsZero() {
			f.ModTime = time.Unix(1367409600, 0)
		}
		if err := w.WriteHeader(&f.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.Body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Named is a File of that name and content.
func Named(name, body string) File { return File{tar.Header{Name: name}, body} }
