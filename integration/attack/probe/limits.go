package main

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scheduling asks for more of the machine than others get.
func scheduling(r *report, _ []string) {
	param := struct{ priority int32 }{1}
	r.try("SCHED_FIFO", call(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_FIFO, pointer(&param)))
	r.try("SCHED_RR", call(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_RR, pointer(&param)))
	deadline := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_DEADLINE, Runtime: 1 << 20, Deadline: 1 << 24, Period: 1 << 24}
	r.try("SCHED_DEADLINE", inChild(0, unix.SYS_SCHED_SETATTR, 0, pointer(&deadline), 0))
	param.priority = 0
	_ = call(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_NORMAL, pointer(&param))
	r.try("nice -5", unix.Setpriority(unix.PRIO_PROCESS, 0, -5))
	r.try("nice of PID 1", unix.Setpriority(unix.PRIO_PROCESS, 1, 19))
	const realtime = 1 << 13
	r.try("real-time disk", call(unix.SYS_IOPRIO_SET, 1, 0, realtime))
	adj, err := os.ReadFile("/proc/self/oom_score_adj")
	r.fact("oom_score_adj", string(adj))
	if err != nil {
		fatal(err)
	}
	r.try("oom_score_adj below the host's", os.WriteFile("/proc/self/oom_score_adj", []byte("-1"), 0))
	r.fact("oom_score_adj as the host's", outcome(os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0)))
	r.try("oom_score_adj of PID 1", open("/proc/1/oom_score_adj", unix.O_WRONLY))
	for name, resource := range map[string]int{
		"nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC, "core": unix.RLIMIT_CORE, "memlock": unix.RLIMIT_MEMLOCK,
		"msgqueue": unix.RLIMIT_MSGQUEUE, "sigpending": unix.RLIMIT_SIGPENDING, "nice": unix.RLIMIT_NICE, "rtprio": unix.RLIMIT_RTPRIO,
	} {
		var now unix.Rlimit
		if err := unix.Prlimit(0, resource, nil, &now); err != nil {
			fatal(err)
		}
		now.Max++
		r.try("raise "+name, unix.Prlimit(0, resource, &now, nil))
	}
	r.try("limit of PID 1", unix.Prlimit(1, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: 1}, nil))
	m, err := unix.Mmap(-1, 0, 32<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		fatal(err)
	}
	r.try("lock 32 MiB", unix.Mlock(m))
}

// crash ends this process as a program with a bug would, after it has asked for
// as big a core as it may.
func crash(r *report, args []string) {
	if err := os.Chdir(args[0]); err != nil {
		fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_CORE, nil, &limit); err != nil {
		fatal(err)
	}
	limit.Cur = limit.Max
	if err := unix.Prlimit(0, unix.RLIMIT_CORE, &limit, nil); err != nil {
		fatal(err)
	}
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	r.fact("core limit", limit.Max)
	r.print()
	action := [4]uintptr{} // SIG_DFL
	if err := call(unix.SYS_RT_SIGACTION, uintptr(unix.SIGSEGV), uintptr(unsafe.Pointer(&action)), 0, 8); err != nil {
		fatal(err)
	}
	_ = unix.Kill(os.Getpid(), unix.SIGSEGV)
	rest()
}
