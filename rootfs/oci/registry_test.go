package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A served registry: the real one of go-containerregistry on loopback, with a
// handler before it that may answer in its place.
type served struct {
	*httptest.Server
	t      *testing.T
	before func(w http.ResponseWriter, r *http.Request) bool
}

func serve(t *testing.T) *served {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := &served{t: t}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.before == nil || !s.before(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *served) ref(rest string) Reference {
	s.t.Helper()
	r, err := ParseReference(Scheme + s.host() + "/" + rest)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *served) host() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *served) client() *Client { return NewClient(ClientConfig{Transport: http.DefaultTransport}) }

// blob puts content into the repository blog.
func (s *served) blob(content []byte) v1.Descriptor {
	s.t.Helper()
	h, n, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		s.t.Fatal(err)
	}
	s.put("POST", "/v2/blog/blobs/uploads/?digest="+h.String(), "application/octet-stream", content)
	return v1.Descriptor{MediaType: types.OCIUncompressedLayer, Digest: h, Size: n}
}

func (s *served) put(method, path, kind string, content []byte) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL+path, bytes.NewReader(content))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		s.t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
}

// manifest puts one under a tag and returns its digest.
func (s *served) manifest(tag string, m any, kind types.MediaType) string {
	s.t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	s.put("PUT", "/v2/blog/manifests/"+tag, string(kind), b)
	h, _, _ := v1.SHA256(bytes.NewReader(b))
	return h.String()
}

// image is a good manifest of these layers, with this configuration.
func (s *served) image(cf v1.ConfigFile, layers ...[]byte) v1.Manifest {
	s.t.Helper()
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	if cf.OS == "" {
		cf.OS, cf.Architecture = "linux", runtime.GOARCH
	}
	for _, l := range layers {
		d := s.blob(l)
		m.Layers = append(m.Layers, d)
		cf.RootFS.DiffIDs = append(cf.RootFS.DiffIDs, d.Digest)
	}
	b, err := json.Marshal(cf)
	if err != nil {
		s.t.Fatal(err)
	}
	m.Config = s.blob(b)
	m.Config.MediaType = types.OCIConfigJSON
	return m
}

func (s *served) open(ref Reference) (Image, error) {
	s.t.Helper()
	from, err := s.client().Repository(s.t.Context(), ref)
	if err != nil {
		return Image{}, err
	}
	digest, err := from.Digest(s.t.Context())
	if err != nil {
		return Image{}, err
	}
	return Open(s.t.Context(), from, digest)
}

func TestOpen(t *testing.T) {
	s := serve(t)
	m := s.image(v1.ConfigFile{Config: v1.Config{
		Env: []string{"A=b"}, Entrypoint: []string{"/run"}, Cmd: []string{"-x"}, WorkingDir: "srv/../app", User: "101:102", StopSignal: "2",
		Volumes: map[string]struct{}{"/data": {}},
	}}, []byte("one"), []byte("two"))
	digest := s.manifest("1.2", m, types.OCIManifestSchema1)
	img, err := s.open(s.ref("blog:1.2"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%v %q", img.Config, img.Config.Args()); img.Digest != digest || len(img.Layers) != 2 ||
		got != `{[A=b] [/run] [-x] /app 101 102 SIGINT [/data]} ["/run" "-x"]` {
		t.Errorf("got %+v, %s", img, got)
	}
	from, err := s.client().Repository(t.Context(), s.ref("blog:1.2"))
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{"one", "two"} {
		body, err := OpenLayer(t.Context(), from, img.Layers[n])
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		body.Close()
		if string(b) != want || err != nil {
			t.Errorf("layer %d: %q, %v", n, b, err)
		}
	}

	// Of an index it is the one for this machine, by whatever way one gets there.
	other := s.image(v1.ConfigFile{OS: "linux", Architecture: "vax"}, []byte("one"))
	vax := s.manifest("vax", other, types.OCIManifestSchema1)
	index := s.manifest("many", map[string]any{"schemaVersion": 2, "mediaType": types.DockerManifestList, "manifests": []any{
		map[string]any{"mediaType": types.OCIManifestSchema1, "digest": vax, "size": 1, "platform": map[string]string{"os": "linux", "architecture": "vax"}},
		map[string]any{"mediaType": types.OCIManifestSchema1, "digest": vax, "size": 1, "platform": map[string]string{"os": "unknown", "architecture": "unknown"}},
		map[string]any{"mediaType": types.OCIManifestSchema1, "digest": digest, "size": 1, "platform": map[string]string{"os": "linux", "architecture": runtime.GOARCH}},
	}}, types.DockerManifestList)
	for _, ref := range []Reference{s.ref("blog:many"), s.ref("blog@" + index), s.ref("blog@" + digest)} {
		if img, err := s.open(ref); err != nil || img.Digest != digest {
			t.Errorf("%s: %+v, %v", ref, img, err)
		}
	}
}

// What is no image for this machine is refused, and says why.
func TestOpenRefused(t *testing.T) {
	s := serve(t)
	good := func() v1.Manifest { return s.image(v1.ConfigFile{}, []byte("one")) }
	with := func(change func(*v1.Manifest)) any { m := good(); change(&m); return m }
	many := make([][]byte, 129)
	for n := range many {
		many[n] = fmt.Appendf(nil, "layer %d", n)
	}
	for n, c := range []struct {
		want string
		kind types.MediaType
		m    any
	}{
		{"schema 1", types.DockerManifestSchema1Signed, map[string]any{"schemaVersion": 1, "name": "blog"}},
		{"both a manifest and an index", types.OCIImageIndex, map[string]any{"schemaVersion": 2, "mediaType": types.OCIImageIndex, "manifests": []any{}, "layers": []any{}}},
		{"only for \"linux/vax, windows/", types.OCIImageIndex, map[string]any{"schemaVersion": 2, "manifests": []any{
			map[string]any{"digest": someDigest, "platform": map[string]string{"os": "linux", "architecture": "vax"}},
			map[string]any{"digest": someDigest, "platform": map[string]string{"os": "windows", "architecture": runtime.GOARCH}}}}},
		{"is foreign", types.OCIManifestSchema1, with(func(m *v1.Manifest) {
			m.Layers[0].MediaType, m.Layers[0].URLs = types.DockerForeignLayer, []string{"http://127.0.0.1/x"}
		})},
		{"no layer of a file system", types.OCIManifestSchema1, with(func(m *v1.Manifest) { m.Layers[0].MediaType = "application/x-evil" })},
		{"no image of a file system", types.OCIManifestSchema1, with(func(m *v1.Manifest) { m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" })},
		{"configuration: is not what it should be", types.OCIManifestSchema1, with(func(m *v1.Manifest) { m.Config.Size-- })},
		{"at most", types.OCIManifestSchema1, with(func(m *v1.Manifest) { m.Config.Size = 1 << 40 })},
		{"speaks of 1", types.OCIManifestSchema1, with(func(m *v1.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) })},
		{"size of 0", types.OCIManifestSchema1, with(func(m *v1.Manifest) { m.Layers[0].Size = 0 })},
		{"no layers", types.OCIManifestSchema1, s.image(v1.ConfigFile{})},
		{"129 layers", types.OCIManifestSchema1, s.image(v1.ConfigFile{}, many...)},
		{"\"linux/vax\"", types.OCIManifestSchema1, s.image(v1.ConfigFile{OS: "linux", Architecture: "vax"}, []byte("one"))},
		{"not KEY=value", types.OCIManifestSchema1, s.image(v1.ConfigFile{Config: v1.Config{Env: []string{"=x"}}}, []byte("one"))},
		{"NUL", types.OCIManifestSchema1, s.image(v1.ConfigFile{Config: v1.Config{Cmd: []string{"a\x00b"}}}, []byte("one"))},
		{"its manifest is of type", "application/json", map[string]any{"hello": "world"}},
	} {
		tag := fmt.Sprintf("t%d", n)
		s.manifest(tag, c.m, c.kind)
		if img, err := s.open(s.ref("blog:" + tag)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %+v, %v", c.want, img, err)
		}
	}
	if _, err := s.open(s.ref("blog:nothing")); !errors.Is(err, ErrNotExist) {
		t.Errorf("no such tag: %v", err)
	}
	if _, err := s.open(s.ref("nothing")); !errors.Is(err, ErrNotExist) {
		t.Errorf("no such name: %v", err)
	}
}

// A registry that gives out other content than was asked for is found out.
func TestTampered(t *testing.T) {
	s := serve(t)
	m := s.image(v1.ConfigFile{}, []byte("one"))
	digest := s.manifest("1", m, types.OCIManifestSchema1)
	evil := s.image(v1.ConfigFile{}, []byte("two"))
	s.manifest("2", evil, types.OCIManifestSchema1)
	img, err := s.open(s.ref("blog@" + digest))
	if err != nil {
		t.Fatal(err)
	}
	answer := func(part string, content []byte) {
		s.before = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, part) {
				return false
			}
			w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
			w.Write(content)
			return true
		}
	}
	b, _ := json.Marshal(evil)
	answer("/manifests/", b)
	if _, err := s.open(s.ref("blog@" + digest)); err == nil || !errors.Is(err, ErrDigest) {
		t.Errorf("manifest: %v", err)
	}
	for _, content := range []string{"two", "on", "ones"} {
		answer("/blobs/", []byte(content))
		from, err := s.client().Repository(t.Context(), s.ref("blog"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := OpenLayer(t.Context(), from, img.Layers[0])
		if err == nil {
			_, err = io.ReadAll(body)
			body.Close()
		}
		if err == nil {
			t.Errorf("layer %q is taken for \"one\"", content)
		}
		if _, err := Open(t.Context(), from, digest); err == nil {
			t.Errorf("configuration %q is taken", content)
		}
	}
}

func TestVerify(t *testing.T) {
	const digest = "sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed" // of "one"
	for content, want := range map[string]string{"one": "", "two": "is not what", "on": "ends after 2 of 3", "ones": "larger than the 3"} {
		_, err := io.ReadAll(Verify(strings.NewReader(content), digest, 3))
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// A registry may want a token that everybody gets, or one for the operator's
// credentials, which go to its own token server alone.
func TestLogin(t *testing.T) {
	s := serve(t)
	digest := s.manifest("1", s.image(v1.ConfigFile{}, []byte("one")), types.OCIManifestSchema1)
	var asked []string
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			user, password, _ := r.BasicAuth()
			asked = append(asked, user+":"+password+" "+r.URL.Query().Get("scope"))
			fmt.Fprint(w, `{"token": "t0ken"}`)
			return true
		}
		if r.Header.Get("Authorization") == "Bearer t0ken" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.URL+`/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	if img, err := s.open(s.ref("blog:1")); err != nil || img.Digest != digest {
		t.Errorf("anonymous: %+v, %v", img, err)
	}
	c := NewClient(ClientConfig{Transport: http.DefaultTransport, Login: func(host string) (Login, bool) {
		return Login{User: "me", Password: "hunter2", Plain: true}, host == s.host()
	}})
	from, err := c.Repository(t.Context(), s.ref("blog:1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := from.Digest(t.Context()); err != nil || got != digest {
		t.Errorf("with credentials: %s, %v", got, err)
	}
	if len(asked) < 2 || asked[0] != ": repository:blog:pull" || asked[len(asked)-1] != "me:hunter2 repository:blog:pull" {
		t.Errorf("the token server was asked %q", asked)
	}
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	if _, err := s.open(s.ref("blog:1")); err == nil || !strings.Contains(err.Error(), "wants a login") || errors.Is(err, ErrUnreachable) {
		t.Errorf("refused: %v", err)
	}
}

// A password is not sent where everybody on the way reads it.
func TestNoPasswordOverHTTP(t *testing.T) {
	sent := errors.New("sent")
	inner := roundTrip(func(*http.Request) (*http.Response, error) { return nil, sent })
	for url, ok := range map[string]bool{"https://registry.example.com/v2/": true, "http://registry.example.com/v2/": false, "http://127.0.0.1/v2/": false} {
		for _, plain := range []bool{false, true} {
			req, err := http.NewRequest("GET", url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.SetBasicAuth("me", "hunter2")
			b := &bounded{inner: inner, plain: plain}
			if _, err := b.RoundTrip(req); errors.Is(err, sent) != (ok || plain) {
				t.Errorf("%s, plain %v: %v", url, plain, err)
			}
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Whatever a registry does, it is over soon and takes no memory to speak of.
func TestRegistryMisbehaves(t *testing.T) {
	s := serve(t)
	s.manifest("1", s.image(v1.ConfigFile{}, []byte("one")), types.OCIManifestSchema1)
	for name, c := range map[string]struct {
		want        string
		unreachable bool
		answer      func(w http.ResponseWriter, r *http.Request)
	}{
		"a manifest without end": {"longer than", true, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
			for r.Method == http.MethodGet { // until nobody listens
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
					return
				}
			}
		}},
		"redirects without end": {"redirect", true, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		}},
		"503": {"503 Service Unavailable: the registry has a problem", true, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}},
		"a page": {"403 Forbidden", false, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "<html>evil\x1b[31m</html>")
		}},
		"no JSON": {"no image", false, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"schemaVersion": 2}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/v2/" {
					return false
				}
				c.answer(w, r)
				return true
			}
			_, err := s.open(s.ref("blog:1"))
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrUnreachable) != c.unreachable || strings.Contains(err.Error(), "evil") {
				t.Errorf("got %v", err)
			}
		})
	}
	s.Close()
	if _, err := s.open(s.ref("blog:1")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.client().Repository(ctx, s.ref("blog:1")); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{"size":1}]}`), "")
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"`+someDigest+`","platform":{"os":"linux","architecture":"amd64"}}]}`), string(types.OCIImageIndex))
	f.Fuzz(func(t *testing.T, b []byte, kind string) {
		m, index, err := parseManifest(b, kind)
		if (err == nil) == (m == nil && index == nil) || m != nil && index != nil {
			t.Fatalf("%v, %v, %v", m, index, err)
		}
		if index != nil {
			choose(index)
		}
	})
}
