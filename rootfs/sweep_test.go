package rootfs

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// What a kill leaves is finished or undone; what is being made is left alone.
func TestSweepTemplates(t *testing.T) {
	b := newBench(t)
	store := filepath.Join(b.state, "templates")
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	web := b.seal("web", "x", "1")
	busy := b.draft("busy")
	// A draft that is not complete, one that is, and one whose tree never came.
	half := b.draft("half")
	must(killed(half))
	whole := b.draft("whole")
	must(b.ts.furnish(t.Context(), whole.Dir, AdoptOptions{}))
	_, err := b.ts.describe(t.Context(), "whole", whole.Dir, whole.staging, SealOptions{})
	must(err, killed(whole))
	treeless := b.draft("treeless")
	_, err = b.ts.describe(t.Context(), "treeless", treeless.Dir, treeless.staging, SealOptions{})
	must(err, os.RemoveAll(treeless.Dir), killed(treeless))
	// A removal, a version that is not pointed to, and a name without versions.
	must(os.MkdirAll(filepath.Join(store, gonePrefix+"1", "tree/etc"), 0o700))
	lost := b.seal("lost")
	must(os.Remove(filepath.Join(store, "lost", currentName)), os.Symlink("x", filepath.Join(store, "lost", currentNewName)))
	must(os.Symlink("x", filepath.Join(store, "web", currentNewName)))
	must(os.Mkdir(filepath.Join(store, "empty"), 0o700), os.Symlink(web.Version, filepath.Join(store, "empty", currentName)))
	must(os.MkdirAll(filepath.Join(store, "plain/etc"), 0o700))

	for range 2 {
		must(b.ts.Sweep(slog.New(slog.DiscardHandler)))
		want := []string{".lock", filepath.Base(busy.staging), "lost", "plain", "web", "whole"}
		if got := b.names(""); !slices.Equal(got, want) {
			t.Errorf("in the store: %q, want %q", got, want)
		}
	}
	if got := b.names("web"); len(got) != 2 || !slices.Contains(got, "current") || !slices.Contains(got, web.Version) {
		t.Errorf("of web: %q", got)
	}
	if got, err := b.ts.Get("lost"); err != nil || got != lost {
		t.Errorf("got %+v, %v, want %+v", got, err, lost)
	}
	if _, changes, err := b.ts.Verify(t.Context(), "whole", nil); err != nil || len(changes) > 0 {
		t.Errorf("got %v, %v", changes, err)
	}
	if _, err := busy.Seal(t.Context(), SealOptions{}); err != nil {
		t.Error(err)
	}
	must(OpenTemplates(TemplatesConfig{Dir: filepath.Join(b.dir, "none")}).Sweep(slog.New(slog.DiscardHandler)))
}

// killed leaves a draft as a kill does.
func killed(d *Draft) error {
	d.staging = ""
	return d.work.Abandon()
}

// However sweeps and drafts meet, a draft that was begun is there, in the store and for
// the folder that the default template is.
func TestDraftWhileSwept(t *testing.T) {
	for name, cfg := range map[string]TemplatesConfig{
		"store":  {Dir: filepath.Join(t.TempDir(), "templates")},
		"folder": {Default: filepath.Join(t.TempDir(), "own", "template")},
	} {
		t.Run(name, func(t *testing.T) {
			ts := OpenTemplates(cfg)
			ended := make(chan struct{})
			var sweeping sync.WaitGroup
			// Ends with the drafts; the test waits.
			sweeping.Go(func() {
				for {
					select {
					case <-ended:
						return
					default:
					}
					if err := ts.Sweep(slog.New(slog.DiscardHandler)); err != nil {
						t.Error(err)
					}
				}
			})
			for range 100 {
				d, err := ts.Draft(DefaultTemplate)
				if err != nil {
					t.Error(err)
					break
				}
				if err := os.WriteFile(filepath.Join(d.Dir, "f"), nil, 0o600); err != nil {
					t.Error(err)
				}
				if err := d.Discard(); err != nil {
					t.Error(err)
				}
			}
			close(ended)
			sweeping.Wait()
		})
	}
}
