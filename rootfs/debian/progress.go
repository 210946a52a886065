package debian

import "sync"

// A Phase is one part of the work.
type Phase string

// The phases, in their order.
const (
	Indexes   Phase = "indexes"   // what there is
	Packages  Phase = "packages"  // fetch and unpack
	Configure Phase = "configure" // the packages' scripts
	Seal      Phase = "seal"      // by whoever called: every byte is hashed
)

// A Progress is how far a phase is.
type Progress struct {
	Phase       Phase
	Bytes, Of   int64 // that have come; Of is 0 where nobody knows how many will
	Done, Total int   // packages
}

// A track keeps it. Its methods are safe for concurrent use.
type track struct {
	mu     sync.Mutex
	now    Progress
	report func(Progress)
}

// begin begins a phase.
func (t *track) begin(phase Phase, bytes int64, packages int) {
	t.change(func(p *Progress) { *p = Progress{Phase: phase, Of: bytes, Total: packages} })
}

// bytes adds to what has come.
func (t *track) bytes(n int64) { t.change(func(p *Progress) { p.Bytes += n }) }

// one adds a package that is done.
func (t *track) one() { t.change(func(p *Progress) { p.Done = min(p.Done+1, p.Total) }) }

func (t *track) change(f func(*Progress)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.now)
	if t.report != nil {
		t.report(t.now)
	}
}
