package isolate

import (
	"strings"
	"testing"
)

// The test host has nothing to be said of; each thing that a host may lack is
// said, and nothing else is.
func TestRemarks(t *testing.T) {
	for _, c := range []struct {
		about, text string
		spoil       func(*Host)
	}{
		{"cap_sys_resource", "nofile 20000", func(h *Host) { h.Resource, h.MaxOpen = false, 20000 }},
		{"core_pattern", "/usr/bin/apport", func(h *Host) { h.CorePipe = "/usr/bin/apport" }},
		{"inotify", "is 128 for all", func(h *Host) { h.Inotify = 128 }},
		{"bpf_jit", "1048576", func(h *Host) { h.JITLimit = 1 << 20 }},
		{"pid_max", "is 32768: 64 apps", func(h *Host) { h.MaxPIDs = 32768 }},
		{"nofile", "is 512", func(h *Host) { h.MaxOpen = 512 }},
		{"cpu", "open to mds, retbleed", func(h *Host) { h.Exposed = []string{"mds", "retbleed"} }},
		{"swap", "there is none now", func(h *Host) { h.SwapLimit = false }},
		{"swap", "without bound", func(h *Host) { h.SwapLimit, h.Swap = false, true }},
		{"disk", "no ext4: apps have no limit", func(h *Host) { h.NoDiskLimit = "no ext4" }},
		{"io", "are refused", func(h *Host) { h.IO = false }},
		{"apparmor", "turned off", func(h *Host) { h.AppArmor = AppArmor{} }},
		{"apparmor", "unconfined", func(h *Host) { h.AppArmor.Use = Unconfined }},
		{"verify", "CONFIG_CHECKPOINT_RESTORE", func(h *Host) { h.ReadsFilters = false }},
		{"landlock", "ABI 5", func(h *Host) { h.Landlock = 5 }},
	} {
		h := testHost()
		c.spoil(&h)
		got := h.Remarks()
		if len(got) != 1 || got[0].About != c.about || !strings.Contains(got[0].Text, c.text) {
			t.Errorf("%s: got %v", c.about, got)
		}
	}
	for _, mode := range []CgroupMode{CgroupV1, CgroupHybrid} {
		h := testHost()
		h.Cgroup = mode
		if got := h.Remarks(); len(got) != 1 || got[0].About != "io" {
			t.Errorf("%s: got %v", mode, got)
		}
	}
	if got := testHost().Remarks(); len(got) != 0 {
		t.Errorf("of a host without fault: %v", got)
	}
}
