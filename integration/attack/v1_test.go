//go:build integration

package attack

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// v1Key is the environment variable by which this program is told that it is run by
// TestV1Alone.
const v1Key = "GILLIAM_TEST_V1"

// T53, T54, T62 where there is no cgroup v2, not even beside v1: nothing is killed by
// cgroup.kill. The attacks are made once more where its hierarchy is not mounted.
func TestV1Alone(t *testing.T) {
	if testbed.Engine(t).Host().Cgroup == isolate.CgroupV2 {
		return // this machine has nothing else
	}
	testbed.Leaves(t)
	const again = "^(TestForkBomb|TestStubborn|TestZombies|TestMemory)$"
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "/bin/sh", "-c",
		`grep " - cgroup2 " /proc/self/mountinfo | while read -r _ _ _ _ at _; do umount -l "$at" || exit; done
		exec "$0" -test.run "$1" -test.v`, os.Args[0], again)
	cmd.Env = append(os.Environ(), v1Key+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "\n--- PASS: "); n != 4 {
		t.Errorf("%d tests passed:\n%s", n, out)
	}
	if on := string(isolate.CgroupV1); !strings.Contains(string(out), "cgroup "+on+"\n") {
		t.Errorf("they did not run on %s:\n%s", on, out)
	}
}
