package oci

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func TestOpen(t *testing.T) {
	s := serve(t)
	m := s.image(v1.ConfigFile{Config: v1.Config{
		Env: []string{"A=b"}, Entrypoint: []string{"/run"}, Cmd: []string{"-x"}, WorkingDir: "srv/../app", User: "101:102", StopSignal: "2",
		Volumes: map[string]struct{}{"/data": {}},
	}}, []byte("one"), []byte("two"))
	digest := s.Manifest("blog:1.2", m, types.OCIManifestSchema1)
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
	vax := s.Manifest("blog:vax", other, types.OCIManifestSchema1)
	index := s.Manifest("blog:many", map[string]any{"schemaVersion": 2, "mediaType": types.DockerManifestList, "manifests": []any{
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
		s.Manifest("blog:"+tag, c.m, c.kind)
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
