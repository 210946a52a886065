package outbox

import "errors"

var (
	// ErrNotExist is a callback that is not there: it was delivered, removed,
	// or never was.
	ErrNotExist = errors.New("no such callback")
	// ErrPending is a callback that cannot be removed, because it may still be
	// delivered.
	ErrPending = errors.New("the callback is not a dead letter")
)
