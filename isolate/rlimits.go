package isolate

// Open files: what programs that ask select(2) can use, and what others raise
// their limit to.
const (
	nofileSoft = 1024
	nofileHard = 16384
)

// planRlimits are the resource limits of the program. Hard limits never exceed
// the hypervisor's own: raising one needs CAP_SYS_RESOURCE, which a root in a
// virtual machine or a container may lack.
func planRlimits(s Spec, h Host) []Rlimit {
	return []Rlimit{
		// 1 and not 0: a core_pattern that is a pipe ignores the limit, but for this
		// one (fs/coredump.c); and no core file is that small.
		{rlimitCore, "core", 1, 1},
		{rlimitNofile, "nofile", min(nofileSoft, h.MaxOpen), min(nofileHard, h.MaxOpen)},
		{rlimitMemlock, "memlock", min(64<<10, h.MaxMemlock), min(64<<10, h.MaxMemlock)},
		// Counted per user id, and the ids are the sandbox's own: a second fence
		// behind the pids controller.
		{rlimitNproc, "nproc", uint64(s.Limits.Pids), uint64(s.Limits.Pids)},
		// Two queues of the default size. All sandboxes together have what the
		// hypervisor's own limit is, where that cannot be raised.
		{rlimitMsgqueue, "msgqueue", 160 << 10, 160 << 10},
		{rlimitSigpending, "sigpending", 1024, 1024},
		{rlimitNice, "nice", 0, 0},
		{rlimitRtprio, "rtprio", 0, 0},
	}
}

// Numbers of resources, from asm-generic/resource.h; the same on every
// architecture that Go runs Linux on but MIPS.
const (
	rlimitCore       = 4
	rlimitNproc      = 6
	rlimitNofile     = 7
	rlimitMemlock    = 8
	rlimitSigpending = 11
	rlimitMsgqueue   = 12
	rlimitNice       = 13
	rlimitRtprio     = 14
)
