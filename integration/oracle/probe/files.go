package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// devices reports all of /dev, and whether the nodes open.
func (r report) devices() {
	err := filepath.WalkDir("/dev", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			r["node "+path] = cause(err)
			return nil
		}
		r.describe("node "+path, path)
		return nil
	})
	if err != nil {
		r["node"] = cause(err)
	}
	r.terminal()
}

// terminal opens a new pseudo terminal and reports its other end.
func (r report) terminal() {
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		r["terminal"] = cause(err)
		return
	}
	defer ptmx.Close()
	n, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	if err != nil {
		r["terminal"] = cause(err)
		return
	}
	r.set("terminal number", "%d", n)
	r.describe("terminal", fmt.Sprintf("/dev/pts/%d", n))
}

func opens(path string, flags int) string {
	f, err := os.OpenFile(path, flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err == nil {
		f.Close()
	}
	return cause(err)
}

// path reports what can be done with a file or folder.
func (r report) path(path string) {
	name := "path " + path
	info, err := os.Stat(path)
	if err != nil {
		r[name] = cause(err)
		return
	}
	r.describe(name, path)
	if !info.IsDir() {
		r[name+" read"], r[name+" write"] = reads(path), writable(opens(path, os.O_WRONLY))
		return
	}
	entries, err := os.ReadDir(path)
	r[name+" list"] = cause(err)
	if len(entries) == 0 {
		r[name+" list"] += ", empty"
	}
	r[name+" write"] = writable(cause(unix.Access(path, unix.W_OK)))
}

// writable is the same word for every way in which the kernel says no: which one
// it is depends on the order of its checks.
func writable(answer string) string {
	switch answer {
	case "EACCES", "EPERM", "EROFS":
		return "refused"
	}
	return answer
}

// reads tells whether a file can be read and holds anything.
func reads(path string) string {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return cause(err)
	}
	defer f.Close()
	n, err := f.Read(make([]byte, 1))
	switch {
	case n == 1:
		return "something"
	case err == io.EOF:
		return "nothing"
	}
	return cause(err)
}

// system looks at what is in /proc and, three folders deep, in /sys.
func (r report) system() {
	entries, err := os.ReadDir("/proc")
	r["proc"] = cause(err)
	for _, e := range entries {
		name := e.Name()
		if name == "self" || name == "thread-self" || strings.Trim(name, "0123456789") == "" {
			continue
		}
		r.path("/proc/" + name)
	}
	err = filepath.WalkDir("/sys", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			r.path(path)
		}
		if strings.Count(path, "/") >= 4 {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		r["sys"] = cause(err)
	}
}

// sysctls reports the value of every parameter that can be read.
func (r report) sysctls() {
	err := filepath.WalkDir("/proc/sys", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			r["sysctl "+path] = cause(err)
		} else if d.Type().IsRegular() {
			r.file("sysctl "+strings.TrimPrefix(path, "/proc/sys/"), path)
			if opened := opens(path, os.O_WRONLY); opened == "ok" {
				r["sysctl writable "+path] = opened
			}
		}
		return nil
	})
	if err != nil {
		r["sysctl"] = cause(err)
	}
}
