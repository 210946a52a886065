package probebin

import _ "embed"

//go:generate env CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -buildid=" -o probe ../probe

// Binary is the static ELF executable.
//
//go:embed probe
var Binary []byte
