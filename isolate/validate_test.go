package isolate

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestSpecRefused(t *testing.T) {
	for _, c := range []struct {
		field string
		spoil func(*Spec)
	}{
		{"ID", func(s *Spec) { s.ID = "" }},
		{"ID", func(s *Spec) { s.ID = "../x" }},
		{"ID", func(s *Spec) { s.ID = "-rf" }},
		{"ID", func(s *Spec) { s.ID = strings.Repeat("a", 65) }},
		{"Hostname", func(s *Spec) { s.Hostname = strings.Repeat("a", 65) }},
		{"Hostname", func(s *Spec) { s.Hostname = "a\nb" }},
		{"Template", func(s *Spec) { s.Template = "/" }},
		{"Template", func(s *Spec) { s.Template = "relative" }},
		{"Template", func(s *Spec) { s.Template = "/a/../b" }},
		{"Lowers", func(s *Spec) { s.Lowers = []string{"relative"} }},
		{"Lowers", func(s *Spec) { s.Lowers = []string{"/"} }},
		{"Lowers", func(s *Spec) { s.Lowers = []string{s.Template} }},
		{"Lowers", func(s *Spec) { s.Lowers = []string{"/a", "/b", "/a"} }},
		{"Lowers", func(s *Spec) { s.Lowers = manyLowers(500) }},
		{"Layer", func(s *Spec) { s.Layer.Work = "" }},
		{"Layer", func(s *Spec) { s.Layer.Image, s.Limits.Disk = "/l/image", 1<<30 }},
		{"Layer", func(s *Spec) { s.Layer, s.Limits.Disk = Layer{Image: "l/image"}, 1<<30 }},
		{"Layer", func(s *Spec) { s.Layer, s.Limits.Disk = Layer{Image: "/image"}, 1<<30 }},
		{"Limits.Disk", func(s *Spec) { s.Layer = Layer{Image: "/l/image"} }},
		{"Limits.Disk", func(s *Spec) { s.Limits.Disk = 1 << 30 }},
		{"Limits.Disk", func(s *Spec) { s.Layer, s.Limits.Disk = Layer{Image: "/l/image"}, 1<<20-1 }},
		{"Limits.Disk", func(s *Spec) { s.Layer, s.Limits.Disk = Layer{Image: "/l/image"}, 8<<40+1 }},
		{"Limits.Inodes", func(s *Spec) { s.Limits.Inodes = 1000 }},
		{"Limits.Inodes", func(s *Spec) { s.Layer, s.Limits.Disk, s.Limits.Inodes = Layer{Image: "/l/image"}, 1<<20, 257 }},
		{"Limits.Inodes", func(s *Spec) { s.Layer, s.Limits.Disk, s.Limits.Inodes = Layer{Image: "/l/image"}, 1<<20, 31 }},
		{"Limits.Inodes", func(s *Spec) { s.Layer, s.Limits.Disk, s.Limits.Inodes = Layer{Image: "/l/image"}, 8<<40, 1<<31 }},
		{"Tree", func(s *Spec) { s.Tree = "/tree" }},
		{"Tree", func(s *Spec) { s.Template, s.Tree = "", "/tree" }},
		{"Tree", func(s *Spec) { s.Template, s.Layer, s.Tree = "", Layer{}, "/" }},
		{"Tree", func(s *Spec) { s.Template, s.Layer, s.Tree = "", Layer{}, "tree" }},
		{"Args", func(s *Spec) { s.Args = nil }},
		{"Args", func(s *Spec) { s.Args = []string{""} }},
		{"Args", func(s *Spec) { s.Args = []string{"/proc/self/exe"} }},
		{"Args", func(s *Spec) { s.Args = []string{"/app/../proc/1/root/bin/sh"} }},
		{"Args", func(s *Spec) { s.Args = []string{"sh", "a\x00b"} }},
		{"Env", func(s *Spec) { s.Env = []string{"novalue"} }},
		{"Env", func(s *Spec) { s.Env = []string{"=x"} }},
		{"Env", func(s *Spec) { s.Env = []string{"A=\x00"} }},
		{"Dir", func(s *Spec) { s.Dir = "app" }},
		{"Dir", func(s *Spec) { s.Dir = "/proc/self/fd/7" }},
		{"User", func(s *Spec) { s.User.UID = 0 }},
		{"User", func(s *Spec) { s.User.GID = 0 }},
		{"Capabilities", func(s *Spec) { s.Capabilities = []string{"CAP_NONE"} }},
		{"User", func(s *Spec) { s.User.UID = 65536 }},
		{"IDs", func(s *Spec) { s.IDs.Base = 0 }},
		{"IDs", func(s *Spec) { s.IDs.Size = 0 }},
		{"IDs", func(s *Spec) { s.IDs.Base = 1 << 31 }},
		{"IDs", func(s *Spec) { s.IDs.Base = math.MaxInt32 - 65535 }},
		{"Binds", func(s *Spec) { s.Binds[0].Target = "/" }},
		{"Binds", func(s *Spec) { s.Binds[0].Target = "/proc/x" }},
		{"Binds", func(s *Spec) { s.Binds[0].Target = "/dev" }},
		{"Binds", func(s *Spec) { s.Binds[0].Source = "../etc" }},
		{"Binds", func(s *Spec) { s.Binds[0].Target = "/a/../b" }},
		{"Binds", func(s *Spec) { s.Binds[0].Target = "/a\nb" }},
		{"Binds", func(s *Spec) { s.Binds[0].Target = "/" + strings.Repeat("a", maxTarget) }},
		{"Binds", func(s *Spec) { s.Binds[3].Within = "/srv/shar" }},
		{"Binds", func(s *Spec) { s.Binds[3].Within = "/" }},
		{"Binds", func(s *Spec) { s.Binds[3].Target = "/app/data" }},   // twice
		{"Binds", func(s *Spec) { s.Binds[3].Target = "/app/data/x" }}, // in what can be written to
		{"Binds", func(s *Spec) { s.Binds[3].Target = "/app/cache/x" }},
		{"Volumes", func(s *Spec) { s.Volumes[0].Image = "image" }},
		{"Volumes", func(s *Spec) { s.Volumes[0].Size = MinVolume - 1 }},
		{"Volumes", func(s *Spec) { s.Volumes[0].Size = MaxVolume + 1 }},
		{"Volumes", func(s *Spec) { s.Volumes[0].Target = "/dev/db" }},
		{"Volumes", func(s *Spec) { s.Volumes[0].Target = "/app/data/db" }},
		{"FileSystems", func(s *Spec) { s.FileSystems[0].Type = "ext4" }},
		{"FileSystems", func(s *Spec) { s.FileSystems[0].Image = "image" }},
		{"FileSystems", func(s *Spec) { s.FileSystems[0].Target = "/proc/x" }},
		{"FileSystems", func(s *Spec) { s.FileSystems[0].Target = "/app/data/x" }},
		{"Scratch", func(s *Spec) { s.Scratch[0].Target = "/app/data/x" }},
		{"Scratch", func(s *Spec) { s.Scratch[0].Target = "/sys/fs/cgroup" }},
		{"Scratch", func(s *Spec) { s.Scratch[0].Size = MinScratch - 1 }},
		{"Scratch", func(s *Spec) { s.Scratch[0].Size = -1 }},
		{"Scratch", func(s *Spec) { s.Scratch[0].Size = 256<<20 + 1 }},
		{"Limits.Memory", func(s *Spec) { s.Limits.Memory = -1 }},
		{"Limits.Memory", func(s *Spec) { s.Limits.Memory = 1 }},
		{"Limits.Pids", func(s *Spec) { s.Limits.Pids = -1 }},
		{"Limits.CPU", func(s *Spec) { s.Limits.CPU = -1 }},
		{"Limits.CPU", func(s *Spec) { s.Limits.CPU = math.NaN() }},
		{"Limits.CPU", func(s *Spec) { s.Limits.CPU = math.Inf(1) }},
		{"Limits.CPUWeight", func(s *Spec) { s.Limits.CPUWeight = -1 }},
		{"Limits.CPUWeight", func(s *Spec) { s.Limits.CPUWeight = 10001 }},
		{"Limits.IO.Weight", func(s *Spec) { s.Limits.IO.Weight = 10001 }},
		{"Limits.IO.ReadBPS", func(s *Spec) { s.Limits.IO.ReadBPS = 65535 }},
		{"Limits.IO.WriteBPS", func(s *Spec) { s.Limits.IO.WriteBPS = -1 }},
		{"Limits.IO.ReadIOPS", func(s *Spec) { s.Limits.IO.ReadIOPS = 1 << 32 }},
		{"Limits.IO.WriteIOPS", func(s *Spec) { s.Limits.IO.WriteIOPS = -1 }},
		{"Limits.Rlimits.Nofile", func(s *Spec) { s.Limits.Rlimits.Nofile = 63 }},
		{"Limits.Rlimits.Nproc", func(s *Spec) { s.Limits.Rlimits.Nproc = 65 }},
		{"Limits.Rlimits.Memlock", func(s *Spec) { s.Limits.Rlimits.Memlock = -1 }},
		{"Limits.Rlimits.Fsize", func(s *Spec) { s.Limits.Rlimits.Fsize = 1 }},
		{"Network", func(s *Spec) { s.Network = "bridge" }},
	} {
		s := testSpec()
		c.spoil(&s)
		_, err := NewPlan(s, testHost())
		var spec *SpecError
		if !errors.As(err, &spec) || spec.Field != c.field || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v", c.field, err)
		}
	}
}

func TestHostRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Host){
		"sudo":            func(h *Host) { h.Root = false },
		"5.19":            func(h *Host) { h.Kernel = Version{5, 18} },
		"overlayfs":       func(h *Host) { h.Overlay = false },
		"user namespaces": func(h *Host) { h.UserNS = false },
		"seccomp":         func(h *Host) { h.Seccomp = false },
		"cgroup":          func(h *Host) { h.Cgroup = "" },
	} {
		h := testHost()
		spoil(&h)
		_, err := NewPlan(testSpec(), h)
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
