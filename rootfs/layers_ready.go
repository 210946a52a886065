package rootfs

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/ext4"
)

// readyLayers is how many layers of the usual shape are made ahead, and unmadeFor
// how long it is until the next try when one could not be made.
const (
	readyLayers = 2
	unmadeFor   = 30 * time.Second
)

// A stock is layers that are made ahead, before anybody knows whose they will be.
type stock struct {
	shape   ext4.Shape
	prepare func(image string, limits isolate.Limits) error
	limits  isolate.Limits

	made chan string // names of their folders; one more is in the maker's hand
	stop chan struct{}
	done chan struct{} // closed when the maker has ended
}

// KeepReady makes layers with these limits ahead, each prepared by prepare, for
// CreateImage to take. It is called once, before the first of them.
func (l *Layers) KeepReady(limits isolate.Limits, prepare func(image string, limits isolate.Limits) error) error {
	shape, err := limits.Shape()
	if err != nil {
		return invalid("layers to be made ahead: %v", err)
	}
	l.stock = &stock{
		shape: shape, limits: limits, prepare: prepare,
		made: make(chan string, readyLayers-1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	// Owned by the Layers, whose Close ends it and waits for it.
	go l.keepReady(l.stock)
	return nil
}

func (l *Layers) keepReady(s *stock) {
	defer close(s.done)
	var half []string // folders that could neither be filled nor removed
	for {
		name, err := l.makeReady(s)
		var retry <-chan time.Time
		made := s.made
		if err != nil {
			if l.Log != nil {
				l.Log.Warn("no layer made ahead", "err", err)
			}
			half = append(half, name)
			retry, made = time.After(unmadeFor), nil
		}
		half = slices.DeleteFunc(half, func(name string) bool { return discard(l.fd, name) == nil })
		select {
		case made <- name:
		case <-retry:
		case <-s.stop:
			if err == nil {
				half = append(half, name)
			}
			for _, name := range half {
				l.spoil(name)
			}
			return
		}
	}
}

// makeReady makes one layer ahead, and names its folder, which after an error is to be
// removed.
func (l *Layers) makeReady(s *stock) (name string, err error) {
	name = readyPrefix + rand.Text()
	if err := l.root.Mkdir(name, 0o700); err != nil {
		return name, err
	}
	err = l.within(name, func(root *os.Root) error { return makeImage(root, s.shape) })
	if err == nil {
		err = s.prepare(filepath.Join(l.dir, name, imageName), s.limits)
	}
	return name, err
}

// takeReady makes a layer of one that was made ahead. It tells whether there was any of
// that shape; the error is that of a layer that is there already.
func (l *Layers) takeReady(id string, shape ext4.Shape) (bool, error) {
	if l.stock == nil || l.stock.shape != shape {
		return false, nil
	}
	select {
	case name := <-l.stock.made:
		if err := renameNew(filepath.Join(l.dir, name), filepath.Join(l.dir, id)); err != nil {
			l.spoil(name)
			return true, l.exists(id, err)
		}
		return true, nil
	default:
		return false, nil
	}
}

// spoil removes a layer that was made ahead and that nobody will have.
func (l *Layers) spoil(name string) {
	if err := discard(l.fd, name); err != nil && l.Log != nil {
		l.Log.Error("remove layer", "layer", name, "err", err)
	}
}

// closeStock ends the maker and removes what it has made.
func (l *Layers) closeStock() {
	if l.stock == nil {
		return
	}
	close(l.stock.stop)
	<-l.stock.done
	for {
		select {
		case name := <-l.stock.made:
			l.spoil(name)
		default:
			return
		}
	}
}
