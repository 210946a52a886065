package isolate

import "github.com/gilliam/hypervisor/isolate/safely"

// A later is what somebody makes while others already wait for it.
type later[T any] struct {
	value T
	err   error
	made  chan struct{} // closed when the others are there
}

func newLater[T any]() *later[T] { return &later[T]{made: make(chan struct{})} }

// make is called once. A panic of f is an error.
func (l *later[T]) make(f func() (T, error)) {
	defer close(l.made)
	l.err = safely.Do(func() (err error) {
		l.value, err = f()
		return err
	})
}

// wait returns what f did, as often as it is called.
func (l *later[T]) wait() (T, error) {
	<-l.made
	return l.value, l.err
}

// meanwhile has f make something on a goroutine of its own, which ends with f.
func meanwhile[T any](f func() (T, error)) *later[T] {
	l := newLater[T]()
	// Owned by whoever waits.
	go l.make(f)
	return l
}
