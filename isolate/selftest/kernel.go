package selftest

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// kernelChecks are about what the program may ask of the kernel.
func kernelChecks() []check {
	return []check{
		one("system-calls", "forbidden system calls fail in every thread and child, unknown ones do not exist", attacks.SystemCalls, "calls"),
		one("sockets", "no sockets but Unix, IPv4, IPv6 and routing netlink", attacks.Sockets, "sockets"),
		one("socket-filters", "no program of its own for the kernel to filter sockets by", attacks.Filters, "filters"),
		{name: "foreign-abi", promise: "a system call by another ABI of the machine ends the program", run: foreignABI},
		one("terminal-input", "nothing can be pushed into a terminal's input: TIOCSTI, TIOCLINUX", attacks.Terminal, "terminal"),
		one("new-namespaces", "no namespace can be made, joined or looked up", attacks.Namespaces, "namespaces"),
		{name: "namespaces", promise: "none of its namespaces is the host's, and it may have no user namespace more", run: namespaces},
		{name: "network", promise: "with no network it reaches nothing that listens on the host's loopback", run: network},
		{name: "abstract-sockets", promise: "on the host's network it does not reach the host's abstract sockets: Landlock", run: abstractSockets},
		one("pid-1", "PID 1 cannot be traced, looked into or read", attacks.Trace, "trace"),
		one("runtime", "the program that is PID 1 cannot be written to, or held to be written to later", attacks.Overwrite, "overwrite"),
	}
}

// foreignABI makes a call by every ABI that is not the machine's own, and by that
// one, which must work.
func foreignABI(ctx context.Context, b *bench) finding {
	if b.arch != "amd64" {
		return finding{missing: true, note: "not known how to try it on " + b.arch}
	}
	native, err := b.attack(ctx, "abi", "native")
	if err != nil {
		return broken(err)
	}
	f := unless(native.Detail["native"] == "ok", "the machine's own does not work: %v", native.Detail)
	for _, abi := range []string{"int 0x80", "x32"} {
		r, exit, err := b.fate(ctx, b.spec(0, "abi", abi))
		switch {
		case err != nil:
			f.wrong = append(f.wrong, fmt.Sprintf("%s: %v", abi, err))
		case r.Detail[abi] == "ok":
			f.wrong = append(f.wrong, abi+": it works")
		case exit.Signal != int(syscall.SIGSYS) && exit.Signal != int(syscall.SIGSEGV): // a kernel without 32-bit calls
			f.wrong = append(f.wrong, fmt.Sprintf("%s: the program goes on, and ends with %d", abi, exit.Code))
		}
	}
	return f
}

// namespaces compares all of them with this process's own, which are the host's.
func namespaces(ctx context.Context, b *bench) finding {
	args := []string{"self"}
	for _, name := range namespaceNames {
		host, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			return broken(err)
		}
		args = append(args, host)
	}
	r, err := b.attack(ctx, args...)
	want := attacks.Expectation{Want: map[string]string{"user namespaces": "0", "hostname": hostname}}
	return judge(only(want, r, func(name string) bool { return strings.Contains(name, "name") }, err))
}

var namespaceNames = []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}

// network listens on the host's loopback and has a sandbox try to reach it.
func network(ctx context.Context, b *bench) finding {
	s := b.spec(0, "reach")
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue // no such protocol here
		}
		defer l.Close()
		s.Args = append(s.Args, l.Addr().String())
	}
	// A kernel may give every network devices for tunnels that lead nowhere.
	r, err := b.attackIn(ctx, s)
	return judge(attacks.Expectation{Want: map[string]string{"interfaces": attacks.Whatever}}, r, err)
}

// abstractSockets listens on one, in the network namespace that the sandbox
// shares.
func abstractSockets(ctx context.Context, b *bench) finding {
	name := "@gilliam-selftest-" + uuid.NewString()
	l, err := net.Listen("unix", name)
	if err != nil {
		return broken(err)
	}
	defer l.Close()
	s := b.spec(0, "reach", name)
	s.Network = isolate.NetworkHost
	plan, err := b.plan(s)
	if err != nil {
		return broken(err)
	}
	if !plan.Scoped {
		return finding{missing: true, note: "this kernel's Landlock has no scopes (Linux 6.12 has): give strangers' apps no network, or one of their own"}
	}
	r, err := b.attackIn(ctx, s)
	return judge(attacks.Expectation{Want: map[string]string{"interfaces": attacks.Whatever, "connect " + name: "EPERM"}}, r, err)
}
