package isolate

import (
	"errors"
	"strings"
	"testing"
)

// A limit that this host cannot enforce is refused and named, never left out.
func TestLimitsNotEnforceable(t *testing.T) {
	for _, c := range []struct {
		field, why string
		spoil      func(*Host)
		ask        Limits
	}{
		{"Limits.IO.ReadBPS", "no io controller", func(h *Host) { h.IO = false }, Limits{IO: IOLimits{ReadBPS: 1 << 20}}},
		{"Limits.IO.WriteBPS", "no single disk", func(h *Host) { h.Disk = Disk{} }, Limits{IO: IOLimits{WriteBPS: 1 << 20}}},
		{"Limits.IO.ReadIOPS", "no single disk", func(h *Host) { h.Disk = Disk{} }, Limits{IO: IOLimits{ReadIOPS: 9}}},
		{"Limits.IO.WriteIOPS", "no io controller", func(h *Host) { h.IO = false }, Limits{IO: IOLimits{WriteIOPS: 9}}},
		{"Limits.IO.Weight", "scheduler bfq", func(h *Host) { h.Disk.Weight = "" }, Limits{IO: IOLimits{Weight: 9}}},
		{"Limits.IO.Weight", "scheduler bfq", func(h *Host) { h.IO = false }, Limits{IO: IOLimits{Weight: 9}}},
		{"Limits.Disk", "no loop devices", func(h *Host) { h.NoDiskLimit = "no loop devices" }, Limits{Disk: 1 << 20}},
		{"Limits.Rlimits.Nofile", "limit of 512", func(h *Host) { h.MaxOpen = 512 }, Limits{Rlimits: ProcessLimits{Nofile: 513}}},
		{"Limits.Rlimits.Memlock", "limit of 512", func(h *Host) { h.MaxMemlock, h.Resource = 512, false }, Limits{Rlimits: ProcessLimits{Memlock: 513}}},
	} {
		s, h := testSpec(), testHost()
		s.Limits, s.Volumes = c.ask, nil
		folders := s.Layer
		if c.ask.Disk > 0 {
			s.Layer = Layer{Image: "/l/image"}
		}
		if _, err := NewPlan(s, h); err != nil {
			t.Errorf("%s where it can be: %v", c.field, err)
		}
		c.spoil(&h)
		_, err := NewPlan(s, h)
		var spec *SpecError
		if !errors.As(err, &spec) || spec.Field != c.field || !strings.Contains(spec.Detail, "cannot be enforced here") || !strings.Contains(spec.Detail, c.why) {
			t.Errorf("%s: got %v", c.field, err)
		}
		s.Limits, s.Layer = Limits{}, folders
		if _, err := NewPlan(s, h); err != nil {
			t.Errorf("without limits: %v", err)
		}
	}
}

// A volume with a size needs what a limit of disk needs.
func TestVolumeNotEnforceable(t *testing.T) {
	h := testHost()
	h.NoDiskLimit = "no loop devices"
	_, err := NewPlan(testSpec(), h)
	var spec *SpecError
	if !errors.As(err, &spec) || spec.Field != "Volumes" || !strings.Contains(spec.Detail, h.NoDiskLimit) {
		t.Errorf("got %v", err)
	}
}

// Cgroup v1 has other files, and no swap is asked for where it cannot be limited.
func TestPlanOnV1(t *testing.T) {
	h := testHost()
	h.Cgroup, h.SwapLimit, h.TCPLimit = CgroupHybrid, false, true
	p, err := NewPlan(testSpec(), h)
	if err != nil {
		t.Fatal(err)
	}
	if text := p.Cgroup.String(); !strings.Contains(text, " memory+swap=0 ") || !strings.Contains(text, " tcp=67108864 ") ||
		strings.Contains(text, "oom.group") || p.Cgroup.View {
		t.Errorf("got %s", text)
	}
	facts := p.Facts(h)
	for name, want := range map[string]string{
		"cgroup tcp": "67108864", "cgroup cpu.shares": "512", "cgroup swappiness": "0", "cgroup io.weight": "545",
		"cgroup devices":     "c 136:* rw, c 1:3 rw, c 1:5 rw, c 1:7 rw, c 1:8 rw, c 1:9 rw, c 5:0 rw, c 5:2 rw",
		"cgroup memory+swap": "", "cgroup cpu.weight": "", "cgroup oom.group": "",
	} {
		if got := facts[name]; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// Weights in the kernel's units.
func TestWeights(t *testing.T) {
	for weight, want := range map[int64]int64{1: 1, 100: 100, 5050: 550, 10000: 1000} {
		if got := (CgroupIO{WeightBy: WeightBFQ, IOLimits: IOLimits{Weight: weight}}).kernelWeight(); got != want {
			t.Errorf("bfq weight of %d: %d, want %d", weight, got, want)
		}
		if got := (CgroupIO{WeightBy: WeightIOCost, IOLimits: IOLimits{Weight: weight}}).kernelWeight(); got != weight {
			t.Errorf("io.weight of %d: %d", weight, got)
		}
	}
	for weight, want := range map[int64]uint64{1: 10, 100: 1024, 10000: 102400} { // cpu(7): 2 to 262144
		if got := (Cgroup{CPUWeight: weight}).shares(); got != want {
			t.Errorf("cpu.shares of %d: %d, want %d", weight, got, want)
		}
	}
}
