package rootfs

import (
	"fmt"
	"regexp"

	"github.com/gilliam/hypervisor/rootfs/member"
)

var (
	templateName    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	hexSum          = regexp.MustCompile(`^[0-9a-f]{64}$`)
	templateVersion = regexp.MustCompile(`^[0-9a-f]{16}$`)
	volumeName      = templateName
	layerID         = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	userName        = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
)

// invalid is an [ErrInvalid] with this text.
func invalid(format string, args ...any) error {
	return &kindError{ErrInvalid, fmt.Sprintf(format, args...)}
}

// quote shows a name that a stranger chose: quoted, and cut when it is long.
func quote(s string) string { return member.Quote(s) }
