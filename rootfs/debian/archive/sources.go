package archive

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gilliam/hypervisor/rootfs/debian/control"
)

// A Source is where packages of one suite are published.
type Source struct {
	Mirror     string // URL; may hold a user and a password
	Suite      string
	Components []string // empty: all
	SignedBy   string   // as in the file; empty: what the host trusts
	Arches     []string // empty: all
}

// ParseList reads the one-line form of sources.list(5). Sources of source packages
// are left out.
func ParseList(text string) ([]Source, error) {
	var list []Source
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		kind, rest, _ := strings.Cut(line, " ")
		if strings.ContainsRune(kind, '\t') {
			kind, rest, _ = strings.Cut(line, "\t")
		}
		rest = strings.TrimSpace(rest)
		options := ""
		if strings.HasPrefix(rest, "[") {
			var closed bool
			if options, rest, closed = strings.Cut(rest[1:], "]"); !closed {
				return nil, fmt.Errorf("line %d: a [ without its ]", n)
			}
		}
		f := strings.Fields(rest)
		if kind == "deb-src" {
			continue
		}
		if kind != "deb" || len(f) < 2 {
			return nil, fmt.Errorf("line %d: must be deb [OPTIONS] URI SUITE COMPONENT…", n)
		}
		s := Source{Mirror: f[0], Suite: f[1], Components: f[2:]}
		for option := range strings.FieldsSeq(options) {
			switch key, value, _ := strings.Cut(option, "="); strings.ToLower(key) {
			case "signed-by":
				s.SignedBy = value
			case "arch":
				s.Arches = strings.Split(value, ",")
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// ParseSources reads the deb822 form of sources.list(5).
func ParseSources(text string) ([]Source, error) {
	var list []Source
	r := control.NewReader(text)
	for {
		p, err := r.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if !slices.Contains(strings.Fields(p.Get("Types")), "deb") || no(p.Get("Enabled")) {
			continue
		}
		uris, suites := strings.Fields(p.Get("URIs")), strings.Fields(p.Get("Suites"))
		if len(uris) == 0 || len(suites) == 0 {
			return nil, errors.New("a paragraph without URIs or Suites")
		}
		for _, suite := range suites {
			list = append(list, Source{
				Mirror: uris[0], Suite: suite, Components: strings.Fields(p.Get("Components")),
				SignedBy: strings.TrimSpace(p.Get("Signed-By")), Arches: strings.Fields(p.Get("Architectures")),
			})
		}
	}
}

// no are the words for no of apt.conf(5).
func no(value string) bool {
	return slices.Contains([]string{"no", "false", "without", "off", "disable", "0"}, strings.ToLower(value))
}

// For tells whether the source has packages of an architecture and is reached over
// http or https.
func (s Source) For(arch string) bool {
	web := strings.HasPrefix(s.Mirror, "http://") || strings.HasPrefix(s.Mirror, "https://")
	return web && (len(s.Arches) == 0 || slices.Contains(s.Arches, arch))
}

// Line is the source in the one-line form, as a template has it: without a user
// and a password, which every app could read, and without a keyring, which the
// template may have elsewhere.
func (s Source) Line() string {
	return strings.Join(append([]string{"deb", Redact(s.Mirror), s.Suite}, s.Components...), " ")
}
