package main

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// grow tells hard resource limits, and raises each. The arguments are name=NUMBER
// of resources.
func grow(r *attacks.Report, args []string) {
	for _, arg := range args {
		name, number, _ := strings.Cut(arg, "=")
		resource, err := strconv.Atoi(number)
		if err != nil {
			attacks.Fatal(err)
		}
		var limit unix.Rlimit
		if err := unix.Prlimit(0, resource, nil, &limit); err != nil {
			attacks.Fatal(err)
		}
		r.Fact("hard "+name, limit.Max)
		limit.Max++
		r.Try("raise "+name, unix.Prlimit(0, resource, &limit, nil))
	}
	limit := unix.Rlimit{Cur: 1, Max: 1}
	r.Try("limit PID 1", unix.Prlimit(1, unix.RLIMIT_NOFILE, &limit, nil))
}

// hoard takes as many MiB of memory as its argument says.
func hoard(r *attacks.Report, args []string) {
	size, err := strconv.Atoi(args[0])
	if err != nil {
		attacks.Fatal(err)
	}
	r.Try("take "+args[0]+" MiB", attacks.Anonymous(size<<20))
}

// burn takes all of a CPU.
func burn(r *attacks.Report, _ []string) {
	r.Print()
	for {
		_ = fmt.Sprint(r)
	}
}
