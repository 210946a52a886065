//go:build integration

package attack

import (
	"testing"

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
		control: asRootOfNamespaces, differs: true,
		blind: map[string]string{
			"acct": hostOnly, "clock_settime": hostOnly, "settimeofday": hostOnly, "swapon": hostOnly, "swapoff": hostOnly,
			"vhangup": hostOnly, "syslog": hostOnly, "quotactl": hostOnly, "iopl": hostOnly, "ioperm": hostOnly,
			"bpf prog_load": hostOnly, "fanotify": hostOnly, "open_by_handle_at": hostOnly,
			"number 9999": "no kernel knows it", "a thread": "they are alike everywhere", "a child": "they are alike everywhere",
		},
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
