package rootfs

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// Remove removes the layer of a proc, which no sandbox has any more. It is gone from
// [Layers.List] at once; then its files are removed. To remove what is not there, or
// is half removed, is no error.
func (l *Layers) Remove(id string) error {
	trash, err := l.trash(id)
	if err == nil {
		err = l.empty(trash)
	}
	if err != nil {
		return fmt.Errorf("remove layer %s: %w", id, err)
	}
	return nil
}

// Retire is [Layers.Remove] that does not wait until the files are removed, which
// takes as long as there are many; [Layers.Close] does. What cannot be removed is
// logged, and tried again by the next OpenLayers.
func (l *Layers) Retire(id string) error {
	trash, err := l.trash(id)
	if err != nil {
		return fmt.Errorf("remove layer %s: %w", id, err)
	}
	// Owned by the Layers, whose Close waits for it.
	l.retiring.Go(func() {
		l.few <- struct{}{}
		defer func() { <-l.few }()
		if err := l.empty(trash); err != nil && l.Log != nil {
			l.Log.Error("remove layer", "layer", id, "err", err)
		}
	})
	return nil
}

// trash moves a layer out of the way, and says where to.
func (l *Layers) trash(id string) (string, error) {
	if !layerID.MatchString(id) {
		return "", invalid("layer id %s: must be 1 to 64 characters of a-z, 0-9 and '-'", quote(id))
	}
	trash := trashPrefix + rand.Text()
	err := l.root.Rename(id, trash)
	failpoint.Hit("rootfs.layer.trashed")
	return trash, absent(err)
}

// empty removes what was moved out of the way.
func (l *Layers) empty(trash string) error {
	err := discard(l.fd, trash)
	failpoint.Hit("rootfs.layer.removed")
	return err
}

// Close removes what was made ahead, and waits until all that was retired is removed.
// Layers stay.
func (l *Layers) Close() error {
	l.closeStock()
	l.retiring.Wait()
	return errors.Join(l.fd.Close(), l.root.Close())
}
