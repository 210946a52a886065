package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
)

// Create records a proc and begins to launch it. It returns while the proc is
// in state init. A request that is wrong in itself is a [FieldError]; what goes
// wrong later ends the proc in state fail with a reason.
func (m *Manager) Create(ctx context.Context, r Request) (Proc, error) {
	if err := ctx.Err(); err != nil {
		return Proc{}, err
	}
	r.Limits = m.withDefaults(r.Limits)
	if err := m.check(r); err != nil {
		return Proc{}, err
	}
	if err := m.checkSpace(m.missing(r.Mounts)); err != nil {
		if errors.Is(err, ErrDiskFull) {
			m.countRefused()
		}
		return Proc{}, err
	}
	return m.begin(r)
}

// check says what is wrong with the request, as a [FieldError].
func (m *Manager) check(r Request) error {
	if err := r.check(); err != nil {
		return err
	}
	if err := r.allowed(m.cfg.Policy); err != nil {
		return err
	}
	if err := m.cfg.Engine.Host().CheckLimits(r.Limits); err != nil {
		return fieldError(err)
	}
	if fsize := r.Limits.Rlimits.Fsize; fsize > 0 && fsize < m.cfg.LogSegment {
		return &FieldError{"limits.rlimits.fsize", fmt.Sprintf("must be at least %d bytes, a part of the proc's log", m.cfg.LogSegment)}
	}
	if r.Image != "" {
		if err := m.cfg.Images.Check(r.Image); err != nil {
			return &FieldError{"image", err.Error()}
		}
	}
	if r.ImageDigest != "" {
		if err := rootfs.CheckDigest(r.ImageDigest); err != nil {
			return &FieldError{"image_digest", err.Error()}
		}
		if r.Image == "" {
			return &FieldError{"image_digest", "must be empty when there is no image"}
		}
	}
	if err := rootfs.CheckTemplateRef(r.Template); err != nil {
		return &FieldError{"template", err.Error()}
	}
	return m.checkSources(r.Mounts)
}

// begin records the proc on disk, then shows it, then starts its life. It
// returns the proc as it was before that.
func (m *Manager) begin(r Request) (Proc, error) {
	arrived, err := m.arrive(r.Mounts)
	if err != nil {
		return Proc{}, err
	}
	defer arrived()
	m.mu.Lock()
	if m.closing || m.draining {
		defer m.mu.Unlock()
		if m.closing {
			return Proc{}, ErrClosed
		}
		return Proc{}, ErrDraining
	}
	m.background.Add(1) // under the lock: Close waits only after it set closing
	m.mu.Unlock()

	p := newProc(r, uuid.NewString())
	p.Config = mergeConfig(r.Config, 0, m.host)
	i := m.instanceOf(record{Proc: p, CallbackSecret: r.CallbackSecret})
	m.mu.Lock()
	m.coming[p.ID] = true
	m.mu.Unlock()
	if err := i.record(); err != nil {
		m.mu.Lock()
		delete(m.coming, p.ID)
		m.mu.Unlock()
		m.background.Done()
		return Proc{}, fmt.Errorf("record proc: %w", err)
	}
	m.mu.Lock()
	m.procs[p.ID] = i
	delete(m.coming, p.ID)
	m.mu.Unlock()
	i.log.Info("state", "state", p.State)
	begun := i.snapshot()
	// Owned by the Manager: ends when the proc has; Close waits for it.
	go func() {
		defer m.background.Done()
		i.live()
		m.prune()
	}()
	return begun, nil
}

// record makes the proc's folder, takes its numbers and writes its first record.
// That there are none left is told when it boots.
func (i *instance) record() error {
	if err := i.create(); err != nil {
		return err
	}
	err := i.change(func(r *record) error {
		if err := i.number(r); err != nil {
			i.log.Debug("no number yet", "err", err)
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, i.release(), os.RemoveAll(i.dir))
	}
	return nil
}

// newProc is the proc that is asked for, with the defaults of what is not but its
// limits, which have them.
func newProc(r Request, id string) Proc {
	p := Proc{
		ID: id, App: r.App, Name: r.Name, Image: r.Image, ImageDigest: r.ImageDigest, Command: r.Command,
		Callback: r.Callback, Template: r.Template, Network: r.Network, Limits: r.Limits,
		Supervision: r.Supervision, User: r.User, Capabilities: slices.Clone(r.Capabilities), Seccomp: r.Seccomp,
		Mounts: slices.Clone(r.Mounts),
		State:  Init, Seq: 1, Created: time.Now().UTC(),
	}
	p.Changed = p.Created
	if p.User == rootUser && len(p.Capabilities) == 0 {
		p.Capabilities = slices.Clone(isolate.RootCapabilities)
	}
	if p.Template == "" && !rootfs.IsContainer(p.Image) {
		p.Template = "default"
	}
	if p.Network == "" {
		p.Network = isolate.NetworkHost
	}
	return p
}
