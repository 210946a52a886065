package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// FetchPackage unpacks a package of Debian, and never installs it, into a folder
// below cache, unless it is there from an earlier run. It returns the folder.
func FetchPackage(ctx context.Context, cache, name string) (string, error) {
	return fetch(ctx, cache, func() (string, error) { return name, nil })
}

// fetch makes sure that the files of the package that name finds are below cache,
// and returns where.
func fetch(ctx context.Context, cache string, name func() (string, error)) (string, error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	dir, err := unpack(ctx, cache, name)
	if err == nil {
		return dir, nil
	}
	// No lists of packages, or stale ones.
	if err := run(exec.CommandContext(ctx, "apt-get", "update", "-q")); err != nil {
		return "", err
	}
	return unpack(ctx, cache, name)
}

func unpack(ctx context.Context, cache string, find func() (string, error)) (string, error) {
	name, err := find()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	part, err := os.MkdirTemp(cache, "part-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part) // whatever happens; nothing is mounted in it
	download := exec.CommandContext(ctx, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name)
	download.Dir = part
	if err := run(download); err != nil {
		return "", err
	}
	debs, err := filepath.Glob(filepath.Join(part, "*.deb"))
	if err != nil || len(debs) != 1 {
		return "", errors.Join(fmt.Errorf("apt-get download %s made %q", name, debs), err)
	}
	if err := run(exec.CommandContext(ctx, "dpkg-deb", "-x", debs[0], filepath.Join(part, "root"))); err != nil {
		return "", err
	}
	return dir, os.Rename(filepath.Join(part, "root"), dir)
}

// run runs a command, whose output is in the error.
func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
