//go:build integration

package isolate_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// These tests look at a sandbox from inside.

func TestInsideIdentity(t *testing.T) {
	got := output(t, `id; cat /proc/self/uid_map /proc/self/gid_map; hostname; pwd; tr '\0' '\n' </proc/$$/environ; umask`)
	mapping := fmt.Sprintf("         0 %10d      65536\n", ids.Base)
	want := "uid=1000(gilliam) gid=1000(gilliam) groups=1000(gilliam)\n" + mapping + mapping + "blog-web\n/app\nHOME=/app\n0022\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestInsideStatus(t *testing.T) {
	for _, who := range []string{"self", "1"} {
		// Go blocks a thread's signals for the moment in which it starts another one.
		got := output(t, `while grep -q '^SigBlk:.*fff' /proc/`+who+`/status; do :; done; grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigIgn|SigBlk)' /proc/`+who+`/status`)
		want := map[string]string{
			"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
			"CapBnd": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1",
			"Seccomp": "2", "Seccomp_filters": "1", "Groups": "", "Uid": "1000\t1000\t1000\t1000", "Gid": "1000\t1000\t1000\t1000",
			"SigIgn": "0000000000000000", "SigBlk": "0000000000000000",
		}
		if who == "1" { // setuid, setgid and kill in its own user namespace
			want["CapPrm"], want["CapEff"] = "00000000000000e0", "00000000000000e0"
			want["Uid"], want["Gid"] = "0\t0\t0\t0", "0\t0\t0\t0"
			delete(want, "SigIgn")
		}
		for line := range strings.Lines(got) {
			key, value, _ := strings.Cut(line, ":")
			if w, ok := want[key]; ok && w != strings.TrimSpace(value) {
				t.Errorf("/proc/%s %s: got %q, want %q", who, key, strings.TrimSpace(value), w)
			}
			delete(want, key)
		}
		if len(want) > 0 {
			t.Errorf("/proc/%s lacks %v", who, want)
		}
	}
}

// Every thread of PID 1 is as poor as its first.
func TestInsideInitThreads(t *testing.T) {
	got := output(t, `for t in /proc/1/task/*/status; do grep -E '^(CapPrm|CapEff|NoNewPrivs|Seccomp):' $t; done | sort | uniq -c`)
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 4 {
		t.Errorf("threads differ:\n%s", got)
	}
	for _, want := range []string{"CapPrm:\t00000000000000e0", "CapEff:\t00000000000000e0", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestInsideProcesses(t *testing.T) {
	got := output(t, `ps -e -o user=,comm= --sort pid`)
	want := []string{"root sandbox-init", "gilliam ps"}
	var lines []string
	for line := range strings.Lines(got) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

// PID 1 is not to be looked into, traced or signalled to death by the app.
func TestInsideInitIsClosed(t *testing.T) {
	got := output(t, `for f in environ maps mem fd cwd root exe; do
		[ -r /proc/1/$f ] && cat /proc/1/$f >/dev/null 2>&1 && echo "read $f"; readlink /proc/1/$f
	done; ls /proc/1/fd /proc/1/task/1/fd 2>/dev/null; kill -9 1 2>/dev/null && echo killed; echo end`)
	if got != "end\n" {
		t.Errorf("got %s", got)
	}
}

func TestInsideMounts(t *testing.T) {
	got := output(t, "cat /proc/self/mountinfo")
	for line := range strings.Lines(got) {
		f := strings.Fields(line)
		target, flags := f[4], strings.Split(f[5], ",")
		if strings.Contains(line, "shared:") || strings.Contains(line, "master:") {
			t.Errorf("not private: %s", line)
		}
		for _, flag := range mountFlags(target) {
			if !slices.Contains(flags, flag) {
				t.Errorf("%s lacks %s: %s", target, flag, line)
			}
		}
	}
	for _, target := range []string{"/", "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/tmp", "/proc/sys", "/proc/kallsyms"} {
		if !strings.Contains(got, " "+target+" ") {
			t.Errorf("%s is not mounted", target)
		}
	}
}

func mountFlags(target string) []string {
	switch {
	case target == "/" || target == "/tmp":
		return []string{"nosuid", "nodev"}
	case target == "/dev":
		return []string{"ro", "nosuid", "noexec"}
	case target == "/dev/pts":
		return []string{"nosuid", "noexec"}
	case target == "/proc" || target == "/dev/shm" || target == "/dev/mqueue":
		return []string{"nosuid", "nodev", "noexec"}
	}
	return []string{"ro", "nosuid"} // /sys, masks, and what is read-only
}

func TestInsideDev(t *testing.T) {
	got := output(t, `ls /dev | tr '\n' ' '; echo; stat -c '%n %t:%T %a' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty
		readlink /dev/ptmx /dev/fd /dev/stdin; head -c 2 /dev/zero | wc -c; echo x >/dev/null; (echo x >/dev/full) 2>&1 | grep -o 'No space.*'
		echo out >/dev/stdout; echo err >/dev/stderr; touch /dev/x 2>&1 | grep -o Read-only.*; mknod /tmp/m c 1 3 2>&1 | grep -o 'Operation.*'; true`)
	want := `fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 
/dev/null 1:3 666
/dev/zero 1:5 666
/dev/full 1:7 666
/dev/random 1:8 666
/dev/urandom 1:9 666
/dev/tty 5:0 666
pts/ptmx
/proc/self/fd
/proc/self/fd/0
2
No space left on device
out
err
Read-only file system
Operation not permitted
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestInsideDescriptors(t *testing.T) {
	// Python opens the folder itself as 3 and lists that too.
	const look = `import os
print(sorted(os.listdir("/proc/self/fd"), key=int))
print([os.readlink("/proc/self/fd/%d" % n).rstrip("0123456789]") for n in range(3)], os.getcwd())`
	r, err := launch(t, testbed.Engine(t), spec(t, "/usr/bin/python3", "-c", look))
	must(t, err)
	got, _ := r.finish(t)
	if want := "['0', '1', '2', '3']\n['/dev/null', 'pipe:[', 'pipe:['] /app\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestInsideMasks(t *testing.T) {
	got := output(t, `for f in /proc/kallsyms /proc/keys /proc/timer_list /proc/interrupts /proc/iomem /proc/kcore; do
		[ -e $f ] && { stat -c '%t:%T' $f; cat $f 2>/dev/null; }; done | sort -u
	for d in /proc/acpi /proc/scsi /sys/firmware /sys/kernel/debug /sys/kernel/security /sys/fs/bpf; do ls -A $d 2>/dev/null; touch $d/x 2>/dev/null && echo wrote; done
	for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/vm/drop_caches /proc/sys/kernel/modprobe /sys/kernel/mm/ksm/run /proc/sys/net/ipv4/ip_forward; do
		(echo 1 >$f) 2>/dev/null && echo wrote $f; done
	find /sys/fs/cgroup -mindepth 1 -writable 2>/dev/null | head -3; find /sys/fs/cgroup -name release_agent; cat /proc/self/cgroup | cut -d: -f3 | sort -u`)
	if want := "1:3\n/\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestInsideLimits(t *testing.T) {
	got := output(t, `cat /proc/self/limits; cat /proc/self/oom_score_adj; (echo -500 >/proc/self/oom_score_adj) 2>&1 | grep -o 'Perm.*'`)
	for _, want := range []string{
		`Max core file size +1 +1`, `Max open files +1024 +\d+`, `Max locked memory +65536 +65536`,
		`Max processes +512 +512`, `Max pending signals +1024 +1024`, `Max msgqueue size +163840 +163840`,
		`Max nice priority +0 +0`, `Max realtime priority +0 +0`, `(?m)^200$`, `Permission denied`,
	} {
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// The network of its own has loopback, up, and nothing else.
func TestInsideNetworkNone(t *testing.T) {
	got := output(t, `ls /sys/class/net; cat /sys/class/net/lo/operstate; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '`)
	if want := "lo\nunknown\nlo\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	host, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if got := output(t, "readlink /proc/self/ns/net"); strings.TrimSpace(got) == host {
		t.Error("the sandbox is in the host's network namespace")
	}
}

func TestInsideNamespaces(t *testing.T) {
	got := output(t, "for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done")
	for _, ns := range strings.Fields(got) {
		name, _, _ := strings.Cut(ns, ":")
		host, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if ns == host {
			t.Errorf("shares %s with the host", ns)
		}
	}
}

// Binds are read-only, and idmapped ones show the host's root as root.
func TestInsideBinds(t *testing.T) {
	dir := t.TempDir()
	app, conf := filepath.Join(dir, "app"), filepath.Join(dir, "conf")
	must(t, os.MkdirAll(app, 0o755))
	must(t, os.WriteFile(filepath.Join(app, "run"), []byte("#!/bin/sh\necho ran\n"), 0o755))
	must(t, os.WriteFile(conf, []byte("nameserver 127.0.0.1\n"), 0o644))
	s := spec(t, sh(`./run; stat -c '%U %n' /app/run /etc/resolv.conf /new/deep/conf; cat /new/deep/conf; touch /app/x 2>&1 | grep -o Read-only.*; (echo >/etc/resolv.conf) 2>&1 | grep -o 'Perm.*\|Read-only.*'; ls -ld /app | cut -c1-10`)...)
	s.Binds = []isolate.Bind{
		{Source: app, Target: "/app", IDMapped: true},
		{Source: conf, Target: "/etc/resolv.conf"},
		{Source: conf, Target: "/new/deep/conf", IDMapped: true},
	}
	r, err := launch(t, testbed.Engine(t), s)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := r.finish(t)
	want := "ran\nroot /app/run\nnobody /etc/resolv.conf\nroot /new/deep/conf\nnameserver 127.0.0.1\nRead-only file system\nRead-only file system\ndrwxr-xr-x\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A sandbox on the host's network does not reach the abstract sockets of the host
// where the kernel can scope them, and does where it is left out of the plan.
func TestInsideAbstractSockets(t *testing.T) {
	const name = "@gilliam-test-abstract"
	host, err := net.Listen("unix", name)
	must(t, err)
	defer host.Close()
	const connect = `import socket
s = socket.socket(socket.AF_UNIX)
try: s.connect("\0gilliam-test-abstract"); print("connected")
except PermissionError: print("refused")
own = socket.socket(socket.AF_UNIX); own.bind("\0gilliam-test-own"); own.listen()
socket.socket(socket.AF_UNIX).connect("\0gilliam-test-own"); print("own")`
	e := testbed.Engine(t)
	for _, scoped := range []bool{e.Host().Landlock >= 6, false} {
		s := spec(t, "/usr/bin/python3", "-c", connect)
		s.Network = isolate.NetworkHost
		plan, err := isolate.NewPlan(s, e.Host())
		must(t, err)
		plan.Scoped = scoped
		r, err := launchPlan(t, e, plan)
		must(t, err)
		want := "connected\nown\n"
		if scoped {
			want = "refused\nown\n"
		}
		if got, _ := r.finish(t); got != want {
			t.Errorf("scoped %v: got %q", scoped, got)
		}
	}
}
