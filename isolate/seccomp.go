package isolate

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// A filterRule is one line of a seccomp filter: when every condition holds for
// a call's arguments, the answer is Action. Rules of one system call are tried
// in order, and the first that matches decides.
type filterRule struct {
	Conds  []filterCond
	Action uint32 // SECCOMP_RET_*, with its data
}

// A filterCond compares one argument of a system call.
type filterCond struct {
	Arg   uint // 0 to 5
	Op    specs.LinuxSeccompOperator
	Value uint64
	Mask  uint64 // for OpMaskedEqual: (argument & Mask) == Value
}

// A filter is a seccomp filter as data: what to do with each system call.
type filter struct {
	Arch    *arch.Info
	Rules   map[uint32][]filterRule // by number
	Default uint32                  // for a call without a rule that matches
	Last    uint32                  // greatest number with a rule
}

// What seccomp filters return (seccomp(2)).
const (
	retKillProcess uint32 = 0x80000000
	retErrno       uint32 = 0x00050000
	retAllow       uint32 = 0x7fff0000

	errnoPerm  uint32 = 1
	errnoNoSys uint32 = 38
)

// newFilter takes a profile in OCI's form for one architecture. Names that the
// architecture does not have are left out, as libseccomp does.
func newFilter(profile *specs.LinuxSeccomp, info *arch.Info) (*filter, error) {
	action, err := filterAction(profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	f := &filter{Arch: info, Rules: map[uint32][]filterRule{}, Default: action}
	if action == retAllow { // what it does not name it means to allow
		for _, n := range info.SyscallNames {
			f.Last = max(f.Last, uint32(n))
		}
	}
	for _, call := range profile.Syscalls {
		action, err := filterAction(call.Action, call.ErrnoRet)
		if err != nil {
			return nil, fmt.Errorf("seccomp rule %v: %w", call.Names, err)
		}
		rules, err := newRules(call, action)
		if err != nil {
			return nil, fmt.Errorf("seccomp rule %v: %w", call.Names, err)
		}
		for _, name := range call.Names {
			if n, ok := info.SyscallNames[name]; ok {
				for _, rule := range rules {
					f.add(uint32(n), rule)
				}
			}
		}
	}
	// Of rules that overlap the strictest one counts, wherever the profile has it:
	// libseccomp's order is not the profile's either.
	severity := func(r filterRule) int32 { return int32(r.Action & 0xffff0000) }
	for _, rules := range f.Rules {
		slices.SortStableFunc(rules, func(a, b filterRule) int { return cmp.Compare(severity(a), severity(b)) })
	}
	return f, nil
}

// newRules are the rules of one line of a profile: all of its conditions must
// hold. Where several are about one argument each is a rule of its own, as for
// every runtime that uses libseccomp, whose profiles are written for that.
func newRules(call specs.LinuxSyscall, action uint32) ([]filterRule, error) {
	rule := filterRule{Action: action}
	seen, twice := map[uint]bool{}, false
	for _, a := range call.Args {
		cond, err := newCond(a)
		if err != nil {
			return nil, err
		}
		twice = twice || seen[cond.Arg]
		seen[cond.Arg] = true
		rule.Conds = append(rule.Conds, cond)
	}
	if !twice {
		return []filterRule{rule}, nil
	}
	var rules []filterRule
	for _, cond := range rule.Conds {
		rules = append(rules, filterRule{[]filterCond{cond}, action})
	}
	return rules, nil
}

func newCond(a specs.LinuxSeccompArg) (filterCond, error) {
	if a.Index > 5 {
		return filterCond{}, fmt.Errorf("argument %d: there are only 0 to 5", a.Index)
	}
	if a.Op == specs.OpMaskedEqual {
		return filterCond{Arg: a.Index, Op: a.Op, Mask: a.Value, Value: a.ValueTwo}, nil
	}
	return filterCond{Arg: a.Index, Op: a.Op, Value: a.Value}, nil
}

func filterAction(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	switch a {
	case specs.ActAllow:
		return retAllow, nil
	case specs.ActErrno:
		if errno == nil {
			return retErrno | errnoPerm, nil
		}
		if *errno > 4095 {
			return 0, fmt.Errorf("errno %d: the greatest is 4095", *errno)
		}
		return retErrno | uint32(*errno), nil
	case specs.ActKill, specs.ActKillProcess, specs.ActKillThread:
		return retKillProcess, nil
	}
	return 0, fmt.Errorf("action %q is not supported", a)
}

// add puts a rule behind those that the call has.
func (f *filter) add(n uint32, r filterRule) {
	f.Rules[n] = append(f.Rules[n], r)
	f.Last = max(f.Last, n)
}

// prepend puts rules before those that allow the call. What the profile denies by
// itself stays denied as it says. It may add rules for a call that the profile does
// not know.
func (f *filter) prepend(name string, rules ...filterRule) {
	n, ok := f.Arch.SyscallNames[name]
	if !ok {
		return
	}
	has := f.Rules[uint32(n)]
	first := slices.IndexFunc(has, func(r filterRule) bool { return r.Action == retAllow })
	if first < 0 {
		first = len(has)
	}
	f.Rules[uint32(n)] = slices.Concat(has[:first], rules, has[first:])
}

// harden makes any profile stricter where a sandbox here has no use for what it
// may allow. It only ever denies.
func (f *filter) harden() {
	deny := retErrno | errnoPerm
	not := func(arg uint, n uint64) filterCond { return filterCond{Arg: arg, Op: specs.OpNotEqual, Value: n} }
	// Only Unix, IPv4 and IPv6 sockets and routing netlink: every other family
	// is kernel code that an app does not need and exploits do (AF_ALG,
	// AF_VSOCK, AF_RDS, AF_PACKET, …).
	const afUnix, afInet, afInet6, afNetlink, netlinkRoute = 1, 2, 10, 16, 0
	f.prepend("socket",
		filterRule{[]filterCond{not(0, afUnix), not(0, afInet), not(0, afInet6), not(0, afNetlink)}, deny},
		filterRule{[]filterCond{{Arg: 0, Op: specs.OpEqualTo, Value: afNetlink}, not(2, netlinkRoute)}, deny},
	)
	f.prepend("socketpair", filterRule{[]filterCond{not(0, afUnix)}, deny})
	// Pushing characters into a terminal's input (CVE-2017-5226). The kernel
	// looks at the low 32 bits of the request only (CVE-2019-10063).
	const tiocsti, tioclinux = 0x5412, 0x541c
	for _, request := range []uint64{tiocsti, tioclinux} {
		f.prepend("ioctl", filterRule{[]filterCond{
			{Arg: 1, Op: specs.OpMaskedEqual, Mask: 0xffffffff, Value: request},
		}, deny})
	}
	// Filters of sockets are compiled into memory that all users of the machine
	// share (net.core.bpf_jit_limit): one sandbox could take it all, and no other
	// would start any more. Level and option are ints.
	const solSocket, attachFilter, attachBPF, reuseportCBPF, reuseportEBPF = 1, 26, 50, 51, 52
	for _, option := range []uint64{attachFilter, attachBPF, reuseportCBPF, reuseportEBPF} {
		f.prepend("setsockopt", filterRule{[]filterCond{
			{Arg: 1, Op: specs.OpMaskedEqual, Mask: 0xffffffff, Value: solSocket},
			{Arg: 2, Op: specs.OpMaskedEqual, Mask: 0xffffffff, Value: option},
		}, deny})
	}
	for _, name := range neverAllowed {
		f.prepend(name, filterRule{nil, deny})
	}
	const prSetSeccomp = 22
	f.prepend("prctl", filterRule{[]filterCond{
		{Arg: 0, Op: specs.OpMaskedEqual, Mask: 0xffffffff, Value: prSetSeccomp},
	}, deny})
	// One sandbox's contexts could take all of fs.aio-max-nr from the others.
	// Databases fall back when a kernel has no asynchronous I/O.
	f.prepend("io_setup", filterRule{nil, retErrno | errnoNoSys})
}

// neverAllowed are system calls that have had kernel bugs and no use in an app,
// whatever a profile says: descriptor tables of others, old x86 segments, memory
// that nobody can inspect, io_uring, keyrings, and programs for the kernel:
// filters of an app's own, too, are compiled into memory of which all sandboxes
// together have net.core.bpf_jit_limit, and no sandbox can start without some.
var neverAllowed = []string{
	"modify_ldt", "kcmp", "pidfd_getfd", "memfd_secret", "userfaultfd",
	"io_uring_setup", "io_uring_enter", "io_uring_register", "fanotify_init", "fanotify_mark",
	"keyctl", "add_key", "request_key", "bpf", "perf_event_open", "seccomp",
}

// needed by sandbox-init, which runs under the filter too and forks the program
// under it. A profile that denies one of them would end in a sandbox that hangs.
var initNeeds = []string{
	"read", "write", "close", "openat2", "fstat", "fstatfs", "recvmsg", "wait4", "kill", "clone", "vfork", "pipe2", "dup3", "fcntl",
	"setsid", "setgroups", "setgid", "setuid", "chdir", "execve", "exit", "exit_group", "futex", "mmap", "munmap", "madvise",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "getpid", "gettid", "tgkill", "nanosleep", "sched_yield",
	"prctl", "prlimit64", "epoll_create1", "epoll_ctl", "epoll_pwait", "eventfd2", "umask",
	"ppoll", "accept4", "getsockopt", "sendmsg", "ioctl", "splice", "pread64", "pwrite64", "ftruncate", "fdatasync", "lseek", "clock_gettime",
}

// lacks is the first system call that sandbox-init needs and f does not allow
// whatever its arguments, or "".
func (f *filter) lacks() string {
	for _, name := range initNeeds {
		n, ok := f.Arch.SyscallNames[name]
		if !ok {
			continue
		}
		action := f.Default
		for _, r := range f.Rules[uint32(n)] {
			if len(r.Conds) == 0 || name == "clone" && r.Action == retAllow {
				action = r.Action
				break
			}
		}
		if action != retAllow {
			return name
		}
	}
	return ""
}
