package rootfs

import "errors"

// Errors that a caller may branch on, with errors.Is. The text around them says
// what was wrong and what to do.
var (
	// ErrInvalid is a name, a reference or a tree that is wrong in itself.
	ErrInvalid = errors.New("invalid")
	// ErrNotExist is a template, an image or a volume that is not there.
	ErrNotExist = errors.New("does not exist")
	// ErrExist is a template, a layer or a volume that is already there.
	ErrExist = errors.New("already exists")
	// ErrInUse is a template that a proc has need of.
	ErrInUse = errors.New("in use")
	// ErrFull is one more than there may be of something.
	ErrFull = errors.New("too many")
	// ErrForbidden is an address that the policy does not let us connect to.
	ErrForbidden = errors.New("forbidden address")
)

// kindError gives a message of its own to one of the sentinels above, so that
// the text reads well and errors.Is still works.
type kindError struct {
	kind error
	text string
}

func (e *kindError) Error() string        { return e.text }
func (e *kindError) Is(target error) bool { return target == e.kind }
