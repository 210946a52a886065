package deb

import (
	"fmt"

	"github.com/gilliam/hypervisor/rootfs/debian/control"
)

// claim makes the package the owner of a file. Where another one has brought it,
// the one that replaces the other has it (Replaces in deb-control(5)): mine is false
// when that is not this one.
func (u *unpacker) claim(name string) (mine bool, err error) {
	t, path := u.tree, real(name)
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.owners[path]
	me := &u.me
	if old == nil || old.Name == me.Name {
		t.owners[path] = me
		return true, nil
	}
	if yes, err := me.replaces(old); err != nil || yes {
		t.owners[path] = me
		t.lost = append(t.lost, Lost{name, old.Name})
		return true, err
	}
	if yes, err := old.replaces(me); err != nil || yes {
		t.lost = append(t.lost, Lost{name, me.Name})
		return false, err
	}
	return false, &overwriteError{name, me.Name, old.Name}
}

// An Owner is the package that a file came with.
type Owner struct{ Name, Version, Replaces string }

// A Lost is a file that a package no longer owns, since another one replaces it.
type Lost struct{ File, Package string }

func (o *Owner) replaces(other *Owner) (bool, error) {
	clauses, err := control.ParseRelations(o.Replaces)
	if err != nil {
		return false, fmt.Errorf("package %s: Replaces: %w", o.Name, err)
	}
	for _, c := range clauses {
		if c[0].Name != other.Name {
			continue
		}
		if ok, err := control.Satisfies(other.Version, c[0].Op, c[0].Version); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// Own says that a file of the tree is one of an installed package's.
func (t *Tree) Own(name string, o *Owner) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.owners[real(name)] = o
}

// Lost are the files that packages have lost to others so far.
func (t *Tree) Lost() []Lost {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost
}
