package manifest

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// signature is the first line of the text, which tells what it is.
const signature = "#mtree"

// A Manifest is the list of a tree, sorted by path. The zero Manifest is that of
// no tree.
type Manifest struct {
	lines []line
	stats Stats
}

// Stats are what a tree is made of.
type Stats struct {
	Files int   `json:"files"` // of any type, folders too
	Bytes int64 `json:"bytes"` // what the regular files hold
}

// A line is a file: its path as in an [Entry] and everything else of it.
type line struct {
	path string
	rest string // keywords, separated by blanks
}

// New lists entries, which may come in any order, each path once.
func New(entries []Entry) (Manifest, error) {
	var m Manifest
	for _, e := range entries {
		m.lines = append(m.lines, line{e.Path, e.keywords()})
		m.stats.Files++
		m.stats.Bytes += e.Size
	}
	return m, m.sort()
}

func (m *Manifest) sort() error {
	slices.SortFunc(m.lines, func(a, b line) int { return strings.Compare(a.path, b.path) })
	for n := 1; n < len(m.lines); n++ {
		if m.lines[n].path == m.lines[n-1].path {
			return fmt.Errorf("manifest: %q is listed twice", m.lines[n].path)
		}
	}
	return nil
}

// Stats counts the tree. Of a manifest that was parsed it is not known.
func (m Manifest) Stats() Stats { return m.stats }

// WriteTo writes the list as text, in the format of mtree(5).
func (m Manifest) WriteTo(w io.Writer) (int64, error) {
	b := bufio.NewWriter(w)
	n, err := fmt.Fprintln(b, signature)
	total := int64(n)
	for _, l := range m.lines {
		if err != nil {
			break
		}
		n, err = fmt.Fprintf(b, "%s %s\n", shown(l.path), l.rest)
		total += int64(n)
	}
	return total, errors.Join(err, b.Flush())
}

// Hash names the tree: the SHA-256 of the text.
func (m Manifest) Hash() string {
	h := sha256.New()
	_, _ = m.WriteTo(h) // never fails
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// Parse reads what [Manifest.WriteTo] has written.
func Parse(r io.Reader) (Manifest, error) {
	var m Manifest
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	if !lines.Scan() || lines.Text() != signature {
		return m, errors.Join(fmt.Errorf("manifest: does not begin with %s", signature), lines.Err())
	}
	for n := 2; lines.Scan(); n++ {
		name, rest, ok := strings.Cut(lines.Text(), " ")
		path, err := parsePath(name)
		if !ok || err != nil {
			return m, fmt.Errorf("manifest: line %d is not one: %q", n, clip(lines.Text()))
		}
		m.lines = append(m.lines, line{path, rest})
	}
	if err := lines.Err(); err != nil {
		return m, fmt.Errorf("manifest: %w", err)
	}
	return m, m.sort()
}

// maxLine is longer than any line: a path and a link target of 4096 bytes each,
// four characters a byte, and attributes of 64 KiB in base64.
const maxLine = 256 << 10

// clip shortens what is shown of a line.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80]
	}
	return s
}
