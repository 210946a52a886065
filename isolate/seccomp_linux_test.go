package isolate

import (
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
)

func sandboxFilter(t *testing.T) *filter {
	t.Helper()
	f, err := profileFilter(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDefaultFilter(t *testing.T) {
	m := newMachine(t, sandboxFilter(t))
	x := uint32(arch.X86_64.ID)
	for _, c := range []struct {
		name string
		args []uint64
		want uint32
	}{
		{"read", nil, retAllow}, {"execve", nil, retAllow}, {"futex", nil, retAllow}, {"setuid", nil, retAllow},
		{"socket", []uint64{1, 1, 0}, retAllow}, {"socket", []uint64{2, 1, 0}, retAllow},
		{"socket", []uint64{10, 1, 0}, retAllow}, {"socket", []uint64{16, 3, 0}, retAllow},
		{"socket", []uint64{16, 3, 15}, deny}, // kobject uevents
		{"socket", []uint64{17, 3, 0}, deny},  // packet
		{"socket", []uint64{38, 5, 0}, deny},  // ALG
		{"socket", []uint64{40, 1, 0}, deny},  // VSOCK
		{"socket", []uint64{21, 5, 0}, deny},  // RDS
		{"socket", []uint64{1<<32 + 2, 1, 0}, deny},
		{"ioctl", []uint64{0, 0x5401}, retAllow},
		{"ioctl", []uint64{0, 0x5412}, deny}, {"ioctl", []uint64{0, 0x100005412}, deny},
		{"ioctl", []uint64{0, 0x541c}, deny}, {"ioctl", []uint64{0, 0xff0000541c}, deny},
		{"clone", []uint64{0x11}, retAllow}, {"clone", []uint64{0x10000000}, deny},
		{"clone", []uint64{0x20000}, deny}, {"clone3", nil, nosys},
		{"unshare", []uint64{0x10000000}, deny}, {"setns", nil, deny}, {"mount", nil, deny}, {"umount2", nil, deny},
		{"open_tree", nil, deny}, {"move_mount", nil, deny}, {"fsopen", nil, deny}, {"mount_setattr", nil, deny},
		{"bpf", nil, deny}, {"perf_event_open", nil, deny}, {"userfaultfd", nil, deny},
		{"io_uring_setup", nil, deny}, {"io_uring_enter", nil, deny}, {"io_uring_register", nil, deny},
		{"seccomp", []uint64{1}, deny}, {"prctl", []uint64{22}, deny}, {"prctl", []uint64{1<<32 | 22}, deny}, {"prctl", []uint64{38}, retAllow},
		{"io_setup", nil, nosys}, {"keyctl", nil, deny}, {"add_key", nil, deny}, {"request_key", nil, deny},
		{"init_module", nil, deny}, {"finit_module", nil, deny}, {"kexec_load", nil, deny}, {"reboot", nil, deny},
		{"pivot_root", nil, deny}, {"swapon", nil, deny}, {"syslog", nil, deny}, {"settimeofday", nil, deny},
		{"open_by_handle_at", nil, deny}, {"fanotify_init", nil, deny}, {"kcmp", nil, deny}, {"pidfd_getfd", nil, deny},
		{"quotactl", nil, deny}, {"iopl", nil, deny}, {"personality", []uint64{0}, retAllow}, {"personality", []uint64{0x40000}, deny},
	} {
		if got := m.run(x, call(t, c.name), c.args...); got != c.want {
			t.Errorf("%s %#x: %#x, want %#x", c.name, c.args, got, c.want)
		}
	}
}

// Other ways into the kernel than x86-64's own system calls end the process.
func TestDefaultFilterABIs(t *testing.T) {
	m := newMachine(t, sandboxFilter(t))
	for name, c := range map[string]struct{ arch, number uint32 }{
		"int 0x80": {uint32(arch.I386.ID), 3},
		"x32":      {uint32(arch.X86_64.ID), x32Bit | 1},
		"x32 -1":   {uint32(arch.X86_64.ID), 0xffffffff},
		"arm64":    {uint32(arch.AARCH64.ID), 63},
	} {
		if got := m.run(c.arch, c.number); got != retKillProcess {
			t.Errorf("%s: %#x, want %#x", name, got, retKillProcess)
		}
	}
	if got := m.run(uint32(arch.X86_64.ID), 9999); got != nosys {
		t.Errorf("a call newer than the profile: %#x, want ENOSYS", got)
	}
}

func TestDefaultFilterEncodes(t *testing.T) {
	b, err := compileFilter(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(b)%8 != 0 || len(b)/8 > maxInstructions {
		t.Errorf("%d bytes", len(b))
	}
	t.Logf("%d instructions", len(b)/8)
}
