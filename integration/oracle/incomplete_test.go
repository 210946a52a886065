//go:build integration && !(cgo && seccomp)

package oracle

// complete tells that libcontainer was built with all that it has.
const complete = false
