//go:build integration

package oracle

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A filter is a seccomp program, as classic BPF.
type filter []unix.SockFilter

// A call is what a filter decides on: struct seccomp_data.
type call struct {
	Number uint32
	Arch   uint32
	IP     uint64
	Args   [6]uint64
}

// filtersOf asks the kernel for the filters that it enforces on a process
// (ptrace(2), PTRACE_SECCOMP_GET_FILTER).
func filtersOf(pid int) (found []filter, err error) {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		return nil, fmt.Errorf("trace the program: %w", err)
	}
	defer func() { _ = unix.PtraceDetach(pid) }()
	if err := unix.PtraceInterrupt(pid); err != nil {
		return nil, fmt.Errorf("stop the program: %w", err)
	}
	if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
		return nil, fmt.Errorf("wait for the program to stop: %w", err)
	}
	for n := 0; ; n++ {
		size, err := getFilter(pid, n, nil)
		if err == unix.ENOENT {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("get seccomp filter %d: %w", n, err)
		}
		f := make(filter, size)
		if _, err := getFilter(pid, n, f); err != nil {
			return nil, fmt.Errorf("get seccomp filter %d: %w", n, err)
		}
		found = append(found, f)
	}
}

func getFilter(pid, n int, into filter) (int, error) {
	size, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER,
		uintptr(pid), uintptr(n), uintptr(unsafe.Pointer(unsafe.SliceData(into))), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(size), nil
}

// decide is what the kernel does with a call under all of the filters: the
// answer of the greatest precedence (seccomp(2)). It tells learn of every
// instruction that looks at an argument, and at which offset.
func decide(filters []filter, c call, learn func(offset uint32, i unix.SockFilter)) (uint32, error) {
	answer := uint32(unix.SECCOMP_RET_ALLOW)
	for _, f := range filters {
		got, err := f.run(c, learn)
		if err != nil {
			return 0, err
		}
		if int32(got&unix.SECCOMP_RET_ACTION_FULL) < int32(answer&unix.SECCOMP_RET_ACTION_FULL) {
			answer = got
		}
	}
	return answer, nil
}

// run interprets the program. It knows the instructions that filters are made
// of, and fails on any other.
func (f filter) run(c call, learn func(offset uint32, i unix.SockFilter)) (uint32, error) {
	var acc, offset uint32
	for pc := 0; pc < len(f); pc++ {
		i := f[pc]
		if class := i.Code & 7; offset >= offsetArgs && (class == unix.BPF_JMP || class == unix.BPF_ALU) {
			learn(offset, i)
		}
		jump := func(taken bool) {
			if taken {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		}
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			word, ok := c.word(i.K)
			if !ok {
				return 0, fmt.Errorf("instruction %d loads from %d", pc, i.K)
			}
			acc, offset = word, i.K
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= i.K
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(i.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(acc == i.K)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump(acc > i.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(acc >= i.K)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump(acc&i.K != 0)
		case unix.BPF_RET | unix.BPF_K:
			return i.K, nil
		default:
			return 0, fmt.Errorf("instruction %d has an unknown code %#x", pc, i.Code)
		}
	}
	return 0, fmt.Errorf("the filter of %d instructions does not end", len(f))
}

// Where the words of a call are.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// word is the 32 bits of a call at an offset, in the machine's own order.
func (c call) word(offset uint32) (uint32, bool) {
	switch {
	case offset == offsetNumber:
		return c.Number, true
	case offset == offsetArch:
		return c.Arch, true
	case offset >= offsetArgs && offset < offsetArgs+48 && offset%4 == 0:
		var b [8]byte
		binary.NativeEndian.PutUint64(b[:], c.Args[(offset-offsetArgs)/8])
		return binary.NativeEndian.Uint32(b[offset%8:]), true
	}
	return 0, false
}

// answer is what a filter returned, by name.
func answer(ret uint32) string {
	switch ret & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW:
		return "allow"
	case unix.SECCOMP_RET_ERRNO:
		return unix.ErrnoName(unix.Errno(ret & unix.SECCOMP_RET_DATA))
	case unix.SECCOMP_RET_KILL_PROCESS:
		return "kill the process"
	case unix.SECCOMP_RET_KILL_THREAD:
		return "kill the thread"
	}
	return fmt.Sprintf("%#x", ret)
}
