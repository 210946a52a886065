package isolate

import (
	"fmt"
	"slices"
)

// capabilityNames are the capabilities of capabilities(7), each at its number.
var capabilityNames = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
	"CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
	"CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
	"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// capabilityMask is the set of the capabilities named, a bit for each.
func capabilityMask(names []string) (uint64, error) {
	var mask uint64
	for _, name := range names {
		n := slices.Index(capabilityNames, name)
		if n < 0 {
			return 0, fmt.Errorf("%q is no capability; write it as in capabilities(7): CAP_CHOWN", name)
		}
		mask |= 1 << n
	}
	return mask, nil
}

// mustMask is the mask of capabilities that were checked.
func mustMask(names []string) uint64 {
	mask, err := capabilityMask(names)
	if err != nil {
		panic("bug: " + err.Error())
	}
	return mask
}

// capabilityFacts are the five sets of the program. A user other than root has
// them by way of the ambient set, root of the sandbox's user namespace by being
// root.
func (p Plan) capabilityFacts() Facts {
	mask := fmt.Sprintf("%016x", mustMask(p.Capabilities))
	f := Facts{}
	for _, set := range capabilitySets {
		f["capabilities "+set] = mask
	}
	if p.User.UID == 0 {
		f["capabilities inheritable"], f["capabilities ambient"] = noCapabilities, noCapabilities
	}
	return f
}
