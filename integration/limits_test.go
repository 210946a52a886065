//go:build integration

package integration

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server"
)

// Limits by the CLI and the API: what the operator allows reaches the kernel, and
// everything else is refused by its name when the proc is asked for.
func TestLimits(t *testing.T) {
	d := serve(t, "--max-cpu-weight", "500", "--max-rlimit", "nofile=2048,fsize=64M", "--max-io", "write_bps=8M")
	within := []string{"--rlimit", "nofile=2000,nproc=20,fsize=32M", "--cpu-weight", "300", "--io", "write_bps=4M,read_iops=5000"}
	run := func(args ...string) result { return d.cli(t, "run", slices.Concat(within, args)...) }
	r := run("--rm", "--shell", "ulimit -n; ulimit -Hn; ulimit -u; ulimit -f")
	if r.code != 0 || r.stdout != "2000\n2000\n20\n32768\n" {
		t.Errorf("got %+v", r)
	}
	r = run("--dry-run", "true")
	for _, want := range []string{"cpu.weight=300", "wbps=4194304 riops=5000", "rlimit nofile 2000:2000", "rlimit fsize 33554432:33554432"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in the plan:\n%s", want, r.stdout)
		}
	}
	id := strings.TrimSpace(run("--detach", "--shell", "echo up; exec sleep 1000").stdout)
	d.follow(id).until("stdout: up")
	if r := d.cli(t, "inspect", "--verify", id); r.code != 0 {
		t.Errorf("verify: %+v", r)
	}
	d.remove(id)

	const rlimits = `"rlimits":{"fsize":33554432,"nofile":2048}`
	for field, limits := range map[string]string{
		"limits.rlimits.fsize":  `"rlimits":{"nofile":2048},"io":{"write_bps":4194304}`,
		"limits.rlimits.nofile": `"rlimits":{"fsize":33554432,"nofile":2049},"io":{"write_bps":4194304}`,
		"limits.io.write_bps":   rlimits,
		"limits.io.read_bps":    rlimits + `,"io":{"write_bps":4194304,"read_bps":1}`,
		"limits.io.weight":      rlimits + `,"io":{"write_bps":4194304,"weight":200}`,
		"limits.cpu_weight":     rlimits + `,"io":{"write_bps":4194304},"cpu_weight":501`,
		"limits.cpu_waight":     rlimits + `,"io":{"write_bps":4194304},"cpu_waight":1`,
	} {
		body := json.RawMessage(`{"app":"blog","name":"web.1","command":["true"],"limits":{` + limits + `}}`)
		var problem server.Problem
		d.want(http.StatusBadRequest, http.MethodPost, "/v1/procs", body, &problem)
		if problem.Field != field || problem.Detail == "" {
			t.Errorf("%s: got %+v", field, problem)
		}
	}
}
