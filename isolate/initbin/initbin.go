// Package initbin carries the program that is PID 1 of every sandbox,
// cmd/sandbox-init, built for the machine the hypervisor is built for. `make
// build` builds it first; by hand: go generate ./isolate/initbin
package initbin

import _ "embed"

//go:generate env CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -buildid=" -o sandbox-init ../../cmd/sandbox-init

// Binary is the static ELF executable.
//
//go:embed sandbox-init
var Binary []byte
