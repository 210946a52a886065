package proc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/rootfs"
)

// A saidGone looks, when the log says that a proc was removed, whether it was.
type saidGone struct {
	slog.Handler
	look func()
	said chan struct{}
}

func (s saidGone) WithAttrs(attrs []slog.Attr) slog.Handler {
	return saidGone{s.Handler.WithAttrs(attrs), s.look, s.said}
}
func (s saidGone) Enabled(context.Context, slog.Level) bool { return true }
func (s saidGone) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "removed" {
		s.look()
		s.said <- struct{}{}
	}
	return nil
}

// Whoever hears that a proc is removed, or not there, finds nothing of it, also when
// several remove it at once.
func TestRemovedIsGone(t *testing.T) {
	state := t.TempDir()
	layers, err := rootfs.OpenLayers(filepath.Join(state, "layers"))
	if err != nil {
		t.Fatal(err)
	}
	volumes, err := rootfs.OpenVolumes(rootfs.VolumesConfig{Dir: filepath.Join(state, "volumes")})
	if err != nil {
		t.Fatal(err)
	}
	const procs = 10
	ended := time.Now().UTC()
	id := func(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }
	for n := range procs {
		dir := filepath.Join(state, "procs", id(n))
		if err := errors.Join(os.MkdirAll(dir, 0o700), writeRecord(dir, record{Proc: Proc{ID: id(n), State: Done, Seq: 4, Ended: &ended}})); err != nil {
			t.Fatal(err)
		}
		for k := range 200 { // so that its removal takes its time
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(k)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	nothing := func(who, id string) {
		for _, dir := range []string{id, trashPrefix + id} {
			if _, err := os.Lstat(filepath.Join(state, "procs", dir)); err == nil {
				t.Errorf("%s was told that %s is removed, and %s is there", who, id, dir)
			}
		}
	}
	at := make(chan string, 1)
	log := slog.New(saidGone{slog.DiscardHandler, func() { id := <-at; nothing("the log", id) }, make(chan struct{}, procs)})
	m, err := Open(Config{StateDir: state, RunDir: t.TempDir(), Layers: layers, Volumes: volumes, Templates: rootfs.OpenTemplates(rootfs.TemplatesConfig{}), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, m)
	for n := range procs {
		at <- id(n)
		var all sync.WaitGroup
		for who := range 4 {
			all.Go(func() {
				if err := m.Remove(t.Context(), id(n), 0); err != nil && !errors.Is(err, ErrNotExist) {
					t.Error(err)
				}
				nothing(fmt.Sprint("client ", who), id(n))
			})
		}
		all.Go(func() {
			if leaks, err := m.Audit(false); err != nil || len(leaks) > 0 {
				t.Errorf("leaks %v, %v", leaks, err)
			}
		})
		all.Wait()
	}
}
