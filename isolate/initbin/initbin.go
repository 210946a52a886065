package initbin

import _ "embed"

//go:generate env CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -buildid=" -o sandbox-init ../../cmd/sandbox-init

// Binary is the static ELF executable.
//
//go:embed sandbox-init
var Binary []byte
