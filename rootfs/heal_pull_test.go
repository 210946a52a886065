//go:build integration

package rootfs

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/registry"
)

// A layer that was set aside is fetched again, alone, with nobody asking, also when
// the image was kept by a tag that names another one now.
func TestPullHeal(t *testing.T) {
	r := registry.New(t)
	base := registry.Tar(t, registry.Named("usr/bin/x", "right"))
	top := registry.Tar(t, registry.Named("top", ""))
	r.Push("a:1", registry.Image{Layers: [][]byte{base, top}})
	i := containers(t)
	img := pulled(t, i, r.Ref("a:1"))
	r.Push("a:1", registry.Image{Layers: [][]byte{top}})
	x := filepath.Join(img.Container.Layers[1], "usr/bin/x")
	if err := os.WriteFile(x, []byte("wrong"), 0o755); err != nil {
		t.Fatal(err)
	}
	if changes, err := i.Verify(t.Context(), idOf(img.Digest), nil); err != nil || len(changes) != 1 {
		t.Fatalf("got %v, %v", changes, err)
	}
	asked := r.Asked("GET /v2/a/blobs/")
	if err := i.Heal(t.Context(), img.Digest, nil); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(x); string(b) != "right" || err != nil || r.Asked("GET /v2/a/blobs/") != asked+2 { // one is the configuration
		t.Errorf("%q, %v, and %d blobs were sent", b, err, r.Asked("GET /v2/a/blobs/")-asked)
	}
	if changes, err := i.Verify(t.Context(), idOf(img.Digest), nil); err != nil || len(changes) != 0 {
		t.Errorf("the new one: %v, %v", changes, err)
	}
	if err := os.WriteFile(x, []byte("wrong"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if changes, err := i.Verify(t.Context(), idOf(img.Digest), nil); err != nil || len(changes) != 1 {
		t.Fatalf("got %v, %v", changes, err)
	}
	if err := i.Heal(t.Context(), img.Digest, nil); err == nil || i.Counts().Unhealed != 1 {
		t.Errorf("with nobody there: %v", err)
	}
}

// Two images that share a damaged layer are found damaged at once, and both are
// whole when all is done.
func TestPullHealTogether(t *testing.T) {
	r := registry.New(t)
	base := registry.Tar(t, registry.Named("usr/bin/x", "right"))
	i := containers(t)
	var images []Image
	for _, name := range []string{"a", "b"} {
		r.Push(name+":1", registry.Image{Layers: [][]byte{base, registry.Tar(t, registry.Named(name, ""))}})
		images = append(images, pulled(t, i, r.Ref(name+":1")))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 5 {
		if err := os.WriteFile(filepath.Join(images[0].Container.Layers[1], "usr/bin/x"), []byte("wrong"), 0o755); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for _, img := range images {
			all.Go(func() {
				changes, err := i.Verify(ctx, idOf(img.Digest), nil)
				if err == nil && len(changes) > 0 {
					err = i.Heal(ctx, img.Digest, nil)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, img := range images {
			if changes, err := i.Verify(ctx, idOf(img.Digest), nil); err != nil || len(changes) > 0 {
				t.Fatalf("got %v, %v", changes, err)
			}
		}
	}
}
