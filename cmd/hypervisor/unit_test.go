package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What serve would be told, flags and environment, is what the service tells it.
func TestUnitServesTheSame(t *testing.T) {
	m := newMachine(t)
	m.env = map[string]string{"GILLIAM_ALLOW_NET": "10.0.0.0/8,127.0.0.1/32", "LOGSINK": ""}
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := m.run(t.Context(), "unit", "service", "--state-dir", "state", "--binary", "/bin/sh",
		"--image-dir", "a,b", "--image-dir", "c", "--max-io", "read_bps=1M", "--max-memory", "1G", "--stop-on-exit")
	want := "\nExecStart=:/bin/sh serve --log-sink= --state-dir=" + dir + "/state --image-dir=" + dir + "/a," + dir + "/b," + dir + "/c" +
		" --allow-net=10.0.0.0/8,127.0.0.1/32 --stop-on-exit=true --max-memory=1G --max-io=read_bps=1M\n"
	if status != 0 || !strings.Contains(stdout, want) || !strings.Contains(stdout, "RequiresMountsFor="+dir+"/state\n") {
		t.Errorf("%d %s, want %s in\n%s", status, stderr, want, stdout)
	}
	status, stdout, stderr = m.run(t.Context(), "unit", "socket", "--state-dir", "state", "--port", "0")
	if status != 0 || !strings.Contains(stdout, "\nListenStream="+dir+"/state/hypervisor.sock\n") || strings.Count(stdout, "ListenStream") != 1 {
		t.Errorf("%d %s\n%s", status, stderr, stdout)
	}
}

func TestUnitInstall(t *testing.T) {
	m := newMachine(t)
	dir := t.TempDir()
	install := func(args ...string) (int, string, string) {
		return m.run(t.Context(), append([]string{"unit", "install", "--dir", dir}, args...)...)
	}
	for _, port := range []string{"9000", "9100"} { // units of ours are replaced
		status, stdout, stderr := install("--port", port)
		if status != 0 || !strings.Contains(stdout, "systemctl daemon-reload && systemctl enable --now hypervisor.socket hypervisor.service") {
			t.Fatalf("%d %s %s", status, stdout, stderr)
		}
		for name, want := range map[string]string{"hypervisor.service": "--port=" + port, "hypervisor.socket": "ListenStream=127.0.0.1:" + port} {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s: %v, no %s in\n%s", name, err, want, text)
			}
		}
	}
	theirs := filepath.Join(dir, "hypervisor.service")
	if err := os.WriteFile(theirs, []byte("[Service]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "hypervisor.socket")); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := install(); status != 1 || !strings.Contains(stderr, theirs+" was not made here") {
		t.Errorf("somebody else's unit: %d %s", status, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "hypervisor.socket")); err == nil {
		t.Error("one unit was written without the other")
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--port", "10000"}, 2, "--port: 10000 is in the pool"},
		{[]string{"--binary", "/no/such"}, 1, "name the program with --binary"},
		{[]string{"--binary", dir}, 2, "is not a program"},
	} {
		if status, _, stderr := install(c.args...); status != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: %d %s", c.args, status, stderr)
		}
	}
}
