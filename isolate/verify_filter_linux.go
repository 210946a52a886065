package isolate

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// programFact is a seccomp program, struct sock_filter after struct sock_filter,
// short enough to be shown.
func programFact(filter []byte) string {
	sum := sha256.Sum256(filter)
	return fmt.Sprintf("%d instructions, sha256 %x", len(filter)/sizeofSockFilter, sum[:8])
}

const sizeofSockFilter = int(unsafe.Sizeof(unix.SockFilter{}))

// init reads what every thread of sandbox-init has, in more than one kind when they
// are not as they should be; and what the program began with and may change as it
// likes, its umask, or for the worse, its oom_score_adj.
func (r *factReader) init() error {
	dir := filepath.Join("/proc", strconv.Itoa(r.sandbox.PID()))
	status, err := readStatus(dir)
	if err != nil {
		return err
	}
	r.f["umask"] = status["Umask"]
	r.f["oom_score_adj"] = text(filepath.Join(dir, "oom_score_adj"))
	var kinds []string
	for _, tid := range threads(r.sandbox.PID()) {
		status, err := readStatus(filepath.Join("/proc", strconv.Itoa(tid)))
		if err != nil {
			continue // it has ended
		}
		kind := initFact(status["CapPrm"], status["CapEff"], status["NoNewPrivs"], status["Seccomp"], status["Seccomp_filters"])
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	r.f["init"] = strings.Join(kinds, "; ")
	return nil
}

// threads are the ids of a process's threads.
func threads(pid int) []int {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	var list []int
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			list = append(list, tid)
		}
	}
	return list
}

// filter reads the seccomp program back, from a thread of sandbox-init. The
// program inherited that one filter, has one, and no filter can be taken off
// (seccomp(2)); so it is the program's too, which need not be stopped for this.
//
// It is not the first thread: who waits for sandbox-init itself must not be told
// of a stop of that thread.
func (r *factReader) filter() error {
	if !r.sandbox.host.ReadsFilters {
		return nil
	}
	r.sandbox.tracing.Lock()
	defer r.sandbox.tracing.Unlock()
	pid := r.sandbox.PID()
	err := os.ErrNotExist
	for _, tid := range threads(pid) {
		if tid == pid {
			continue
		}
		var filter []byte
		err = onThread(func() (err error) { // a tracer is a thread, and what it traces goes on when it ends
			filter, err = filterOf(tid)
			return err
		})
		if err == nil {
			r.f["seccomp program"] = programFact(filter)
			return nil
		}
		if !errors.Is(err, unix.ESRCH) { // this thread has ended: try another
			break
		}
	}
	return fmt.Errorf("read the seccomp filter of %d: %w", pid, err)
}

// stopTimeout bounds how long a thread may take to stop. A frozen one does not.
const stopTimeout = 2 * time.Second

// filterOf stops a thread, reads its only seccomp filter and lets it go on
// (ptrace(2): PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_SECCOMP_GET_FILTER).
func filterOf(tid int) (_ []byte, err error) {
	if err := unix.PtraceSeize(tid); err != nil {
		return nil, fmt.Errorf("seize: %w", err)
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		return nil, fmt.Errorf("interrupt: %w", err)
	}
	if err := awaitStop(tid); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unix.PtraceDetach(tid)) }()
	n, err := getFilter(tid, nil)
	if err != nil {
		return nil, err
	}
	filter := make([]byte, n*sizeofSockFilter)
	_, err = getFilter(tid, filter)
	return filter, err
}

// getFilter copies the filter installed first to b, unless that is nil, and returns
// how many instructions it has.
func getFilter(tid int, b []byte) (int, error) {
	var to unsafe.Pointer
	if len(b) > 0 {
		to = unsafe.Pointer(&b[0])
	}
	n, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(tid), 0, uintptr(to), 0, 0)
	if errno != 0 {
		return 0, fmt.Errorf("get filter: %w", errno)
	}
	return int(n), nil
}

func awaitStop(tid int) error {
	for deadline := time.Now().Add(stopTimeout); time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
		var status unix.WaitStatus
		switch got, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOHANG, nil); {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("wait for its stop: %w", err)
		case got == tid && status.Stopped():
			return nil
		case got == tid:
			return fmt.Errorf("it has ended: %w", unix.ESRCH)
		}
	}
	return fmt.Errorf("it did not stop within %v", stopTimeout)
}

// keyring tells whether the sandbox's root, on the host an id of its range, owns a
// session keyring: sandbox-init made it as that user. Whose session it is the
// kernel does not show. /proc/keys lists what its reader may see, so it is read
// as that user (keyrings(7), proc_keys(5)).
func (r *factReader) keyring() error {
	if !r.sandbox.host.Keys {
		return nil
	}
	base := int(r.sandbox.plan.IDs.Base)
	var keys []byte
	err := onThread(func() (err error) {
		// The raw call: this thread alone. Without the effective id's capabilities it
		// can still open what everyone can.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(base), ^uintptr(0)); errno != 0 {
			return errno
		}
		keys, err = os.ReadFile("/proc/keys")
		return err
	})
	if err != nil {
		return fmt.Errorf("read the keys of %d: %w", base, err)
	}
	r.f["session keyring"] = "none"
	for line := range strings.Lines(string(keys)) {
		// serial flags usage timeout permissions uid gid type description: summary
		f := strings.Fields(line)
		if len(f) > 8 && f[5] == strconv.Itoa(base) && f[7] == "keyring" && f[8] == "_ses:" {
			r.f["session keyring"] = "own"
		}
	}
	return nil
}
