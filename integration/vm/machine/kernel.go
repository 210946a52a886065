package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// A Kernel is an unpacked one.
type Kernel struct {
	Release string // as uname -r prints it
	Image   string // the bootable file
	modules string // folder of its modules
}

// FetchKernel unpacks the kernel that a package of Debian, such as
// linux-image-amd64, stands for, into a folder below cache, unless it is there
// from an earlier run. It asks apt for the newest one, and forgets older ones.
func FetchKernel(ctx context.Context, cache, meta string) (Kernel, error) {
	dir, err := fetch(ctx, cache, func() (string, error) { return dependency(ctx, meta) })
	if err != nil {
		return Kernel{}, err
	}
	if err := forget(cache, dir); err != nil {
		return Kernel{}, err
	}
	return openKernel(dir)
}

var dependsOnImage = regexp.MustCompile(`(?m)^\s*Depends: (linux-image-\S+)$`)

// dependency is the package of the kernel itself.
func dependency(ctx context.Context, meta string) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", meta).Output()
	if err != nil {
		return "", fmt.Errorf("apt-cache depends %s: %w", meta, err)
	}
	m := dependsOnImage.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("apt-cache depends %s names no linux-image", meta)
	}
	return string(m[1]), nil
}

// forget removes the kernels in cache other than the one in keep.
func forget(cache, keep string) error {
	all, err := filepath.Glob(filepath.Join(cache, "linux-image-*"))
	if err != nil {
		return err
	}
	for _, dir := range all {
		if dir != keep {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
}

// openKernel finds the parts of an unpacked package.
func openKernel(dir string) (Kernel, error) {
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return Kernel{}, errors.Join(fmt.Errorf("%s/boot holds %d kernels, want one", dir, len(images)), err)
	}
	k := Kernel{Image: images[0], Release: strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")}
	for _, lib := range []string{"lib", "usr/lib"} {
		k.modules = filepath.Join(dir, lib, "modules", k.Release)
		if _, err = os.Stat(k.modules); err == nil {
			return k, nil
		}
	}
	return Kernel{}, err
}
