package main

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// self tells what the program was started with. The arguments are namespaces of
// the host, as mnt:[4026531841], in which it must not be.
func self(r *attacks.Report, args []string) {
	for _, host := range args {
		name, _, _ := strings.Cut(host, ":")
		own, err := os.Readlink("/proc/self/ns/" + name)
		r.Found("the host's "+name+" namespace", err != nil || own == host)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		attacks.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		if key == "SigBlk" || key == "SigIgn" {
			r.Fact(key, strings.TrimSpace(value))
		}
	}
	for name, path := range map[string]string{
		"user namespaces": "/proc/sys/user/max_user_namespaces", "uid_map": "/proc/self/uid_map", "gid_map": "/proc/self/gid_map",
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			text = []byte(attacks.Outcome(err))
		}
		r.Fact(name, strings.Join(strings.Fields(string(text)), " "))
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		attacks.Fatal(err)
	}
	r.Fact("hostname", unix.ByteSliceToString(uts.Nodename[:]))
	r.Fact("environment", strings.Join(os.Environ(), "\n"))
}
