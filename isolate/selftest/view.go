package selftest

import (
	"context"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// viewChecks are about what the program sees of the host, and can change of that.
func viewChecks() []check {
	return []check{
		{name: "masks", promise: "masked and read-only paths of /proc and /sys show nothing and stay as they are", run: masks},
		one("kernel-settings", "no file by which a kernel is steered can be written to: /proc/sys, /sys, /proc/irq and more", attacks.Expectation{}, "knobs"),
		one("mounts", "nothing can be mounted, unmounted, moved or remounted", attacks.Remounts,
			"remounts", "/", "/proc", "/proc/sys", "/proc/kallsyms", "/sys", "/dev", "/dev/null", "/dev/shm", "/tmp"),
		one("cgroup-tree", "it can neither write to a cgroup nor see one above its own", attacks.Cgroups, "cgroups"),
		{name: "escape", promise: "no way leads above its root: .., /proc/1/root, descriptors, handles, chroot", run: escape},
		{name: "descriptors", promise: "no file that the hypervisor has open is open in the sandbox", run: descriptors},
		one("devices", "/dev has null zero full random urandom tty and terminals; no device can be made, and one in the template does not open",
			attacks.Expectation{Want: map[string]string{
				"/dev": "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero",
			}}, "devices", zeroDevice),
		{name: "device-rules", promise: "the kernel refuses a device that no rule allows, even where there is a node of it", run: deviceRules},
	}
}

// masks attacks all that the plan hides and protects.
func masks(ctx context.Context, b *bench) finding {
	s := b.spec(0, "masks")
	plan, err := b.plan(s)
	if err != nil {
		return broken(err)
	}
	for _, path := range plan.Masked {
		s.Args = append(s.Args, "mask="+path)
	}
	for _, path := range plan.ReadOnly {
		s.Args = append(s.Args, "ro="+path)
	}
	for _, step := range plan.Steps {
		if m, ok := step.(isolate.Mask); ok {
			s.Args = append(s.Args, "mask="+m.Path)
		}
	}
	r, err := b.attackIn(ctx, s)
	return judge(attacks.Expectation{}, r, err)
}

func escape(ctx context.Context, b *bench) finding {
	r, err := b.attack(ctx, "escape", b.ground.canary())
	return judge(attacks.Escape, r, err)
}

// descriptors has a folder of the host's open, in a way that an execve would keep
// it open, while it launches.
func descriptors(ctx context.Context, b *bench) finding {
	leak, err := unix.Open(b.ground.dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return broken(err)
	}
	defer unix.Close(leak)
	r, err := b.attack(ctx, "descriptors")
	return judge(attacks.Descriptors.With(map[string]string{"cwd": "/"}), r, err)
}

// unlisted is a device without a driver: who may open it is told that there is
// none (ENXIO), who may not hears that first.
var unlisted = isolate.Device{Path: "/dev/unlisted", Major: 1, Minor: 99}

func deviceRules(ctx context.Context, b *bench) finding {
	r, err := b.attackIn(ctx, b.spec(0, "open", unlisted.Path), func(p *isolate.Plan) {
		first := slices.IndexFunc(p.Steps, func(s isolate.Step) bool { _, device := s.(isolate.Device); return device })
		p.Steps = slices.Insert(slices.Clone(p.Steps), first, isolate.Step(unlisted))
	})
	return judge(attacks.Expectation{Errno: "EPERM"}, r, err)
}
