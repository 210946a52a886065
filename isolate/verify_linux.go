package isolate

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Verify reads back from the kernel what it enforces for the sandbox's program
// and lists every difference from the plan: none is what there should be. What
// was asked for and what is enforced are two things. It returns [ErrEnded] when
// the program has ended.
func (s *Sandbox) Verify() (diff []Difference, err error) {
	// A program is known to be executed some instructions before it has all that
	// execve gives it, an AppArmor profile for one (begin_new_exec in fs/exec.c): what
	// is different is looked at again. Nothing that lasts is missed.
	for range 10 {
		if diff, err = s.verify(); len(diff) == 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return diff, err
}

func (s *Sandbox) verify() ([]Difference, error) {
	got, err := s.facts()
	// Of a process that is ending the kernel says odd things.
	if pid, _ := s.programPID(); pid == 0 {
		return nil, ErrEnded
	}
	if err != nil {
		return nil, fmt.Errorf("verify sandbox %s: %w", s.id, err)
	}
	want, err := s.wanted()
	if err != nil {
		return nil, fmt.Errorf("verify sandbox %s: %w", s.id, err)
	}
	return want.Diff(got), nil
}

// wanted is what the kernel must say, the seccomp program with it, which the plan
// does not hold in its compiled form.
func (s *Sandbox) wanted() (Facts, error) {
	want := s.plan.Facts(s.host)
	if s.host.ReadsFilters {
		filter, err := s.engine.filters.get(s.plan)
		if err != nil {
			return nil, err
		}
		want["seccomp program"] = programFact(filter)
	}
	return want, nil
}

// facts reads what the kernel says of the program.
func (s *Sandbox) facts() (Facts, error) {
	pid, err := s.programPID()
	if err != nil {
		return nil, err
	}
	r := factReader{f: Facts{}, dir: filepath.Join("/proc", strconv.Itoa(pid)), sandbox: s}
	for _, read := range []func() error{
		r.status, r.init, r.filter, r.idMaps, r.namespaces, r.limits, r.hostname, r.keyring, r.mounts, r.disk, r.volumes, r.cgroup,
	} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return r.f, nil
}

// programPID finds the program's pid on the host among those in the cgroup. What
// sandbox-init said, its pid inside, only chooses one of these.
func (s *Sandbox) programPID() (int, error) {
	pids, err := s.cgroup.GetAllPids()
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		status, err := readStatus(filepath.Join("/proc", strconv.Itoa(pid)))
		if err != nil {
			continue
		}
		inside := strings.Fields(status["NSpid"])
		if len(inside) > 0 && inside[len(inside)-1] == strconv.Itoa(s.program) && !exiting(pid) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("process %d of the sandbox: %w", s.program, os.ErrNotExist)
}

// exiting tells whether a process has begun to end: it has left its cgroups and
// namespaces before it shows as a zombie (PF_EXITING in linux/sched.h; proc(5)).
func exiting(pid int) bool {
	const pfExiting = 0x4
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// pid (comm) state ppid pgrp session tty_nr tpgid flags …
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 7 {
		return true
	}
	flags, err := strconv.ParseUint(fields[6], 10, 32)
	return err != nil || flags&pfExiting != 0
}

// A factReader reads the facts of one process, whose folder in /proc is dir.
type factReader struct {
	f       Facts
	dir     string
	sandbox *Sandbox
}

func (r *factReader) file(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(r.dir, name))
	return strings.TrimSpace(string(b)), err
}

// readStatus reads the file status of a folder in /proc (proc_pid_status(5)).
func readStatus(dir string) (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return nil, err
	}
	status := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		status[key] = strings.Join(strings.Fields(value), " ")
	}
	return status, nil
}

func (r *factReader) status() error {
	status, err := readStatus(r.dir)
	if err != nil {
		return err
	}
	r.f["uid"], r.f["gid"] = status["Uid"], status["Gid"]
	r.f["groups"] = status["Groups"]
	if r.f["groups"] == "" {
		r.f["groups"] = "none"
	}
	r.f["no_new_privs"], r.f["seccomp"], r.f["filters"] = status["NoNewPrivs"], status["Seccomp"], status["Seccomp_filters"]
	for i, key := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		r.f["capabilities "+capabilitySets[i]] = status[key]
	}
	if r.sandbox.host.AppArmor.Enabled {
		profile, err := r.file("attr/apparmor/current")
		if err != nil {
			return err
		}
		r.f["apparmor"] = profile
	}
	return nil
}

func (r *factReader) idMaps() error {
	for _, name := range []string{"uid_map", "gid_map"} {
		text, err := r.file(name)
		if err != nil {
			return err
		}
		r.f[name] = strings.Join(strings.Fields(text), " ")
	}
	return nil
}

func (r *factReader) namespaces() error {
	for _, name := range namespaceNames {
		theirs, err := os.Readlink(filepath.Join(r.dir, "ns", name))
		if err != nil {
			return err
		}
		ours, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			return err
		}
		r.f["namespace "+name] = "own"
		if theirs == ours {
			r.f["namespace "+name] = "host"
		}
	}
	return nil
}

// limits reads the planned resource limits of the program (prlimit(2)).
func (r *factReader) limits() error {
	pid, err := strconv.Atoi(filepath.Base(r.dir))
	if err != nil {
		return err
	}
	for _, want := range r.sandbox.plan.Rlimits {
		var got unix.Rlimit
		if err := unix.Prlimit(pid, want.Resource, nil, &got); err != nil {
			return fmt.Errorf("prlimit %s: %w", want.Name, err)
		}
		if got.Max == want.Hard {
			// The soft limit is the program's own to choose up to the hard one; every Go
			// program raises that of open files (package os).
			got.Cur = want.Soft
		}
		r.f["rlimit "+want.Name] = fmt.Sprintf("%d:%d", got.Cur, got.Max)
	}
	return nil
}

// hostname asks in the sandbox's UTS namespace, on a thread of its own.
func (r *factReader) hostname() error {
	ns, err := os.Open(filepath.Join(r.dir, "ns/uts"))
	if err != nil {
		return err
	}
	defer ns.Close()
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWUTS); err != nil {
			return fmt.Errorf("setns uts: %w", err)
		}
		var uts unix.Utsname
		if err := unix.Uname(&uts); err != nil {
			return err
		}
		r.f["hostname"] = unix.ByteSliceToString(uts.Nodename[:])
		runtime.KeepAlive(ns)
		return nil
	})
}
