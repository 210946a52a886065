package archive

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/gilliam/hypervisor/rootfs/debian/control"
)

// Errors that a caller may branch on.
var (
	// ErrUntrusted is a Release file that no key of the keyring has signed as it is.
	ErrUntrusted = errors.New("not signed by a trusted key")
	// ErrExpired is one that was signed, and is too old or of the future.
	ErrExpired = errors.New("not valid now")
)

// A Release is what a trusted key has signed of a suite.
type Release struct {
	Suite, Codename string
	Date            time.Time
	ValidUntil      time.Time // zero: for ever
	Components      []string
	Architectures   []string
	ByHash          bool // indexes can be had by their hashes
	NotAutomatic    bool // nothing of it is installed unless asked for
	apart           bool // packages for all architectures have indexes of their own

	base  string // URL of the folder that it is in
	files map[string]File
}

// Freshness says when a Release file counts as valid.
type Freshness struct {
	Now time.Time

	// Expired takes files whose Valid-Until has passed, as a snapshot's.
	Expired bool
}

// maxSkew is how far a mirror's clock may be ahead of ours.
const maxSkew = 24 * time.Hour

// parseRelease verifies an InRelease file and reads it. What it says of other than
// its signed text is an error.
func parseRelease(b []byte, ring Keyring, fresh Freshness) (*Release, error) {
	text, err := verify(b, ring, fresh.Now)
	if err != nil {
		return nil, err
	}
	r := control.NewReader(string(text))
	p, err := r.Next()
	if err != nil {
		return nil, fmt.Errorf("read its fields: %w", err)
	}
	if _, err := r.Next(); err == nil {
		return nil, errors.New("has more than one paragraph")
	}
	rel := &Release{
		Suite: p.Get("Suite"), Codename: p.Get("Codename"), Components: strings.Fields(p.Get("Components")),
		Architectures: strings.Fields(p.Get("Architectures")), ByHash: p.Get("Acquire-By-Hash") == "yes",
		NotAutomatic: p.Get("NotAutomatic") == "yes",
	}
	rel.apart = slices.Contains(rel.Architectures, "all") && p.Get("No-Support-for-Architecture-all") != "Packages"
	if rel.Date, err = parseDate(p.Get("Date")); err != nil {
		return nil, fmt.Errorf("field Date: %w", err)
	}
	if until := p.Get("Valid-Until"); until != "" {
		if rel.ValidUntil, err = parseDate(until); err != nil {
			return nil, fmt.Errorf("field Valid-Until: %w", err)
		}
	}
	if rel.files, err = parseFiles(p.Lines("SHA256")); err != nil {
		return nil, err
	}
	return rel, rel.check(fresh)
}

// check is about time: an old file would hide what was fixed since.
func (r *Release) check(fresh Freshness) error {
	switch {
	case r.Date.After(fresh.Now.Add(maxSkew)):
		return fmt.Errorf("%w: made at %s, and it is %s: is this machine's clock right?", ErrExpired, r.Date.Format(time.RFC3339), fresh.Now.UTC().Format(time.RFC3339))
	case !fresh.Expired && !r.ValidUntil.IsZero() && fresh.Now.After(r.ValidUntil):
		return fmt.Errorf("%w: it was valid until %s: choose another mirror, or take it with --allow-expired", ErrExpired, r.ValidUntil.Format(time.RFC3339))
	}
	return nil
}

// is tells whether the release is the suite that was asked for, by any of its names:
// a mirror could answer with what was signed for another.
func (r *Release) is(suite string) bool {
	suite = strings.TrimSuffix(suite, "/")
	if suite == r.Suite || suite == r.Codename {
		return true
	}
	// bookworm/updates was the name of security's suites.
	return strings.ReplaceAll(suite, "/", "-") == r.Codename
}

// verify returns the text that a key of the ring has signed. Nothing may stand
// before or behind it: who reads the whole file would believe that, too.
func verify(b []byte, ring Keyring, now time.Time) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, fmt.Errorf("%w: it is not clear-signed", ErrUntrusted)
	}
	block, rest := clearsign.Decode(b)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: it is damaged, or there is more in it than what is signed", ErrUntrusted)
	}
	armour, err := readAll(block.ArmoredSignature.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: its signature is damaged: %v", ErrUntrusted, err)
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	// Each of the signatures counts: the first may be of a key that has expired.
	var reasons []string
	for _, signature := range signatures(armour) {
		_, _, err := openpgp.VerifyDetachedSignatureAndHash(ring.keys, bytes.NewReader(block.Bytes), bytes.NewReader(signature), sound, config)
		if err == nil {
			return block.Plaintext, nil
		}
		reasons = append(reasons, err.Error())
	}
	slices.Sort(reasons)
	return nil, fmt.Errorf("%w of %s: %s", ErrUntrusted, strings.Join(ring.Files, ", "), strings.Join(slices.Compact(reasons), "; "))
}

// sound are the hashes that a signature may be of: others can be made to collide, or
// are for nobody's archive.
var sound = []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}

// signatures takes a sequence of packets apart, each one by itself.
func signatures(b []byte) [][]byte {
	var list [][]byte
	for len(b) > 0 {
		r := bytes.NewReader(b)
		if _, err := packet.NewOpaqueReader(r).Next(); err != nil {
			return append(list, b) // and its error is told
		}
		n := len(b) - r.Len()
		list, b = append(list, b[:n]), b[n:]
	}
	return list
}

// parseFiles reads lines of hash, size and name.
func parseFiles(lines []string) (map[string]File, error) {
	files := make(map[string]File, len(lines))
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("SHA256: %.80q is not a hash, a size and a name", line)
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || size < 0 || !ValidHash(f[0]) {
			return nil, fmt.Errorf("SHA256: %.80q is not a hash, a size and a name", line)
		}
		files[f[2]] = File{SHA256: f[0], Size: size}
	}
	if len(files) == 0 {
		return nil, errors.New("names no SHA256 hashes")
	}
	return files, nil
}

// ValidHash tells whether s is a SHA-256 in hexadecimal, as archives write it.
func ValidHash(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// parseDate reads a time as archives write it (RFC 2822 with "UTC").
func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC1123, time.RFC1123Z, "Mon, _2 Jan 2006 15:04:05 MST", "Mon, _2 Jan 2006 15:04:05 -0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			if name, offset := t.Zone(); offset == 0 && name != "UTC" && name != "GMT" && name != "" && name != "Z" {
				continue // a zone that nobody knows
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%.60q is no time", s)
}
