package debian

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// first is configured before all others: their scripts look up its users.
const first = "base-passwd"

// configure runs the packages' scripts. What has a preinst, and is not of the base,
// is unpacked only after that has run, and that only when what it depends on
// beforehand is configured (deb-control(5), Pre-Depends).
func (j *job) configure(ctx context.Context) error {
	j.begin(Configure, 0, len(j.chosen))
	if err := j.forbidDaemons(); err != nil {
		return err
	}
	var now, later []*unpacked
	for _, p := range j.chosen {
		if u := j.debs[p.Name]; u.done {
			now = append(now, u)
		} else {
			later = append(later, u)
		}
	}
	slices.SortFunc(now, byName)
	slices.SortFunc(later, byName)
	if err := j.record(now); err != nil {
		return err
	}
	for _, u := range now {
		if err := j.preinst(ctx, u); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(now, func(u *unpacked) bool { return u.Name == first }) {
		if err := j.dpkg(ctx, "--force-depends", "--configure", first); err != nil {
			return err
		}
	}
	for len(later) > 0 {
		var err error
		if later, err = j.unpackLater(ctx, later); err != nil {
			return err
		}
	}
	if err := j.dpkg(ctx, "--configure", "--pending"); err != nil {
		return err
	}
	return j.complete()
}

func byName(a, b *unpacked) int { return strings.Compare(a.Name, b.Name) }

// unpackLater configures what can be configured, and unpacks those packages whose
// preinst may run then. It returns the others.
func (j *job) unpackLater(ctx context.Context, later []*unpacked) (left []*unpacked, err error) {
	there := map[string]bool{}
	for _, p := range j.installed {
		there[p.Name] = true
	}
	for _, u := range j.debs {
		if u.done {
			there[u.Name] = true
		}
	}
	complete := j.graph.Complete(there)
	names := slices.Collect(maps.Keys(complete))
	names = slices.DeleteFunc(names, func(name string) bool { return j.debs[name] == nil })
	slices.Sort(names)
	if err := j.dpkgConfigure(ctx, names); err != nil {
		return nil, err
	}
	var group []*unpacked
	for _, u := range later {
		if slices.ContainsFunc(j.graph.Before(u.Name), func(need string) bool { return !complete[need] }) {
			left = append(left, u)
		} else {
			group = append(group, u)
		}
	}
	if len(group) == 0 { // they wait for each other
		group, left = left, nil
	}
	for _, u := range group {
		if err := j.preinst(ctx, u); err != nil {
			return nil, err
		}
		if err := j.unpack(u); err != nil {
			return nil, err
		}
	}
	return left, j.record(group)
}

// dpkgConfigure configures packages that are not configured yet.
func (j *job) dpkgConfigure(ctx context.Context, names []string) error {
	all, err := paragraphs(j.root)
	if err != nil {
		return err
	}
	done := map[string]bool{}
	for _, p := range all {
		done[p.Get("Package")] = p.Get("Status") == installedState
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return done[name] })
	if len(names) == 0 {
		return nil
	}
	return j.dpkg(ctx, append([]string{"--configure"}, names...)...)
}

// dpkg runs dpkg in the tree.
func (j *job) dpkg(ctx context.Context, args ...string) error {
	return j.script(ctx, append([]string{"/usr/bin/dpkg"}, args...), nil, "dpkg "+strings.Join(args, " "))
}

// preinst runs a package's first script, if it has one, as dpkg does for a package
// that was not there before.
func (j *job) preinst(ctx context.Context, u *unpacked) error {
	content := u.script("preinst")
	if content == nil {
		return nil
	}
	name := infoDir + "/" + u.infoName() + ".preinst"
	if err := j.root.MkdirAll(infoDir, 0o755); err != nil {
		return err
	}
	if err := j.write(name, content, 0o755); err != nil {
		return err
	}
	env := []string{
		"DPKG_MAINTSCRIPT_NAME=preinst", "DPKG_MAINTSCRIPT_PACKAGE=" + u.Name, "DPKG_MAINTSCRIPT_ARCH=" + u.deb.Arch(),
		"DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1", "DPKG_ADMINDIR=/" + adminDir, "DPKG_ROOT=", "DPKG_RUNNING_VERSION=" + j.dpkgVersion(),
	}
	return j.script(ctx, []string{"/" + name, "install"}, env, fmt.Sprintf("the preinst script of package %s", u.Name))
}

// dpkgVersion is the upstream version of the tree's dpkg.
func (j *job) dpkgVersion() string {
	for _, p := range slices.Concat(j.chosen, j.installed) {
		if p.Name == "dpkg" {
			return p.Version
		}
	}
	return ""
}

// policy is what Debian's scripts ask before they start a daemon (policy-rc.d(8)):
// 101 forbids it.
const policy = "usr/sbin/policy-rc.d"

func (j *job) forbidDaemons() error {
	if err := j.root.MkdirAll("usr/sbin", 0o755); err != nil {
		return err
	}
	return j.write(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755)
}
