package rootfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// newImages is a cache in a folder of its own, which may connect to loopback.
func newImages(t testing.TB, cfg ImagesConfig) *Images {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "cache")
	}
	if cfg.AllowedNets == nil {
		cfg.AllowedNets = prefixes(t, "127.0.0.0/8", "::1/128")
	}
	i, err := OpenImages(cfg)
	if err != nil {
		t.Fatal(err)
	}
	i.retry.first = time.Millisecond
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// cacheNames is all that is in the cache but the refs and the layers of containers.
func cacheNames(t testing.TB, i *Images) []string {
	t.Helper()
	entries, err := os.ReadDir(i.cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		if e.Name() != refsName && e.Name() != layersName {
			names = append(names, e.Name())
		}
	}
	return names
}

func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func TestOpenImagesSweeps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	for _, d := range []string{".fetch-123/tree/a/b", ".evict-123/tree/a/b", "keep/tree", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	i := newImages(t, ImagesConfig{Dir: dir})
	if got := fmt.Sprint(cacheNames(t, i)); got != "[keep other]" {
		t.Errorf("got %s", got)
	}
	if _, err := OpenImages(ImagesConfig{Dir: "relative"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// An image whose record is broken is set aside and fetched again.
func TestFetchDamaged(t *testing.T) {
	i := newImages(t, ImagesConfig{})
	image := sampleImage(t)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(image) })
	for n, damage := range []func(dir string) error{
		func(dir string) error { return os.Truncate(filepath.Join(dir, recordName), 3) },
		func(dir string) error { return os.Remove(filepath.Join(dir, recordName)) },
		func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, recordName)), syscall.Mkfifo(filepath.Join(dir, recordName), 0o600))
		},
		func(dir string) error { return os.RemoveAll(filepath.Join(dir, treeName)) },
	} {
		img, err := i.Fetch(context.Background(), Want{Ref: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		if err := damage(filepath.Dir(img.Dir)); err != nil {
			t.Fatal(err)
		}
		if _, err := i.Fetch(context.Background(), Want{Ref: s.URL}); err != nil {
			t.Error(err)
		}
		if names := cacheNames(t, i); len(names) != n+2 {
			t.Errorf("in the cache: %v", names)
		}
	}
}

func TestCheckForms(t *testing.T) {
	i := newImages(t, ImagesConfig{AllowedNets: prefixes(t, "192.0.2.0/24")})
	for _, ref := range ssrf {
		if err := i.Check(ref); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.80q: got %v", ref, err)
		}
		if _, err := i.Fetch(context.Background(), Want{Ref: ref}); err == nil {
			t.Errorf("%.80q: fetched", ref)
		}
	}
	if len(ssrf) < 20 {
		t.Errorf("only %d forms", len(ssrf))
	}
}
