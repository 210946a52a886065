package selftest

import (
	"context"
	"errors"
	"slices"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// checks are all of them, in their order: first what every sandbox needs.
func checks() []check {
	return slices.Concat(hostChecks(), []check{start}, privilegeChecks(), kernelChecks(), viewChecks(),
		fileChecks(), limitChecks(), neighbourChecks(), []check{volumeCheck, nothingLeft})
}

// start opens the bench: what it finds is about the file system.
var start = check{
	name: "sandbox", promise: "a sandbox starts: its root an overlay, over files idmapped to ids of its own", essential: true,
	remedy: "mend what was found: a daemon could not launch an app either",
	run: func(ctx context.Context, b *bench) finding {
		if err := b.open(); err != nil {
			return broken(err)
		}
		x, err := b.start(ctx, b.spec(0, "sleep"))
		if err == nil {
			_, err = x.report(ctx)
			err = errors.Join(err, x.end())
		}
		var step *isolate.StepError
		if errors.As(err, &step) { // of a mount, almost always
			return finding{wrong: []string{err.Error()}, remedy: "put the state folder on ext4, xfs or btrfs, mounted by the host itself: not on overlayfs, NFS or FUSE"}
		}
		if err != nil {
			return broken(err)
		}
		return finding{note: b.fileSystem}
	},
}

// one is the check of one attack in a sandbox of its own.
func one(name, promise string, want attacks.Expectation, args ...string) check {
	return check{name: name, promise: promise, run: func(ctx context.Context, b *bench) finding {
		r, err := b.attack(ctx, args...)
		return judge(want, r, err)
	}}
}

// part is the check of what an attack tells of some things only.
func part(name, promise string, want attacks.Expectation, about func(string) bool, args ...string) check {
	return check{name: name, promise: promise, run: func(ctx context.Context, b *bench) finding {
		r, err := b.attack(ctx, args...)
		return judge(only(want, r, about, err))
	}}
}

// only leaves of an expectation and a report what is about some things.
func only(want attacks.Expectation, r attacks.Report, about func(string) bool, err error) (attacks.Expectation, attacks.Report, error) {
	w := attacks.Expectation{Errno: want.Errno, Want: map[string]string{}}
	for name, outcome := range want.Want {
		if about(name) {
			w.Want[name] = outcome
		}
	}
	detail := map[string]string{}
	for name, outcome := range r.Detail {
		if about(name) {
			detail[name] = outcome
		}
	}
	r.Detail = detail
	return w, r, err
}
