package attacks

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// credentials are the lines of /proc/<pid>/status that tell what a process may do.
var credentials = []string{"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"}

// identity tells the credentials of this process.
func identity(r *Report, _ []string) { r.credentials("", "self") }

func (r *Report) credentials(prefix, pid string) {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		for _, want := range credentials {
			if key == want {
				r.Fact(prefix+key, strings.Join(strings.Fields(value), " "))
			}
		}
	}
}

// child runs a program and takes over what it reports.
func (r *Report) child(prefix, path string, args ...string) error {
	out, err := exec.Command(path, args...).Output()
	if err != nil {
		return err
	}
	for line := range bytes.Lines(out) {
		detail, err := Parse(line)
		if err != nil {
			return err
		}
		for key, value := range detail {
			r.Fact(prefix+key, value)
		}
	}
	return nil
}

// Privileges is what must come of privileges for a program that runs as this user
// and is to have no capability. PID 1 may kill, setgid and setuid, in its own user
// namespace.
func Privileges(uid, gid uint32) Expectation {
	four := func(id uint32) string { return fmt.Sprintf("%d %[1]d %[1]d %[1]d", id) }
	app := map[string]string{
		"Uid": four(uid), "Gid": four(gid), "Groups": "", "NoNewPrivs": "1", "Seccomp": "2",
		"CapInh": noCaps, "CapPrm": noCaps, "CapEff": noCaps, "CapBnd": noCaps, "CapAmb": noCaps,
	}
	init := maps.Clone(app)
	init["Uid"], init["Gid"] = four(0), four(0)
	init["CapPrm"], init["CapEff"] = "00000000000000e0", "00000000000000e0"
	want := map[string]string{}
	for who, status := range map[string]map[string]string{"self ": app, "child ": app, "pid1 ": init} {
		for key, value := range status {
			want[who+key] = value
		}
	}
	return Expectation{Want: want}
}

// privileges looks for a privilege in this process, a child and PID 1, and tries
// to gain one.
func privileges(r *Report, _ []string) {
	r.credentials("self ", "self")
	if err := r.child("child ", "/proc/self/exe", "identity"); err != nil {
		Fatal(err)
	}
	r.credentials("pid1 ", "1")

	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		Fatal(err)
	}
	for _, set := range []*uint32{&data[0].Effective, &data[0].Permitted, &data[0].Inheritable} {
		*set |= 1 << unix.CAP_SYS_CHROOT
	}
	r.Try("capset", unix.Capset(&header, &data[0]))
	r.Try("ambient", unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_CHROOT, 0, 0))
	r.Try("securebits", unix.Prctl(unix.PR_SET_SECUREBITS, 1<<4, 0, 0, 0))
	r.Try("forget no_new_privs", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0))
	r.Try("forget seccomp", unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_DISABLED, 0, 0, 0))
	group := [1]uint32{0}
	r.Try("setgroups", Call(unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&group[0]))))
	r.Try("setgid", Call(unix.SYS_SETGID, 0))
	r.Try("setfsuid", fsuid())
	r.Try("setresuid", Call(unix.SYS_SETRESUID, 0, 0, 0))
	r.Try("setuid", Call(unix.SYS_SETUID, 0))
}

// fsuid tries to become root for files only. The call never fails: it answers
// what was, and what is asked for next is what it is.
func fsuid() error {
	_, _, _ = unix.Syscall(unix.SYS_SETFSUID, 0, 0, 0)
	now, _, _ := unix.Syscall(unix.SYS_SETFSUID, ^uintptr(0), 0, 0)
	if now != 0 {
		return unix.EPERM
	}
	return nil
}

// setuid executes files that carry a privilege: the arguments, and copies of
// this program with the bits that their owner may set.
func setuid(r *Report, args []string) {
	uid := fmt.Sprint(os.Getuid())
	for _, path := range args {
		r.gains(path, path, uid)
	}
	own := filepath.Join(os.TempDir(), "own")
	if err := duplicate("/proc/self/exe", own); err != nil {
		r.Fact("own copy", Outcome(err))
		return
	}
	for _, mode := range []uint32{0o4755, 0o2755, 0o6755} {
		if err := unix.Chmod(own, mode); err != nil {
			r.Fact("own copy", Outcome(err))
			return
		}
		r.gains(fmt.Sprintf("own %o", mode), own, uid)
	}
	value := FileCapability(unix.CAP_SYS_CHROOT)
	r.Try("setxattr security.capability", unix.Setxattr(own, "security.capability", value, 0))
}

// gains executes a copy of this program and looks for what it gained.
func (r *Report) gains(name, path, uid string) {
	out, err := exec.Command(path, "identity").Output()
	if err != nil {
		r.Try(name, err)
		return
	}
	got, err := Parse(out)
	if err != nil {
		Fatal(err)
	}
	same := strings.Join([]string{uid, uid, uid, uid}, " ")
	if got["Uid"] == same && got["CapPrm"] == noCaps && got["CapEff"] == noCaps {
		r.Try(name, unix.EPERM)
	} else {
		r.Try(name, nil)
	}
}

const noCaps = "0000000000000000"

// FileCapability is a file capability as an extended attribute (struct vfs_cap_data
// of version 2, effective).
func FileCapability(n uint) []byte {
	value := make([]byte, 20)
	value[0], value[3] = 1, 2
	value[4+n/8] = 1 << (n % 8)
	return value
}

// duplicate copies an executable.
func duplicate(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
