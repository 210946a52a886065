package attacks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func pid() string { return strconv.Itoa(os.Getpid()) }

// Aliens is what must come of aliens for processes with these numbers.
func Aliens(pids []string) Expectation {
	want := map[string]string{"seen": "2"} // PID 1 and itself
	for _, pid := range pids {
		want["see "+pid] = "ENOENT"
	}
	return Expectation{"ESRCH", want}
}

// aliens does to processes outside all that one can do to a process by its
// number. The arguments are numbers, as others see them.
func aliens(r *Report, args []string) {
	listed, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		Fatal(err)
	}
	r.Fact("seen", len(listed))
	for _, arg := range args {
		n, err := strconv.Atoi(arg)
		if err != nil {
			Fatal(err)
		}
		pid := uintptr(n)
		_, err = os.Stat("/proc/" + arg)
		r.Try("see "+arg, err)
		r.Try("kill 0 "+arg, unix.Kill(n, 0))
		r.Try("pidfd "+arg, Call(unix.SYS_PIDFD_OPEN, pid, 0))
		r.Try("getsid "+arg, Call(unix.SYS_GETSID, pid))
		r.Try("prlimit "+arg, unix.Prlimit(n, unix.RLIMIT_NOFILE, nil, new(unix.Rlimit)))
		r.Try("setpriority "+arg, unix.Setpriority(unix.PRIO_PROCESS, n, 19))
		r.Try("affinity "+arg, unix.SchedSetaffinity(n, &unix.CPUSet{1}))
		r.Try("robust list "+arg, Call(unix.SYS_GET_ROBUST_LIST, pid, Pointer(new(uintptr)), Pointer(new(uintptr))))
		r.Try("read memory "+arg, peek(n))
		r.Try("attach "+arg, attach(n))
		r.Try("kill "+arg, unix.Kill(n, unix.SIGKILL))
	}
}

// attach traces a process and lets it go.
func attach(n int) error {
	if err := unix.PtraceAttach(n); err != nil {
		return err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(n, &status, unix.WALL, nil); err != nil {
		return err
	}
	return unix.PtraceDetach(n)
}

// peek reads a little of a process's memory, where this program's own data is.
func peek(n int) error {
	var to [8]byte
	local := unix.Iovec{Base: &to[0], Len: 8}
	remote := unix.RemoteIovec{Base: uintptr(unsafe.Pointer(&zero[0])), Len: 8}
	_, err := unix.ProcessVMReadv(n, []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0)
	return err
}

// Trace is what must come of trace. Files that anyone may open show nothing of a
// process that is not dumpable.
var Trace = Expectation{Errno: "EPERM|EACCES"}

// trace looks into PID 1 and, with an argument, to show that it can, into a child
// of its own.
func trace(r *Report, args []string) {
	runtime.LockOSThread() // ptrace(2): the tracer is a thread
	r.look("pid1", 1, r.Try)
	if len(args) == 0 {
		return
	}
	child := exec.Command("/proc/self/exe", "sleep")
	out, err := child.StdoutPipe()
	if err != nil {
		Fatal(err)
	}
	if err := child.Start(); err != nil {
		Fatal(err)
	}
	_, _ = out.Read(make([]byte, 1)) // it runs
	r.look("child", child.Process.Pid, func(name string, err error) { r.Fact(name, Outcome(err)) })
	_ = child.Process.Kill()
	_ = child.Wait()
}

func (r *Report) look(who string, n int, say func(string, error)) {
	say(who+" read memory", peek(n))
	say(who+" attach", attach(n))
	for _, name := range []string{"mem", "maps", "smaps", "pagemap", "auxv", "environ", "syscall", "stack", "io", "personality", "map_files", "fd", "fdinfo"} {
		flags := unix.O_RDONLY
		if name == "mem" {
			flags = unix.O_RDWR
		}
		say(who+" "+name, Readable(fmt.Sprintf("/proc/%d/%s", n, name), flags))
	}
	for _, link := range []string{"exe", "cwd", "root", "task/%d/exe", "task/%d/cwd", "task/%d/root", "fd/3", "task/%d/fd/3", "ns/mnt"} {
		if strings.Contains(link, "%") {
			link = fmt.Sprintf(link, n)
		}
		_, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", n, link))
		say(who+" "+link, err)
	}
}

// readable opens a file and reads from it: some of /proc check only then.
func Readable(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		_, err := unix.ReadDirent(fd, make([]byte, 4096))
		return err
	}
	if strings.HasSuffix(path, "/mem") {
		return nil // nothing is at address 0
	}
	_, err = unix.Read(fd, make([]byte, 64))
	return err
}
