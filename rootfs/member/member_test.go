package member_test

import (
	"path"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/rootfs/member"
)

var names = member.Names{Path: 4096, Depth: 3}

func TestClean(t *testing.T) {
	for name, want := range map[string]string{
		"a": "a", "./a//b/": "a/b", "/a/b": "a/b", "//a": "a", ".": ".", "./": ".", "/": ".", "a/./b": "a/b", "..a/b..": "..a/b..",
		"a\nb": "a\nb", "\u00e4/a\u0308": "\u00e4/a\u0308", strings.Repeat("x", 255): strings.Repeat("x", 255), "a/b/c": "a/b/c",
	} {
		if got, err := names.Clean(name); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"": "without a name", "..": "(..)", "a/../b": "(..)", "/..": "(..)", "a\x00": "NUL", "\xff": "UTF-8", "a/b/c/d": "more than 3",
		strings.Repeat("x", 256): "part longer", strings.Repeat("a/", 2049): "longer than 4096",
	} {
		if got, err := names.Clean(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, %v, want an error with %q", name, got, err, want)
		}
	}
	foreign := names
	foreign.Foreign = true
	if got, err := foreign.Clean("\xff"); err != nil || got != "\xff" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := foreign.Clean("a\x00"); err == nil {
		t.Error("a NUL is taken")
	}
}

func FuzzClean(f *testing.F) {
	for _, name := range []string{"", "/", "../x", "a//b/./c", "a\x00", "\xff"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, err := names.Clean(name)
		if err != nil {
			return
		}
		if path.IsAbs(got) || got != path.Clean(got) || got == ".." || strings.HasPrefix(got, "../") || strings.Contains("/"+got+"/", "/../") {
			t.Errorf("%q: got %q", name, got)
		}
		if again, err := names.Clean(got); err != nil || again != got {
			t.Errorf("%q: %q becomes %q, %v", name, got, again, err)
		}
	})
}

func TestTarget(t *testing.T) {
	for target, ok := range map[string]bool{"a": true, "../../etc/passwd": true, "/": true, "": false, "a\x00": false, strings.Repeat("a", 4097): false} {
		if err := names.Target(target); (err == nil) != ok {
			t.Errorf("%.20q: %v", target, err)
		}
	}
}

func TestTime(t *testing.T) {
	for _, c := range []struct{ at, want int64 }{{0, 0}, {1 << 32, 1 << 32}, {-1, 0}, {1 << 33, 0}, {1 << 62, 0}} {
		if got := member.Time(time.Unix(c.at, 5)); got.Unix() != c.want {
			t.Errorf("%d: got %v", c.at, got)
		}
	}
}

func TestQuote(t *testing.T) {
	if got := member.Quote("a\x1bb"); got != `"a\x1bb"` {
		t.Errorf("got %s", got)
	}
	if got := member.Quote(strings.Repeat("x", 500)); len(got) > 130 || !strings.HasSuffix(got, "…") {
		t.Errorf("got %s", got)
	}
}
