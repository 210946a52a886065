package mini

import (
	"bytes"
	_ "embed"
	"io"
	"strings"

	"github.com/gilliam/hypervisor/rootfs"
)

//go:generate env CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -buildid=" -o pack/userland ./userland
//go:generate go run ./pack

//go:embed mini.tar.zst
var archive []byte

//go:embed mini.hash
var hash string

// Template is the template for those who have no other.
func Template() *rootfs.Builtin {
	return &rootfs.Builtin{
		Name: "mini", OS: "Gilliam mini", Hash: strings.TrimSpace(hash),
		Open: func() io.Reader { return bytes.NewReader(archive) },
	}
}
