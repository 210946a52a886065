package proc

import (
	"github.com/gilliam/hypervisor/rootfs"
)

// A proc stays on the version of the template that it was first launched on, also
// when it is started again: the version is in its record before anything is made
// of it, and nobody removes one that is in the record of a proc that has not ended.

// book records what the proc is about to be launched with: its numbers and its
// template.
func (i *instance) book() error {
	i.m.pinning.RLock() // no template goes before the record is on the disk
	defer i.m.pinning.RUnlock()
	return i.change(func(r *record) error {
		r.Boot = i.m.bootID
		if err := i.number(r); err != nil {
			return err
		}
		if rootfs.IsContainer(r.Proc.Image) {
			return nil // which is in place of one
		}
		t, err := i.m.cfg.Templates.Get(templateRef(r.Proc))
		if err != nil {
			return err
		}
		r.Proc.Template, r.Proc.TemplateVersion = t.Name, t.Version
		return nil
	})
}

// templateRef names the template of a proc: the version, once there is one.
func templateRef(p Proc) string {
	if p.TemplateVersion == "" {
		return p.Template
	}
	return p.Template + "@" + p.TemplateVersion
}

// TemplateUses counts, for each template by its [rootfs.Template.Ref], the procs
// that have need of it: those that have not ended.
func (m *Manager) TemplateUses() map[string]int {
	uses := make(map[string]int)
	for _, p := range m.List() {
		if p.State.Ended() || rootfs.IsContainer(p.Image) {
			continue
		}
		ref := templateRef(p)
		if t, err := m.cfg.Templates.Get(ref); err == nil { // not launched yet, maybe
			ref = t.Ref()
		}
		uses[ref]++
	}
	return uses
}

// RemoveTemplate removes a version of a template, or all of them; see
// [rootfs.Templates.Remove]. It refuses with [rootfs.ErrInUse] while a proc has
// need of one.
func (m *Manager) RemoveTemplate(ref string) error {
	m.pinning.Lock()
	clear, err := m.cfg.Templates.Remove(ref, m.usesTemplate())
	m.pinning.Unlock()
	if err != nil {
		return err
	}
	return clear()
}

// PruneTemplates removes all versions that are not the current ones of their
// templates and that no proc has need of, and tells which.
func (m *Manager) PruneTemplates() ([]rootfs.Template, error) {
	m.pinning.Lock()
	gone, clear, err := m.cfg.Templates.Prune(m.usesTemplate())
	m.pinning.Unlock()
	if err != nil {
		return nil, err
	}
	return gone, clear()
}

func (m *Manager) usesTemplate() func(rootfs.Template) bool {
	uses := m.TemplateUses()
	return func(t rootfs.Template) bool { return uses[t.Ref()] > 0 }
}
