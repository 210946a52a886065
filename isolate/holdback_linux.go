package isolate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gilliam/hypervisor/isolate/ext4"
)

// HoldBack makes every layer whose image lies below a folder full, however much of
// its limit is left, or ends that: for a disk that is about to have no room for what
// the limits together allow. Inside, what needs a new block is ENOSPC, at once; what is
// written in place goes on. It asks the kernel to keep all blocks for itself
// (reserved_clusters in admin-guide/ext4.rst), of the loop devices that it finds by
// their images: who launched a sandbox does not matter.
func HoldBack(dir string, on bool) error { return holdBack("/sys", dir, on) }

func holdBack(sys, dir string, on bool) error {
	// The pattern is well-formed.
	devices, _ := filepath.Glob(filepath.Join(sys, "block/loop*/loop/backing_file"))
	var errs []error
	for _, path := range devices {
		if !strings.HasPrefix(text(path), dir+"/") {
			continue
		}
		device := filepath.Dir(filepath.Dir(path))
		blocks := number(filepath.Join(device, "size")) * 512 / ext4.BlockSize
		keep := min(blocks/50, 4096) // the kernel's own (ext4_set_resv_clusters in fs/ext4/super.c)
		if on {
			keep = blocks - 1
		}
		file := filepath.Join(sys, "fs/ext4", filepath.Base(device), "reserved_clusters")
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has just ended
		}
		if err == nil {
			_, err = f.WriteString(strconv.FormatInt(keep, 10))
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("keep blocks of %s: %w", text(path), err))
		}
	}
	return errors.Join(errs...)
}
