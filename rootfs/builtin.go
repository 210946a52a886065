package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gilliam/hypervisor/rootfs/tree"
)

// A Builtin is a template that the program carries. It is unpacked into the store
// when it is first asked for, and is what "default" stands for where nothing else is.
type Builtin struct {
	Name string
	OS   string           // its PRETTY_NAME
	Hash string           // of its tree
	Open func() io.Reader // a tar, compressed or not
}

// errPacked is a built-in template that is not in the store yet.
var errPacked = fmt.Errorf("packed: %w", errAbsent)

// template is the built-in template as it is or would be in the store.
func (b *Builtin) template() Template {
	return Template{Name: b.Name, OS: b.OS, Version: versionOf(b.Hash), Hash: b.Hash, Source: builtinSource}
}

const builtinSource = "built into the hypervisor"

// isBuiltin tells whether name is the built-in template's.
func (t *Templates) isBuiltin(name string) bool {
	return t.cfg.Builtin != nil && name == t.cfg.Builtin.Name
}

// Builtin tells whether a template is the one that this program carries.
func (t *Templates) Builtin(one Template) bool {
	return t.isBuiltin(one.Name) && one.Hash == t.cfg.Builtin.Hash
}

// unpackTime is how long unpacking the built-in template may take.
const unpackTime = time.Minute

// unpackBuiltin puts the built-in template into the store. What it is then is
// verified by its hash.
func (t *Templates) unpackBuiltin() (err error) {
	t.unpacking.Lock() // once, however many procs ask
	defer t.unpacking.Unlock()
	b := t.cfg.Builtin
	if _, err := t.stored(b.Name, ""); !errors.Is(err, errPacked) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), unpackTime)
	defer cancel()
	d, err := t.newDraft(b.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Discard()) }()
	r, _, err := Decompress(b.Open())
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := tree.NewWriter(d.Dir)
	if err != nil {
		return err
	}
	err = w.Tar(ctx, r)
	if err == nil {
		err = w.Finish()
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("unpack the template %s: %w", b.Name, err)
	}
	_, err = d.Seal(ctx, SealOptions{Source: builtinSource, Want: b.Hash})
	return err
}
