package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// descriptors reports every open file: what it is, its access mode and its owner.
func (r report) descriptors() {
	for fd := range 1 << 14 {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil {
			continue
		}
		name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			name = cause(err)
		}
		name, _, _ = strings.Cut(name, ":[")
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			name += " " + cause(err)
		}
		access := []string{"read", "write", "read and write", "path"}[flags&unix.O_ACCMODE]
		r.set(fmt.Sprintf("descriptor %d", fd), "%s %s %o %d:%d", name, access, st.Mode&0o7777, st.Uid, st.Gid)
	}
}

// identity reports what the program was started with.
func (r report) identity() {
	r["arguments"] = strings.Join(os.Args, " ")
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		r["environment "+name] = value
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil {
		r["hostname"] = unix.ByteSliceToString(uts.Nodename[:])
		r["domainname"] = unix.ByteSliceToString(uts.Domainname[:])
	}
	pid := unix.Getpid()
	group, _ := unix.Getpgid(0)
	session, _ := unix.Getsid(0)
	r.set("process", "pid 1 %v, its parent is outside %v, leads its group %v, leads its session %v",
		pid == 1, unix.Getppid() == 0, pid == group, pid == session)
}

// self reports what /proc and the kernel tell of the program itself.
func (r report) self() {
	for _, name := range []string{"cgroup", "uid_map", "gid_map", "projid_map", "setgroups", "oom_score_adj", "loginuid",
		"sessionid", "personality", "timerslack_ns", "coredump_filter", "cpuset", "comm", "attr/current"} {
		r.file("self "+name, "/proc/self/"+name)
	}
	for _, name := range []string{"exe", "cwd", "root"} {
		r.link("self "+name, "/proc/self/"+name)
	}
	for name, option := range map[string]int{
		"dumpable": unix.PR_GET_DUMPABLE, "keepcaps": unix.PR_GET_KEEPCAPS, "securebits": unix.PR_GET_SECUREBITS,
		"no_new_privs": unix.PR_GET_NO_NEW_PRIVS, "thp_disable": unix.PR_GET_THP_DISABLE,
	} {
		value, err := unix.PrctlRetInt(option, 0, 0, 0, 0)
		r.set("prctl "+name, "%d %s", value, cause(err))
	}
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	r.set("nice", "%d %s", 20-nice, cause(err))
	attr, err := unix.SchedGetAttr(0, 0)
	if err == nil {
		r.set("scheduler", "policy %d priority %d flags %d", attr.Policy, attr.Priority, attr.Flags)
	}
	io, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, 1, 0, 0)
	r.set("ioprio", "%d %d", io, errno)
}

// status reports the lines of a status file that are no measurements.
func (r report) status(pid, prefix string) {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		r[prefix+"readable"] = cause(err)
		return
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "Uid", "Gid", "Groups", "Umask", "TracerPid", "CoreDumping", "THP_enabled", "SigIgn", "SigBlk",
			"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters",
			"Speculation_Store_Bypass", "SpeculationIndirectBranch", "Cpus_allowed_list", "Mems_allowed_list":
			r[prefix+name] = strings.Join(strings.Fields(value), " ")
		case "NStgid":
			r.set(prefix+"pid namespaces", "%d", len(strings.Fields(value)))
		}
	}
}

// limits reports the resource limits, by way of a child: Go raises the soft
// limit of open files in its own process, and puts it back in what it starts.
func (r report) limits() {
	out, err := exec.Command("/bin/cat", "/proc/self/limits").Output()
	if err != nil {
		r["limit"] = cause(err)
		return
	}
	for line := range strings.Lines(string(out)) {
		if len(line) > 26 && !strings.HasPrefix(line, "Limit") {
			r["limit "+strings.TrimSpace(line[4:26])] = strings.Join(strings.Fields(line[26:]), " ")
		}
	}
}
