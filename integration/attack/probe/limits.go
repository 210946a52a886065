package main

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// scheduling asks for more of the machine than others get.
func scheduling(r *attacks.Report, _ []string) {
	param := struct{ priority int32 }{1}
	r.Try("SCHED_FIFO", attacks.Call(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_FIFO, attacks.Pointer(&param)))
	r.Try("SCHED_RR", attacks.Call(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_RR, attacks.Pointer(&param)))
	deadline := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_DEADLINE, Runtime: 1 << 20, Deadline: 1 << 24, Period: 1 << 24}
	r.Try("SCHED_DEADLINE", attacks.InChild(0, unix.SYS_SCHED_SETATTR, 0, attacks.Pointer(&deadline), 0))
	param.priority = 0
	_ = attacks.Call(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_NORMAL, attacks.Pointer(&param))
	r.Try("nice -5", unix.Setpriority(unix.PRIO_PROCESS, 0, -5))
	r.Try("nice of PID 1", unix.Setpriority(unix.PRIO_PROCESS, 1, 19))
	const realtime = 1 << 13
	r.Try("real-time disk", attacks.Call(unix.SYS_IOPRIO_SET, 1, 0, realtime))
	adj, err := os.ReadFile("/proc/self/oom_score_adj")
	r.Fact("oom_score_adj", string(adj))
	if err != nil {
		attacks.Fatal(err)
	}
	r.Try("oom_score_adj below the host's", os.WriteFile("/proc/self/oom_score_adj", []byte("-1"), 0))
	r.Fact("oom_score_adj as the host's", attacks.Outcome(os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0)))
	r.Try("oom_score_adj of PID 1", attacks.Open("/proc/1/oom_score_adj", unix.O_WRONLY))
	for name, resource := range map[string]int{
		"nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC, "core": unix.RLIMIT_CORE, "memlock": unix.RLIMIT_MEMLOCK,
		"msgqueue": unix.RLIMIT_MSGQUEUE, "sigpending": unix.RLIMIT_SIGPENDING, "nice": unix.RLIMIT_NICE, "rtprio": unix.RLIMIT_RTPRIO,
	} {
		var now unix.Rlimit
		if err := unix.Prlimit(0, resource, nil, &now); err != nil {
			attacks.Fatal(err)
		}
		now.Max++
		r.Try("raise "+name, unix.Prlimit(0, resource, &now, nil))
	}
	r.Try("limit of PID 1", unix.Prlimit(1, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: 1}, nil))
	m, err := unix.Mmap(-1, 0, 32<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		attacks.Fatal(err)
	}
	r.Try("lock 32 MiB", unix.Mlock(m))
}

// crash ends this process as a program with a bug would, after it has asked for
// as big a core as it may.
func crash(r *attacks.Report, args []string) {
	if err := os.Chdir(args[0]); err != nil {
		attacks.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_CORE, nil, &limit); err != nil {
		attacks.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := unix.Prlimit(0, unix.RLIMIT_CORE, &limit, nil); err != nil {
		attacks.Fatal(err)
	}
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	r.Fact("core limit", limit.Max)
	r.Print()
	action := [4]uintptr{} // SIG_DFL
	if err := attacks.Call(unix.SYS_RT_SIGACTION, uintptr(unix.SIGSEGV), uintptr(unsafe.Pointer(&action)), 0, 8); err != nil {
		attacks.Fatal(err)
	}
	_ = unix.Kill(os.Getpid(), unix.SIGSEGV)
	attacks.Rest()
}
