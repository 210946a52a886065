package control

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Version is that of a package: [epoch:]upstream[-revision] (deb-version(7)).
type Version struct {
	Epoch              int
	Upstream, Revision string
}

// ParseVersion reads a version as strictly as dpkg does.
func ParseVersion(s string) (Version, error) {
	var v Version
	bad := func(why string) (Version, error) { return Version{}, fmt.Errorf("version %.80q: %s", s, why) }
	rest := s
	if epoch, after, ok := strings.Cut(s, ":"); ok {
		n, err := strconv.ParseUint(epoch, 10, 31)
		if err != nil {
			return bad("its epoch is no number")
		}
		v.Epoch, rest = int(n), after
	}
	v.Upstream = rest
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		v.Upstream, v.Revision = rest[:i], rest[i+1:]
		if v.Revision == "" {
			return bad("its revision is empty")
		}
	}
	if v.Upstream == "" {
		return bad("it is empty")
	}
	if !only(v.Upstream, ".-+~:") || !only(v.Revision, ".+~") {
		return bad("it may hold letters, digits and . + - ~ : alone")
	}
	return v, nil
}

// only tells whether s is of letters, digits and the characters given.
func only(s, more string) bool {
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && !isAlpha(c) && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlpha(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// Compare is negative when v is older than w, and positive when it is newer.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Epoch, w.Epoch), compareParts(v.Upstream, w.Upstream), compareParts(v.Revision, w.Revision))
}

// compareParts goes through runs of others than digits, in which ~ sorts before
// the end and letters before all else, and runs of digits, in turn.
func compareParts(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !isDigit(a[0]) || b != "" && !isDigit(b[0]) {
			if c := cmp.Compare(order(a), order(b)); c != 0 {
				return c
			}
			a, b = a[min(1, len(a)):], b[min(1, len(b)):]
		}
		var x, y string
		x, a = digits(a)
		y, b = digits(b)
		if c := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)); c != 0 {
			return c
		}
	}
	return 0
}

// order is the weight of the first character.
func order(s string) int {
	switch {
	case s == "" || isDigit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case isAlpha(s[0]):
		return int(s[0])
	}
	return int(s[0]) + 256
}

// digits takes a number from the front, without leading zeros.
func digits(s string) (number, rest string) {
	s = strings.TrimLeft(s, "0")
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return s[:n], s[n:]
}

// Satisfies tells whether version v op w holds. The operator may be empty, which
// every version satisfies.
func Satisfies(v, op, w string) (bool, error) {
	if op == "" {
		return true, nil
	}
	a, err := ParseVersion(v)
	if err != nil {
		return false, err
	}
	b, err := ParseVersion(w)
	if err != nil {
		return false, err
	}
	c := a.Compare(b)
	switch op {
	case "<<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case "=":
		return c == 0, nil
	case ">=":
		return c >= 0, nil
	case ">>":
		return c > 0, nil
	}
	return false, errors.New("bug: operator " + op)
}
