package oci

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A registry that gives out other content than was asked for is found out.
func TestTampered(t *testing.T) {
	s := serve(t)
	m := s.image(v1.ConfigFile{}, []byte("one"))
	digest := s.Manifest("blog:1", m, types.OCIManifestSchema1)
	evil := s.image(v1.ConfigFile{}, []byte("two"))
	s.Manifest("blog:2", evil, types.OCIManifestSchema1)
	img, err := s.open(s.ref("blog@" + digest))
	if err != nil {
		t.Fatal(err)
	}
	answer := func(part string, content []byte) {
		s.Before(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, part) {
				return false
			}
			w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
			w.Write(content)
			return true
		})
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
