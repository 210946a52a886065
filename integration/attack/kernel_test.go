//go:build integration

package attack

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

const hostOnly = "the kernel refuses it to all but the host's root"

// T3, T5, T6, T16, T19: what the seccomp filter and the missing capabilities
// keep from the kernel. Foreign ABIs (T4) are tested with the engine.
func TestKernel(t *testing.T) {
	// Allowed by the filter and refused by the kernel: what is not there to an
	// unprivileged user cannot be told from what is forbidden.
	sockets := attacks.Sockets.With(map[string]string{
		"usable inet6": "ok", "ping": "EACCES", "SCTP": "EPROTONOSUPPORT|EPERM", "SCTP seqpacket": "ESOCKTNOSUPPORT|EPERM",
		"DCCP": "ESOCKTNOSUPPORT|EPERM", "L2TP": "EPROTONOSUPPORT|EPERM",
	})
	fight(t, []attack{{
		id: "T3+T16+T19", what: "forbidden system calls", args: []string{"calls"}, want: attacks.SystemCalls,
		control: asBothRoots, differs: true, blind: blindCalls(),
	}, {
		id: "T5", what: "unwanted sockets", args: []string{"sockets"}, want: sockets,
		control: asRootOfNamespaces, differs: true,
		blind: map[string]string{
			"ping": "ping_group_range lets nobody", "SCTP": "not in this kernel", "DCCP": "not in this kernel", "L2TP": "not in this kernel",
		},
	}, {
		id: "T64", what: "fill the memory of compiled filters", args: []string{"filters"}, want: attacks.Filters,
		control: asUser, differs: true,
	}, {
		id: "T6", what: "namespaces", args: []string{"namespaces"}, want: attacks.Namespaces,
		control: asRootOfNamespaces, differs: true,
		blind: map[string]string{"parent of": "the control's parent is the host's, as hidden as the sandbox's"},
	}, {
		id: "T17", what: "push into a terminal", args: []string{"terminal"}, want: attacks.Terminal,
		control: asUser, differs: true,
		blind: map[string]string{
			"TIOCSTI on master": "only the terminal itself has an input", "TIOCSTI high bits on master": "only the terminal itself has an input",
			"console output": hostOnly, "steal a terminal": hostOnly, "open /dev/tty": "whether the test has a terminal is chance",
			"TIOCLINUX": "no terminal of a kernel without a screen knows it",
		},
	}})
}

// ofTheHost are the system calls that a kernel may refuse to all but the host's
// root, so that the root of namespaces cannot show what the filter does. To the
// host's root they do nothing either: their arguments lead nowhere.
var ofTheHost = []string{
	"acct", "bpf", "bpf prog_load", "clock_settime", "delete_module", "fanotify_init", "finit_module", "init_module", "ioperm", "iopl",
	"kexec_file_load", "kexec_load", "open_by_handle_at", "settimeofday", "swapoff", "swapon", "syslog",
}

// asBothRoots is asRootOfNamespaces, and asRoot for what only that one may.
func asBothRoots(t *testing.T, args []string) report {
	t.Helper()
	r := asRootOfNamespaces(t, args)
	for name, outcome := range asRoot(t, append(args[:1:1], ofTheHost...)).Detail {
		if slices.Contains(ofTheHost, name) { // some are not on every architecture
			r.Detail[name] = outcome
		}
	}
	return r
}

// blindCalls are the calls that no control can show on this kernel.
func blindCalls() map[string]string {
	blind := map[string]string{
		"vhangup": "it would take the terminal from whoever runs the test", "number 9999": "no kernel knows it",
		"a thread": "they are alike everywhere", "a child": "they are alike everywhere",
	}
	for name, number := range map[string]uintptr{"open_tree_attr": 467} { // which the filter does not know
		const nowhere = ^uintptr(0)
		if _, _, errno := unix.Syscall6(number, nowhere, nowhere, nowhere, nowhere, 0, 0); errno == unix.ENOSYS {
			blind[name] = "not in this kernel"
		}
	}
	return blind
}
