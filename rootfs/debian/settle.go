package debian

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// leftovers are files that the scripts have left and nobody needs: they tell of the
// moment, or of chance.
var leftovers = []string{
	"var/lib/dpkg/*-old", "var/cache/debconf/*-old", "var/cache/ldconfig/*", "var/cache/apt/*.bin", "var/cache/apt/archives/*.deb",
	"var/lib/apt/lists/*_*", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-",
	"etc/subuid-", "etc/subgid-", "etc/.pwd.lock", "run/*", "var/tmp/*", "tmp/*", policy,
}

// epoch is the time that no file is younger than.
func (j *job) epoch() time.Time {
	if !j.Epoch.IsZero() {
		return j.Epoch
	}
	return j.release
}

// settle makes the tree one that depends on its packages alone.
func (j *job) settle() error {
	for _, pattern := range leftovers {
		names, err := fs.Glob(j.root.FS(), pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := j.root.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	if err := j.emptyLogs(); err != nil {
		return err
	}
	if err := j.writeSources(); err != nil {
		return err
	}
	return j.clamp()
}

// emptyLogs removes logs with something in them. Empty ones are what packages make
// for those who log by their own users.
func (j *job) emptyLogs() error {
	return fs.WalkDir(j.root.FS(), "var/log", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if fi, err := d.Info(); err != nil || fi.Size() == 0 {
			return err
		}
		return j.root.Remove(name)
	})
}

// sourcesList is where apt of a template looks for packages.
const sourcesList = "etc/apt/sources.list"

// writeSources leaves the sources that the tree was built from, without passwords.
func (j *job) writeSources() error {
	if j.installed != nil {
		return nil
	}
	var lines []string
	for _, s := range j.Sources {
		lines = append(lines, s.Line()+"\n")
	}
	if err := j.root.MkdirAll(filepath.Dir(sourcesList), 0o755); err != nil {
		return err
	}
	return j.write(sourcesList, []byte(strings.Join(slices.Compact(lines), "")), 0o644)
}

// clamp makes nothing younger than the epoch. Links are not followed.
func (j *job) clamp() error {
	most := j.epoch()
	at := unix.NsecToTimespec(most.UnixNano())
	return filepath.WalkDir(j.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil || !fi.ModTime().After(most) {
			return err
		}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &os.PathError{Op: "utimensat", Path: name, Err: err}
		}
		return nil
	})
}
