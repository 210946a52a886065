package archive_test

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gilliam/hypervisor/rootfs/debian/archive"
)

func TestParseList(t *testing.T) {
	got, err := archive.ParseList(`# a comment
deb http://mirror.example/debian bookworm main contrib # and more
deb	https://mirror.example/debian	bookworm-updates	main
deb-src http://mirror.example/debian bookworm main
deb [ arch=amd64,arm64 signed-by=/k.gpg trusted=yes ] http://mirror.example/x ./

`)
	want := []archive.Source{
		{Mirror: "http://mirror.example/debian", Suite: "bookworm", Components: []string{"main", "contrib"}},
		{Mirror: "https://mirror.example/debian", Suite: "bookworm-updates", Components: []string{"main"}},
		{Mirror: "http://mirror.example/x", Suite: "./", Components: []string{}, SignedBy: "/k.gpg", Arches: []string{"amd64", "arm64"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %v", got, err)
	}
	for _, bad := range []string{"deb", "deb x", "rpm http://x y z", "deb [arch=amd64 http://x y"} {
		if got, err := archive.ParseList(bad); err == nil {
			t.Errorf("%q is taken as %+v", bad, got)
		}
	}
}

func TestParseSources(t *testing.T) {
	got, err := archive.ParseSources(`# one
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP
 .
 x

Types: deb-src
URIs: http://mirror.example/src
Suites: bookworm

Types: deb
Enabled: no
URIs: http://mirror.example/off
Suites: bookworm
`)
	key := "-----BEGIN PGP\n .\n x"
	want := []archive.Source{
		{Mirror: "http://mirror.example/debian", Suite: "bookworm", Components: []string{"main"}, SignedBy: key, Arches: []string{}},
		{Mirror: "http://mirror.example/debian", Suite: "bookworm-updates", Components: []string{"main"}, SignedBy: key, Arches: []string{}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %v", got, err)
	}
	for _, bad := range []string{"Types: deb\nSuites: x\n", "Types: deb\nURIs: http://x\n", "no field"} {
		if got, err := archive.ParseSources(bad); err == nil {
			t.Errorf("%q is taken as %+v", bad, got)
		}
	}
}

func TestParseConf(t *testing.T) {
	got, err := archive.ParseConf(`// one
Acquire::Check-Valid-Until "false";
# two
Acquire { http { Proxy "http://p:1"; Proxy::here "DIRECT"; } /* three */ Retries 3; };
APT::List { "a"; "b"; };
`)
	want := []archive.Setting{
		{"acquire::check-valid-until", "false"}, {"acquire::http::proxy", "http://p:1"}, {"acquire::http::proxy::here", "DIRECT"},
		{"acquire::retries", "3"}, {"apt::list", "a"}, {"apt::list", "b"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %v", got, err)
	}
	for _, bad := range []string{"a {", "}", `a "b`} {
		if got, err := archive.ParseConf(bad); err == nil {
			t.Errorf("%q is taken as %+v", bad, got)
		}
	}
}

func FuzzParseConf(f *testing.F) {
	f.Add("Acquire { http { Proxy \"x\"; }; }; // c\n/* d */ # e\n")
	f.Add("/*")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := archive.ParseConf(text)
		for _, s := range list {
			if err == nil && strings.ToLower(s.Name) != s.Name {
				t.Errorf("%q", s.Name)
			}
		}
	})
}

func FuzzParseList(f *testing.F) {
	f.Add("deb [arch=amd64] http://x y z\n", "Types: deb\nURIs: http://x\nSuites: y\n")
	f.Fuzz(func(t *testing.T, list, sources string) {
		one, _ := archive.ParseList(list)
		two, _ := archive.ParseSources(sources)
		for _, s := range append(one, two...) {
			if s.Mirror == "" || s.Suite == "" || strings.ContainsAny(s.Line(), "\n") {
				t.Errorf("%+v", s)
			}
		}
	})
}

func TestReadHost(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }
	h, err := archive.ReadHost(fstest.MapFS{
		"etc/apt/sources.list":               file("deb http://a.example/debian bookworm main\n"),
		"etc/apt/sources.list.d/b.list":      file("deb http://b.example/debian bookworm main\n"),
		"etc/apt/sources.list.d/c.sources":   file("Types: deb\nURIs: http://c.example\nSuites: trixie\n"),
		"etc/apt/sources.list.d/d.list.save": file("nonsense"),
		"etc/apt/apt.conf.d/01off":           file(`Acquire::Check-Valid-Until "0";`),
		"etc/apt/apt.conf.d/02.bak":          file(`Acquire::http::Proxy "http://no.example";`),
		"etc/apt/apt.conf":                   file(`Acquire::http { Proxy "http://p.example:8"; Proxy::A.example "DIRECT"; };`),
		"etc/apt/auth.conf.d/x.conf":         file("machine b.example/debian login me password pw"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var mirrors []string
	for _, s := range h.Sources {
		mirrors = append(mirrors, s.Mirror+" "+s.Suite)
	}
	if got := strings.Join(mirrors, ", "); got != "http://b.example/debian bookworm, http://c.example trixie, http://a.example/debian bookworm" || !h.Expired {
		t.Errorf("got %s, expired %v", got, h.Expired)
	}
	for address, want := range map[string]string{"http://b.example/x": "http://p.example:8", "http://a.example/x": "", "https://b.example/x": ""} {
		req, err := http.NewRequest("GET", address, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if u, err := h.Proxies.For(req); err != nil {
			t.Error(err)
		} else if u != nil {
			got = u.String()
		}
		if got != want {
			t.Errorf("%s goes by %q, want %q", address, got, want)
		}
	}
	for address, want := range map[string]bool{"https://b.example/debian/x": true, "http://b.example/debian/x": false, "https://b.example/else": false, "https://bb.example/debian": false} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, got := h.Logins.For(u); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if h, err := archive.ReadHost(fstest.MapFS{}); err != nil || len(h.Sources) > 0 {
		t.Errorf("a host without apt: %+v %v", h, err)
	}
	if _, err := archive.ReadHost(fstest.MapFS{"etc/apt/sources.list": file("deb")}); err == nil || !strings.Contains(err.Error(), "/etc/apt/sources.list: line 1") {
		t.Errorf("a wrong file: %v", err)
	}
}

func TestSourceLine(t *testing.T) {
	s := archive.Source{Mirror: "https://me:secret@mirror.example/debian", Suite: "bookworm", Components: []string{"main"}, SignedBy: "/k"}
	if got := s.Line(); got != "deb https://mirror.example/debian bookworm main" {
		t.Errorf("got %q", got)
	}
}
