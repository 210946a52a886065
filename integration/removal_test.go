//go:build integration

package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// A gate holds whoever opens a folder once that has become trash, as if there were
// no end to what is to be removed from it: fanotify(7), FAN_OPEN_PERM.
type gate struct {
	events *os.File
	held   chan int // a descriptor of the folder that somebody waits to open
	done   chan error
}

func newGate(t *testing.T, folder string) *gate {
	t.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		t.Fatalf("fanotify_init: %v", err)
	}
	g := &gate{os.NewFile(uintptr(fd), "fanotify"), make(chan int, 1), make(chan error, 1)}
	// Owned by the test, which closes events: that lets everybody go.
	go func() { g.done <- g.watch() }()
	t.Cleanup(func() {
		if err := errors.Join(g.events.Close(), <-g.done); err != nil {
			t.Error(err)
		}
	})
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_ONLYDIR, unix.FAN_OPEN_PERM|unix.FAN_ONDIR, unix.AT_FDCWD, folder); err != nil {
		t.Fatalf("fanotify_mark %s: %v", folder, err)
	}
	return g
}

func (g *gate) watch() error {
	buf := make([]byte, unix.FAN_EVENT_METADATA_LEN) // one event at a time
	for {
		_, err := g.events.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		fd := int(int32(binary.NativeEndian.Uint32(buf[16:])))
		path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err == nil && strings.HasPrefix(filepath.Base(path), ".trash-") {
			g.held <- fd
			continue
		}
		if err := errors.Join(err, g.allow(fd)); err != nil {
			return err
		}
	}
}

// allow lets go who waits to open fd.
func (g *gate) allow(fd int) error {
	answer := binary.NativeEndian.AppendUint32(nil, uint32(fd))
	_, err := g.events.Write(binary.NativeEndian.AppendUint32(answer, unix.FAN_ALLOW))
	return errors.Join(err, unix.Close(fd))
}

// While the files of a layer are being removed, which may take long, the API answers
// and procs come and go.
func TestRemovalBlocksNothing(t *testing.T) {
	d := serve(t)
	p := d.create(proc.Request{Command: proc.Shell("echo made; sleep infinity")})
	other := d.create(proc.Request{Name: "other", Command: proc.Shell("sleep infinity")})
	d.until(p.ID, "its run", func(p proc.Proc) bool { return p.State == proc.Running })
	g := newGate(t, filepath.Join(d.stateDir, "layers", p.ID))
	d.remove(p.ID)
	var fd int
	select {
	case fd = <-g.held:
	case <-time.After(patience):
		t.Fatal("nobody removes the layer")
	}
	if got := d.list(""); len(got) != 1 || got[0].ID != other.ID {
		t.Errorf("listed: %+v", got)
	}
	d.get(other.ID)
	d.want(http.StatusOK, http.MethodGet, "/metrics", nil, nil)
	if again := d.run(proc.Request{Command: proc.Shell("true")}); again.State != proc.Done {
		t.Errorf("got %+v", again)
	} else {
		d.remove(again.ID)
	}
	if got := d.stopProc(other.ID, "?grace=0s"); got.Ended == nil {
		t.Errorf("got %+v", got)
	}
	trash := func() []string {
		names, err := filepath.Glob(filepath.Join(d.stateDir, "layers", ".trash-*"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	// Those of the others are removed beside it, a moment after they have ended.
	testbed.Within(t, patience, "the removal of the others alone", func() bool { return len(trash()) == 1 })
	if err := g.allow(fd); err != nil {
		t.Fatal(err)
	}
	testbed.Within(t, patience, "the removal", func() bool { return len(trash()) == 0 })
}
