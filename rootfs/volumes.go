package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// The folder of volumes, as it is on disk:
//
//	<name>/volume.json  what is known of the volume
//	<name>/data/        what sandboxes see, and write, of one without a size
//	<name>/image        the file system that they see of one with a size
//	.new-<name>/        one being made
//	.trash-…/           one being removed
//
// Each folder above them is open to root alone: nobody else on the host reaches
// what a tenant has put there.
const (
	volumeRecord = "volume.json"
	volumeData   = "data"
	volumeImage  = "image"
)

// VolumesConfig says where volumes are kept.
type VolumesConfig struct {
	// Dir is made when missing, mode 0700. Required.
	Dir string

	// Max is how many volumes there may be. Zero means that none can be made.
	Max int

	// MaxSize is the largest size that a volume may have, which it must then have.
	// Zero means that it may have any, or none.
	MaxSize int64
}

// A Volume is what outlives the procs that write to it: a folder, which shares the
// disk with all else in the state folder, or a file system with a size, whose whole
// space is taken from the disk when it is made.
type Volume struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`

	// Size is how many bytes its files can have. Zero: as many as there are.
	Size int64 `json:"size,omitempty"`

	// Owner is the user of the proc that was the first to have it, in ids of its
	// sandbox, as they are on the disk. Nil means that none has had it yet.
	Owner *isolate.User `json:"owner,omitempty"`

	// Damage says why nothing is known of it but its name. What is in it is there
	// still. Empty: nothing is wrong.
	Damage string `json:"damage,omitempty"`
}

// Volumes makes, finds and removes volumes. Its methods may be called at once by
// many. Of what is in a volume it opens nothing but to remove it.
type Volumes struct {
	cfg  VolumesConfig
	fd   *os.File // Dir, open as long as the hypervisor runs
	root *os.Root // the same

	mu   sync.Mutex
	busy map[string]bool // names in Dir that are being made or removed
}

// OpenVolumes opens the folder of volumes. What a hypervisor before us had begun to
// make or to remove is removed; no other may use the same folder.
func OpenVolumes(cfg VolumesConfig) (*Volumes, error) {
	if !filepath.IsAbs(cfg.Dir) {
		return nil, invalid("folder of volumes %s: must be an absolute path", quote(cfg.Dir))
	}
	cfg.Dir = filepath.Clean(cfg.Dir)
	if err := makePrivate(cfg.Dir); err != nil {
		return nil, err
	}
	fd, err := os.Open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, errors.Join(err, fd.Close())
	}
	v := &Volumes{cfg: cfg, fd: fd, root: root, busy: make(map[string]bool)}
	left, err := v.Leftovers()
	for _, name := range left {
		// One that cannot be removed now is no reason not to start: it is a
		// leftover until it can.
		_ = v.RemoveLeftover(name)
	}
	return v, err
}

// CheckVolume tells whether name can be a volume's.
func CheckVolume(name string) error {
	if !volumeName.MatchString(name) {
		return invalid("must be 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and start with a letter or a digit")
	}
	return nil
}

// CheckVolumeSize tells whether a volume can have that size, zero for none.
func CheckVolumeSize(size int64) error {
	if size != 0 && (size < isolate.MinVolume || size > isolate.MaxVolume) {
		return invalid("the size must be %d to %d bytes, or 0 for none", isolate.MinVolume, int64(isolate.MaxVolume))
	}
	return nil
}

// Path is what is shown of a volume of that name that has no size.
func (v *Volumes) Path(name string) string { return filepath.Join(v.cfg.Dir, name, volumeData) }

// Image is where the file system of a volume of that name is that has a size.
func (v *Volumes) Image(name string) string { return filepath.Join(v.cfg.Dir, name, volumeImage) }

// List is every volume, by name.
func (v *Volumes) List() ([]Volume, error) {
	names, err := v.names()
	if err != nil {
		return nil, err
	}
	list := []Volume{}
	for _, name := range names {
		vol, err := v.Get(name)
		if errors.Is(err, ErrNotExist) { // it has just been removed
			continue
		}
		if err != nil {
			vol = Volume{Name: name, Damage: err.Error()}
		}
		list = append(list, vol)
	}
	return list, nil
}

// Count is how many volumes there are.
func (v *Volumes) Count() (int, error) {
	names, err := v.names()
	return len(names), err
}

// names are those of all volumes, in order.
func (v *Volumes) names() ([]string, error) {
	names, err := v.entries()
	names = slices.DeleteFunc(names, func(name string) bool { return !volumeName.MatchString(name) })
	slices.Sort(names)
	return names, err
}

// entries is all that is in the folder. It opens it anew: a shared position would
// be in the way of another caller.
func (v *Volumes) entries() ([]string, error) {
	d, err := v.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// Find finds the volume that a proc asks for by name and size, zero for any, or says
// why it cannot have it. Of one that is missing it says what it would be: there are not
// as many as there may be.
func (v *Volumes) Find(name string, size int64) (vol Volume, found bool, err error) {
	vol, err = v.Get(name)
	if errors.Is(err, ErrNotExist) {
		return Volume{Name: name, Size: size}, false, v.room(name, size)
	}
	if err == nil && size != 0 && size != vol.Size {
		err = invalid("volume %s is there and has another size: %d", name, vol.Size)
	}
	return vol, true, err
}

func (v *Volumes) room(name string, size int64) error {
	if err := CheckVolumeSize(size); err != nil {
		return err
	}
	if most := v.cfg.MaxSize; most > 0 && (size == 0 || size > most) {
		return invalid("the size of a volume must be given and at most the operator's limit of %d", most)
	}
	n, err := v.Count()
	if err == nil && n >= v.cfg.Max {
		err = &kindError{ErrFull, fmt.Sprintf("volume %s cannot be made: there are %d, and the operator allows %d (--max-volumes)", name, n, v.cfg.Max)}
	}
	return err
}

// Create makes an empty volume of a size, zero for none. It is an [ErrExist] where there is one of that name,
// and an [ErrFull] where there are too many.
func (v *Volumes) Create(name string, size int64) (Volume, error) {
	if err := CheckVolume(name); err != nil {
		return Volume{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.create(name, size)
}

// Take gives a volume to a proc whose sandbox runs as user. It makes it when it is
// missing, and gives its folder to the user when no other has had it. Size is as Find
// takes it.
func (v *Volumes) Take(name string, size int64, user isolate.User) (Volume, error) {
	if err := CheckVolume(name); err != nil {
		return Volume{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	vol, found, err := v.Find(name, size)
	if err == nil && !found {
		vol, err = v.create(name, size)
	}
	if err != nil || vol.Owner != nil {
		return vol, err
	}
	vol.Owner = &user
	if err := v.own(vol); err != nil {
		return Volume{}, fmt.Errorf("volume %s: %w", name, err)
	}
	return vol, nil
}

// create makes a volume beside the others and renames it into place. When it fails
// it leaves nothing. Callers hold v.mu.
func (v *Volumes) create(name string, size int64) (_ Volume, err error) {
	if _, err := v.root.Lstat(name); err == nil {
		return Volume{}, &kindError{ErrExist, fmt.Sprintf("volume %s already exists", name)}
	}
	if err := v.room(name, size); err != nil {
		return Volume{}, err
	}
	// Not left to the kernel, which would first give it all that there is.
	switch s, err := spaceOf(v.fd); {
	case err != nil:
		return Volume{}, err
	case s.Free < size:
		return Volume{}, fmt.Errorf("volume %s: %d bytes are free: %w", name, s.Free, syscall.ENOSPC)
	}
	vol := Volume{Name: name, Created: time.Now().UTC(), Size: size}
	tmp := newPrefix + name
	v.busy[tmp] = true
	defer delete(v.busy, tmp)
	if err := errors.Join(discard(v.fd, tmp), v.root.Mkdir(tmp, 0o700)); err != nil {
		return Volume{}, fmt.Errorf("volume %s: %w", name, err)
	}
	failpoint.Hit("rootfs.volume.begun")
	if err := v.fill(tmp, vol); err != nil {
		return Volume{}, errors.Join(fmt.Errorf("volume %s: %w", name, err), discard(v.fd, tmp))
	}
	if err := renameNew(filepath.Join(v.cfg.Dir, tmp), filepath.Join(v.cfg.Dir, name)); err != nil {
		return Volume{}, errors.Join(fmt.Errorf("volume %s: %w", name, err), discard(v.fd, tmp))
	}
	failpoint.Hit("rootfs.volume.made")
	return vol, v.fd.Sync()
}

// Close lets go of the folder.
func (v *Volumes) Close() error { return errors.Join(v.fd.Close(), v.root.Close()) }
