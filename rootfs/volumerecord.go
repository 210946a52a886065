package rootfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// Get finds a volume, or says [ErrNotExist].
func (v *Volumes) Get(name string) (Volume, error) {
	if err := CheckVolume(name); err != nil {
		return Volume{}, noVolume(name)
	}
	var vol Volume
	b, err := v.root.ReadFile(filepath.Join(name, volumeRecord))
	if err == nil {
		err = json.Unmarshal(b, &vol)
	}
	if err != nil {
		if _, gone := v.root.Lstat(name); errors.Is(gone, fs.ErrNotExist) {
			return Volume{}, noVolume(name)
		}
		return Volume{}, fmt.Errorf("volume %s: %w", name, err)
	}
	vol.Name = name
	return vol, nil
}

func noVolume(name string) error {
	return &kindError{ErrNotExist, fmt.Sprintf("volume %s does not exist", quote(name))}
}

// fill makes the record and the empty folder of a volume, on the disk.
func (v *Volumes) fill(dir string, vol Volume) error {
	root, err := v.root.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if vol.Size > 0 {
		err = allocateVolume(root, vol.Size)
	} else {
		err = errors.Join(root.Mkdir(volumeData, 0o700), root.Chmod(volumeData, 0o755))
	}
	if err != nil {
		return err
	}
	return writeVolume(root, vol)
}

// own makes the user the owner of the volume's folder. It is not opened, and lies in
// one of ours: nobody can have put a link in its place.
func (v *Volumes) own(vol Volume) error {
	root, err := v.root.OpenRoot(vol.Name)
	if err != nil {
		return err
	}
	defer root.Close()
	if vol.Size > 0 {
		err = formatVolume(root, vol)
	} else {
		err = root.Lchown(volumeData, int(vol.Owner.UID), int(vol.Owner.GID))
	}
	if err != nil {
		return err
	}
	failpoint.Hit("rootfs.volume.owned")
	return writeVolume(root, vol)
}

// writeVolume replaces the record in a volume's folder. It is on the disk when this
// has returned.
func writeVolume(root *os.Root, vol Volume) error {
	b, err := json.Marshal(vol)
	if err != nil {
		return err
	}
	const tmp = ".new-" + volumeRecord
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := root.Rename(tmp, volumeRecord); err != nil {
		return err
	}
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
