package proc

import (
	"path/filepath"
	"strings"

	"github.com/gilliam/hypervisor/server/proc/outbox"
)

// What a proc's callback URL is told goes through package outbox, which keeps it
// on disk until it was taken.
type (
	// HTTPClient sends requests; *http.Client is one.
	HTTPClient = outbox.HTTPClient
	// A Secret signs callbacks.
	Secret = outbox.Secret
	// A Callback is a change of state that a proc's receiver has not taken.
	Callback = outbox.Callback
	// A CallbackStatus is what is to become of a callback.
	CallbackStatus = outbox.Status
	// CallbackStats are what there is of callbacks, and how many there were.
	CallbackStats = outbox.Stats
)

// ParseSecret checks a secret: whsec_ and base64, as in Standard Webhooks.
func ParseSecret(s string) (Secret, error) { return outbox.ParseSecret(s) }

// Errors of callbacks that a caller may branch on.
var (
	ErrNoCallback      = outbox.ErrNotExist
	ErrCallbackPending = outbox.ErrPending
)

// CallbackCounts tell what a proc's receiver has not taken.
type CallbackCounts struct {
	Pending int `json:"pending"` // still tried
	Dead    int `json:"dead"`    // given up
}

// maxReason bounds what a callback says of a failure.
const maxReason = 4096

// openOutbox reads what is still to be told.
func (m *Manager) openOutbox() (err error) {
	m.outbox, err = outbox.Open(outbox.Config{
		Dir: filepath.Join(m.cfg.StateDir, "outbox"), SetAside: m.asideDir(),
		Client: m.cfg.Client, Secrets: m.cfg.CallbackSecrets, GiveUpAfter: m.cfg.CallbackGiveUp, MaxBackoff: m.cfg.CallbackBackoff,
		Log: m.log, Guard: m.guard,
	})
	return err
}

// tell appends the proc's last change of state to the outbox, unless it was
// before. It is called when that is on record, and before anybody hears of it: a
// crash in between leaves a record from which the next start appends it.
func (i *instance) tell(r record) {
	if err := i.m.outbox.Append(outbox.Target{URL: r.Proc.Callback, Secret: r.CallbackSecret}, eventOf(r.Proc)); err != nil {
		i.log.Error("callback is not on disk", "state", r.Proc.State, "err", err)
	}
}

// callbacksOf counts what the proc's receiver has not taken; nil when it has
// none.
func (m *Manager) callbacksOf(p Proc) *CallbackCounts {
	if p.Callback == "" {
		return nil
	}
	pending, dead := m.outbox.Of(p.ID)
	return &CallbackCounts{pending, dead}
}

// eventOf is a proc's last change of state, the same whenever it is made.
func eventOf(p Proc) outbox.Event {
	if p.State == Restarting && p.Last != nil { // it ended as that says
		p.Ended, p.Reason, p.ExitCode, p.Signal, p.OOMKilled = &p.Last.At, p.Last.Reason, p.Last.ExitCode, p.Last.Signal, p.Last.OOMKilled
	}
	return outbox.Event{
		Proc: p.ID, App: p.App, Name: p.Name, Port: p.Port, Seq: p.Seq, At: p.Changed,
		State: string(p.State), Reason: strings.ToValidUTF8(p.Reason[:min(len(p.Reason), maxReason)], ""),
		ExitCode: p.ExitCode, Signal: p.Signal, OOMKilled: p.OOMKilled, Started: p.Started, Ended: p.Ended,
	}
}

// Callbacks lists what receivers have not taken yet, of procs that are there and
// of those that were.
func (m *Manager) Callbacks() []Callback { return m.outbox.List() }

// RetryCallback has one sent now, a dead letter, too.
func (m *Manager) RetryCallback(id string) (Callback, error) { return m.outbox.Retry(id) }

// RemoveCallback removes a dead letter.
func (m *Manager) RemoveCallback(id string) error { return m.outbox.Remove(id) }

// CallbackStats counts them.
func (m *Manager) CallbackStats() CallbackStats { return m.outbox.Stats() }
