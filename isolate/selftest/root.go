package selftest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
	"github.com/gilliam/hypervisor/isolate/selftest/probebin"
)

// probePath is where the probe is in a sandbox.
const probePath = "/probe"

// What is in the root to be attacked: files that only root may write, one that
// everyone may, programs that would give who executes them a privilege, and a
// device.
const (
	rootsFile     = "/etc/passwd"
	everyonesFile = "/etc/everyones"
	setuidFile    = "/lib/setuid"  // and setgid
	capableFile   = "/lib/capable" // by a file capability
	zeroDevice    = "/lib/zero"
)

// A file is one of the root's.
type file struct {
	path string
	mode os.FileMode
	text []byte
}

var files = []file{
	{probePath, 0o755, probebin.Binary},
	{rootsFile, 0o644, []byte("root:x:0:0::/:/probe\nprobe:x:1000:1000::/:/probe\n")},
	{everyonesFile, 0o666, []byte("for all\n")},
	{setuidFile, 0o755 | os.ModeSetuid | os.ModeSetgid, probebin.Binary},
	{capableFile, 0o755, probebin.Binary},
}

// folders of the root: those that a sandbox mounts on, and those of files.
var folders = []struct {
	path string
	mode os.FileMode
}{
	{"/", 0o755}, {"/app", 0o755}, {"/dev", 0o755}, {"/etc", 0o755}, {"/lib", 0o755}, {"/proc", 0o755}, {"/sys", 0o755},
	{"/tmp", 0o777 | os.ModeSticky}, {"/var", 0o755}, {"/var/tmp", 0o777 | os.ModeSticky},
}

// fill makes the root and the canary.
func (g *ground) fill() error {
	for _, f := range folders {
		if err := os.Mkdir(g.root+f.path, 0o700); err != nil {
			return err
		}
		if err := os.Chmod(g.root+f.path, f.mode); err != nil { // whatever the umask
			return err
		}
	}
	for _, f := range append([]file{{"/../canary", 0o644, []byte("of the host\n")}}, files...) {
		if err := os.WriteFile(g.root+f.path, f.text, 0o600); err != nil {
			return err
		}
		if err := os.Chmod(g.root+f.path, f.mode); err != nil {
			return err
		}
	}
	// Where no file can have a capability, or not even root may give it one, none can
	// come of it.
	err := unix.Setxattr(g.root+capableFile, "security.capability", attacks.FileCapability(unix.CAP_SYS_CHROOT), 0)
	if err != nil && err != unix.EOPNOTSUPP && err != unix.EPERM {
		return &os.PathError{Op: "setxattr security.capability of", Path: g.root + capableFile, Err: err}
	}
	if err := unix.Mknod(g.root+zeroDevice, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
		return &os.PathError{Op: "mknod", Path: g.root + zeroDevice, Err: err}
	}
	return os.Chmod(g.root+zeroDevice, 0o666)
}

// look tells of everything below a folder what it is, whose, how big and how old.
func look(dir string) (map[string]string, error) {
	found := map[string]string{}
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
		found[path] = fmt.Sprint(info.Mode(), st.Uid, st.Gid, st.Rdev, info.Size(), info.ModTime().UnixNano())
		return nil
	})
	return found, err
}

// changed lists what is not in the root as it was made: names, what they are, and
// every byte of the files.
func (g *ground) changed() ([]string, error) {
	now, err := look(g.root)
	if err != nil {
		return nil, err
	}
	var list []string
	for path, was := range g.made {
		if now[path] != was {
			list = append(list, fmt.Sprintf("%s was %q, is %q", path, was, now[path]))
		}
		delete(now, path)
	}
	for path, is := range now {
		list = append(list, fmt.Sprintf("%s is new: %q", path, is))
	}
	for _, f := range files {
		text, err := os.ReadFile(g.root + f.path)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(text, f.text) {
			list = append(list, g.root+f.path+" holds something else")
		}
	}
	slices.Sort(list)
	return list, nil
}
