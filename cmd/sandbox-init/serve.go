package main

import (
	"bytes"
	"io"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/wire"
)

// A request is one frame from the hypervisor and the files that came with it.
type request struct {
	kind  wire.Kind
	body  []byte
	files []int
}

// readRequest receives one frame. Files come with its first byte
// (unix(7), SCM_RIGHTS).
func readRequest(limit int) (request, error) {
	var head [wire.HeadSize]byte
	oob := make([]byte, unix.CmsgSpace(4*wire.MaxFiles))
	var n, oobn int
	var err error
	for {
		n, oobn, _, _, err = unix.Recvmsg(int(control), head[:], oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return request{}, err
	}
	if n == 0 {
		return request{}, io.EOF
	}
	r := request{files: parseFiles(oob[:oobn])}
	r.kind, r.body, err = wire.Read(io.MultiReader(bytes.NewReader(head[:n]), control), limit)
	return r, err
}

func parseFiles(oob []byte) []int {
	var files []int
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			files = append(files, fds...)
		}
	}
	return files
}

// close closes the files.
func (r request) close() {
	for _, f := range r.files {
		_ = unix.Close(f)
	}
}

// A running command is what the hypervisor calls by a number.
type running map[uint32]int // to its pid

// serve does what the hypervisor says and moves what is written to the log until
// the program, pid, has ended, and returns how. It forks, and so must be called,
// on the first thread: the one whose bounding set, namespaces and keyring are the
// sandbox's.
func serve(setup *wire.Setup, pid int, keep *keeper) *wire.Exited {
	var children [2]int
	if unix.Pipe2(children[:], unix.O_CLOEXEC) != nil {
		unix.Exit(exitFailed)
	}
	// Owned by serve: it ends with the last child or the process.
	go reap(fd(children[1]))
	reaped := fd(children[0])
	commands := running{}
	oom := false
	for {
		if control < 0 && keep == nil {
			unix.Exit(exitOrphan)
		}
		ready := wait(int(reaped), keep)
		if keep != nil {
			ready.pump(keep)
		}
		if ready.has(onOOM) {
			oom, oomEvent = true, -1
			_ = unix.Kill(-1, unix.SIGKILL) // the kernel kills one of them and leaves the others
		}
		if ready.has(onChild) {
			child, ok := readChild(reaped)
			if !ok {
				unix.Exit(exitFailed) // the program is a child until it is reported
			}
			if child.pid == pid {
				exited := &wire.Exited{Status: uint32(child.status), Time: child.time, OOM: oom}
				keep.end(reaped, commands)
				return exited
			}
			commands.exited(child)
		}
		if ready.has(onControl) {
			r, err := readRequest(wire.MaxSetup)
			if err != nil {
				commands.orphan(keep)
				continue
			}
			commands.do(r, setup, pid)
			r.close()
		}
		if ready.has(onListener) {
			if conn := keep.accept(pid); conn >= 0 {
				if control >= 0 {
					commands.orphan(keep)
				}
				control = fd(conn)
			}
		}
	}
}

// orphan is the end of the hypervisor, and with it of the sandbox unless it is
// kept. The commands that it ran have nobody left who waits for them.
func (c running) orphan(keep *keeper) {
	if keep == nil {
		unix.Exit(exitOrphan)
	}
	hangUp()
	for id, pid := range c {
		signal(pid, uint32(unix.SIGHUP))
		delete(c, id)
	}
}

// do handles one request.
func (c running) do(r request, setup *wire.Setup, program int) {
	switch r.kind {
	case wire.KindSignal:
		if n, err := wire.DecodeNumber(r.body); err == nil {
			signal(program, n)
		}
	case wire.KindExec:
		var x wire.Exec
		if x.Decode(r.body) != nil {
			return
		}
		pid, failed := c.exec(&x, r.files, setup)
		if failed != nil {
			report := wire.ExecFailed{ID: x.ID, Failed: *failed}
			say(wire.KindExecFailed, report.Append(nil))
			return
		}
		c[x.ID] = pid
		number := wire.ExecNumber{ID: x.ID, Number: uint32(pid)}
		say(wire.KindExecStarted, number.Append(nil))
	case wire.KindExecSignal:
		var n wire.ExecNumber
		if n.Decode(r.body) != nil {
			return
		}
		if pid, ok := c[n.ID]; ok {
			signal(pid, n.Number)
		}
	}
}

// signal sends a signal to the process group that pid leads.
func signal(pid int, n uint32) {
	if n > 0 && n < 65 {
		_ = unix.Kill(-pid, unix.Signal(n))
	}
}

// exec runs a further command.
func (c running) exec(x *wire.Exec, files []int, setup *wire.Setup) (int, *wire.Failed) {
	if _, taken := c[x.ID]; taken || len(files) != 3 {
		return 0, &wire.Failed{Step: "take files", Errno: uint32(unix.EINVAL)}
	}
	return run(program{
		args: x.Args, env: x.Env, dir: x.Dir, uid: setup.UID, gid: setup.GID, caps: ambient(setup),
		files: []uintptr{uintptr(files[0]), uintptr(files[1]), uintptr(files[2])}, tty: x.TTY,
	})
}

// exited reports the end of a command. Other children are orphans.
func (c running) exited(child ended) {
	for id, pid := range c {
		if pid == child.pid {
			delete(c, id)
			number := wire.ExecNumber{ID: id, Number: uint32(child.status)}
			say(wire.KindExecExited, number.Append(nil))
		}
	}
}

// A program is what to execute and as whom.
type program struct {
	args, env []string
	dir       string
	uid, gid  uint32
	caps      []uintptr // ambient
	files     []uintptr
	tty       bool // files[0] is to be its controlling terminal
}

// run forks the program as its user, in a session of its own.
func run(p program) (int, *wire.Failed) {
	path, err := lookPath(p.args[0], p.dir, p.env)
	if err != nil {
		return 0, &wire.Failed{Step: wire.StepExec, Path: p.args[0], Errno: errnoOf(err)}
	}
	pid, err := syscall.ForkExec(path, p.args, &syscall.ProcAttr{
		Dir:   p.dir,
		Env:   p.env,
		Files: p.files,
		Sys: &syscall.SysProcAttr{
			Setsid:      true,
			Setctty:     p.tty, // the terminal is descriptor 0
			Credential:  &syscall.Credential{Uid: p.uid, Gid: p.gid},
			AmbientCaps: p.caps,
		},
	})
	if err != nil {
		return 0, &wire.Failed{Step: wire.StepExec, Path: path, Errno: errnoOf(err)}
	}
	return pid, nil
}

func errnoOf(err error) uint32 {
	if errno, ok := err.(unix.Errno); ok {
		return uint32(errno)
	}
	return uint32(unix.EINVAL)
}
