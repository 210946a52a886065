//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// An initFault makes one step of a launch fail: by a plan that cannot be done, by
// a system call that the kernel refuses to this program and what it starts, or by
// what is mounted where it runs.
type initFault struct {
	step  string // as errors name it
	spoil func(*isolate.Plan)
	call  deniedCall
	shell string // run in a mount namespace of its own before
}

// A deniedCall is a system call by number, when an argument has a value under a
// mask.
type deniedCall struct {
	nr          uint32
	arg         int
	mask, value uint32
	errno       unix.Errno // none: see deny
}

const oomStep = "be told of a lack of memory"

const landlockStep = "sandbox-init: enter landlock domain"

var initFaults = []initFault{
	{step: "unshare mount uts ipc", call: deniedCall{nr: unix.SYS_UNSHARE, arg: 0, mask: unix.CLONE_NEWUTS, value: unix.CLONE_NEWUTS}},
	{step: "make mounts private", call: deniedCall{nr: unix.SYS_MOUNT, arg: 3, mask: unix.MS_PRIVATE, value: unix.MS_PRIVATE}},
	{step: "make mounts private", call: deniedCall{nr: unix.SYS_MOUNT, arg: 3, mask: unix.MS_PRIVATE, value: unix.MS_PRIVATE, errno: unix.ENOMEM}},
	{step: "start sandbox-init", call: deniedCall{nr: unix.SYS_SETSID, errno: unix.EAGAIN}},
	{step: "sethostname", call: deniedCall{nr: unix.SYS_SETHOSTNAME}},
	{step: "unshare net", call: deniedCall{nr: unix.SYS_UNSHARE, arg: 0, mask: unix.CLONE_NEWNET, value: unix.CLONE_NEWNET}},
	{step: "enter network namespace", call: deniedCall{nr: unix.SYS_SETNS}},
	{step: "bring loopback up", call: deniedCall{nr: unix.SYS_IOCTL, arg: 1, mask: ^uint32(0), value: unix.SIOCSIFFLAGS}},
	{step: "make user namespace", call: deniedCall{nr: unix.SYS_CLONE3}},
	{step: "start sandbox-init", call: deniedCall{nr: unix.SYS_SETSID}},
	{step: oomStep, call: deniedCall{nr: unix.SYS_EVENTFD2}},
	{step: "sandbox-init: become undumpable", call: deniedCall{nr: unix.SYS_PRCTL, arg: 0, mask: ^uint32(0), value: unix.PR_SET_DUMPABLE}},
	{step: "sandbox-init: unshare cgroup namespace", call: deniedCall{nr: unix.SYS_UNSHARE, arg: 0, mask: unix.CLONE_NEWCGROUP, value: unix.CLONE_NEWCGROUP}},
	{step: "sandbox-init: enter root", call: deniedCall{nr: unix.SYS_OPEN_TREE, arg: 2, mask: unix.AT_RECURSIVE, value: unix.AT_RECURSIVE}},
	// No new procfs where a part of the old one is hidden.
	{step: "sandbox-init: mount proc", shell: "mount -t tmpfs none /proc/bus"},
	{step: "sandbox-init: limit namespaces", spoil: func(p *isolate.Plan) { p.UserLimits = []string{"max_user_namespaces=many"} }},
	{step: "sandbox-init: enter AppArmor profile", spoil: func(p *isolate.Plan) { p.AppArmor = "gilliam-no-such-profile" }},
	{step: "sandbox-init: mount cgroup", spoil: func(p *isolate.Plan) {
		p.Cgroup.View = true
		p.Steps = slices.DeleteFunc(p.Steps, func(s isolate.Step) bool { return strings.Contains(s.String(), " /sys") })
	}},
	{step: "sandbox-init: mask paths", spoil: func(p *isolate.Plan) { p.Masked = []string{"/proc/self/exe"} }},
	{step: "sandbox-init: make paths read-only", spoil: func(p *isolate.Plan) { p.ReadOnly = []string{"/proc/self/exe"} }},
	{step: "sandbox-init: pivot root", call: deniedCall{nr: unix.SYS_PIVOT_ROOT}},
	{step: "sandbox-init: open /dev/null", spoil: func(p *isolate.Plan) { p.Cgroup.Devices = nil }},
	{step: "sandbox-init: set limits", spoil: func(p *isolate.Plan) { p.Rlimits = []isolate.Rlimit{{Resource: 99}} }},
	{step: "sandbox-init: join session keyring", call: deniedCall{nr: unix.SYS_KEYCTL}},
	{step: "sandbox-init: close descriptors", call: deniedCall{nr: unix.SYS_CLOSE_RANGE, arg: 0, mask: ^uint32(0), value: 3}},
	{step: "sandbox-init: drop capabilities", call: deniedCall{nr: unix.SYS_CAPSET}},
	{step: "sandbox-init: set no_new_privs", call: deniedCall{nr: unix.SYS_PRCTL, arg: 0, mask: ^uint32(0), value: unix.PR_SET_NO_NEW_PRIVS}},
	{step: landlockStep, call: deniedCall{nr: unix.SYS_LANDLOCK_RESTRICT_SELF}},
	{step: "sandbox-init: install seccomp filter", call: deniedCall{nr: unix.SYS_SECCOMP, arg: 0, mask: ^uint32(0), value: unix.SECCOMP_SET_MODE_FILTER}},
	{step: "exec", spoil: func(p *isolate.Plan) { p.Dir = "/no/such/folder" }},
}

// neverFails are the steps of sandbox-init that cannot.
var neverFails = []string{"reset signals"}

// Every step of a launch that is not one of the plan's fails in turn: the launch
// fails, names it, and leaves nothing. Those of the plan fail in package isolate.
func TestEveryStepOfALaunchFails(t *testing.T) {
	tried := make(map[string]bool)
	for n, f := range initFaults {
		tried[strings.TrimPrefix(f.step, "sandbox-init: ")] = true
		t.Run(f.step, func(t *testing.T) {
			testbed.Leaves(t)
			e := testbed.Engine(t)
			if f.step == landlockStep && e.Host().Landlock < 6 || f.step == oomStep && e.Host().Cgroup == isolate.CgroupV2 {
				return // it is not one of this kernel's steps
			}
			spec, err := json.Marshal(testbed.Spec(t, isolate.IDRange{Base: 0x7ff50000, Size: 65536}, "/bin/true"))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "/bin/sh", "-c", f.shell+`
				exec "$0"`, os.Args[0])
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", faultKey, n))
			cmd.Stdin = strings.NewReader(string(spec))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !strings.Contains(string(out), f.step) || f.call.errno != 0 && !strings.Contains(string(out), f.call.errno.Error()) {
				t.Errorf("got %s", out)
			}
		})
	}
	source, err := os.ReadFile("../cmd/sandbox-init/start.go")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile(`(?m)^\t\t\{"([^"]+)", \w+\},$`).FindAllSubmatch(source, -1)
	if len(steps) < 15 {
		t.Fatalf("sandbox-init has only the steps %q", steps)
	}
	for _, s := range steps {
		if name := string(s[1]); !tried[name] && !slices.Contains(neverFails, name) {
			t.Errorf("nothing makes the step %q fail", name)
		}
	}
}

// faultKey is the environment variable by which this program is told to be the
// hypervisor of one launch that fails, and by which fault.
const faultKey = "GILLIAM_TEST_FAULT"

// launchUnderFault launches the spec that it reads and prints the error.
func launchUnderFault(number string) error {
	var n int
	if _, err := fmt.Sscan(number, &n); err != nil {
		return err
	}
	fault := initFaults[n]
	var spec isolate.Spec
	if err := json.NewDecoder(os.Stdin).Decode(&spec); err != nil {
		return err
	}
	host, err := isolate.Probe()
	if err != nil {
		return err
	}
	e, err := isolate.NewEngine(host)
	if err != nil {
		return err
	}
	plan, err := isolate.NewPlan(spec, host)
	if err != nil {
		return err
	}
	if fault.spoil != nil {
		fault.spoil(&plan)
	}
	if err := fault.call.deny(); err != nil {
		return err
	}
	box, err := e.Launch(context.Background(), plan, isolate.IO{Stdout: os.Stdout, Stderr: os.Stderr})
	if err == nil {
		return errors.Join(errors.New("it was launched"), box.Destroy())
	}
	fmt.Println(err)
	return e.Close()
}

// deny has the kernel refuse the call to every thread of this process and to what
// it starts (seccomp(2)): with EPERM, but clone3 with ENOSYS, for which pthread_create
// has another way to make the threads of this very program.
func (c deniedCall) deny() error {
	if c == (deniedCall{}) {
		return nil
	}
	refusal := uint32(unix.EPERM)
	if c.errno != 0 {
		refusal = uint32(c.errno)
	}
	if c.nr == unix.SYS_CLONE3 {
		refusal = uint32(unix.ENOSYS)
	}
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		data  = 16 // struct seccomp_data: nr, arch, ip, then six arguments of eight bytes
	)
	filter := []unix.SockFilter{
		{Code: load, K: 0},
		{Code: equal, K: c.nr, Jf: 4},
		{Code: load, K: uint32(data + 8*c.arg)}, // the low half, on little-endian machines
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: c.mask},
		{Code: equal, K: c.value, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | refusal},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
