package main

import (
	"fmt"
	"os/exec"
	"strings"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// executables executes files and says what came of each.
func executables(r *attacks.Report, args []string) {
	for _, path := range args {
		cmd := exec.Command(path)
		out, err := cmd.CombinedOutput()
		switch {
		case cmd.ProcessState != nil:
			r.Fact(path, fmt.Sprintf("%v: %s", cmd.ProcessState, strings.TrimSpace(string(out))))
		default:
			r.Fact(path, attacks.Outcome(err))
		}
	}
}
