package isolate

import (
	"cmp"
	"fmt"
)

// What a program gets that asks for nothing.
const (
	nofileSoft = 1024  // what programs that ask select(2) can use,
	nofileHard = 16384 // and what others raise theirs to
	memlock    = 64 << 10
)

// planRlimits are the resource limits of the program. Hard limits never exceed
// the hypervisor's own: raising one needs CAP_SYS_RESOURCE, which a root in a
// virtual machine or a container may lack.
func planRlimits(s Spec, h Host) []Rlimit {
	ask := s.Limits.Rlimits
	nofile := Rlimit{rlimitNofile, "nofile", min(nofileSoft, h.MaxOpen), min(nofileHard, h.MaxOpen)}
	if ask.Nofile > 0 {
		nofile = both(rlimitNofile, "nofile", uint64(ask.Nofile))
	}
	list := []Rlimit{
		// 1 and not 0: a core_pattern that is a pipe ignores the limit, but for this
		// one (fs/coredump.c); and no core file is that small.
		both(rlimitCore, "core", 1),
		nofile,
		both(rlimitMemlock, "memlock", cmp.Or(uint64(ask.Memlock), min(memlock, h.MaxMemlock))),
		// Counted per user id, and the ids are the sandbox's own: a second fence
		// behind the pids controller.
		both(rlimitNproc, "nproc", uint64(cmp.Or(ask.Nproc, s.Limits.Pids))),
		// Two queues of the default size. All sandboxes together have what the
		// hypervisor's own limit is, where that cannot be raised.
		both(rlimitMsgqueue, "msgqueue", 160<<10),
		both(rlimitSigpending, "sigpending", 1024),
		both(rlimitNice, "nice", 0),
		both(rlimitRtprio, "rtprio", 0),
	}
	if ask.Fsize > 0 {
		list = append(list, both(rlimitFsize, "fsize", uint64(ask.Fsize)))
	}
	return list
}

// inotifyEach is what one sandbox may have of the inotify instances, of which all
// sandboxes together have what the host's root may have.
const inotifyEach = 32

// userLimits allow no user namespace of a program's own, in which it would have
// every capability, whatever its seccomp profile says (namespaces(7)).
func userLimits() []string {
	return []string{"max_user_namespaces=0", fmt.Sprintf("max_inotify_instances=%d", inotifyEach)}
}

// both is a limit whose soft and hard values are the same.
func both(resource int, name string, limit uint64) Rlimit {
	return Rlimit{resource, name, limit, limit}
}

// Numbers of resources, from asm-generic/resource.h; the same on every
// architecture that Go runs Linux on but MIPS.
const (
	rlimitFsize      = 1
	rlimitCore       = 4
	rlimitNproc      = 6
	rlimitNofile     = 7
	rlimitMemlock    = 8
	rlimitSigpending = 11
	rlimitMsgqueue   = 12
	rlimitNice       = 13
	rlimitRtprio     = 14
)
