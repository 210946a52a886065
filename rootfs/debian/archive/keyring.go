package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// A Keyring is what a Release file may be signed with.
type Keyring struct {
	keys  openpgp.EntityList
	Files []string // where they come from
}

// maxKeyring bounds a file of keys.
const maxKeyring = 16 << 20

// ReadKeyring reads OpenPGP keys out of files, in binary or in armour.
func ReadKeyring(paths ...string) (Keyring, error) {
	var ring Keyring
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return ring, err
		}
		keys, err := parseKeys(b)
		if err != nil {
			return ring, fmt.Errorf("keyring %s: %w", path, err)
		}
		ring.keys = append(ring.keys, keys...)
		ring.Files = append(ring.Files, path)
	}
	return ring, nil
}

// parseKeys reads the keys of a file, which may hold several pieces of armour.
func parseKeys(b []byte) (openpgp.EntityList, error) {
	armour := []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----")
	switch {
	case len(b) > maxKeyring:
		return nil, errors.New("is too long")
	case len(b) > 12 && string(b[8:12]) == "KBXf":
		return nil, errors.New("is a keybox of GnuPG: export its keys with gpg --export")
	case !bytes.Contains(b, armour):
		return openpgp.ReadKeyRing(bytes.NewReader(b))
	}
	var all openpgp.EntityList
	for _, piece := range bytes.Split(b, armour)[1:] {
		keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(slices.Concat(armour, piece)))
		if err != nil {
			return nil, err
		}
		all = append(all, keys...)
	}
	return all, nil
}

// ErrNoKeyring is a host without keys of Debian.
var ErrNoKeyring = errors.New("this machine has no keyring of Debian's archive: " +
	"install debian-archive-keyring, or name a keyring with --keyring (it is in that package of Debian's, as usr/share/keyrings/debian-archive-keyring.gpg)")

// HostKeyring is the keyring of Debian's archive on the host whose root is given,
// or else what its apt trusts in general.
func HostKeyring(root string) (Keyring, error) {
	for _, name := range []string{"debian-archive-keyring.pgp", "debian-archive-keyring.gpg"} {
		path := filepath.Join(root, "usr/share/keyrings", name)
		if _, err := os.Stat(path); err == nil {
			return ReadKeyring(path)
		}
	}
	var ring Keyring
	entries, err := os.ReadDir(filepath.Join(root, "etc/apt/trusted.gpg.d"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return ring, err
	}
	var paths []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext == ".gpg" || ext == ".asc" {
			paths = append(paths, filepath.Join(root, "etc/apt/trusted.gpg.d", e.Name()))
		}
	}
	if len(paths) == 0 {
		return ring, ErrNoKeyring
	}
	return ReadKeyring(paths...)
}

// SignedBy is the keyring that a source names: files, or a key in armour as
// deb822 writes it, every line indented and empty ones as dots.
func SignedBy(root, value string) (Keyring, error) {
	if strings.Contains(value, "-----BEGIN PGP") {
		var b strings.Builder
		for line := range strings.Lines(value) {
			line = strings.TrimSpace(line)
			if line == "." {
				line = ""
			}
			b.WriteString(line + "\n")
		}
		keys, err := parseKeys([]byte(b.String()))
		if err != nil {
			return Keyring{}, fmt.Errorf("key in Signed-By: %w", err)
		}
		return Keyring{keys: keys, Files: []string{"the key in Signed-By"}}, nil
	}
	var paths []string
	for _, path := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' }) {
		if !filepath.IsAbs(path) {
			return Keyring{}, fmt.Errorf("Signed-By %s: must be the path of a keyring; name one with --keyring", path)
		}
		paths = append(paths, filepath.Join(root, path))
	}
	return ReadKeyring(paths...)
}

// readAll reads a signature, which is never long.
func readAll(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxRelease)) }
