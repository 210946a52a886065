package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A report is what was seen, by name.
type report map[string]string

// What /proc/self tells is of the first thread, and some of it only to that one.
func init() { runtime.LockOSThread() }

func main() {
	r := report{}
	r.descriptors() // before anything here opens a file
	r.identity()
	r.self()
	r.status("self", "status ")
	r.limits()
	r.mounts()
	r.devices()
	r.processes()
	r.network()
	r.system()
	r.sysctls()
	for _, path := range os.Args[1:] {
		r.path(path)
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
	for {
		time.Sleep(time.Hour)
	}
}

func (r report) set(name, format string, args ...any) { r[name] = fmt.Sprintf(format, args...) }

// file reports a file's text, or why it cannot be read.
func (r report) file(name, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		r[name] = cause(err)
		return
	}
	r[name] = strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\x00", " ")), " ")
}

// link reports where a symbolic link points, or why it cannot be read.
func (r report) link(name, path string) {
	target, err := os.Readlink(path)
	if err != nil {
		target = cause(err)
	}
	r[name] = target
}

// cause is err as the kernel's name for it, or "ok".
func cause(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// describe reports what lstat(2) says that one run of a sandbox shares with the
// next: the kind, the mode and, for a link, where it points; and the owner.
func (r report) describe(name, path string) {
	info, err := os.Lstat(path)
	if err != nil {
		r[name] = cause(err)
		return
	}
	st := info.Sys().(*syscall.Stat_t)
	r.set(name+" owner", "%d:%d", st.Uid, st.Gid)
	r[name] = info.Mode().String()
	switch info.Mode().Type() {
	case fs.ModeDevice | fs.ModeCharDevice:
		r[name] += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		r[name+" read"], r[name+" write"] = opens(path, os.O_RDONLY), opens(path, os.O_WRONLY)
	case fs.ModeDevice:
		r[name] += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	case fs.ModeSymlink:
		target, err := os.Readlink(path)
		r[name] += fmt.Sprintf(" -> %s %s", target, cause(err))
	}
}
