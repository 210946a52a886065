package selftest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
	"github.com/gilliam/hypervisor/isolate/selftest/probebin"
	"github.com/gilliam/hypervisor/rootfs"
)

// A ground is the folder in which a selftest has its files:
//
//	root/    the sandboxes' template: the probe, and what it attacks
//	layers/  what the sandboxes write
//	procs/   by whoever leases ids
//	canary   a file of the host's that no sandbox may see
//
// It is locked as long as its selftest runs (flock(2)).
type ground struct {
	dir, root string
	lock      *os.File
	layers    *rootfs.Layers
	print     string // of root as it was made
}

const groundPrefix = ".selftest-"

// probePath is where the probe is in a sandbox.
const probePath = "/probe"

// newGround makes the folder in parent, once what a selftest that was killed has
// left there is gone.
func newGround(parent string) (_ *ground, err error) {
	if err := sweep(parent); err != nil {
		return nil, err
	}
	g, err := claim(parent)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.remove())
		}
	}()
	if err := g.fill(); err != nil {
		return nil, fmt.Errorf("make the selftest's root: %w", err)
	}
	if g.layers, err = rootfs.OpenLayers(filepath.Join(g.dir, "layers")); err != nil {
		return nil, err
	}
	if g.print, err = fingerprint(g.root); err != nil {
		return nil, err
	}
	return g, nil
}

// claim makes a folder and locks it, before another selftest has swept it away.
func claim(parent string) (*ground, error) {
	for {
		dir, err := os.MkdirTemp(parent, groundPrefix) // mode 0700
		if err != nil {
			return nil, err
		}
		lock, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errors.Join(err, os.Remove(dir))
		}
		var st unix.Stat_t
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
		if err == nil {
			err = unix.Fstat(int(lock.Fd()), &st)
		}
		if err == nil && st.Nlink > 0 {
			return &ground{dir: dir, root: filepath.Join(dir, "root"), lock: lock}, nil
		}
		lock.Close()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), os.Remove(dir))
		}
	}
}

// remove removes the folder. What is in it is the selftest's own: a probe writes
// in its layer only, and that is removed by rootfs.
func (g *ground) remove() error {
	err := os.RemoveAll(g.dir)
	return errors.Join(err, g.lock.Close())
}

// sweep removes what selftests have left that were killed: their folders and the
// cgroups of their sandboxes.
func sweep(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), groundPrefix) {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		lock, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil { // else it runs
			err = discard(dir)
		}
		lock.Close()
		if err != nil {
			return fmt.Errorf("remove what an earlier selftest has left: %w", err)
		}
	}
	return nil
}

func discard(dir string) error {
	path := filepath.Join(dir, "layers")
	if _, err := os.Stat(path); err == nil {
		layers, err := rootfs.OpenLayers(path)
		if err != nil {
			return err
		}
		ids, err := layers.List()
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := errors.Join(isolate.RemoveCgroup(id), layers.Remove(id)); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(dir)
}

// layer is where a sandbox's writes go, once its layer is made.
func (g *ground) layer(id string) isolate.Layer {
	dir := filepath.Join(g.dir, "layers", id)
	return isolate.Layer{Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
}

// canary is a file of the host's.
func (g *ground) canary() string { return filepath.Join(g.dir, "canary") }

// What is in the root to be attacked: files that only root may write, one that
// everyone may, programs that would give who executes them a privilege, and a
// device.
const (
	rootsFile     = "/etc/passwd"
	everyonesFile = "/etc/everyones"
	theirDevice   = "/lib/zero"
	capable       = "/lib/capable" // by a file capability
)

var privileged = []struct {
	path string
	mode os.FileMode
}{
	{"/lib/setuid", 0o755 | os.ModeSetuid}, {"/lib/setgid", 0o755 | os.ModeSetgid}, {capable, 0o755},
}

// fill makes the root and the canary.
func (g *ground) fill() error {
	for path, mode := range map[string]os.FileMode{
		"": 0o755, "/app": 0o755, "/dev": 0o755, "/etc": 0o755, "/lib": 0o755, "/proc": 0o755, "/sys": 0o755,
		"/tmp": 0o777 | os.ModeSticky, "/var": 0o755, "/var/tmp": 0o777 | os.ModeSticky,
	} {
		if err := os.MkdirAll(g.root+path, 0o700); err != nil {
			return err
		}
		if err := os.Chmod(g.root+path, mode); err != nil { // whatever the umask
			return err
		}
	}
	type file struct {
		path string
		mode os.FileMode
		text []byte
	}
	files := []file{
		{g.canary(), 0o644, []byte("of the host\n")},
		{g.root + rootsFile, 0o644, []byte("root:x:0:0::/:/probe\nprobe:x:1000:1000::/:/probe\n")},
		{g.root + everyonesFile, 0o666, []byte("for all\n")},
		{g.root + probePath, 0o755, probebin.Binary},
	}
	for _, p := range privileged {
		files = append(files, file{g.root + p.path, p.mode, probebin.Binary})
	}
	for _, f := range files {
		if err := os.WriteFile(f.path, f.text, 0o600); err != nil {
			return err
		}
		if err := os.Chmod(f.path, f.mode); err != nil {
			return err
		}
	}
	// Where no file can have a capability, or not even root may give it one, none can
	// come of it.
	err := unix.Setxattr(g.root+capable, "security.capability", attacks.FileCapability(unix.CAP_SYS_CHROOT), 0)
	if err != nil && err != unix.EOPNOTSUPP && err != unix.EPERM {
		return &os.PathError{Op: "setxattr security.capability of", Path: g.root + capable, Err: err}
	}
	if err := unix.Mknod(g.root+theirDevice, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
		return &os.PathError{Op: "mknod", Path: g.root + theirDevice, Err: err}
	}
	return os.Chmod(g.root+theirDevice, 0o666)
}

// fingerprint is a hash of every file below a folder: its name, mode, owner, size,
// content and time.
func fingerprint(dir string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("bug: no stat of %s", path)
		}
		fmt.Fprintln(h, path, info.Mode(), st.Uid, st.Gid, st.Rdev, info.Size(), info.ModTime().UnixNano())
		if !info.Mode().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		h.Write(content)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}
