package selftest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/workdir"
)

// A ground is the folder in which a selftest has its files:
//
//	root/    the sandboxes' template: the probe, and what it attacks
//	layers/  what the sandboxes write
//	volumes/ what they keep
//	procs/   by whoever leases ids
//	canary   a file of the host's that no sandbox may see
//
// It is locked as long as its selftest runs.
type ground struct {
	work      *workdir.Dir
	dir, root string // dir is work's
	layers    *rootfs.Layers
	made      map[string]string // what root is like, by path; see look
}

const groundPrefix = ".selftest-"

// newGround makes the folder in parent, once what a selftest that was killed has
// left there is gone.
func newGround(parent string) (_ *ground, err error) {
	if err := sweep(parent); err != nil {
		return nil, err
	}
	work, err := workdir.Make(parent, groundPrefix)
	if err != nil {
		return nil, err
	}
	g := &ground{work: work, dir: work.Path, root: filepath.Join(work.Path, "root")}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.remove())
		}
	}()
	if err := g.fill(); err != nil {
		return nil, fmt.Errorf("make a root: %w", err)
	}
	if g.layers, err = rootfs.OpenLayers(filepath.Join(g.dir, "layers")); err != nil {
		return nil, err
	}
	if g.made, err = look(g.root); err != nil {
		return nil, err
	}
	return g, nil
}

// remove removes the folder. What is in it is the selftest's own: a probe writes
// in its layer only, and that is removed by rootfs.
func (g *ground) remove() error { return g.work.Remove() }

// sweep removes what selftests have left that were killed: their folders and the
// cgroups of their sandboxes.
func sweep(parent string) error {
	if err := workdir.Sweep(parent, groundPrefix, discard); err != nil {
		return fmt.Errorf("remove what an earlier selftest has left: %w", err)
	}
	return nil
}

func discard(dir string) error {
	path := filepath.Join(dir, "layers")
	if _, err := os.Stat(path); err == nil {
		layers, err := rootfs.OpenLayers(path)
		if err != nil {
			return err
		}
		ids, err := layers.List()
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := errors.Join(isolate.RemoveCgroup(id), layers.Remove(id)); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(dir)
}

// layer is where a sandbox's writes go, once its layer is made.
func (g *ground) layer(id string) isolate.Layer { return g.layers.At(id, isolate.Limits{}) }

// makeLayer makes the layer of a spec.
func (g *ground) makeLayer(s isolate.Spec) (err error) {
	if s.Layer.Image != "" {
		_, err = g.layers.CreateImage(s.ID, s.Limits)
	} else {
		_, err = g.layers.Create(s.ID, s.IDs, nil)
	}
	return err
}

// canary is a file of the host's.
func (g *ground) canary() string { return filepath.Join(g.dir, "canary") }
