package outbox

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Damage costs what it has hit and no more. What is damaged is kept where a
// person can look at it, and the next start finds nothing wrong.
func TestDamage(t *testing.T) {
	w := newWorld(t)
	w.append(a, "http://receiver.example/hook?token=s3cret", 1, life...)
	path := filepath.Join(w.cfg.Dir, a+".log")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try, err := encode(line{Kind: kindTry, Seq: 1, Attempts: 3, Error: "refused"})
	if err != nil {
		t.Fatal(err)
	}
	whole = append(whole, try...)
	lines := bytes.SplitAfter(whole, []byte("\n")) // the box, four events, the attempt, nothing
	lines = lines[:len(lines)-1]
	flip := func(n int) []byte {
		broken := bytes.Clone(lines[n])
		broken[len(broken)/2] ^= 1
		return bytes.Join(slices.Concat(lines[:n], [][]byte{broken}, lines[n+1:]), nil)
	}
	all := []string{a + "-1 pending", a + "-2 pending", a + "-3 pending", a + "-4 pending"}
	for name, c := range map[string]damaged{
		"nothing":          {a, whole, all, false},
		"no end":           {a, whole[:len(whole)-1], all, false},
		"half of a line":   {a, whole[:len(whole)-len(try)-len(lines[4])/2], all[:3], false},
		"a bit":            {a, flip(2), append(slices.Clone(all[:1]), all[2:]...), true},
		"the first line":   {a, flip(0), nil, true},
		"an outcome":       {a, flip(5), all, true},
		"garbage between":  {a, bytes.Join([][]byte{lines[0], []byte("garbage\n"), whole[len(lines[0]):]}, nil), all, true},
		"garbage":          {a, []byte(strings.Repeat("garbage\n", 100)), nil, true},
		"zeros":            {a, make([]byte, 4096), nil, true},
		"empty":            {a, nil, nil, true},
		"another's":        {b_, whole, nil, true},
		"a newer version":  {a, recode(t, lines[0], func(l *line) { l.Version = 2 }), nil, true},
		"no such kind":     {a, slices.Concat(whole, recode(t, lines[1], func(l *line) { l.Kind = "new" })), all, true},
		"another's event":  {a, slices.Concat(whole, recode(t, lines[1], func(l *line) { l.Event.Proc, l.Event.Seq = b_, 9 })), all, true},
		"two boxes":        {a, slices.Concat(whole, lines[0]), all, true},
		"an event again":   {a, slices.Concat(whole, lines[1], lines[4]), all, false},
		"a bad secret":     {a, recode(t, lines[0], func(l *line) { l.Target.Secret = "short" }), nil, true},
		"an unknown event": {a, slices.Concat(whole, recode(t, try, func(l *line) { l.Seq = 77 })), all, false},
	} {
		t.Run(name, func(t *testing.T) { c.find(t) })
	}
}

// A damaged file is one that a start finds.
type damaged struct {
	file  string // the id of the proc that it is named after
	text  []byte
	want  []string // what is listed of it
	aside bool     // whether it is set aside
}

// find has an outbox find the file, twice.
func (c damaged) find(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(filepath.Join(w.cfg.Dir, c.file+".log"), c.text, 0o600); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.lists(c.want...)
	kept, err := filepath.Glob(filepath.Join(w.cfg.SetAside, c.file+".log.*"))
	if err != nil || (len(kept) == 1) != c.aside {
		t.Errorf("set aside: %q %v", kept, err)
	}
	if c.aside {
		if got, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(got, c.text) {
			t.Errorf("what was set aside is not what was there: %v", err)
		}
	}
	if text := w.log.String(); strings.Contains(text, "level=ERROR") != c.aside || strings.Contains(text, "s3cret") {
		t.Errorf("log: %s", text)
	}
	w.log.Reset()
	w.restart()
	w.lists(c.want...)
	if text := w.log.String(); text != "" {
		t.Errorf("the second start: %s", text)
	}
}

// What was told before a crash cut the file off is not told again.
func TestTornAfterTold(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.start()
	w.append(a, r.url, 1, life...)
	w.idle()
	r.wants(t, told...)
	w.close()
	f, err := os.OpenFile(filepath.Join(w.cfg.Dir, a+".log"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("0123"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	w.open()
	w.restart()
	w.append(a, r.url, 4, "done") // as a start does
	w.start()
	r.wants(t)
}

// recode is a line, changed, with the right checksum.
func recode(t *testing.T, text []byte, change func(*line)) []byte {
	t.Helper()
	l, err := decodeLine(bytes.TrimSuffix(text, []byte("\n")))
	if err != nil {
		t.Fatal(err)
	}
	change(&l)
	text, err = encode(l)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What is not ours in the folder is set aside, and what a crash has left of a
// file that was being written is removed.
func TestForeignFiles(t *testing.T) {
	w := newWorld(t)
	victim := filepath.Join(t.TempDir(), "victim")
	for _, err := range []error{
		os.WriteFile(victim, []byte("not ours"), 0o600),
		os.WriteFile(filepath.Join(w.cfg.Dir, "stray"), nil, 0o600),
		os.WriteFile(filepath.Join(w.cfg.Dir, ".new-x-1"), []byte("half"), 0o600),
		os.MkdirAll(filepath.Join(w.cfg.Dir, a+".log", "full"), 0o700),
		os.Symlink(victim, filepath.Join(w.cfg.Dir, b_+".log")),
		os.WriteFile(filepath.Join(w.cfg.Dir, procName(3)+".log"), nil, 0o600),
		os.Truncate(filepath.Join(w.cfg.Dir, procName(3)+".log"), maxFile+1), // a hole, and more than we would read
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w.restart()
	if got := w.files(); len(got) != 0 {
		t.Errorf("files: %q", got)
	}
	aside, err := os.ReadDir(w.cfg.SetAside)
	if err != nil || len(aside) != 4 {
		t.Errorf("set aside: %v %v", aside, err)
	}
	w.append(a, "http://127.0.0.1:1/", 1, "init")
	w.append(b_, "http://127.0.0.1:1/", 1, "init")
	if got, err := os.ReadFile(victim); err != nil || string(got) != "not ours" {
		t.Errorf("got %q %v", got, err)
	}
}

// A folder that cannot be used is an error that names it.
func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

// Whatever a file holds, it can be read, and what was read can be written and
// read again.
func FuzzParse(f *testing.F) {
	lines := []line{{Kind: kindBox, Version: version, Proc: a, Target: &Target{URL: "http://h/"}}}
	for seq := range uint64(3) {
		e := event(a, seq+1, "init")
		lines = append(lines, line{Kind: kindEvent, Event: &e, At: e.At})
	}
	for _, kind := range []string{kindTry, kindTold, kindDead, kindGone, kindAgain, kindDrop, kindLast} {
		lines = append(lines, line{Kind: kind, Seq: 1, Attempts: 2, Error: "x"})
	}
	whole, err := encode(lines...)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:100])
	f.Add(withoutSums(whole))
	f.Fuzz(func(t *testing.T, b []byte) {
		readAndWrite(t, b)
		readAndWrite(t, withSums(b)) // or no change would get past the checksums
	})
}

// withoutSums takes the checksums off whole lines.
func withoutSums(b []byte) (bare []byte) {
	for l := range bytes.Lines(b) {
		bare = append(bare, l[min(sumLen, len(l)):]...)
	}
	return bare
}

// withSums makes every line one with the right checksum.
func withSums(b []byte) (whole []byte) {
	for l := range bytes.Lines(b) {
		l = bytes.TrimSuffix(l, []byte("\n"))
		whole = fmt.Appendf(whole, "%08x %s\n", crc32.Checksum(l, castagnoli), l)
	}
	return whole
}

func readAndWrite(t *testing.T, b []byte) {
	first := parse(a+".log", a, b)
	if first.box == nil {
		if len(first.damage) == 0 {
			t.Error("no box and no damage")
		}
		return
	}
	first.box.rebase(time.Unix(1e9, 0), time.Hour)
	text, err := encode(first.box.lines()...)
	if err != nil {
		t.Fatalf("what was read cannot be written: %v", err)
	}
	second := parse(a+".log", a, text)
	if second.box == nil || len(second.damage) > 0 || second.torn {
		t.Fatalf("what was written cannot be read: %v\n%s", second.damage, text)
	}
	again, err := encode(second.box.lines()...)
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("got %s\nwant %s", again, text)
	}
}
