package isolate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"golang.org/x/sys/unix"
)

// ownerAttr is the extended attribute of a sandbox's cgroups that says whose it
// is. Only root of the host can set or see a trusted one (xattr(7)); all versions
// of cgroups have them.
const ownerAttr = "trusted.gilliam.owner"

// markOwner writes the owner on every cgroup of the sandbox.
func markOwner(m cgroups.Manager, owner string) error {
	if owner == "" {
		return nil
	}
	for _, dir := range m.GetPaths() {
		if err := unix.Setxattr(dir, ownerAttr, []byte(owner), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return &os.PathError{Op: "setxattr", Path: dir, Err: err}
		}
	}
	return nil
}

// Sandboxes lists the ids of all sandboxes that have a cgroup on this machine, with
// their owners, empty where a cgroup bears no mark.
func Sandboxes() (map[string]string, error) {
	parent, err := manager.New(Cgroup{Path: CgroupParent}.config())
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	found := make(map[string]string)
	for _, dir := range parent.GetPaths() {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list sandboxes: %w", err)
		}
		for _, e := range entries {
			if !e.IsDir() || !validID.MatchString(e.Name()) {
				continue
			}
			if owner := ownerOf(filepath.Join(dir, e.Name())); owner != "" || found[e.Name()] == "" {
				found[e.Name()] = owner
			}
		}
	}
	return found, nil
}

func ownerOf(dir string) string {
	b := make([]byte, 4096)
	n, err := unix.Getxattr(dir, ownerAttr, b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}
