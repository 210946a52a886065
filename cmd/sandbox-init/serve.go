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

// An ended is a child that has ended.
type ended struct {
	pid    int
	status unix.WaitStatus
}

// A running command is what the hypervisor calls by a number.
type running map[uint32]int // to its pid

// serve does what the hypervisor says until the program, pid, has ended, and
// returns its wait status. It forks, and so must be called, on the first thread:
// the one whose bounding set, namespaces and keyring are the sandbox's.
func serve(setup *wire.Setup, pid int) unix.WaitStatus {
	requests, children := make(chan request), make(chan ended)
	// Both owned by serve: they end with the process.
	go listen(requests)
	go reap(children)
	commands := running{}
	for {
		select {
		case r := <-requests:
			commands.do(r, setup, pid)
			r.close()
		case child := <-children:
			if child.pid == pid {
				return child.status
			}
			commands.exited(child)
		}
	}
}

// listen passes on what the hypervisor sends, and ends the sandbox when it is
// gone.
func listen(requests chan<- request) {
	for {
		r, err := readRequest(wire.MaxSetup)
		if err != nil {
			unix.Exit(exitOrphan)
		}
		requests <- r
	}
}

// reap collects every child that ends, the sandbox's orphans included.
func reap(children chan<- ended) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch err {
		case nil:
			children <- ended{pid, status}
		case unix.EINTR:
		default:
			// The program is a child until it is reported, and then we exit.
			children <- ended{0, 0}
			return
		}
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
			_ = wire.Write(control, wire.KindExecFailed, report.Append(nil))
			return
		}
		c[x.ID] = pid
		number := wire.ExecNumber{ID: x.ID, Number: uint32(pid)}
		_ = wire.Write(control, wire.KindExecStarted, number.Append(nil))
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
			_ = wire.Write(control, wire.KindExecExited, number.Append(nil))
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
