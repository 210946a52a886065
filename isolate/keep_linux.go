package isolate

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/isolate/output"
	"github.com/gilliam/hypervisor/isolate/wire"
)

// What a kept sandbox has in its folder.
const (
	controlName = "control" // the socket that sandbox-init listens on
	outcomeName = "outcome" // how the program ended, a [wire.Outcome]
	logName     = "log."    // and 0 or 1: the segments of package output
)

// A keep is what the hypervisor holds of a sandbox that outlives it.
type keep struct {
	dir      string
	limits   output.Limits
	pipes    [2]*os.File // read ends of stdout and stderr; nil when sandbox-init has ended before we came
	listener *os.File    // until sandbox-init has it
}

// newKeep makes what a sandbox needs to be kept. The folder's log goes on where
// it ends; the socket and the outcome of an earlier sandbox make room.
func newKeep(k Keep, rlimits []Rlimit) (_ *keep, stdio IO, err error) {
	for _, r := range rlimits { // which sandbox-init has as well
		if r.Resource == rlimitFsize && r.Soft < uint64(k.Segment) {
			return nil, IO{}, &SpecError{"Limits.Rlimits.Fsize", fmt.Sprintf("must be at least %d bytes, of which the program's output is kept", k.Segment)}
		}
	}
	kept := &keep{dir: k.Dir, limits: output.Limits{Segment: k.Segment, Rate: k.Rate}}
	defer func() {
		if err != nil {
			kept.close()
			stdio.close()
		}
	}()
	if err := os.WriteFile(filepath.Join(k.Dir, outcomeName), nil, 0o600); err != nil {
		return nil, IO{}, err
	}
	if kept.listener, err = listenIn(k.Dir); err != nil {
		return nil, IO{}, err
	}
	if kept.pipes[0], stdio.Stdout, err = os.Pipe(); err != nil {
		return nil, IO{}, err
	}
	if kept.pipes[1], stdio.Stderr, err = os.Pipe(); err != nil {
		return nil, IO{}, err
	}
	failpoint.Hit("isolate.keep.made")
	return kept, stdio, nil
}

// Forget removes the word that an earlier sandbox has left of its end. Its log
// stays.
func (k Keep) Forget() error {
	err := os.Remove(filepath.Join(k.Dir, outcomeName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (i IO) close() {
	for _, f := range []*os.File{i.Stdout, i.Stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// listenIn makes the socket that sandbox-init will listen on. It is bound through
// the folder's descriptor: a path in sockaddr_un has 108 bytes (unix(7)).
func listenIn(dir string) (*os.File, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	if err := os.Remove(filepath.Join(dir, controlName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	listener := os.NewFile(uintptr(fd), controlName)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: inFolder(folder, controlName)})
	if err == nil {
		err = unix.Listen(fd, 4)
	}
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("listen on %s: %w", filepath.Join(dir, controlName), err)
	}
	return listener, nil
}

// inFolder is a short path of a file in an open folder.
func inFolder(folder *os.File, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(folder.Fd())) + "/" + name
}

// dial connects to the sandbox-init that listens in the folder.
func (k *keep) dial() (*net.UnixConn, error) {
	folder, err := os.Open(k.dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: inFolder(folder, controlName), Net: "unix"})
}

// files are what goes to sandbox-init with its Setup, in the order that
// [wire.Keep] names. The caller closes those that close does not: it calls the
// function that is returned when they are sent.
func (k *keep) files() ([]*os.File, func(), error) {
	outcome, err := os.OpenFile(filepath.Join(k.dir, outcomeName), os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	segments, err := k.segments()
	if err != nil {
		outcome.Close()
		return nil, nil, err
	}
	sent := func() {
		outcome.Close()
		segments[0].Close()
		segments[1].Close()
		k.listener.Close()
		k.listener = nil
	}
	return []*os.File{k.listener, outcome, k.pipes[0], k.pipes[1], segments[0], segments[1]}, sent, nil
}

// segments opens the log's files, making them the first time.
func (k *keep) segments() (files [2]*os.File, err error) {
	for i := range files {
		name := filepath.Join(k.dir, logName+strconv.Itoa(i))
		if files[i], err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600); err != nil {
			if i == 1 {
				files[0].Close()
			}
			return files, err
		}
	}
	return files, nil
}

// drain moves what sandbox-init has left in the pipes to the log, when nobody
// writes to either any more. It does nothing without the pipes.
func (k *keep) drain() error {
	if k.pipes[0] == nil || k.pipes[1] == nil {
		return nil
	}
	segments, err := k.segments()
	if err != nil {
		return err
	}
	defer segments[0].Close()
	defer segments[1].Close()
	if err := k.move(segments); err != nil {
		return fmt.Errorf("log of %s: %w", k.dir, err)
	}
	return errors.Join(segments[0].Sync(), segments[1].Sync())
}

// move moves what is in the pipes to the segments.
func (k *keep) move(segments [2]*os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	w, err := output.NewWriter([2]int{int(segments[0].Fd()), int(segments[1].Fd())}, k.limits, int(null.Fd()))
	if err != nil {
		return err
	}
	w.Drain([2]int{int(k.pipes[0].Fd()), int(k.pipes[1].Fd())})
	return nil
}

// outcome reads what sandbox-init has written of the program.
func (k *keep) outcome() (wire.Outcome, error) {
	path := filepath.Join(k.dir, outcomeName)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return wire.Outcome{}, nil
	}
	if err != nil {
		return wire.Outcome{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 2*wire.MaxReply))
	if err != nil {
		return wire.Outcome{}, err
	}
	o, err := wire.DecodeOutcome(b)
	if err != nil {
		return o, fmt.Errorf("read %s: %w", path, err)
	}
	return o, nil
}

// close lets go of the sandbox's files. Those on disk stay.
func (k *keep) close() {
	if k == nil {
		return
	}
	for _, f := range []*os.File{k.listener, k.pipes[0], k.pipes[1]} {
		if f != nil {
			f.Close()
		}
	}
}
