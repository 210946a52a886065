package isolate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/output"
	"github.com/gilliam/hypervisor/isolate/wire"
)

// ErrNeverStarted is a sandbox whose program was never executed: what is left of
// it can be removed and the launch begun anew.
var ErrNeverStarted = errors.New("the program was never started")

// PlanOfEnded is enough of a plan to [Engine.Adopt] a sandbox that is known to have
// ended: one of before the machine was restarted.
func PlanOfEnded(id string) Plan {
	return Plan{ID: id, Cgroup: Cgroup{Path: CgroupParent + "/" + id}}
}

// Adopt takes over a sandbox that an earlier engine launched by plan and kept in
// k.Dir. One that has ended in the meantime is taken over all the same: its Done
// is closed soon, and Wait says how and when it ended.
//
// Its process is known by its cgroup, which has the sandbox's id, and by being
// PID 1 in there: a process id alone may be someone else's by now, and after a
// reboot there is no such cgroup.
//
// It returns [ErrNeverStarted], and has killed what there was, when the earlier
// engine did not get as far as executing the program.
func (e *Engine) Adopt(ctx context.Context, p Plan, k Keep) (*Sandbox, error) {
	s := &Sandbox{
		id: p.ID, plan: p, host: e.host, engine: e, done: make(chan struct{}), execs: make(map[uint32]*Execution),
		keep: &keep{dir: k.Dir, limits: output.Limits{Segment: k.Segment, Rate: k.Rate}},
	}
	var err error
	if s.cgroup, err = managerOf(p.Cgroup); err != nil {
		return nil, fmt.Errorf("adopt sandbox %s: %w", p.ID, err)
	}
	if s.process, err = findInit(s.cgroup); err != nil {
		return nil, fmt.Errorf("adopt sandbox %s: %w", p.ID, err)
	}
	if s.process != nil {
		err = s.reconnect(ctx)
	}
	if s.process == nil || err != nil {
		// It has ended, or was not told yet what to do and ends by itself.
		killCgroup(s.cgroup, s.plan.Cgroup.IO.limited())
		s.awaitProcess()
		outcome, readErr := s.keep.outcome()
		if readErr != nil {
			outcome.Kind = wire.KindStarting // all that can be said
		}
		if outcome.Kind == 0 || outcome.Kind == wire.KindFailed {
			return nil, fmt.Errorf("adopt sandbox %s: %w", p.ID, errors.Join(ErrNeverStarted, s.cgroup.Destroy()))
		}
	}
	// Owned by the Sandbox: ends when its processes have, and closes done.
	go s.supervise()
	return s, nil
}

// findInit finds sandbox-init, PID 1 of a pid namespace below ours, among the
// processes of a sandbox's cgroup. It is nil when there is none.
func findInit(cg cgroups.Manager) (*os.Process, error) {
	pids, err := cg.GetAllPids()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list its processes: %w", err)
	}
	for _, pid := range pids {
		process, err := os.FindProcess(pid) // holds on to the process, not to its number
		if err != nil {
			continue
		}
		if isInit(pid) && stillIn(cg, pid) && process.Signal(unix.Signal(0)) == nil {
			return process, nil
		}
		_ = process.Release()
	}
	return nil, nil
}

// isInit tells whether a process is number 1 in a namespace below ours
// (proc_pid_status(5), NSpid).
func isInit(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			f := strings.Fields(ids)
			return len(f) > 1 && f[len(f)-1] == "1"
		}
	}
	return false
}

func stillIn(cg cgroups.Manager, pid int) bool {
	pids, err := cg.GetAllPids()
	return err == nil && slices.Contains(pids, pid)
}

// reconnect connects to sandbox-init, hears what it says of the program and takes
// over the pipes.
func (s *Sandbox) reconnect(ctx context.Context) error {
	conn, err := s.keep.dial()
	if err != nil {
		return fmt.Errorf("connect to sandbox-init: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	err = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	var pipes [2]*os.File
	if err == nil {
		s.program, pipes, err = hearAdopted(conn)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return fmt.Errorf("hear from sandbox-init: %w", err)
	}
	s.keep.close()
	s.keep.pipes, s.keep.listener = pipes, nil
	s.write.Lock()
	defer s.write.Unlock()
	s.control = conn
	return nil
}

// hearAdopted reads the first that sandbox-init says on a new connection.
func hearAdopted(conn *net.UnixConn) (program int, pipes [2]*os.File, err error) {
	head := make([]byte, wire.HeadSize)
	oob := make([]byte, unix.CmsgSpace(4*len(pipes)))
	n, oobn, _, _, err := conn.ReadMsgUnix(head, oob)
	if err != nil {
		return 0, pipes, err
	}
	files := receivedFiles(oob[:oobn])
	defer func() {
		if err != nil {
			for _, f := range files {
				f.Close()
			}
		}
	}()
	kind, body, err := wire.Read(io.MultiReader(bytes.NewReader(head[:n]), conn), wire.MaxReply)
	if err != nil {
		return 0, pipes, err
	}
	var a wire.Adopted
	if kind != wire.KindAdopted || len(files) != len(pipes) || a.Decode(body) != nil {
		return 0, pipes, wire.ErrMalformed
	}
	for _, f := range files {
		if !isPipe(f) {
			return 0, pipes, wire.ErrMalformed
		}
	}
	return int(a.PID), [2]*os.File(files), nil
}

// isPipe keeps a sandbox-init that is not what it was from handing us some other
// file to read from.
func isPipe(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

func receivedFiles(oob []byte) (files []*os.File) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "pipe"))
		}
	}
	return files
}

// awaitProcess returns when sandbox-init has ended, be it our child or not.
func (s *Sandbox) awaitProcess() (*os.ProcessState, error) {
	if s.process == nil {
		return nil, nil
	}
	if s.child {
		return s.process.Wait()
	}
	err := s.process.WithHandle(func(pidfd uintptr) {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}} // it has ended (pidfd_open(2))
		for {
			if _, err := unix.Poll(fds, -1); err != unix.EINTR {
				return
			}
		}
	})
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return nil, err
}
