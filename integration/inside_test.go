//go:build integration

package integration

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server/proc"
)

// What a proc of the real daemon finds when it looks around itself is what the
// design says. The engine's own tests look closer.
func TestInside(t *testing.T) {
	resolv, err := os.ReadFile("/etc/resolv.conf")
	must(t, err)
	images := serveImages(t, map[string][]byte{"app.tar.gz": pack(t, file{name: "hello", content: "hello"})})
	d := serve(t)
	for name, c := range map[string]struct {
		command string
		want    string // a regular expression of the whole output
	}{
		"id": {"id", `uid=1000\(gilliam\) gid=1000\(gilliam\) groups=1000\(gilliam\)\n`},
		"status": {"grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status",
			`CapInh:\t0+\nCapPrm:\t0+\nCapEff:\t0+\nCapBnd:\t0+\nCapAmb:\t0+\nNoNewPrivs:\t1\nSeccomp:\t2\n`},
		"ids": {"cat /proc/self/uid_map /proc/self/gid_map | while read -r inside outside n; do echo $inside $n $((outside >= 0x70000000 && outside % 65536 == 0)); done",
			`(0 65536 1\n){2}`},
		"processes":             {"ps -e -o pid=,user=,comm= --sort pid; true", ` +1 root +sandbox-init\n +\d+ gilliam +bash\n +\d+ gilliam +ps\n`},
		"app":                   {"grep ' /app ' /proc/self/mountinfo | cut -d' ' -f6", `ro,nosuid,nodev\b.*\n`},
		"root":                  {"while read -r _ _ _ _ at flags rest; do [ $at = / ] && echo $flags ${rest##*- }; done </proc/self/mountinfo; true", `rw,nosuid,nodev\S* overlay .*\n`},
		"resolver":              {"cat /etc/resolv.conf", regexp.QuoteMeta(string(resolv))},
		"processes of the host": {fmt.Sprintf("kill -0 %d 2>&1", os.Getpid()), `.*No such process\n`},
		"limits":                {"ulimit -c; ulimit -n; ulimit -u; cat /proc/self/oom_score_adj", `0\n1024\n512\n200\n`},
		"environment of PID 1":  {"cat /proc/1/environ 2>&1", `.*Permission denied\n`},
		"descriptors":           {"ls -l /proc/self/fd | grep -c -e socket: -e /var -e /tmp", `0\n`},
		"state of the daemon":   {"ls " + d.stateDir + " " + *hypervisor + " /var/lib/gilliam 2>&1 | grep -vc 'No such file'", `0\n`},
	} {
		t.Run(name, func(t *testing.T) {
			d := d.in(t)
			p := d.run(proc.Request{Image: images + "app.tar.gz", Command: proc.Shell(c.command)})
			if got := d.output(p.ID); !regexp.MustCompile(`^(?:` + c.want + `)$`).MatchString(got) {
				t.Errorf("%s: got\n%s\nwant\n%s", c.command, got, c.want)
			}
		})
	}
}

// What one proc writes no other finds, and none sees another's processes.
func TestProcsShareNothing(t *testing.T) {
	d := serve(t)
	first := d.create(proc.Request{Name: "first", Command: proc.Shell("echo secret | tee /tmp/x /var/tmp/x /dev/shm/x; exec sleep 1000")})
	d.follow(first.ID).until("stdout: secret")
	p := d.run(proc.Request{Name: "second", Command: proc.Shell("cat /tmp/x /var/tmp/x /dev/shm/x; ls /tmp /var/tmp /dev/shm; ps -e | grep -c sleep")})
	if got, want := d.output(p.ID), "/dev/shm:\n\n/tmp:\n\n/var/tmp:\n0\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := strings.Count(strings.Join(d.logs(p.ID, ""), "\n"), "No such file"); got != 3 {
		t.Errorf("got %d files that are not there, want 3", got)
	}
}
