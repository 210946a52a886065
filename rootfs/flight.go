package rootfs

import (
	"context"
	"sync"

	"github.com/gilliam/hypervisor/isolate/safely"
)

// flights lets many callers share one piece of work. Unlike the well-known
// singleflight, the work belongs to no caller: it goes on as long as one of
// them waits, and is cancelled when the last has gone.
type flights struct {
	mu sync.Mutex
	m  map[string]*flight
}

type flight struct {
	waiters int // guarded by flights.mu
	cancel  context.CancelFunc
	by      string // the reference that it was started for

	done  chan struct{} // closed when the fields below are final
	img   Image
	moved bool // it took a transfer, not just a look
	err   error
}

// do returns what fn returns, running it once for all who ask with this key at
// the same time; lead tells that it was started for this call. When ctx ends, do
// returns its cause; the last to go waits until fn has cleaned up.
func (g *flights) do(ctx context.Context, key, by string, fn func(context.Context) (Image, bool, error)) (f *flight, lead bool, err error) {
	g.mu.Lock()
	f, joined := g.m[key]
	if !joined {
		fctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{cancel: cancel, by: by, done: make(chan struct{})}
		if g.m == nil {
			g.m = map[string]*flight{}
		}
		g.m[key] = f
		// Ended by fn's end, which the last waiter's leaving brings about;
		// waited for by all who are in do.
		go g.fly(fctx, key, f, fn)
	}
	f.waiters++
	g.mu.Unlock()

	select {
	case <-f.done:
		return f, !joined, f.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	f.waiters--
	last := f.waiters == 0
	if last {
		f.cancel()
		g.forget(key, f)
	}
	g.mu.Unlock()
	if last {
		<-f.done
	}
	return f, !joined, context.Cause(ctx)
}

// fly runs fn. A panic ends the flight and not the hypervisor: what fn parses
// comes from strangers.
func (g *flights) fly(ctx context.Context, key string, f *flight, fn func(context.Context) (Image, bool, error)) {
	f.err = safely.Do(func() (err error) {
		f.img, f.moved, err = fn(ctx)
		return err
	})
	g.mu.Lock()
	g.forget(key, f)
	g.mu.Unlock()
	f.cancel()
	close(f.done)
}

// forget lets the next caller start anew. Callers hold g.mu.
func (g *flights) forget(key string, f *flight) {
	if g.m[key] == f {
		delete(g.m, key)
	}
}
