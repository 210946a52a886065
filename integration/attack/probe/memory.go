package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

const mib = 1 << 20

// A hoard takes about as much memory as it is told, and keeps it.
type hoard func(size int) error

var hoards = map[string]hoard{
	"anonymous": attacks.Anonymous,
	"tmp":       func(n int) error { return fill("/tmp/hoard", n) },
	"shm":       func(n int) error { return fill("/dev/shm/hoard", n) },
	"memfd":     memfd,
	"pipes":     pipes,
	"unix":      unixSockets,
	"tcp":       tcpSockets,
	"udp":       udpSockets,
	"folders":   folders,
	"sysv":      sysvMemory,
	"messages":  sysvMessages,
	"tables":    pageTables,
	"arguments": arguments,
	"xattrs":    xattrs,
	"locks":     locks,
	"netlink":   netlinkSockets,
	"cache":     func(n int) error { return fill("/var/tmp/hoard", n) },
}

// memory hoards by one way, so many MiB, and says whether it could.
func memory(r *attacks.Report, args []string) {
	size, err := strconv.Atoi(args[1])
	if err != nil {
		attacks.Fatal(err)
	}
	limit := unix.Rlimit{}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &limit); err == nil {
		limit.Cur = limit.Max
		_ = unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil)
	}
	r.Try(args[0], hoards[args[0]](size*mib))
	if len(args) > 2 {
		r.Print()
		attacks.Rest()
	}
}

var chunk = []byte(strings.Repeat("x", 64<<10))

func fill(path string, size int) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return pour(f, size)
}

func pour(w io.Writer, size int) error {
	for done := 0; done < size; done += len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return err
		}
	}
	return nil
}

func memfd(size int) error {
	fd, err := unix.MemfdCreate("hoard", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	return pour(os.NewFile(uintptr(fd), "hoard"), size)
}

// pipes fills pipes as big as they may be.
func pipes(size int) error {
	for done := 0; done < size; {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			return err
		}
		_, _ = unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, mib)
		done += drown(p[1])
	}
	return nil
}

// drown writes to a descriptor until it takes no more.
func drown(fd int) int {
	done := 0
	for {
		n, err := unix.Write(fd, chunk)
		if err != nil || n <= 0 {
			return done
		}
		done += n
	}
}

// folders makes empty folders: inodes and directory entries of the kernel.
func folders(size int) error {
	const each = 1 << 10 // at least: an inode and a dentry
	if err := os.Mkdir("/tmp/folders", 0o700); err != nil {
		return err
	}
	for n := range size / each {
		if err := unix.Mkdir(fmt.Sprintf("/tmp/folders/%d", n), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func sysvMemory(size int) error {
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, size, 0o600|unix.IPC_CREAT)
	if err != nil {
		return err
	}
	m, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return err
	}
	for i := 0; i < size; i += os.Getpagesize() {
		m[i] = 1
	}
	return nil
}

func sysvMessages(size int) error {
	message := struct {
		kind int64
		text [8192]byte
	}{kind: 1}
	for done := 0; done < size; {
		id, _, errno := unix.Syscall(unix.SYS_MSGGET, unix.IPC_PRIVATE, 0o600|unix.IPC_CREAT, 0)
		if errno != 0 {
			return errno
		}
		for {
			const noWait = 0o4000
			if attacks.Call(unix.SYS_MSGSND, id, attacks.Pointer(&message), 8192, noWait) != nil {
				break
			}
			done += 8192
		}
	}
	return nil
}

// pageTables maps one page of a file at many places, one for each table.
func pageTables(size int) error {
	fd, err := unix.MemfdCreate("page", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, 4096); err != nil {
		return err
	}
	const reach = 2 * mib // of one table, which takes a page
	base := uintptr(1) << 40
	for done := 0; done < size; done += 4096 {
		at := base + uintptr(done/4096)*reach
		got, _, errno := unix.Syscall6(unix.SYS_MMAP, at, 4096, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_FIXED|unix.MAP_POPULATE, uintptr(fd), 0)
		if errno != 0 {
			return errno
		}
		_ = got
	}
	return nil
}

// arguments starts children whose environment is as big as it may be.
func arguments(size int) error {
	env := make([]string, 0, 16)
	for i := range 15 {
		env = append(env, fmt.Sprintf("V%d=%s", i, strings.Repeat("x", 120<<10)))
	}
	for done := 0; done < size; done += 15 * 120 << 10 {
		c := exec.Command("/proc/self/exe", "sleep")
		c.Env = env
		if err := c.Start(); err != nil {
			return err
		}
	}
	return nil
}

func xattrs(size int) error {
	for done, n := 0, 0; done < size; n++ {
		path := fmt.Sprintf("/tmp/x%d", n)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
		for i := range 16 {
			if err := unix.Setxattr(path, fmt.Sprintf("user.x%d", i), chunk[:32<<10], 0); err != nil {
				return err
			}
			done += 32 << 10
		}
	}
	return nil
}

// locks takes record locks, byte by byte: a few of each file, since the kernel
// walks the list of them.
func locks(size int) error {
	const each, few = 200, 200 // bytes of a struct file_lock, at least
	for done := 0; done < size; {
		fd, err := unix.Open(fmt.Sprintf("/dev/shm/locks%d", done), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		for n := range few {
			lock := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(2 * n), Len: 1}
			if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock); err != nil {
				return err
			}
			done += each
		}
	}
	return nil
}
