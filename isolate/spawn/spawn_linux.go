package spawn

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Program is what to start and how.
type Program struct {
	Executable *os.File // open for reading, and executable
	Args, Env  []string
	Files      []*os.File // its descriptors 0, 1, 2 and so on; it gets no others

	// Namespaces are new for the program: CLONE_NEWUSER and what else
	// (namespaces(7)). It is root in the user namespace, with every capability.
	Namespaces uint64
	IDs        IDs

	// OpenFiles, unless it is 0, is how many descriptors the program can have until
	// it raises that limit (RLIMIT_NOFILE).
	OpenFiles uint64

	// Cgroup is a folder of cgroup v2 that the program is to be in
	// (CLONE_INTO_CGROUP). If nil, it is where the thread is.
	Cgroup *os.File
}

// IDs are the host's ids, from Base on, that the ids from 0 on of a user
// namespace are mapped to.
type IDs struct{ Base, Size uint32 }

// Start starts the program, in a session of its own, and returns when it was
// executed. The caller has locked the goroutine to its thread and waits for the
// process; when Start fails there is none.
func Start(p Program) (*os.Process, error) {
	var c child
	defer c.close()
	if err := c.plan(p); err != nil {
		return nil, err
	}
	args := cloneArgs{flags: p.Namespaces}
	if p.Cgroup != nil {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(p.Cgroup.Fd())
	}
	err := c.start(args, p.IDs)
	runtime.KeepAlive(p) // whose files the child has now
	if err == nil {
		err = c.executed()
	}
	if err != nil {
		return nil, errors.Join(err, c.reap())
	}
	return os.FindProcess(c.pid)
}

// UserNamespace makes a user namespace that no process is in.
func UserNamespace(ids IDs) (*os.File, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var c child
	defer c.close()
	if err := c.open(); err != nil {
		return nil, err
	}
	c.do.add("exit_group", unix.SYS_EXIT_GROUP, 0)
	if err := c.start(cloneArgs{flags: unix.CLONE_NEWUSER}, ids); err != nil {
		return nil, errors.Join(err, c.reap())
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", c.pid))
	if err := errors.Join(err, c.reap()); err != nil {
		ns.Close() // of nil too
		return nil, err
	}
	return ns, nil
}

// A child is a process that shares this one's memory until it executes. What it
// reads and writes is all on the heap, where things stay.
type child struct {
	pid    int
	do     list
	failed failure
	gate   [2]*os.File // the child waits at the second: for a byte, or for our end to close
	copies []*os.File  // of files that were in the way
	passed byte        // the byte
	none   uint64      // an empty set of signals
	limit  unix.Rlimit
	path   *byte
	argv   []*byte
	envv   []*byte
}

// open makes the gate and has the child wait at it. Where its user namespace has
// no ids by then, its next call fails.
func (c *child) open() error {
	gate, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make gate: %w", err)
	}
	for i := range gate {
		c.gate[i] = os.NewFile(uintptr(gate[i]), "gate")
	}
	c.do.add("close", unix.SYS_CLOSE, uintptr(gate[0]))
	c.do.add("read", unix.SYS_READ, uintptr(gate[1]), address(&c.passed), 1)
	return nil
}

// plan writes down what the child does to become the program.
func (c *child) plan(p Program) (err error) {
	if c.path, err = unix.BytePtrFromString(""); err != nil {
		return err
	}
	if c.argv, err = syscall.SlicePtrFromStrings(p.Args); err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	if c.envv, err = syscall.SlicePtrFromStrings(p.Env); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	executable, err := c.above(p.Executable, len(p.Files))
	if err != nil {
		return err
	}
	if err := c.open(); err != nil {
		return err
	}
	c.do.add("setgroups", unix.SYS_SETGROUPS, 0, 0)
	c.do.add("setresgid", unix.SYS_SETRESGID, 0, 0, 0)
	c.do.add("setresuid", unix.SYS_SETRESUID, 0, 0, 0)
	c.do.add("setsid", unix.SYS_SETSID)
	for to, file := range p.Files {
		from, err := c.above(file, len(p.Files))
		if err != nil {
			return err
		}
		c.do.add("dup3", unix.SYS_DUP3, from, uintptr(to), 0)
	}
	if p.OpenFiles > 0 {
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &c.limit); err != nil {
			return fmt.Errorf("getrlimit: %w", err)
		}
		c.limit.Cur = p.OpenFiles
		c.do.add("setrlimit", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, address(&c.limit), 0)
	}
	c.do.add("close_range", unix.SYS_CLOSE_RANGE, uintptr(len(p.Files)), uintptr(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC)
	c.do.add("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, address(&c.none), 0, unsafe.Sizeof(c.none))
	c.do.add("execveat", unix.SYS_EXECVEAT, executable, address(c.path), address(&c.argv[0]), address(&c.envv[0]), unix.AT_EMPTY_PATH)
	return nil
}

// above is the file's descriptor, or that of a copy, out of the way of the first
// n, which the child fills with others.
func (c *child) above(file *os.File, n int) (uintptr, error) {
	fd := file.Fd()
	if fd >= uintptr(n) {
		return fd, nil
	}
	free, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, n)
	if err != nil {
		return 0, fmt.Errorf("duplicate %s: %w", file.Name(), err)
	}
	c.copies = append(c.copies, os.NewFile(uintptr(free), file.Name()))
	return uintptr(free), nil
}

// dumpable tells whether this process was when it started: a child that changes
// its ids while it shares our memory makes that undumpable (prctl(2)).
var dumpable = sync.OnceValue(func() bool {
	d, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	return err == nil && d == 1
})

// start makes the child and maps its ids. The child waits at the gate.
func (c *child) start(args cloneArgs, ids IDs) error {
	dumpable()
	args.flags |= unix.CLONE_VM | unix.CLONE_CLEAR_SIGHAND
	args.exitSignal = uint64(unix.SIGCHLD)
	// No signal may interrupt the child: it has no stack for a handler's frame, and
	// what is pending here is not for it.
	all, old := unix.Sigset_t{}, unix.Sigset_t{}
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return fmt.Errorf("block signals: %w", err)
	}
	syscall.ForkLock.Lock() // as package os does, for descriptors that are not close-on-exec yet
	pid, errno := clone(&args, unsafe.Sizeof(args), &c.do.calls[0], &c.failed)
	syscall.ForkLock.Unlock()
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err != nil {
		return fmt.Errorf("unblock signals: %w", err)
	}
	c.gate[1].Close()
	if errno != 0 {
		return fmt.Errorf("clone3: %w", errno)
	}
	c.pid = int(pid)
	for _, name := range []string{"gid_map", "uid_map"} {
		path := "/proc/" + strconv.Itoa(c.pid) + "/" + name
		if err := os.WriteFile(path, fmt.Appendf(nil, "0 %d %d\n", ids.Base, ids.Size), 0); err != nil {
			return err
		}
	}
	return nil
}

// executed lets the child go on and waits until it has executed the program or
// has ended: either closes its end of the gate.
func (c *child) executed() error {
	if _, err := c.gate[0].Write([]byte{0}); err != nil {
		return fmt.Errorf("open gate: %w", err)
	}
	if _, err := c.gate[0].Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, unix.ECONNRESET) { // with the byte unread
		return fmt.Errorf("wait at gate: %w", err)
	}
	if dumpable() {
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) // what it was; the only error is a bad number
	}
	if c.failed.errno != 0 {
		return fmt.Errorf("%s: %w", c.do.name(c.failed.call), syscall.Errno(c.failed.errno))
	}
	return nil
}

// close closes what is open: a child that waits at the gate goes on.
func (c *child) close() {
	for _, f := range append(c.copies, c.gate[:]...) {
		if f != nil {
			f.Close()
		}
	}
	runtime.KeepAlive(c)
}

// reap ends what is left of the child.
func (c *child) reap() error {
	if c.pid == 0 {
		return nil
	}
	_ = unix.Kill(c.pid, unix.SIGKILL) // it is a child that nobody has waited for: the pid is its own
	for {
		_, err := unix.Wait4(c.pid, nil, 0, nil)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return fmt.Errorf("wait for process %d: %w", c.pid, err)
		}
	}
}

// address is where something on the heap is, for the kernel to find it.
func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }
