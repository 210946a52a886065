package main

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// murder kills all that it may, with one call.
func murder(r *attacks.Report, _ []string) {
	child := exec.Command("/proc/self/exe", "sleep")
	out, err := child.StdoutPipe()
	if err != nil {
		attacks.Fatal(err)
	}
	if err := child.Start(); err != nil {
		attacks.Fatal(err)
	}
	_, _ = out.Read(make([]byte, 1)) // it runs
	r.Try("kill -1", unix.Kill(-1, unix.SIGKILL))
	r.Fact("own child", child.Wait())
	r.Try("kill 1", unix.Kill(1, unix.SIGKILL))
	r.Try("stop 1", unix.Kill(1, unix.SIGSTOP))
	r.Fact("parent", os.Getppid())
}
