package attacks

import (
	"os/exec"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A forbidden call is one that the filter must refuse, with arguments that do no harm
// where it does not.
type forbidden struct {
	name   string
	number uintptr
	args   []uintptr
}

const none = ^uintptr(0) // no file descriptor, no process

// zero is memory that stays valid and empty.
var zero [256]byte

var empty = uintptr(unsafe.Pointer(&zero[0]))

// SystemCalls is what must come of calls: the filter answers before the kernel
// looks at the call. Numbers that are newer than the profile do not exist.
var SystemCalls = Expectation{Errno: "EPERM", Want: map[string]string{
	"clone3": "ENOSYS", "number 9999": "ENOSYS", "open_tree_attr": "ENOSYS|EPERM",
	"a thread that may more": "no", "a child that may more": "no",
}}

// list is every system call that the profile forbids to a process without
// capabilities, and those of Docker's that this one's adds.
var list = append(ofArch, []forbidden{
	{"acct", unix.SYS_ACCT, []uintptr{none}},
	{"add_key", unix.SYS_ADD_KEY, nil},
	{"bpf", unix.SYS_BPF, nil},
	{"bpf prog_load", unix.SYS_BPF, []uintptr{5, empty, 48}},
	{"chroot", unix.SYS_CHROOT, nil},
	{"clock_settime", unix.SYS_CLOCK_SETTIME, nil},
	{"delete_module", unix.SYS_DELETE_MODULE, nil},
	{"fanotify_init", unix.SYS_FANOTIFY_INIT, []uintptr{0x200}}, // FAN_REPORT_FID
	{"fanotify_mark", unix.SYS_FANOTIFY_MARK, []uintptr{none}},
	{"finit_module", unix.SYS_FINIT_MODULE, []uintptr{none}},
	{"fsconfig", unix.SYS_FSCONFIG, []uintptr{none}},
	{"fsmount", unix.SYS_FSMOUNT, []uintptr{none}},
	{"fsopen", unix.SYS_FSOPEN, nil},
	{"fspick", unix.SYS_FSPICK, nil},
	{"get_mempolicy", unix.SYS_GET_MEMPOLICY, nil},
	{"init_module", unix.SYS_INIT_MODULE, nil},
	{"io_uring_enter", unix.SYS_IO_URING_ENTER, []uintptr{none}},
	{"io_uring_register", unix.SYS_IO_URING_REGISTER, []uintptr{none}},
	{"io_uring_setup", unix.SYS_IO_URING_SETUP, []uintptr{1, empty}},
	{"kcmp", unix.SYS_KCMP, []uintptr{none}},
	{"kexec_file_load", unix.SYS_KEXEC_FILE_LOAD, []uintptr{none}},
	{"kexec_load", unix.SYS_KEXEC_LOAD, []uintptr{0, none}}, // more segments than there may be
	{"keyctl", unix.SYS_KEYCTL, []uintptr{0, none - 2}},     // the session keyring's id
	{"lookup_dcookie", unix.SYS_LOOKUP_DCOOKIE, nil},
	{"lsm_get_self_attr", 459, nil},
	{"lsm_list_modules", 461, nil},
	{"lsm_set_self_attr", 460, nil},
	{"mbind", unix.SYS_MBIND, nil},
	{"memfd_secret", unix.SYS_MEMFD_SECRET, nil},
	{"migrate_pages", unix.SYS_MIGRATE_PAGES, nil},
	{"mount", unix.SYS_MOUNT, nil},
	{"mount_setattr", unix.SYS_MOUNT_SETATTR, []uintptr{none}},
	{"move_mount", unix.SYS_MOVE_MOUNT, []uintptr{none}},
	{"move_pages", unix.SYS_MOVE_PAGES, nil},
	{"sethostname", unix.SYS_SETHOSTNAME, []uintptr{empty, 1}},
	{"nfsservctl", unix.SYS_NFSSERVCTL, nil},
	{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, []uintptr{none}},
	{"open_tree", unix.SYS_OPEN_TREE, []uintptr{none}},
	{"open_tree_attr", 467, []uintptr{none}},
	{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, nil},
	{"personality", unix.SYS_PERSONALITY, []uintptr{0x0040000}}, // ADDR_NO_RANDOMIZE
	{"pidfd_getfd", unix.SYS_PIDFD_GETFD, []uintptr{none}},
	{"pivot_root", unix.SYS_PIVOT_ROOT, nil},
	{"process_madvise", unix.SYS_PROCESS_MADVISE, []uintptr{none}},
	{"quotactl", unix.SYS_QUOTACTL, []uintptr{0x80000100}}, // Q_SYNC
	{"quotactl_fd", unix.SYS_QUOTACTL_FD, []uintptr{none}},
	{"reboot", unix.SYS_REBOOT, nil}, // without its magic numbers
	{"request_key", unix.SYS_REQUEST_KEY, nil},
	{"set_mempolicy", unix.SYS_SET_MEMPOLICY, nil},
	{"set_mempolicy_home_node", unix.SYS_SET_MEMPOLICY_HOME_NODE, nil},
	{"setdomainname", unix.SYS_SETDOMAINNAME, []uintptr{empty, 1}},
	{"setns", unix.SYS_SETNS, []uintptr{none}},
	{"settimeofday", unix.SYS_SETTIMEOFDAY, nil},
	{"swapoff", unix.SYS_SWAPOFF, nil},
	{"swapon", unix.SYS_SWAPON, nil},
	{"syslog", unix.SYS_SYSLOG, []uintptr{10}},
	{"umount2", unix.SYS_UMOUNT2, nil},
	{"unshare", unix.SYS_UNSHARE, []uintptr{unix.CLONE_NEWUSER}},
	{"userfaultfd", unix.SYS_USERFAULTFD, []uintptr{1}}, // UFFD_USER_MODE_ONLY
	{"vhangup", unix.SYS_VHANGUP, nil},
	{"clone3", unix.SYS_CLONE3, nil},
	{"number 9999", 9999, nil},
}...)

// calls makes every forbidden system call, or those that the arguments name: on
// the first thread, on a new one and in a child that was executed, all of which
// must answer the same.
func calls(r *Report, args []string) {
	child := len(args) > 0 && args[0] == "child"
	if child {
		args = args[1:]
	}
	answers := func() map[string]string {
		got := make(map[string]string, len(list))
		for _, c := range list {
			if len(args) == 0 || slices.Contains(args, c.name) {
				got[c.name] = Outcome(Call(c.number, c.args...))
			}
		}
		return got
	}
	first := answers()
	for name, got := range first {
		if got == "ok" {
			r.Result = "worked"
		}
		r.Fact(name, got)
	}
	if child {
		return
	}
	other := make(chan map[string]string)
	// Ends with its one answer.
	go func() {
		runtime.LockOSThread()
		other <- answers()
	}()
	r.same("thread", first, <-other)
	out, err := exec.Command("/proc/self/exe", append([]string{"calls", "child"}, args...)...).Output()
	if err != nil {
		Fatal(err)
	}
	got, err := Parse(out)
	if err != nil {
		Fatal(err)
	}
	r.same("child", first, got)
}

func (r *Report) same(who string, want, got map[string]string) {
	differ := ""
	for name := range want {
		if want[name] != got[name] {
			differ += " " + name + "=" + got[name]
		}
	}
	r.Found("a "+who+" that may more"+differ, differ != "")
}
