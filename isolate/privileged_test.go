//go:build integration

package isolate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// These sandboxes have something that the default ones do not.

const sets = `grep -E '^Cap' /proc/self/status | cut -f2 | tr '\n' ' '`

func TestCapabilities(t *testing.T) {
	s := spec(t, sh(sets+`; chown 7:7 /tmp && stat -c ' %u' /tmp; mount -t tmpfs x /mnt 2>&1 | grep -o 'permission denied'; echo x >/proc/sys/kernel/core_pattern; true`)...)
	s.Capabilities = []string{"CAP_NET_BIND_SERVICE", "CAP_KILL"}
	r, err := launch(t, testbed.Engine(t), s) // which verifies the five sets
	must(t, err)
	text, _ := r.finish(t)
	if !strings.HasPrefix(text, strings.Repeat("0000000000000420 ", 5)) || strings.Contains(text, " 7\n") {
		t.Errorf("%s", text)
	}
}

// Root of a sandbox is root of its own files and nobody outside.
func TestRoot(t *testing.T) {
	s := spec(t, sh(sets+`; id -u; touch /root/x && chown 5:5 /root/x && stat -c '%u %n' /root/x
		mount -t tmpfs x /mnt 2>/dev/null || echo no mount; (echo x >/proc/sys/kernel/core_pattern) 2>/dev/null || echo no sysctl
		mknod /tmp/d c 1 3 2>/dev/null || echo no mknod; cat /proc/1/environ 2>/dev/null || echo no environ; ls /proc/1/root 2>/dev/null || echo no root`)...)
	s.User = isolate.User{}
	s.Capabilities = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_MKNOD"}
	r, err := launch(t, testbed.Engine(t), s)
	must(t, err)
	text, _ := r.finish(t)
	mask := "00000000080000eb"
	want := "0000000000000000 " + strings.Repeat(mask+" ", 3) + "0000000000000000 0\n5 /root/x\nno mount\nno sysctl\nno mknod\nno environ\nno root\n"
	if text != want {
		t.Errorf("got\n%swant\n%s", text, want)
	}
}

func TestRootWithoutCapabilities(t *testing.T) {
	s := spec(t, sh(sets)...)
	s.User = isolate.User{}
	r, err := launch(t, testbed.Engine(t), s)
	must(t, err)
	if text, _ := r.finish(t); text != strings.Repeat("0000000000000000 ", 5) {
		t.Errorf("got %s", text)
	}
}

// A profile of one's own decides, except on what is never allowed.
func TestOwnSeccompProfile(t *testing.T) {
	allowAll := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	noMkdir := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActErrno},
	}}
	const try = `mkdir /tmp/d 2>/dev/null && echo mkdir; python3 -c 'import socket
for f in (1, 38):
    try: socket.socket(f, socket.SOCK_SEQPACKET if f == 38 else 1); print("family", f)
    except PermissionError: print("no family", f)'`
	for want, profile := range map[string]*specs.LinuxSeccomp{
		"mkdir\nfamily 1\nno family 38\n": allowAll,
		"family 1\nno family 38\n":        noMkdir,
	} {
		s := spec(t, sh(try)...)
		s.Seccomp = profile
		r, err := launch(t, testbed.Engine(t), s)
		must(t, err)
		if text, _ := r.finish(t); text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}

// Not even a profile that allows it gives an app a user namespace of its own.
func TestNoUserNamespaces(t *testing.T) {
	s := spec(t, sh("unshare -Ur true 2>&1; cat /proc/sys/user/max_user_namespaces /proc/sys/user/max_inotify_instances; (echo 9 >/proc/sys/user/max_user_namespaces) 2>&1 | grep -o Read-only.*")...)
	s.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	r, err := launch(t, testbed.Engine(t), s)
	must(t, err)
	text, _ := r.finish(t)
	if want := "unshare: unshare failed: No space left on device\n0\n32\nRead-only file system\n"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}

// A profile under which sandbox-init could not work is refused by name.
func TestOwnSeccompProfileRefused(t *testing.T) {
	testbed.Leaves(t)
	s := spec(t, "true")
	s.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"read", "write"}, Action: specs.ActAllow},
	}}
	_, err := launch(t, testbed.Engine(t), s)
	var bad *isolate.SpecError
	if !errors.As(err, &bad) || bad.Field != "Seccomp" || !strings.Contains(bad.Detail, "must allow") {
		t.Errorf("got %v", err)
	}
}
