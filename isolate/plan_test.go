package isolate

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func testHost() Host {
	return Host{
		Kernel: Version{6, 1}, Cgroup: CgroupV2, SwapLimit: true, MaxOpen: 1 << 20, MaxMemlock: 8 << 20,
		UserNS: true, Root: true, Overlay: true, Seccomp: true, Landlock: 6, ResolvConf: "/etc/resolv.conf",
		Thermal:  []string{"/sys/devices/system/cpu/cpu0/thermal_throttle"},
		Resource: true, Inotify: 8192, JITLimit: 256 << 20, MaxPIDs: 1 << 22, IO: true, ReadsFilters: true, Keys: true,
		Disk:     Disk{BlockDevice{254, 0}, WeightBFQ},
		AppArmor: AppArmor{Enabled: true, Profiles: []string{"docker-default"}, Use: "docker-default"},
	}
}

func testSpec() Spec {
	return Spec{
		ID: "0b1c", Hostname: "blog-web.1", Template: "/var/lib/gilliam/template", Lowers: []string{"/layers/b", "/layers/a"},
		Layer: Layer{Upper: "/l/upper", Work: "/l/work"},
		Binds: []Bind{
			{Source: "/cache/x", Target: "/app", IDMapped: true},
			{Source: "/etc/resolv.conf", Target: "/etc/resolv.conf", Replace: true},
			{Source: "/volumes/blog/data", Target: "/app/data", IDMapped: true, Writable: true},
			{Source: "/srv/share/fonts", Target: "/srv/fonts", Within: "/srv/share"},
		},
		Volumes: []Volume{{Image: "/volumes/db/image", Target: "/var/lib/db", Size: 256 << 20}},
		FileSystems: []FileSystem{
			{Type: "squashfs", Image: "/cache/y/image", Target: "/srv/old"},
			{Type: "erofs", Image: "/cache/z/image", Target: "/srv/new"},
		},
		Scratch: []Scratch{{Target: "/app/cache", Size: 8<<20 + 1}},
		Args:    []string{"/bin/bash", "-l", "-c", "./run"}, Env: []string{"PORT=10000"}, Dir: "/app",
		User: User{1000, 1000}, IDs: IDRange{0x70000000, 65536}, Network: NetworkHost,
		Limits: Limits{
			Memory: 256 << 20, Pids: 64, CPU: 1.5, CPUWeight: 50,
			IO:      IOLimits{Weight: 5000, ReadBPS: 10 << 20, WriteIOPS: 200},
			Rlimits: ProcessLimits{Nofile: 4096, Nproc: 32, Fsize: 1 << 30},
		},
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", path, got)
	}
}

func TestPlanGolden(t *testing.T) {
	p, err := NewPlan(testSpec(), testHost())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/plan.txt", p.String())
}

func TestPlanJSON(t *testing.T) {
	p, err := NewPlan(testSpec(), testHost())
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte(`"unknown"`)) {
		t.Error("a step has no JSON of its own")
	}
	golden(t, "testdata/plan.json", string(b)+"\n")
}

// A template in the making is its sandbox's root itself: the plan differs in that
// alone.
func TestPlanTree(t *testing.T) {
	apart, tree := testSpec(), testSpec()
	apart.Lowers, tree.Lowers = nil, nil
	tree.Template, tree.Layer, tree.Tree = "", Layer{}, tree.Template
	want, err := NewPlan(apart, testHost())
	if err != nil {
		t.Fatal(err)
	}
	got, err := NewPlan(tree, testHost())
	if err != nil {
		t.Fatal(err)
	}
	root := BindRoot{Source: "/var/lib/gilliam/template", Flags: NoSuid | NoDev}
	if got.Root != want.Root || got.Steps[0] != Step(root) {
		t.Errorf("root %s: %v", got.Root, got.Steps[0])
	}
	if s := root.String(); s != "bind /var/lib/gilliam/template on / nosuid,nodev (idmapped)" {
		t.Errorf("prints as %q", s)
	}
	if f := got.Facts(testHost()); f["mount /"] != "bind (idmapped) nosuid,nodev" || f["options /"] != "" {
		t.Errorf("facts %q %q", f["mount /"], f["options /"])
	}
	b, err := json.Marshal(got)
	if err != nil || !strings.Contains(string(b), `{"flags":"nosuid,nodev","op":"bind_root","source":"/var/lib/gilliam/template","text":"bind `) {
		t.Errorf("JSON %s %v", b, err)
	}
	got.Steps[0] = want.Steps[0]
	if !reflect.DeepEqual(got, want) {
		t.Errorf("more differs:\n%v", got)
	}
}

func TestPlanDefaults(t *testing.T) {
	s := Spec{
		ID: "a", Template: "/t", Layer: Layer{Upper: "/u", Work: "/w"}, Args: []string{"true"},
		User: User{1, 1}, IDs: IDRange{1 << 20, 10},
	}
	p, err := NewPlan(s, testHost())
	if err != nil {
		t.Fatal(err)
	}
	if p.Hostname != "a" || p.Dir != "/" || p.Network != NetworkNone || p.Cgroup.Memory != DefaultMemory ||
		p.Cgroup.MemorySwap != DefaultMemory || p.Cgroup.Pids != DefaultPids || p.Cgroup.CPUQuota != 0 {
		t.Errorf("defaults: %+v", p)
	}
}

// A layer in an image is mounted first, and its folders are the overlay's.
func TestPlanImage(t *testing.T) {
	s := testSpec()
	s.Layer, s.Limits.Disk = Layer{Image: "/l/0b1c/image"}, 1<<30
	p, err := NewPlan(s, testHost())
	if err != nil {
		t.Fatal(err)
	}
	const want = "mount ext4 /l/0b1c/image on /l/0b1c nosuid,nodev nobarrier,errors=remount-ro (1073741824 bytes, 65664 inodes)"
	root, ok := p.Steps[1].(MountRoot)
	if got := p.Steps[0].String(); got != want || !ok || root.Upper != "/l/0b1c/upper" || root.Work != "/l/0b1c/work" {
		t.Errorf("got %s\n%s", got, p.Steps[1])
	}
	if got := p.Facts(testHost())["disk"]; got != "1073741824 bytes, 65664 inodes" {
		t.Errorf("fact: %s", got)
	}
}

// Something of one's own takes the place of the usual /tmp.
func TestPlanOwnTmp(t *testing.T) {
	s := testSpec()
	s.Scratch = []Scratch{{Target: "/tmp", Exec: true}}
	p, err := NewPlan(s, testHost())
	if err != nil {
		t.Fatal(err)
	}
	want := Mount{"tmpfs", "/tmp", scratch(128 << 20), NoSuid | NoDev}
	var got []Mount
	for _, step := range p.Steps {
		if m, ok := step.(Mount); ok && m.Target == "/tmp" {
			got = append(got, m)
		}
	}
	if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("got %v, want only %v", got, want)
	}
}

// A plan never asks for more than the hypervisor may give: root in a virtual
// machine may lack CAP_SYS_RESOURCE.
func TestPlanFollowsHost(t *testing.T) {
	h := testHost()
	h.SwapLimit, h.MaxOpen, h.MaxMemlock = false, 512, 4096
	s := testSpec()
	s.Limits = Limits{}
	p, err := NewPlan(s, h)
	if err != nil {
		t.Fatal(err)
	}
	if p.Cgroup.MemorySwap != 0 {
		t.Errorf("swap limit %d on a host that has none", p.Cgroup.MemorySwap)
	}
	for _, r := range p.Rlimits {
		if r.Name == "nofile" && r.Hard != 512 || r.Name == "memlock" && r.Hard != 4096 || r.Soft > r.Hard {
			t.Errorf("%+v", r)
		}
	}
}

func manyLowers(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = "/layers/" + strconv.Itoa(i)
	}
	return all
}

func TestVersionBefore(t *testing.T) {
	for _, c := range []struct {
		a, b Version
		want bool
	}{
		{Version{5, 18}, Version{5, 19}, true}, {Version{5, 19}, Version{5, 19}, false},
		{Version{6, 1}, Version{5, 19}, false}, {Version{4, 20}, Version{5, 19}, true},
	} {
		if got := c.a.Before(c.b); got != c.want {
			t.Errorf("%v before %v: %v", c.a, c.b, got)
		}
	}
}

// The pure half makes no system call and reads nothing: this is what keeps it so.
func TestPlanImportsNothingWithEffects(t *testing.T) {
	for _, file := range []string{"plan.go", "apparmor.go", "cgroup.go", "limits.go", "policy.go", "facts.go", "steps.go", "mounts.go", "volume.go", "layout.go", "rlimits.go", "spec.go", "validate.go", "host.go", "remarks.go", "seccomp.go", "bpf.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			switch path {
			case "os", "os/exec", "net", "syscall", "golang.org/x/sys/unix":
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}

// Nothing of a plan is shared with the spec or with another plan.
func TestPlanOwnsItsData(t *testing.T) {
	s := testSpec()
	a, _ := NewPlan(s, testHost())
	b, _ := NewPlan(s, testHost())
	a.Args[0], a.Env[0], a.Masked[0], a.Cgroup.Devices[0].Major = "x", "x", "x", 99
	if c, _ := NewPlan(s, testHost()); !reflect.DeepEqual(b, c) {
		t.Error("changing one plan changed the next")
	}
}
