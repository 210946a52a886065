package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs/fsimage"
	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// A FileSystem is what an image has in place of a tree that the kernel mounts as it is.
type FileSystem struct {
	Type string // one of [isolate.FileSystemTypes]
	Path string // of the file
}

// fileSystemName is the file of an image that is a file system. Its tree stays empty.
const fileSystemName = "file-system"

// isFileSystem tells whether a record's format is that of a file system.
func isFileSystem(format string) bool { return slices.Contains(isolate.FileSystemTypes, format) }

func (i *Images) fileSystemOf(id string) string {
	return filepath.Join(i.cfg.Dir, id, fileSystemName)
}

// mayMount says why an image of a type is not mounted here.
func (i *Images) mayMount(kind string) error {
	if slices.Contains(i.cfg.FileSystems, kind) {
		return nil
	}
	return fmt.Errorf("is a file system (%[1]s), which the kernel would have to read as it is: pack it as a tar, or have the operator allow it (--allow-image-fs %[1]s)", kind)
}

// keep writes an image that is a file system into a file as it comes, in place of a
// tree, and holds it to the limits as far as its superblock tells. What takes more of
// memory than its bytes say is the memory of whoever reads it.
func (i *Images) keep(r io.Reader, img fsimage.Image, root *os.Root) (st stats, err error) {
	lim := i.cfg.Limits
	if err := i.mayMount(string(img.Type)); err != nil {
		return st, err
	}
	if img.Inodes > uint64(lim.Entries) {
		return st, fmt.Errorf("the image holds more than %d files: make it smaller, or have the operator raise the limit", lim.Entries)
	}
	f, err := root.OpenFile(fileSystemName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return st, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.Copy(f, r)
	switch {
	case err != nil:
		return st, err
	case uint64(n) < img.Bytes:
		return st, errCut
	case uint64(n-n%sector) < img.Bytes:
		return st, fmt.Errorf("its last %d bytes cannot be mounted: its size must be whole sectors of %d bytes (mksquashfs without -nopad)", n%sector, sector)
	}
	st.List, err = manifest.New([]manifest.Entry{{Path: ".", Type: manifest.Dir, Mode: 0o755, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}})
	st.Format, st.Bytes, st.Disk, st.Entries = string(img.Type), n, (n+blockSize-1)&^(blockSize-1), int(img.Inodes)
	return st, err
}

// sector is what a block device is divided into.
const sector = 512

// compareFileSystem tells whether the file of an image is still what was sent.
func (i *Images) compareFileSystem(ctx context.Context, id string, rec record, read func(bytes int)) ([]manifest.Change, error) {
	f, err := os.Open(i.fileSystemOf(id))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		n, err := io.CopyN(sum, f, 1<<20)
		if read != nil {
			read(int(n))
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return []manifest.Change{{Path: fileSystemName, What: err.Error()}}, nil
		}
	}
	if digestPrefix+hex.EncodeToString(sum.Sum(nil)) != rec.Digest {
		return []manifest.Change{{Path: fileSystemName, What: "content"}}, nil
	}
	return nil, nil
}
