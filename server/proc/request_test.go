package proc

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gilliam/hypervisor/isolate"
)

func good() Request {
	return Request{App: "blog", Name: "web.1", Command: Shell("./run"), Config: map[string]string{"A": "b"}}
}

func volume(target string) Mount { return Mount{Type: "volume", Source: "data", Target: target} }

// Nothing is mounted where it would hide, or lead to, what is not the proc's.
func TestMountTargets(t *testing.T) {
	for _, target := range []string{
		"", "/", "data", "./data", "/a/../b", "/a/", "//a", "/a\x00", "/a\n", "/proc", "/proc/1", "/sys/fs/cgroup", "/dev", "/dev/shm", "/dev/shm/x",
		"/etc", "/etc/hosts", "/etc/resolv.conf", "/etc/hosts/x", "/" + strings.Repeat("a", 1024),
	} {
		r := good()
		r.Mounts = []Mount{volume(target)}
		var field *FieldError
		if err := r.check(); !errors.As(err, &field) || field.Field != "mounts[0].target" {
			t.Errorf("%q: %v", target, err)
		}
	}
	for _, target := range []string{"/data", "/app", "/app/data", "/tmp", "/tmp/x", "/var/lib/x", "/procs", "/etc/hosts.d", "/etc/ssl/certs", "/devices", "/a b", "/ä"} {
		r := good()
		r.Mounts = []Mount{volume(target), {Type: "tmpfs", Target: "/other"}, {Type: "bind", Source: "/srv", Target: "/third", ReadOnly: true}}
		if err := r.check(); err != nil {
			t.Errorf("%q: %v", target, err)
		}
	}
}

func TestRequestChecks(t *testing.T) {
	if err := good().check(); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 128<<10)
	for _, c := range []struct {
		field string
		spoil func(*Request)
	}{
		{"app", func(r *Request) { r.App = "" }},
		{"app", func(r *Request) { r.App = "../x" }},
		{"app", func(r *Request) { r.App = "-rf" }},
		{"app", func(r *Request) { r.App = "a b" }},
		{"app", func(r *Request) { r.App = "é" }},
		{"app", func(r *Request) { r.App = "a\n" }},
		{"name", func(r *Request) { r.Name = "" }},
		{"name", func(r *Request) { r.Name = "a/b" }},
		{"name", func(r *Request) { r.Name = strings.Repeat("n", 60) }},
		{"command", func(r *Request) { r.Command = Command{} }},
		{"command", func(r *Request) { r.Command = Exec() }},
		{"command", func(r *Request) { r.Command = Exec("", "x") }},
		{"command", func(r *Request) { r.Command = Exec("a\x00") }},
		{"command", func(r *Request) { r.Command = Shell(long) }},
		{"command", func(r *Request) { r.Command = Exec(slices.Repeat([]string{long[:100<<10]}, 11)...) }},
		{"config", func(r *Request) { r.Config = map[string]string{"": "x"} }},
		{"config", func(r *Request) { r.Config = map[string]string{"A=B": "x"} }},
		{"config.A", func(r *Request) { r.Config = map[string]string{"A": "\x00"} }},
		{"config.A", func(r *Request) { r.Config = map[string]string{"A": long} }},
		{"callback", func(r *Request) { r.Callback = "ftp://x/" }},
		{"callback", func(r *Request) { r.Callback = "http:///x" }},
		{"callback", func(r *Request) { r.Callback = "http://u:p@x/" }},
		{"callback", func(r *Request) { r.Callback = "://" }},
		{"callback", func(r *Request) { r.Callback = "http://h/" + long }},
		{"callback_secret", func(r *Request) { r.CallbackSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }}, // nothing to sign
		{"callback_secret", func(r *Request) { r.Callback, r.CallbackSecret = "http://h/", "password" }},
		{"network", func(r *Request) { r.Network = "bridge" }},
		{"mounts", func(r *Request) { r.Mounts = slices.Repeat([]Mount{{Type: "tmpfs", Target: "/x"}}, 33) }},
		{"mounts[1].type", func(r *Request) { r.Mounts = []Mount{volume("/a"), {Source: "data", Target: "/b"}} }},
		{"mounts[0].type", func(r *Request) { r.Mounts = []Mount{{Type: "overlay", Target: "/b"}} }},
		{"mounts[0].source", func(r *Request) { r.Mounts = []Mount{{Type: "volume", Target: "/data"}} }},
		{"mounts[0].source", func(r *Request) { r.Mounts = []Mount{{Type: "volume", Source: "../x", Target: "/data"}} }},
		{"mounts[0].source", func(r *Request) { r.Mounts = []Mount{{Type: "volume", Source: "/srv", Target: "/data"}} }},
		{"mounts[0].size", func(r *Request) { r.Mounts = []Mount{{Type: "volume", Source: "data", Target: "/data", Size: 1 << 19}} }},
		{"mounts[0].exec", func(r *Request) { r.Mounts = []Mount{{Type: "volume", Source: "data", Target: "/data", Exec: true}} }},
		{"mounts[0].readonly", func(r *Request) { r.Mounts = []Mount{{Type: "bind", Source: "/srv", Target: "/data"}} }},
		{"mounts[0].size", func(r *Request) {
			r.Mounts = []Mount{{Type: "bind", Source: "/srv", Target: "/data", ReadOnly: true, Size: 1 << 20}}
		}},
		{"mounts[0].source", func(r *Request) { r.Mounts = []Mount{{Type: "tmpfs", Source: "x", Target: "/x"}} }},
		{"mounts[0].readonly", func(r *Request) { r.Mounts = []Mount{{Type: "tmpfs", Target: "/x", ReadOnly: true}} }},
		{"mounts[0].size", func(r *Request) { r.Mounts = []Mount{{Type: "tmpfs", Target: "/x", Size: -1}} }},
		{"mounts[0].size", func(r *Request) { r.Mounts = []Mount{{Type: "tmpfs", Target: "/x", Size: 4096}} }},
		{"mounts[0].size", func(r *Request) { r.Mounts = []Mount{{Type: "tmpfs", Target: "/x", Size: 1<<30 + 1}} }},
		{"mounts[0].size", func(r *Request) {
			r.Mounts, r.Limits.Memory = []Mount{{Type: "tmpfs", Target: "/x", Size: 33 << 20}}, 32<<20
		}},
		{"mounts[0].target", func(r *Request) { r.Mounts, r.Image = []Mount{volume("/app")}, "https://example.com/a.tar.gz" }},
		{"mounts[1].target", func(r *Request) { r.Mounts = []Mount{volume("/a"), volume("/a")} }},
		{"mounts[1].target", func(r *Request) { r.Mounts = []Mount{volume("/a"), volume("/a/b")} }},
		{"mounts[1].target", func(r *Request) { r.Mounts = []Mount{volume("/a/b"), volume("/a")} }},
		{"limits.memory", func(r *Request) { r.Limits.Memory = -1 }},
		{"limits.memory", func(r *Request) { r.Limits.Memory = 1 }},
		{"limits.memory", func(r *Request) { r.Limits.Memory = math.MaxInt64 }},
		{"limits.pids", func(r *Request) { r.Limits.Pids = -1 }},
		{"limits.pids", func(r *Request) { r.Limits.Pids = math.MaxInt64 }},
		{"limits.cpu", func(r *Request) { r.Limits.CPU = -1 }},
		{"limits.cpu", func(r *Request) { r.Limits.CPU = 1e-9 }},
		{"limits.cpu", func(r *Request) { r.Limits.CPU = math.Inf(1) }},
		{"limits.cpu_weight", func(r *Request) { r.Limits.CPUWeight = 10001 }},
		{"limits.io.weight", func(r *Request) { r.Limits.IO.Weight = -1 }},
		{"limits.io.read_bps", func(r *Request) { r.Limits.IO.ReadBPS = 1 }},
		{"limits.io.write_iops", func(r *Request) { r.Limits.IO.WriteIOPS = -1 }},
		{"limits.rlimits.nofile", func(r *Request) { r.Limits.Rlimits.Nofile = 1 }},
		{"limits.rlimits.nproc", func(r *Request) { r.Limits.Rlimits.Nproc = 513 }},
	} {
		r := good()
		c.spoil(&r)
		err := r.check()
		var field *FieldError
		if !errors.As(err, &field) || field.Field != c.field || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", c.field, err)
		}
	}
}

func TestCommandJSON(t *testing.T) {
	for _, c := range []struct {
		in   string
		args []string
	}{
		{`"./run --fast"`, []string{"/bin/bash", "-l", "-c", "./run --fast"}},
		{`["/bin/true","a b"]`, []string{"/bin/true", "a b"}},
	} {
		var got Command
		if err := json.Unmarshal([]byte(c.in), &got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Args(), c.args) {
			t.Errorf("%s: %q", c.in, got.Args())
		}
		if out, err := json.Marshal(got); err != nil || string(out) != c.in {
			t.Errorf("%s became %s, %v", c.in, out, err)
		}
	}
	for _, in := range []string{`7`, `{"a":1}`, `[1]`, `true`} {
		var got Command
		var field *FieldError
		if err := json.Unmarshal([]byte(in), &got); !errors.As(err, &field) || field.Field != "command" {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// The names of the engine's fields become those of the API's.
func TestSnake(t *testing.T) {
	for name, want := range map[string]string{
		"Limits.IO.ReadBPS": "limits.io.read_bps", "Limits.CPUWeight": "limits.cpu_weight", "Limits.CPU": "limits.cpu",
		"Limits.Rlimits.Nofile": "limits.rlimits.nofile", "Capabilities": "capabilities", "": "",
	} {
		if got := snake(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	// Whatever a limit is called in an error, the API takes it by that name.
	var asked Request
	text := `{"limits":{"cpu_weight":1,"io":{"weight":2,"read_bps":3,"write_bps":4,"read_iops":5,"write_iops":6},"rlimits":{"nofile":7,"nproc":8,"memlock":9,"fsize":10}}}`
	if err := json.Unmarshal([]byte(text), &asked); err != nil {
		t.Fatal(err)
	}
	want := Limits{CPUWeight: 1, IO: isolate.IOLimits{Weight: 2, ReadBPS: 3, WriteBPS: 4, ReadIOPS: 5, WriteIOPS: 6},
		Rlimits: isolate.ProcessLimits{Nofile: 7, Nproc: 8, Memlock: 9, Fsize: 10}}
	if asked.Limits != want {
		t.Errorf("got %+v", asked.Limits)
	}
}

func TestEnvironment(t *testing.T) {
	config := map[string]string{"PORT": "1", "HOST": "evil", "HOME": "/root", "A": "b=c"}
	merged := mergeConfig(config, 10000, "node.example")
	if config["PORT"] != "1" {
		t.Error("the client's config was changed")
	}
	got := environment([]string{"A=image", "B=image", "PATH=/image", "HOME=/image"}, merged, "/app")
	want := []string{"A=b=c", "B=image", "HOME=/app", "HOST=node.example", "PATH=/image", "PORT=10000"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := environment(nil, map[string]string{"PATH": "/x"}, "/app"); !slices.Contains(got, "PATH=/x") {
		t.Errorf("the app's own PATH: %q", got)
	}
	if got := environment(nil, nil, "/app"); !slices.Contains(got, "PATH="+defaultPath) {
		t.Errorf("no PATH: %q", got)
	}
}

// FuzzCommand makes sure that what a client sends as a command is refused or
// means the same when it is read back.
func FuzzCommand(f *testing.F) {
	f.Add([]byte(`"a"`))
	f.Add([]byte(`["a","b"]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Command
		if json.Unmarshal(b, &c) != nil {
			return
		}
		out, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var again Command
		if err := json.Unmarshal(out, &again); err != nil || !slices.Equal(c.Args(), again.Args()) {
			t.Errorf("%q became %q, %v", c.Args(), again.Args(), err)
		}
	})
}

func TestRequestPolicy(t *testing.T) {
	loose := isolate.Policy{Capabilities: []string{"CAP_LEASE"}, Root: true, Seccomp: true, Max: isolate.Limits{Memory: 1 << 30}}
	for _, c := range []struct {
		field  string
		policy isolate.Policy
		ask    func(*Request)
	}{
		{"", isolate.Policy{}, func(*Request) {}},
		{"", loose, func(r *Request) { r.Capabilities = []string{"CAP_LEASE"} }},
		{"", loose, func(r *Request) { r.User = "root" }},
		{"", loose, func(r *Request) { r.User, r.Capabilities = "root", []string{"CAP_CHOWN"} }},
		{"", loose, func(r *Request) { r.Seccomp = &specs.LinuxSeccomp{} }},
		{"capabilities", isolate.Policy{}, func(r *Request) { r.Capabilities = []string{"CAP_LEASE"} }},
		{"capabilities", loose, func(r *Request) { r.Capabilities = []string{"CAP_CHOWN"} }},
		{"capabilities", loose, func(r *Request) { r.Capabilities = []string{"lease"} }},
		{"user", isolate.Policy{}, func(r *Request) { r.User = "root" }},
		{"seccomp", isolate.Policy{}, func(r *Request) { r.Seccomp = &specs.LinuxSeccomp{} }},
		{"limits.memory", loose, func(r *Request) { r.Limits.Memory = 2 << 30 }},
		{"limits.cpu_weight", loose, func(r *Request) { r.Limits.CPUWeight = 200 }},
		{"limits.rlimits.memlock", loose, func(r *Request) { r.Limits.Rlimits.Memlock = 1 << 20 }},
	} {
		r := good()
		c.ask(&r)
		err := r.allowed(c.policy)
		var field *FieldError
		if c.field == "" && err != nil || c.field != "" && (!errors.As(err, &field) || field.Field != c.field) {
			t.Errorf("%s: %v", c.field, err)
		}
	}
	for _, user := range []string{"0", "gilliam", "Root", "4294967296", "-1", "1000:0", "007", "１", "root "} {
		r := good()
		r.User = user
		var field *FieldError
		if err := r.allowed(loose); !errors.As(err, &field) || field.Field != "user" {
			t.Errorf("user %q: %v", user, err)
		}
	}
}
