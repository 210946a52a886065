package rootfs

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate"
)

var small = isolate.Limits{Disk: 4 << 20, Inodes: 64}

func TestImages(t *testing.T) {
	l := newLayers(t)
	layer, err := l.CreateImage("a", small)
	if err != nil {
		t.Fatal(err)
	}
	if want := (isolate.Layer{Image: l.dir + "/a/image"}); layer != want || l.At("a", small) != want {
		t.Errorf("got %v, want %v", layer, want)
	}
	shape, err := small.Shape()
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Lstat(layer.Image)
	if err != nil || fi.Size() != shape.Size() || fi.Mode() != 0o600 {
		t.Errorf("got %v, %v, want %d bytes", fi, err, shape.Size())
	}
	if got := fi.Sys().(*syscall.Stat_t).Blocks * 512; got > 64<<10 {
		t.Errorf("an empty image takes %d bytes of the disk", got)
	}
	_, err = l.CreateImage("a", small)
	wantErr(t, err, ErrExist, "layer a already exists")
	_, err = l.CreateImage("../b", small)
	wantErr(t, err, ErrInvalid, "layer id")
	_, err = l.CreateImage("b", isolate.Limits{Disk: 1})
	wantErr(t, err, ErrInvalid, "1 bytes: must be")
	if err := l.Retire("a"); err != nil {
		t.Error(err)
	}
	l.retiring.Wait()
	if got := left(t, l); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

// A readiness hears of each layer that is made ahead.
type readiness struct {
	images chan string
	heard  []string
}

// await waits until as many layers are ready as are made ahead: have been prepared,
// and are not taken. All but the last of them can be, then.
func (r *readiness) await(t *testing.T) {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		ready := 0
		for _, image := range r.heard {
			if _, err := os.Lstat(image); err == nil {
				ready++
			}
		}
		if ready >= readyLayers {
			return
		}
		select {
		case image := <-r.images:
			r.heard = append(r.heard, image)
		case <-late:
			t.Fatalf("of %d layers that were prepared %d are ready", len(r.heard), ready)
		}
	}
}

func TestReadyLayers(t *testing.T) {
	l, err := OpenLayers(filepath.Join(t.TempDir(), "layers"))
	if err != nil {
		t.Fatal(err)
	}
	prepared := readiness{images: make(chan string, 20)}
	err = l.KeepReady(small, func(image string, limits isolate.Limits) error {
		prepared.images <- image
		_, err := os.Lstat(image)
		return errors.Join(err, limits.Check())
	})
	if err != nil {
		t.Fatal(err)
	}
	prepared.await(t)
	before := left(t, l)
	if _, err := l.CreateImage("a", small); err != nil {
		t.Fatal(err)
	}
	prepared.await(t)
	// One of those that were ready is the layer now.
	if gone := slices.DeleteFunc(before, func(name string) bool { _, err := os.Lstat(filepath.Join(l.dir, name)); return err == nil }); len(gone) != 1 {
		t.Errorf("%d of the layers made ahead were used", len(gone))
	}
	// Others are made when they are asked for.
	for id, limits := range map[string]isolate.Limits{"b": {Disk: 8 << 20}, "c": small, "d": small, "e": small, "f": small} {
		layer, err := l.CreateImage(id, limits)
		if err != nil {
			t.Fatal(err)
		}
		shape, _ := limits.Shape()
		if fi, err := os.Stat(layer.Image); err != nil || fi.Size() != shape.Size() {
			t.Errorf("%s: %v %v", id, fi, err)
		}
	}
	prepared.await(t)
	_, err = l.CreateImage("c", small)
	wantErr(t, err, ErrExist, "layer c already exists")
	dir := l.dir
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 6 {
		t.Errorf("left: %v %v", entries, err)
	}
}

// What was made ahead by a hypervisor that was killed is removed, and one that
// cannot prepare any makes layers all the same.
func TestReadyLayersFail(t *testing.T) {
	var log strings.Builder
	l := newLayers(t)
	if err := os.MkdirAll(filepath.Join(l.dir, readyPrefix+"x"), 0o700); err != nil {
		t.Fatal(err)
	}
	again, err := OpenLayers(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := left(t, again); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	again.Log = slog.New(slog.NewTextHandler(&log, nil))
	tried := make(chan bool, 1)
	err = again.KeepReady(small, func(string, isolate.Limits) error {
		tried <- true
		return errors.New("no loop device left")
	})
	if err != nil {
		t.Fatal(err)
	}
	<-tried
	if _, err := again.CreateImage("a", small); err != nil {
		t.Error(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if got := left(t, l); !slices.Equal(got, []string{"a"}) || !strings.Contains(log.String(), "no loop device left") {
		t.Errorf("left %v, log %s", got, &log)
	}
}

// Who retires a layer does not wait until its files are removed, however long that
// takes.
func TestRetireDoesNotWait(t *testing.T) {
	l, err := OpenLayers(filepath.Join(t.TempDir(), "layers"))
	if err != nil {
		t.Fatal(err)
	}
	for range cap(l.few) { // others are being removed, and that takes long
		l.few <- struct{}{}
	}
	layer, err := l.Create("a", ids(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := deep(layer.Upper, 100); err != nil {
		t.Fatal(err)
	}
	if err := l.Retire("a"); err != nil {
		t.Fatal(err)
	}
	if list, err := l.List(); err != nil || len(list) != 0 {
		t.Errorf("it is there still: %v %v", list, err)
	}
	if _, err := l.Create("a", ids(), nil); err != nil { // the next one of the proc's
		t.Error(err)
	}
	if got := left(t, l); len(got) != 2 {
		t.Errorf("got %v", got)
	}
	for range cap(l.few) {
		<-l.few
	}
	dir := l.dir
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left %v %v", entries, err)
	}
}
