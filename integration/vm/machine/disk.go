package machine

import (
	"context"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strconv"
)

// MakeDisk makes an ext4 image that holds a copy of the tree below dir, with its
// owners, modes and extended attributes, and room for free bytes more. The image
// is sparse. It has a journal, so that it can be mounted again after
// [Running.Kill].
func MakeDisk(ctx context.Context, image, dir string, free int64) error {
	const block = 4096
	size := free
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size += (info.Size()/block + 2) * block
		return nil
	})
	if err != nil {
		return fmt.Errorf("measure %s: %w", dir, err)
	}
	size += size/4 + 32<<20                                   // the file system's own
	return run(exec.CommandContext(ctx, "mke2fs", "-q", "-F", // -F: it is a file
		"-t", "ext4", "-b", strconv.Itoa(block), "-i", "8192", "-m", "0", "-d", dir,
		image, strconv.FormatInt(size/1024, 10)+"k"))
}
