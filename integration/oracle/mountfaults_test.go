//go:build integration

package oracle

import (
	"fmt"
	"slices"

	"github.com/gilliam/hypervisor/isolate"
)

// faultsOfPaths leave out one path in /proc each that is masked or read-only.
func faultsOfPaths(sound isolate.Plan) (faults []fault) {
	for i, path := range sound.Masked {
		if exists(path) {
			spoil := func(p *isolate.Plan) { p.Masked = slices.Delete(p.Masked, i, i+1) }
			faults = append(faults, fault{"without a mask on " + path, spoil, "path " + path})
		}
	}
	for i, path := range sound.ReadOnly {
		if exists(path) {
			spoil := func(p *isolate.Plan) { p.ReadOnly = slices.Delete(p.ReadOnly, i, i+1) }
			faults = append(faults, fault{"writable " + path, spoil, "mount " + path})
		}
	}
	return faults
}

// faultsOfFlags take one attribute off one mount each.
func faultsOfFlags(sound isolate.Plan) (faults []fault) {
	for i, step := range sound.Steps {
		for _, flag := range []isolate.MountFlags{isolate.ReadOnly, isolate.NoSuid, isolate.NoDev, isolate.NoExec} {
			var without isolate.Step
			target, has := "", isolate.MountFlags(0)
			switch s := step.(type) {
			case isolate.MountRoot:
				target, has = "/", s.Flags
				s.Flags &^= flag
				without = s
			case isolate.Mount:
				target, has = s.Target, s.Flags
				s.Flags &^= flag
				without = s
			case isolate.BindStep:
				target, has = s.Target, s.Flags
				s.Flags &^= flag
				without = s
			}
			if has&flag != 0 {
				spoil := func(p *isolate.Plan) { p.Steps[i] = without }
				faults = append(faults, fault{fmt.Sprintf("%s without %v", target, flag), spoil, "mount " + target + " flags"})
			}
		}
	}
	return faults
}

// faultsOfOptions take one option off one mount each, but for those that are
// the kernel's own choice, and the idmapping off the binds that have one.
func faultsOfOptions(sound isolate.Plan) (faults []fault) {
	for i, step := range sound.Steps {
		switch s := step.(type) {
		case isolate.MountRoot:
			for _, option := range []string{"redirect_dir=nofollow", "volatile"} {
				at := slices.Index(s.Options, option)
				without := s
				without.Options = slices.Delete(slices.Clone(s.Options), at, at+1)
				spoil := func(p *isolate.Plan) { p.Steps[i] = without }
				faults = append(faults, fault{"overlay without " + option, spoil, "mount / option"})
			}
		case isolate.Mount:
			for at, option := range s.Options {
				if option == "mode=1777" { // tmpfs's own
					continue
				}
				without := s
				without.Options = slices.Delete(slices.Clone(s.Options), at, at+1)
				spoil := func(p *isolate.Plan) { p.Steps[i] = without }
				faults = append(faults, fault{fmt.Sprintf("%s without %s", s.Target, option), spoil, "mount " + s.Target})
			}
		case isolate.BindStep:
			without := s
			without.IDMapped = !s.IDMapped
			spoil := func(p *isolate.Plan) { p.Steps[i] = without }
			faults = append(faults, fault{s.Target + " with the other ids", spoil, "mount " + s.Target + " flags"})
		}
	}
	return faults
}
