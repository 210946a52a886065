//go:build integration

package rootfs

import (
	"os"
	"path/filepath"
	"testing"

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
