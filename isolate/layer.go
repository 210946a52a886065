package isolate

import (
	"fmt"
	"path"
	"strings"

	"github.com/gilliam/hypervisor/isolate/ext4"
)

// MountLayer mounts the file system in an image, which the kernel lets the sandbox
// fill and no more, over the folder that the image lies in. Image is a path on the
// host. The folders upper and work are made in it, upper for the sandbox's root.
type MountLayer struct {
	Image   string
	Bytes   int64    // of the file system, as statfs(2) says them
	Inodes  int64    // likewise
	Options []string // key or key=value
	Flags   MountFlags
}

func (s MountLayer) String() string {
	return fmt.Sprintf("mount ext4 %s on %s %v %s (%d bytes, %d inodes)",
		s.Image, path.Dir(s.Image), s.Flags, strings.Join(s.Options, ","), s.Bytes, s.Inodes)
}

func (MountLayer) step() {}

// layerOptions: no flushes of the disk's cache, since a layer is thrown away after a
// crash; and a file system that is damaged, by a disk of the host's that is full or
// broken, fails what it is asked, and nothing else (admin-guide/ext4.rst).
var layerOptions = []string{"nobarrier", "errors=remount-ro"}

// The folders of overlayfs in a layer.
const (
	upperName = "upper"
	workName  = "work"
)

// planLayer is the step that mounts the layer's image, if there is one, and where
// its folders are then.
func planLayer(s Spec) ([]Step, Layer) {
	if s.Layer.Image == "" {
		return nil, s.Layer
	}
	shape, err := s.Limits.Shape()
	if err != nil {
		panic("bug: " + err.Error()) // the spec is valid
	}
	dir := path.Dir(s.Layer.Image)
	step := MountLayer{
		Image: s.Layer.Image, Bytes: shape.Bytes(), Inodes: shape.Inodes(), Options: layerOptions, Flags: NoSuid | NoDev,
	}
	return []Step{step}, Layer{Upper: path.Join(dir, upperName), Work: path.Join(dir, workName)}
}

// bytesPerInode is what a file has of the disk when nobody says how many there may
// be, as mkfs.ext4(8) has it.
const bytesPerInode = 16 << 10

// LayerInodes is how many inodes the layer has at least: Inodes, or as many as Disk
// comes with.
func (l Limits) LayerInodes() int64 {
	if l.Inodes == 0 && l.Disk != 0 {
		return max(ext4.MinInodes, l.Disk/bytesPerInode)
	}
	return l.Inodes
}

// Shape is the file system of an image for a layer with these limits, of which Disk is
// one.
func (l Limits) Shape() (ext4.Shape, error) { return ext4.NewShape(l.Disk, l.LayerInodes()) }

// disk is the step that mounts the plan's layer, if it is in an image.
func (p Plan) disk() (MountLayer, bool) {
	for _, s := range p.Steps {
		if l, ok := s.(MountLayer); ok {
			return l, true
		}
	}
	return MountLayer{}, false
}

func diskFact(bytes, inodes int64) string { return fmt.Sprintf("%d bytes, %d inodes", bytes, inodes) }
