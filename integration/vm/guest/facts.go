package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/vm/job"
)

// facts says what machine the tasks run on.
func facts() {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil {
		say(job.Fact("release", unix.ByteSliceToString(uts.Release[:])))
		say(job.Fact("version", unix.ByteSliceToString(uts.Version[:])))
	}
	say(job.Fact("cpus", strconv.Itoa(runtime.NumCPU())))
	for name, file := range map[string]string{
		"lsm":         "/sys/kernel/security/lsm",
		"cgroup":      "/proc/self/cgroup",
		"controllers": cgroupRoot + "/cgroup.subtree_control",
		"apparmor":    "/sys/module/apparmor/parameters/enabled",
		"clock":       "/sys/devices/system/clocksource/clocksource0/current_clocksource",
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			text = []byte(err.Error())
		}
		say(job.Fact(name, strings.TrimSpace(string(text))))
	}
	say(job.Fact("ready", uptime().String()))
}
