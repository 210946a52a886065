package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/gilliam/hypervisor/integration/registry"
)

// A served registry: a real one on loopback, from which images of blog come.
type served struct {
	*registry.Registry
	t *testing.T
}

func serve(t *testing.T) *served {
	t.Helper()
	return &served{registry.New(t), t}
}

func (s *served) ref(rest string) Reference {
	s.t.Helper()
	r, err := ParseReference(s.Ref(rest))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *served) client() *Client { return NewClient(ClientConfig{Transport: http.DefaultTransport}) }

// image is a good manifest of these layers, with this configuration.
func (s *served) image(cf v1.ConfigFile, layers ...[]byte) v1.Manifest {
	s.t.Helper()
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	if cf.OS == "" {
		cf.OS, cf.Architecture = "linux", runtime.GOARCH
	}
	for _, l := range layers {
		d := s.Blob("blog", l, types.OCIUncompressedLayer)
		m.Layers = append(m.Layers, d)
		cf.RootFS.DiffIDs = append(cf.RootFS.DiffIDs, d.Digest)
	}
	b, err := json.Marshal(cf)
	if err != nil {
		s.t.Fatal(err)
	}
	m.Config = s.Blob("blog", b, types.OCIConfigJSON)
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

// A registry may want a token that everybody gets, or one for the operator's
// credentials, which go to its own token server alone.
func TestLogin(t *testing.T) {
	s := serve(t)
	digest := s.Manifest("blog:1", s.image(v1.ConfigFile{}, []byte("one")), types.OCIManifestSchema1)
	var asked []string
	s.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			user, password, _ := r.BasicAuth()
			asked = append(asked, user+":"+password+" "+r.URL.Query().Get("scope"))
			fmt.Fprint(w, `{"token": "t0ken"}`)
			return true
		}
		if r.Header.Get("Authorization") == "Bearer t0ken" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+s.Host()+`/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	if img, err := s.open(s.ref("blog:1")); err != nil || img.Digest != digest {
		t.Errorf("anonymous: %+v, %v", img, err)
	}
	c := NewClient(ClientConfig{Transport: http.DefaultTransport, Login: func(host string) (Login, bool) {
		return Login{User: "me", Password: "hunter2", Plain: true}, host == s.Host()
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
	s.Before(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
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
	s.Manifest("blog:1", s.image(v1.ConfigFile{}, []byte("one")), types.OCIManifestSchema1)
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
			s.Before(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/v2/" {
					return false
				}
				c.answer(w, r)
				return true
			})
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
