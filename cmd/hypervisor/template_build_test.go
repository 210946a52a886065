package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/rootfs/debian"
	"github.com/gilliam/hypervisor/rootfs/debian/archive"
	"github.com/gilliam/hypervisor/server"
)

// What is said on the command line arrives, and what comes back is printed.
func TestTemplateBuildVerb(t *testing.T) {
	for _, c := range []struct {
		args   string
		status int
		out    string // of stdout or, when it fails, of stderr
		cfg    func(buildConfig) bool
	}{
		{"build", 0, "template default: 1 packages in ", func(c buildConfig) bool {
			return c.name == "default" && c.suite == "bookworm" && c.mirror == "" && c.arch == hostArch() && slices.Equal(c.components, []string{"main"})
		}},
		{"build node --suite trixie --include a,b --include c --mirror http://m.example/debian --keyring /k --component main,contrib --epoch 86400 --allow-expired", 0, "", func(c buildConfig) bool {
			return c.name == "node" && c.suite == "trixie" && slices.Equal(c.packages, []string{"a", "b", "c"}) && c.mirror == "http://m.example/debian" &&
				slices.Equal(c.keyrings, []string{"/k"}) && slices.Equal(c.components, []string{"main", "contrib"}) && c.epoch.Equal(time.Unix(86400, 0)) && c.expired
		}},
		{"build --json", 0, `"name": "a"`, nil},
		{"build --include ../x", 2, "must be a name of a-z", nil},
		{"build --mirror ftp://m.example", 2, "must be an http or https URL", nil},
		{"build --suite a//b", 2, "must be a name such as", nil},
		{"build --epoch yesterday", 2, "number of seconds", nil},
		{"build a b", 2, "accepts at most 1 arg", nil},
		{"apt node install git less", 0, "template node: 1 packages in ", func(c buildConfig) bool {
			return c.name == "node" && slices.Equal(c.packages, []string{"git", "less"})
		}},
		{"apt node remove git", 2, "apt NAME install PACKAGE...", nil},
		{"apt node install", 2, "apt NAME install PACKAGE...", nil},
		{"apt node install Git", 2, "must be a name of a-z", nil},
		{"build fails", 1, "build template fails: no luck", nil},
	} {
		m := newMachine(t)
		a, stdout, stderr := m.app()
		var got buildConfig
		a.build = func(_ context.Context, cfg buildConfig) (built, error) {
			got = cfg
			cfg.report(debian.Progress{Phase: debian.Indexes, Bytes: 10})
			b := built{Template: server.Template{Name: cfg.name, Path: "/t"}}
			b.Packages = []debian.Chosen{{Name: "a", Version: "1", Arch: "all"}}
			if cfg.name == "fails" {
				return b, errors.New("no luck")
			}
			return b, nil
		}
		a.install = a.build
		status := a.run(t.Context(), append([]string{"template"}, strings.Fields(c.args)...))
		text := stdout.String()
		if status != 0 {
			text = stderr.String()
		}
		if status != c.status || !strings.Contains(text, c.out) || c.cfg != nil && !c.cfg(got) {
			t.Errorf("%s: %d %q with %+v", c.args, status, text, got)
		}
	}
}

// A build takes of this machine's sources those of the suite, and each is held
// against its own keyring.
func TestSuiteOf(t *testing.T) {
	source := func(mirror, suite string, arches ...string) archive.Source {
		return archive.Source{Mirror: mirror, Suite: suite, Arches: arches}
	}
	all := []archive.Source{
		source("http://a.example/debian", "bookworm"), source("http://b.example/debian", "bookworm"), source("http://a.example/debian", "bookworm-updates"),
		source("http://a.example/security", "bookworm-security"), source("http://a.example/debian", "trixie"), source("http://c.example", "bookworm-backports"),
		source("cdrom:[x]/", "bookworm"), source("http://d.example", "bookworm/updates", "arm64"), source("http://e.example", "nodistro"),
	}
	var got []string
	for _, s := range suiteOf(all, "bookworm", "amd64") {
		got = append(got, s.Mirror+" "+s.Suite)
	}
	want := "http://a.example/debian bookworm, http://a.example/debian bookworm-updates, http://a.example/security bookworm-security"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %q", got)
	}
	cfg := buildConfig{suite: "sid", arch: "amd64"}
	if _, err := cfg.sources(archive.Host{Sources: all}); err == nil || !strings.Contains(err.Error(), "no source of sid for amd64: name a mirror with --mirror") {
		t.Errorf("a suite that is not there: %v", err)
	}
}

func TestBuildBar(t *testing.T) {
	for _, c := range []struct {
		p     debian.Progress
		spent time.Duration
		drawn bool
		want  string
	}{
		{debian.Progress{Phase: debian.Indexes, Bytes: 1 << 20}, time.Second, true, "indexes   1MiB, 1.0 s"},
		{debian.Progress{Phase: debian.Packages, Bytes: 1 << 20, Of: 4 << 20, Done: 3, Total: 9}, 2 * time.Second, true,
			"packages  [######                  ] 1MiB of 4MiB, 3 of 9 packages, 2.0 s, 6 s left"},
		{debian.Progress{Phase: debian.Packages, Bytes: -5, Of: 4 << 20, Total: 9}, 0, false, "packages  0B of 4MiB, 0 of 9 packages, 0.0 s"},
		{debian.Progress{Phase: debian.Configure, Done: 9, Total: 9}, time.Second, false, "configure 9 of 9 packages, 1.0 s"},
	} {
		if got := barText(c.p, c.spent, c.drawn); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
	var out bytes.Buffer
	bar := newBuildBar(&out)
	bar.show(debian.Progress{Phase: debian.Indexes})
	bar.show(debian.Progress{Phase: debian.Packages, Total: 2})
	bar.line("a\x1b[31mline")
	bar.show(debian.Progress{Phase: debian.Packages, Done: 2, Total: 2})
	bar.end()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 || strings.Contains(out.String(), "\x1b") || strings.Contains(out.String(), "\r") ||
		!strings.HasPrefix(lines[0], "indexes") || !strings.HasPrefix(lines[2], "packages  2 of 2") {
		t.Errorf("where there is no terminal: %q", lines)
	}
}
