package proc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/isolate"
)

// watchListening waits until the running proc listens on its port, which the
// kernel says, and records when. One that has not in its boot timeout is stopped,
// as a failure of its own.
func (i *instance) watchListening(ctx context.Context, box *isolate.Sandbox) {
	p, begun := i.recorded().Proc, time.Now()
	limit := p.BootTimeout.Duration()
	if limit > 0 {
		left := min(limit, time.Until(p.Started.Add(limit))) // the clock may have been set back
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, left)
		defer cancel()
	}
	err := box.WaitListening(ctx, p.Port)
	switch {
	case err == nil:
		if p.Started.After(i.m.opened) { // of others it is not known since when
			i.m.cfg.OnListening(time.Since(begun))
		}
		i.listens(p.Port)
	case errors.Is(err, context.DeadlineExceeded):
		others, _ := box.ListeningPorts() // no more than a hint
		i.fail(errors.New(notListening(p.Port, limit, others)))
	case errors.Is(err, context.Canceled), errors.Is(err, isolate.ErrEnded):
	default:
		i.log.Error("cannot tell whether it listens", "err", err)
	}
}

// listens records that the proc listens since about now.
func (i *instance) listens(port int) {
	now := time.Now().UTC()
	i.log.Info("listening", "port", port)
	err := i.change(func(r *record) error {
		r.Proc.Listening = &now
		return nil
	})
	if err != nil {
		i.log.Warn("listening not recorded", "err", err)
	}
}

// notListening says what is wrong with a proc that listens on none but others.
func notListening(port int, limit time.Duration, others []int) string {
	if len(others) == 0 {
		return fmt.Sprintf("did not listen on PORT %d within %v: does it listen on $PORT, at 127.0.0.1 or 0.0.0.0?", port, limit)
	}
	slices.Sort(others)
	return fmt.Sprintf("did not listen on PORT %d within %v, but on %s: it must take the port from $PORT",
		port, limit, strings.Trim(fmt.Sprint(others), "[]"))
}
