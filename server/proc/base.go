package proc

import (
	"errors"
	"path"
	"strings"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/oci"
)

// A base is what a proc's root is made of below its own layer, and what that says of
// how its program runs.
type base struct {
	lowers []string // the topmost first
	user   isolate.User
	args   []string
	env    []string // KEY=value, which the proc's config overrides
	dir    string
	home   string
}

// onTemplate is the base of a proc that runs on a template.
func onTemplate(p Proc, t rootfs.Template) base {
	return base{lowers: []string{t.Path}, user: p.user(t.User), args: p.Command.Args(), dir: appDir, home: appDir}
}

// containerUser is who runs the program of a container image that names nobody by
// a number: what a name stands for is not looked up in a file of the image's own.
var containerUser = isolate.User{UID: 1000, GID: 1000}

// onContainer is the base of a proc that runs a container image, which is the whole
// of its root. Its home is what the image says, or else its working directory.
func onContainer(p Proc, c rootfs.Container) base {
	user := containerUser
	if c.Config.UID != 0 {
		user = isolate.User{UID: c.Config.UID, GID: c.Config.GID}
	}
	b := base{
		lowers: c.Layers, user: p.user(user), args: p.Command.argsIn(c.Config), env: c.Config.Env, dir: c.Config.Dir, home: c.Config.Dir,
	}
	for _, kv := range c.Config.Env {
		if home, ok := strings.CutPrefix(kv, "HOME="); ok && path.IsAbs(home) {
			b.home = home
		}
	}
	return b
}

// user is who the proc's program runs as: root or a number where that was asked
// for, else whom its base says.
func (p Proc) user(other isolate.User) isolate.User {
	if p.User == rootUser {
		return isolate.User{}
	}
	if uid, gid, ok := oci.ParseUser(p.User); ok {
		return isolate.User{UID: uid, GID: gid}
	}
	return other
}

// argsIn is what is executed in a container image: its own command if there is no
// other, and a line by its shell.
func (c Command) argsIn(image oci.Config) []string {
	switch {
	case c.IsZero():
		return image.Args()
	case c.args != nil:
		return c.args
	}
	return []string{"/bin/sh", "-c", c.line}
}

// settle records what a container image has decided of the proc, before anything is
// made of it: which image it is, so that every later start takes the same one, and
// what it does where nothing else was asked for.
func (i *instance) settle(image rootfs.Image) error {
	c := image.Container.Config
	p := i.recorded().Proc
	if p.Command.IsZero() && len(c.Args()) == 0 {
		return errors.New("the image has no command of its own, and none was given: give one")
	}
	if len(c.Volumes) > 0 {
		i.log.Info("what the image would keep in volumes is in the proc's layer, and ends with it", "volumes", c.Volumes)
	}
	return i.change(func(r *record) error {
		r.Proc.ImageDigest = image.Digest
		if r.Proc.StopSignal == "" {
			r.Proc.StopSignal = c.StopSignal
		}
		if r.Proc.Command.IsZero() {
			r.Proc.Command = Exec(c.Args()...)
		}
		return nil
	})
}
