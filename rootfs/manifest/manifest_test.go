package manifest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree makes one of every file that needs no root.
func tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	at := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		os.MkdirAll(at("usr/bin"), 0o755), os.Chmod(at("usr"), 0o755), os.Chmod(at("usr/bin"), 0o755),
		os.WriteFile(at("usr/bin/su"), []byte("program"), 0o755), os.Chmod(at("usr/bin/su"), 0o755|fs.ModeSetuid),
		os.Symlink("usr/bin", at("bin")), os.Symlink("/etc/\n x", at("a b\\é")),
		os.Mkdir(at("tmp"), 0o755), os.Chmod(at("tmp"), 0o777|fs.ModeSticky),
		unix.Mkfifo(at("pipe"), 0o600), os.WriteFile(at("empty"), nil, 0o644),
		os.WriteFile(at("long"), bytes.Repeat([]byte("0123456789"), 100_000), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{"": 0o755, "empty": 0o644, "long": 0o644, "pipe": 0o600} {
		if err := os.Chmod(at(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func scan(t *testing.T, dir string) Manifest {
	t.Helper()
	m, err := Scan(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestScan(t *testing.T) {
	dir := tree(t)
	m := scan(t, dir)
	var b bytes.Buffer
	if n, err := m.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Errorf("wrote %d, %v", n, err)
	}
	own := strings.NewReplacer("UID", strconv.Itoa(os.Getuid()), "GID", strconv.Itoa(os.Getgid()))
	want := own.Replace(`#mtree
. type=dir mode=0755 uid=UID gid=GID
./a\040b\134\303\251 type=link uid=UID gid=GID link=/etc/\012\040x
./bin type=link uid=UID gid=GID link=usr/bin
./empty type=file mode=0644 uid=UID gid=GID size=0 sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
./long type=file mode=0644 uid=UID gid=GID size=1000000 sha256=ec21d64624228af3ecd4bdaa8239e32ed943b01e26934cd5610fddb361426dc6
./pipe type=fifo mode=0600 uid=UID gid=GID
./tmp type=dir mode=1777 uid=UID gid=GID
./usr type=dir mode=0755 uid=UID gid=GID
./usr/bin type=dir mode=0755 uid=UID gid=GID
./usr/bin/su type=file mode=4755 uid=UID gid=GID size=7 sha256=1310ca2c8932dbd118668bd97442558a3e1f546b5e15c69699dfbd6024f548d8
`)
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if s := m.Stats(); s.Files != 10 || s.Bytes != 1_000_007 {
		t.Errorf("got %+v", s)
	}
	back, err := Parse(&b)
	if err != nil || back.Hash() != m.Hash() || len(back.Diff(m)) > 0 {
		t.Errorf("parsed: %s, %v, want %s", back.Hash(), err, m.Hash())
	}
	// The same tree elsewhere, at another time, is the same.
	if again := scan(t, tree(t)); again.Hash() != m.Hash() {
		t.Errorf("got %s, want %s", again.Hash(), m.Hash())
	}
	if err := os.Chtimes(filepath.Join(dir, "long"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if again := scan(t, dir); again.Hash() != m.Hash() {
		t.Errorf("got %s, want %s", again.Hash(), m.Hash())
	}
}

// Attributes that belong to a file count.
func TestXattrs(t *testing.T) {
	dir := tree(t)
	before := scan(t, dir)
	if err := unix.Setxattr(filepath.Join(dir, "usr"), "user.a=b", []byte("x\x00y"), 0); err != nil {
		t.Fatalf("%v: TMPDIR must be on a file system with user attributes", err)
	}
	changes := before.Diff(scan(t, dir))
	if len(changes) != 1 || changes[0].String() != `usr: xattr.user.a\075b is eAB5, was none` {
		t.Errorf("got %v", changes)
	}
}

func TestScanFails(t *testing.T) {
	if _, err := Scan(t.Context(), "/none", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Scan(ctx, tree(t), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	if _, err := Scan(ctx, tree(t), func(int) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("in the midst: got %v", err)
	}
}

func TestDiff(t *testing.T) {
	a, err := New([]Entry{{Path: ".", Type: Dir, Mode: 0o755}, {Path: "b", Type: File, SHA256: "1"}, {Path: "c", Type: Link, Target: "x"}, {Path: "e", Type: Char, Device: 259}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := New([]Entry{{Path: "d", Type: FIFO}, {Path: "c", Type: Link, Target: "y", UID: 7}, {Path: ".", Type: Dir, Mode: 0o700}, {Path: "e", Type: Block, Device: 259}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range a.Diff(b) {
		got = append(got, c.String())
	}
	want := ".: mode is 0700, was 0755\nb: missing\nc: uid is 7, was 0; link is y, was x\nd: added\ne: type is block, was char"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	if _, err := New([]Entry{{Path: "b"}, {Path: "b"}}); err == nil {
		t.Error("a path can be listed twice")
	}
}

// Whatever is parsed is written as it was, and what is written can be parsed.
func FuzzParse(f *testing.F) {
	f.Add([]byte(signature + "\n. type=dir mode=0755 uid=0 gid=0\n./a\\040b type=link uid=0 gid=0 link=x\n"))
	f.Add([]byte(signature + "\n"))
	f.Add([]byte("./x y\n"))
	f.Add([]byte(signature + "\n./\\777 x\n./\\1 x\n./\\101 x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := Parse(bytes.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if _, err := m.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		back, err := Parse(&b)
		if err != nil || back.Hash() != m.Hash() || len(m.Diff(back)) > 0 {
			t.Errorf("%q: got %v, %v", text, back, err)
		}
	})
}

func FuzzEscape(f *testing.F) {
	f.Add("a b\\#=\n\xff")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := unescape(escape(s)); err != nil || got != s {
			t.Errorf("%q: got %q, %v", s, got, err)
		}
	})
}
