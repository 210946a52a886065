package testbed

import (
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// Controls run a probe without a sandbox, where its attacks are known to work.

// Other is a user without privileges.
const Other = 65533

// AsUser is the host as a user of it sees it.
func AsUser() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: Other, Gid: Other}}
}

// private are namespaces in which a root can do no harm.
const private = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWCGROUP

// AsRootOfNamespaces has every capability in namespaces of its own, and no
// filter: what a sandbox would be if nothing but the namespaces were left. Its
// probe begins with -fresh.
func AsRootOfNamespaces() *syscall.SysProcAttr {
	maps := []syscall.SysProcIDMap{{ContainerID: 0, HostID: Other, Size: 1}}
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | private,
		UidMappings: maps, GidMappings: maps, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
	}
}

// AsRoot is the host's own root, away from its processes, network and mounts. It
// is only for attacks that open what they must not and leave it at that. Its
// probe begins with -fresh.
func AsRoot() *syscall.SysProcAttr { return &syscall.SysProcAttr{Cloneflags: private} }

// Bare runs a probe without a sandbox. Its temporary files are in tmp.
func Bare(tb testing.TB, probe, tmp string, attr *syscall.SysProcAttr, args ...string) (r attacks.Report) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), probe, args...)
	cmd.SysProcAttr = attr
	cmd.Dir, cmd.Env = "/", []string{"TMPDIR=" + tmp}
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("control %q: %v", args, err)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		tb.Fatalf("the probe said %q: %v", out, err)
	}
	return r
}
