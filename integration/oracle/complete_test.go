//go:build integration && cgo && seccomp

package oracle

import _ "github.com/opencontainers/runc/libcontainer/nsenter" // the C half of libcontainer's init

// complete tells that libcontainer was built with all that it has.
const complete = true
