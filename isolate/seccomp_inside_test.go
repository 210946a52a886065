//go:build integration && amd64

package isolate_test

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
)

// probe makes system calls by number and prints what each one answered.
const probe = `
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *args):
    ctypes.set_errno(0)
    got = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args])
    print(name, 'ok' if got != -1 else errno.errorcode[ctypes.get_errno()])
call('socket-unix', 41, 1, 1, 0)
call('socket-inet', 41, 2, 1, 0)
call('socket-inet6', 41, 10, 1, 0)
call('socket-netlink-route', 41, 16, 3, 0)
call('socket-netlink-uevent', 41, 16, 3, 15)
call('socket-packet', 41, 17, 3, 0)
call('socket-alg', 41, 38, 5, 0)
call('socket-vsock', 41, 40, 1, 0)
call('socket-rds', 41, 21, 5, 0)
call('ioctl-tiocsti', 16, 0, 0x5412, 0)
call('ioctl-tiocsti-high', 16, 0, 0x100005412, 0)
call('ioctl-tioclinux', 16, 0, 0x541c, 0)
call('unshare-user', 272, 0x10000000)
call('unshare-ns', 272, 0x20000)
call('clone3', 435, 0, 0)
call('setns', 308, 0, 0)
call('mount', 165, 0, 0, 0, 0, 0)
call('umount2', 166, 0, 0)
call('pivot_root', 155, 0, 0)
call('open_tree', 428, -100, 0, 1)
call('fsopen', 430, 0, 0)
call('mount_setattr', 442, -100, 0, 0, 0, 0)
call('bpf', 321, 0, 0, 0)
call('perf_event_open', 298, 0, 0, 0, 0, 0)
call('userfaultfd', 323, 0)
call('io_uring_setup', 425, 1, 0)
call('keyctl', 250, 0, -3, 0)
call('add_key', 248, 0, 0, 0, 0, 0)
call('kexec_load', 246, 0, 0, 0, 0)
call('init_module', 175, 0, 0, 0)
call('reboot', 169, 0, 0, 0, 0)
call('syslog', 103, 10, 0, 0)
call('settimeofday', 164, 0, 0)
call('open_by_handle_at', 304, 0, 0, 0)
call('fanotify_init', 300, 0, 0)
call('pidfd_getfd', 438, 0, 0, 0)
call('kcmp', 312, 0, 0, 0, 0, 0)
call('personality', 135, 0x40000)
call('memfd_secret', 447, 0)
call('unknown', 9999)
call('getpid', 39)
`

// The kernel enforces the filter: what the profile forbids is refused with the
// filter's errno, not with one that a kernel without the feature would give.
func TestInsideSeccomp(t *testing.T) {
	r, err := launch(t, testbed.Engine(t), spec(t, "/usr/bin/python3", "-c", probe))
	if err != nil {
		t.Fatal(err)
	}
	inside, exit := r.finish(t)
	if exit.Code != 0 {
		t.Fatalf("%+v\n%s", exit, inside)
	}
	want := map[string]string{
		"socket-unix": "ok", "socket-inet": "ok", "socket-inet6": "ok", "socket-netlink-route": "ok", "getpid": "ok",
		"clone3": "ENOSYS", "unknown": "ENOSYS",
	}
	lines := strings.Split(strings.TrimSpace(inside), "\n")
	if len(lines) != strings.Count(probe, "\ncall(") {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		name, got, _ := strings.Cut(line, " ")
		if w, ok := want[name]; ok && got != w || !ok && got != "EPERM" {
			t.Errorf("%s: %s", name, got)
		}
	}
	// The control: the same calls as an unprivileged user of the host. A probe that
	// sees no difference is blind.
	control := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", probe)
	control.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: 65533, Gid: 65533},
		Chroot:     testbed.Template(t).Path, // for its python3
	}
	control.Dir = "/"
	out, err := control.Output()
	if err != nil {
		t.Fatal(err)
	}
	differ := 0
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if line != lines[i] {
			differ++
		}
	}
	if differ < 15 {
		t.Errorf("only %d answers differ from those outside:\n%s", differ, out)
	}
}

// 32-bit and x32 system calls end the process: no filter of numbers knows them.
func TestInsideForeignABI(t *testing.T) {
	const machineCode = `
import ctypes, mmap
code = bytes.fromhex(%q)
m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
m.write(code)
f = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
print('called', f(), flush=True)
`
	for name, code := range map[string]string{
		"int 0x80": "b814000000cd80c3", // mov eax, 20 (getpid); int 0x80; ret
		"x32":      "b8270000400f05c3", // mov eax, 0x40000027 (getpid); syscall; ret
	} {
		script := strings.Replace(machineCode, "%q", "'"+code+"'", 1)
		r, err := launch(t, testbed.Engine(t), spec(t, "/usr/bin/python3", "-c", script))
		if err != nil {
			t.Fatal(err)
		}
		if text, exit := r.finish(t); exit.Signal != int(syscall.SIGSYS) || strings.Contains(text, "called") {
			t.Errorf("%s: %+v\n%s", name, exit, text)
		}
	}
	// The control: the native call in the same way works.
	script := strings.Replace(machineCode, "%q", "'b8270000000f05c3'", 1)
	r, err := launch(t, testbed.Engine(t), spec(t, "/usr/bin/python3", "-c", script))
	if err != nil {
		t.Fatal(err)
	}
	if text, exit := r.finish(t); exit.Code != 0 || !strings.Contains(text, "called") {
		t.Errorf("native: %+v\n%s", exit, text)
	}
}
