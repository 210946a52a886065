package main

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// takers take one more of something that the kernel counts for a user or for the
// whole machine.
var takers = map[string]func(n int) error{
	"inotify": func(int) error {
		_, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		return err
	},
	"pipes": func(int) error {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return err
		}
		_, err := unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, mib)
		return err
	},
	"mqueue": func(n int) error {
		name, err := unix.BytePtrFromString(fmt.Sprintf("quota%d", n))
		if err != nil {
			return err
		}
		attr := struct{ flags, maxmsg, msgsize, curmsgs, _, _, _, _ int64 }{maxmsg: 8, msgsize: 8192}
		_, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), unix.O_CREAT|unix.O_RDWR, 0o600, attacks.Pointer(&attr), 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	},
	"signals": func(int) error {
		info := [128]byte{}
		const rtmin, queue = 34, -1
		*(*int32)(unsafe.Pointer(&info[8])) = queue
		return attacks.Call(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(os.Getpid()), uintptr(unix.Gettid()), rtmin, attacks.Pointer(&info[0]))
	},
	"processes": func(int) error {
		if _, errno := attacks.Idler(); errno != 0 {
			return errno
		}
		return nil
	},
	"terminals": func(int) error {
		_, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		return err
	},
	"aio": func(int) error {
		var context uintptr
		return attacks.Call(unix.SYS_IO_SETUP, 1024, attacks.Pointer(&context))
	},
}

// quota takes all that it can get of one thing, and keeps it.
func quota(r *attacks.Report, args []string) {
	// As a sandbox has them, for the control.
	for resource, most := range map[int]uint64{
		unix.RLIMIT_NOFILE: 16384, unix.RLIMIT_NPROC: 128, unix.RLIMIT_SIGPENDING: 1024, unix.RLIMIT_MSGQUEUE: 160 << 10,
	} {
		var limit unix.Rlimit
		if err := unix.Prlimit(0, resource, nil, &limit); err != nil {
			attacks.Fatal(err)
		}
		limit.Cur = min(limit.Max, most)
		if err := unix.Prlimit(0, resource, &limit, nil); err != nil {
			attacks.Fatal(err)
		}
	}
	blocked := unix.Sigset_t{Val: [16]uint64{1 << 33}}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &blocked, nil); err != nil {
		attacks.Fatal(err)
	}
	const most = 20000
	got, err := 0, error(nil)
	for ; got < most; got++ {
		if err = takers[args[0]](got); err != nil {
			break
		}
	}
	r.Fact("got", got)
	r.Fact("stopped by", attacks.Outcome(err))
	r.Print()
	attacks.Rest()
}
