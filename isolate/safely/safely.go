package safely

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// A Panic is one that was caught. It wraps nothing: whatever a function panics
// with, no caller may take it for an error that it knows.
type Panic struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

func (p *Panic) Error() string { return fmt.Sprintf("bug: panic: %v", p.Value) }

// Catch calls f and returns its panic, or nil when there was none.
func Catch(f func()) (p *Panic) {
	defer func() {
		if v := recover(); v != nil {
			p = &Panic{v, debug.Stack()}
		}
	}()
	f()
	return nil
}

// Do calls f and returns its error, or its panic as one.
func Do(f func() error) (err error) {
	if p := Catch(func() { err = f() }); p != nil {
		return p
	}
	return err
}

// A Guard tells of panics. It is safe for concurrent use.
type Guard struct {
	// Log gets each panic with its stack, at Error. Nil means nowhere.
	Log *slog.Logger

	// Count is told where one was caught: a word of the program's own, which
	// becomes a metric's label. Nil means no one.
	Count func(where string)
}

// Run calls f. It tells of f's panic, with attrs as for [slog.Logger.Error], and
// returns it, or nil when there was none.
func (g Guard) Run(where string, f func(), attrs ...any) *Panic {
	p := Catch(f)
	if p != nil {
		g.Report(where, p, attrs...)
	}
	return p
}

// Report tells of a panic in err's chain that somebody else has caught. Without
// one it does nothing.
func (g Guard) Report(where string, err error, attrs ...any) {
	var p *Panic
	if !errors.As(err, &p) {
		return
	}
	if g.Count != nil {
		g.Count(where)
	}
	if g.Log != nil {
		g.Log.With(attrs...).Error("panic", "where", where, "err", p, "stack", string(p.Stack))
	}
}
