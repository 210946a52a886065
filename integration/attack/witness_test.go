//go:build integration

package attack

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// witness tells what no sandbox may change of the host: T9, T10, T20 and T66.
func witness() (map[string]string, error) {
	saw := map[string]string{}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	sum, err := contents(self)
	if err != nil {
		return nil, err
	}
	saw["executable"] = fmt.Sprintf("%x", sum)
	if err := sysctls(saw); err != nil {
		return nil, err
	}
	tree, err := manifest.Scan(context.Background(), testbed.TemplateDir(), nil)
	if err != nil {
		return nil, err
	}
	saw["template's contents"] = tree.Hash() // of every file, as the page cache has it
	return saw, template(testbed.TemplateDir(), saw)
}

// counters are sysctls that tell of the machine's life and steer nothing.
var counters = []string{
	"fs/aio-nr", "fs/dentry-state", "fs/file-nr", "fs/inode-nr", "fs/inode-state", "fs/quota/", "kernel/hung_task_detect_count",
	"kernel/ns_last_pid", "kernel/perf_event_max_sample_rate", "kernel/pty/nr", "kernel/random/", "net/netfilter/nf_conntrack_count",
	"vm/stat_refresh",
}

// sysctls reads every setting of the host, its taint among them.
func sysctls(saw map[string]string) error {
	const root = "/proc/sys"
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // an entry that went away
		}
		name := strings.TrimPrefix(path, root+"/")
		for _, c := range counters {
			if strings.HasPrefix(name, c) {
				return nil
			}
		}
		if b, err := os.ReadFile(path); err == nil {
			saw["sysctl "+name] = strings.TrimSpace(string(b))
		}
		return nil
	})
}

// template sums up every file's name, mode, owner, size and date, and what some
// files hold, as the page cache has it and as the disk has it: bugs that write to
// the page cache of files that may only be read leave the two different.
func template(dir string, saw map[string]string) error {
	names := sha256.New()
	sampled := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		fmt.Fprintln(names, path, st.Mode, st.Uid, st.Gid, st.Size, st.Mtim, st.Ctim, st.Nlink)
		if !sample(strings.TrimPrefix(path, dir), d) || sampled == 100 {
			return nil
		}
		sampled++
		cached, err := contents(path)
		if err != nil {
			return err
		}
		stored, err := direct(path)
		if errors.Is(err, unix.EINVAL) { // a file system without O_DIRECT
			stored, err = cached, nil
		}
		if err != nil {
			return err
		}
		if cached != stored {
			return fmt.Errorf("%s: the page cache and the disk differ", path)
		}
		saw["template "+path] = fmt.Sprintf("%x", cached)
		return nil
	})
	saw["template"] = fmt.Sprintf("%x", names.Sum(nil))
	return err
}

// sample picks what an attacker would: programs and libraries that everybody
// executes, and the files of accounts.
func sample(path string, d fs.DirEntry) bool {
	if !d.Type().IsRegular() {
		return false
	}
	for _, pattern := range []string{"/etc/*", "/usr/bin/*sh", "/usr/bin/python3*", "/usr/bin/[smp]*", "/usr/lib/*/ld-*", "/usr/lib/*/libc.so*"} {
		if ok, _ := filepath.Match(pattern, path); ok {
			return true
		}
	}
	return false
}

func contents(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	return digest(f)
}

func digest(r io.Reader) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	_, err = io.Copy(h, r)
	return [sha256.Size]byte(h.Sum(nil)), err
}

// direct reads a file past the page cache (open(2), O_DIRECT).
func direct(path string) (sum [sha256.Size]byte, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return sum, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	const block = 4096
	buf := make([]byte, 1<<20+block)
	skip := int(-uintptr(unsafe.Pointer(&buf[0])) % block)
	h := sha256.New()
	_, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, buf[skip:skip+1<<20])
	return [sha256.Size]byte(h.Sum(nil)), err
}
