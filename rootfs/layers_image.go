package rootfs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/ext4"
	"github.com/gilliam/hypervisor/isolate/failpoint"
)

const imageName = "image"

// CreateImage makes the layer of a proc that may write so much and no more: one
// sparse file, whose making and removal cost the same whatever a template holds and
// a tenant writes. What is in it is for the kernel alone to read.
//
// The error is an [ErrExist] when the id has a layer, or one is being made for
// it. When CreateImage fails it leaves nothing.
func (l *Layers) CreateImage(id string, limits isolate.Limits) (isolate.Layer, error) {
	shape, err := limits.Shape()
	if err != nil {
		return isolate.Layer{}, invalid("layer %s: %v", quote(id), err)
	}
	if !layerID.MatchString(id) {
		return isolate.Layer{}, invalid("layer id %s: must be 1 to 64 characters of a-z, 0-9 and '-'", quote(id))
	}
	if taken, err := l.takeReady(id, shape); taken {
		return l.At(id, limits), err
	}
	err = l.make(id, func(root *os.Root) error {
		err := makeImage(root, shape)
		failpoint.Hit("rootfs.image.made")
		return err
	})
	if err != nil {
		return isolate.Layer{}, err
	}
	return l.At(id, limits), nil
}

// makeImage makes a file with an empty file system.
func makeImage(root *os.Root, shape ext4.Shape) error {
	f, err := root.OpenFile(imageName, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	id := ext4.Identity{Time: time.Now()}
	rand.Read(id.UUID[:])
	rand.Read(id.Seed[:])
	err = f.Truncate(shape.Size())
	if err == nil {
		err = ext4.Format(f, shape, id)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("make an image of %d bytes: %w", shape.Size(), err)
	}
	return nil
}
