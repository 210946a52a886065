//go:build integration

package attack

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// T30, CVE-2021-30465: a folder on the way to what is mounted is exchanged with a
// symlink to a folder of the host's, again and again, while the sandbox starts. It
// starts right or not at all, and the host's folder stays as it is. Control: a path
// is seen to lead there.
func TestSwapped(t *testing.T) {
	const starts = 100
	testbed.Leaves(t) // no mount of the host's either
	e := testbed.Engine(t)
	canary := t.TempDir()
	if err := os.WriteFile(filepath.Join(canary, "file"), []byte("host"), 0o644); err != nil {
		t.Fatal(err)
	}
	var right, refused, fooled int
	for range starts {
		s := spec(t, "read", "/srv/at/below/probe-marker")
		s.Binds = append(s.Binds, isolate.Bind{Source: tools, Target: "/srv/at/below", IDMapped: true})
		stop := exchange(t, filepath.Join(s.Layer.Upper, "srv"), canary)
		if _, err := os.Stat(filepath.Join(s.Layer.Upper, "srv/at/file")); err == nil {
			fooled++
		}
		box, err := try(t, e, s)
		stop()
		switch {
		case err == nil:
			right++
			if got := box.report(t).Detail["/srv/at/below/probe-marker"]; got != "ENOENT" {
				t.Fatalf("the program saw %q", got)
			}
			box.end(t)
		case strings.Contains(err.Error(), "bind "+tools+" on /srv/at/below"):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(canary); err != nil || len(entries) != 1 {
		t.Errorf("the canary holds %v, %v", entries, err)
	}
	if right == 0 || refused == 0 || fooled == 0 {
		t.Errorf("control: %d right, %d refused, %d led astray: there was no race", right, refused, fooled)
	}
	t.Logf("T30 swapped: %d started right, %d were refused; control: a path led to the host %d times", right, refused, fooled)
}

// exchange makes a folder with a folder "at" in it and a symlink, and exchanges the
// two until stop is called.
func exchange(t *testing.T, dir, to string) (stop func()) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "at"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	done := make(chan error, 1)
	// Owned by the caller, whose stop waits for it.
	go func() {
		var err error
		for err == nil && !over.Load() {
			err = unix.Renameat2(int(folder.Fd()), "at", int(folder.Fd()), "link", unix.RENAME_EXCHANGE)
		}
		done <- err
	}()
	return func() {
		over.Store(true)
		if err := <-done; err != nil {
			t.Error(err)
		}
		folder.Close()
	}
}
