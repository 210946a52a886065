package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	type parser func(string) (any, error)
	wrap := func(f any) parser {
		switch f := f.(type) {
		case func(string) (int64, error):
			return func(s string) (any, error) { return f(s) }
		case func(string) (float64, error):
			return func(s string) (any, error) { return f(s) }
		case func(string) (string, error):
			return func(s string) (any, error) { return f(s) }
		case func(string) (int, error):
			return func(s string) (any, error) { return f(s) }
		}
		t.Fatalf("bug: %T", f)
		return nil
	}
	tests := []struct {
		name  string
		parse parser
		good  map[string]string
		bad   []string
	}{
		{"size", wrap(parseSize), map[string]string{"": "0", "512M": "536870912", "1G": "1073741824", "1.5GiB": "1610612736", "4096": "4096", "64kb": "65536"},
			[]string{"0", "-1", "M", "1X", "1 G G", "NaN", "1e999", "99999999999G"}},
		{"cpu", wrap(parseCPU), map[string]string{"": "0", "0.5": "0.5", "2": "2"}, []string{"0", "-1", "NaN", "Inf", "1e309", "x"}},
		{"count", wrap(parseCount), map[string]string{"": "0", "64": "64"}, []string{"0", "-1", "1.5", "9223372036854775808"}},
		{"tail", wrap(parseTail), map[string]string{"": "-1", "0": "0", "20": "20"}, []string{"-1", "x", "2147483648"}},
		{"since", wrap(parseSince), map[string]string{"": "", "10m": "10m", "2026-01-02T15:04:05.5+01:00": "2026-01-02T15:04:05.5+01:00"}, []string{"1", "-1m", "yesterday", "2026-01-02"}},
		{"sink", wrap(parseSink), map[string]string{"": "", "none": "", "udp://127.0.0.1:514": "udp://127.0.0.1:514", "tcp://[::1]:6514": "tcp://[::1]:6514", "unix:///dev/log": "unix:///dev/log"},
			[]string{"127.0.0.1:514", "udp://host", "udp://:514", "udp://h:0", "udp://h:99999", "udp://h:514/x", "unix://dev/log", "unix:dev", "http://h:1", "udp://u@h:1", "%"}},
		{"host", wrap(parseHost), map[string]string{"node1.example": "node1.example"}, []string{"", "h:1", "http://h", "[::1]"}},
		{"user", wrap(parseUser), map[string]string{"gilliam": "gilliam"}, []string{"", "root", "0", "1000:0", "4294967296", "-1", "a b"}},
		{"image fs", wrap(parseImageFS), map[string]string{"squashfs": "squashfs", "erofs": "erofs"}, []string{"", "ext4", "SQUASHFS"}},
		{"path", wrap(parsePath), map[string]string{"/a/../b/": "/b"}, []string{"", "a\x00b"}},
		{"url", wrap(parseURL), map[string]string{"": "", "http://h:1/": "http://h:1", "https://h": "https://h"}, []string{"h", "file:///x", "http://", "http://h/x", "http://h?x"}},
	}
	for _, tt := range tests {
		for in, want := range tt.good {
			if got, err := tt.parse(in); err != nil || fmt.Sprint(got) != want {
				t.Errorf("%s %q: got %v, %v, want %s", tt.name, in, got, err, want)
			}
		}
		for _, in := range tt.bad {
			if got, err := tt.parse(in); err == nil || !strings.HasPrefix(err.Error(), "must be") {
				t.Errorf("%s %q: got %v, %v, want an error that says what is right", tt.name, in, got, err)
			}
		}
	}
}

func TestParseEnvFile(t *testing.T) {
	got, err := parseEnvFile("A=1\r\n\n  # x\nB=\nC=a=b #c\n D=d")
	if err != nil || fmt.Sprint(got) != "[{A 1} {B } {C a=b #c} {D d}]" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := parseEnvFile("A=1\n\n=2"); err == nil || !strings.HasPrefix(err.Error(), "line 3: ") {
		t.Errorf("got %v", err)
	}
}

func TestStateDir(t *testing.T) {
	root := t.TempDir()
	at := func(name string, mode os.FileMode, content ...string) string {
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, c := range content {
			if err := os.Mkdir(filepath.Join(dir, c), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	tests := []struct {
		dir string
		ok  bool
	}{
		{filepath.Join(root, "new", "below"), true},
		{at("empty", 0o755), true},
		{at("ours", 0o755, "template"), true},
		{at("closed", 0o700, "whatever"), true},
		{at("foreign", 0o755, "home"), false},
		{at("shared", 0o777), false},
		{at("tmp", 0o777|os.ModeSticky, "lock"), false},
	}
	for _, tt := range tests {
		before, _ := os.Stat(tt.dir)
		err := makeStateDir(tt.dir)
		if (err == nil) != tt.ok {
			t.Errorf("%s: got %v", tt.dir, err)
		}
		after, statErr := os.Stat(tt.dir)
		switch {
		case statErr != nil:
			t.Error(statErr)
		case tt.ok && after.Mode().Perm() != 0o700:
			t.Errorf("%s: mode %v", tt.dir, after.Mode())
		case !tt.ok && after.Mode() != before.Mode():
			t.Errorf("%s: the mode was changed to %v", tt.dir, after.Mode())
		}
	}
}

func TestToken(t *testing.T) {
	dir := t.TempDir()
	first, err := stateToken(dir)
	if err != nil || len(first) != 64 {
		t.Fatalf("got %q, %v", first, err)
	}
	if again, err := stateToken(dir); err != nil || again != first {
		t.Errorf("got %q, %v", again, err)
	}
	for _, bad := range []string{"", "short", strings.Repeat("x", 40) + " y"} {
		if err := os.WriteFile(filepath.Join(dir, "token"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := stateToken(dir); err == nil || !strings.Contains(err.Error(), "remove the file") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}
