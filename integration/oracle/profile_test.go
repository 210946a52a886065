//go:build integration

package oracle

import (
	"testing"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// profile is the default profile with rules of every kind behind it, for system
// calls that it does not allow and that nothing here makes.
func profile(tb testing.TB) *specs.LinuxSeccomp {
	tb.Helper()
	p, err := seccomp.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}})
	if err != nil {
		tb.Fatal(err)
	}
	const big = 1<<32 | 5 // in both halves of an argument
	arg := func(n uint, op specs.LinuxSeccompOperator, v ...uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: n, Op: op, Value: v[0], ValueTwo: append(v, 0)[1]}
	}
	rule := func(name string, action specs.LinuxSeccompAction, args ...specs.LinuxSeccompArg) {
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{name}, Action: action, Args: args})
	}
	rule("acct", specs.ActAllow, arg(0, specs.OpEqualTo, big))
	rule("swapon", specs.ActAllow, arg(1, specs.OpNotEqual, big))
	rule("swapoff", specs.ActAllow, arg(0, specs.OpLessThan, big))
	rule("reboot", specs.ActAllow, arg(2, specs.OpLessEqual, big))
	rule("quotactl", specs.ActAllow, arg(0, specs.OpGreaterThan, big))
	rule("kexec_load", specs.ActAllow, arg(5, specs.OpGreaterEqual, big))
	rule("init_module", specs.ActAllow, arg(0, specs.OpMaskedEqual, 0xff000000ff, 0x1200000034))
	rule("delete_module", specs.ActAllow, arg(0, specs.OpEqualTo, 3), arg(1, specs.OpGreaterThan, 7))
	rule("settimeofday", specs.ActAllow, arg(0, specs.OpEqualTo, 3))
	rule("settimeofday", specs.ActAllow, arg(1, specs.OpEqualTo, 4))
	rule("iopl", specs.ActKillProcess, arg(0, specs.OpEqualTo, 3))
	rule("vhangup", specs.ActAllow)
	rule("ioperm", specs.ActAllow, arg(0, specs.OpGreaterThan, 3), arg(0, specs.OpLessThan, 9))
	rule("sethostname", specs.ActAllow, arg(0, specs.OpGreaterThan, 3))
	rule("sethostname", specs.ActKillProcess, arg(0, specs.OpGreaterThan, 9))
	rule("setdomainname", specs.ActKillProcess, arg(0, specs.OpEqualTo, 9))
	rule("setdomainname", specs.ActAllow)
	return p
}
