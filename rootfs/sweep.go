package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/rootfs/workdir"
)

// Sweep finishes or undoes what was under way when who did it was killed. Drafts
// that somebody still works on are left alone.
func (t *Templates) Sweep(log *slog.Logger) error {
	var err error
	if dir := t.defaultFolder(); dir != "" {
		err = t.sweepDrafts(filepath.Dir(dir), log)
	}
	if _, e := os.Lstat(t.cfg.Dir); e != nil {
		return errors.Join(err, absent(e)) // "" is not there either
	}
	unlock, e := t.lockStore()
	if e != nil {
		return errors.Join(err, e)
	}
	defer unlock()
	err = errors.Join(err, t.sweepDrafts(t.cfg.Dir, log))
	names, e := t.names()
	err = errors.Join(err, e)
	for _, name := range names {
		newest, e := t.repoint(name)
		if newest != "" {
			log.Info("newest version made the current one", "template", name, "version", newest)
		}
		err = errors.Join(err, e)
	}
	return err
}

// Leftovers are the names of the drafts in the store that nobody works on any more.
func (t *Templates) Leftovers() ([]string, error) {
	if _, err := os.Lstat(t.cfg.Dir); err != nil {
		return nil, absent(err) // "" is not there either
	}
	unlock, err := t.lockStore() // nobody is between making one and locking it
	if err != nil {
		return nil, err
	}
	defer unlock()
	return workdir.Left(t.cfg.Dir, draftPrefix)
}

// RemoveLeftover finishes or undoes one of them, unless somebody works on it.
func (t *Templates) RemoveLeftover(name string) error {
	if !strings.HasPrefix(name, draftPrefix) || strings.Contains(name, "/") {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrInvalid}
	}
	unlock, err := t.lockStore()
	if err != nil {
		return err
	}
	defer unlock()
	in, err := os.Open(t.cfg.Dir)
	if err != nil {
		return err
	}
	defer in.Close()
	return t.sweepDraft(in, filepath.Join(t.cfg.Dir, name), slog.New(slog.DiscardHandler))
}

// sweepDrafts looks after the drafts, and what was being removed, in dir.
func (t *Templates) sweepDrafts(dir string, log *slog.Logger) error {
	in, err := os.Open(dir)
	if err != nil {
		return absent(err)
	}
	defer in.Close()
	names, err := in.Readdirnames(-1)
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, draftPrefix):
			err = errors.Join(err, t.sweepDraft(in, filepath.Join(dir, name), log))
		case strings.HasPrefix(name, gonePrefix):
			err = errors.Join(err, discard(in, name))
		}
	}
	return err
}

// sweepDraft makes a complete draft the version that it was to become, and removes
// one that is not complete.
func (t *Templates) sweepDraft(in *os.File, staging string, log *slog.Logger) error {
	lock, err := os.Open(staging)
	if err != nil {
		return absent(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if rec, err := readTemplateRecord(staging); err == nil && isTree(filepath.Join(staging, treeName)) {
		if err := t.publish(staging, rec); err != nil {
			return fmt.Errorf("publish template %s: %w", rec.Name, err)
		}
		log.Info("template published that was complete", "template", rec.Name, "version", rec.Version)
	} else {
		log.Info("interrupted template removed", "path", staging)
	}
	return discard(in, filepath.Base(staging))
}
