package outbox

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A tape is a client that takes every second attempt, and is heard by nobody
// once its process is dead.
type tape struct {
	dead func() bool

	mu       sync.Mutex
	heard    []string // what was taken
	attempts int
}

func (c *tape) Do(r *http.Request) (*http.Response, error) {
	if c.dead() {
		return nil, errKilled
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts++
	if c.attempts%2 == 1 {
		return nil, errors.New("connection refused")
	}
	c.heard = append(c.heard, r.Header.Get("Webhook-Id"))
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(""))}, nil
}

// A lifeLog is what the records of two procs hold: the number of the last state
// of each. It is written before the outbox is, and always whole.
type lifeLog map[string]uint64

// live lets both procs go through their states, as far as the disk lives.
func (l lifeLog) live(t *testing.T, w *world, dead func() bool) {
	t.Helper()
	w.Start(everyProc)
	for seq := uint64(1); seq <= 4; seq++ {
		for _, proc := range []string{a, b_} {
			if dead() {
				return
			}
			if l[proc] >= seq {
				continue
			}
			l[proc] = seq
			if err := w.Append(Target{URL: "http://receiver.example/"}, event(proc, seq, life[seq-1])); err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			w.idle()
			w.advance(time.Second)
		}
	}
	for range 20 {
		w.advance(10 * time.Second)
	}
	for _, proc := range []string{a, b_} {
		w.Forget(proc)
	}
}

// Killed after any byte that it writes, and restarted, the outbox has told every
// state of every proc, in order, and each delivery that is repeated says so by
// its id. So it is when the power fails and takes with it what was not synced.
func TestKilledAtEveryByte(t *testing.T) {
	for _, power := range []bool{false, true} {
		t.Run(fmt.Sprintf("power=%v", power), func(t *testing.T) {
			t.Parallel()
			for left, killed := 1, true; killed; left += 31 { // over the lines' lengths, so that it falls everywhere in them
				killed = killedAfter(t, left, power)
				if t.Failed() {
					t.Fatalf("when killed after %d bytes", left)
				}
			}
		})
	}
}

// killedAfter tells whether the scenario was long enough to be killed.
func killedAfter(t *testing.T, left int, power bool) bool {
	t.Helper()
	disk := &mortal{left: left, power: power, synced: map[string]int64{}}
	heard := &tape{dead: disk.isDead}
	w := newWorld(t, func(c *Config) {
		disk.folder = folder(c.Dir)
		c.disk, c.Client = disk, heard
		c.limits.rewrite = 600 // so that files are written anew in between
	})
	log := lifeLog{}
	log.live(t, w, disk.isDead)
	killed := disk.isDead()

	// The next start: every record's last event is appended, then life goes on.
	w.close()
	w.cfg.disk = nil
	heard.dead = func() bool { return false }
	w.open()
	for proc, seq := range log {
		if err := w.Append(Target{URL: "http://receiver.example/"}, event(proc, seq, life[seq-1])); err != nil {
			t.Error(err)
		}
	}
	log.live(t, w, heard.dead)
	w.advance(time.Minute)

	w.lists()
	if got := w.files(); len(got) != 0 {
		t.Errorf("files: %q", got)
	}
	if _, err := os.Stat(w.cfg.SetAside); err == nil {
		t.Error("a file was set aside: a crash is no damage")
	}
	for _, proc := range []string{a, b_} {
		var got, want []string
		for _, id := range heard.heard {
			if strings.HasPrefix(id, proc) && !slices.Contains(got, id) {
				got = append(got, id)
			}
		}
		for seq := range uint64(4) {
			want = append(want, id(proc, seq+1))
		}
		if !slices.Equal(got, want) {
			t.Errorf("told %q, want %q; all: %q", got, want, heard.heard)
		}
	}
	if repeated := len(heard.heard) - 8; repeated > 2 && !power {
		t.Errorf("%d deliveries were repeated, want at most those under way, one of each proc: %q", repeated, heard.heard)
	}
	return killed
}

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
	for name, c := range map[string]struct {
		file  string
		text  []byte
		want  []string
		aside bool
	}{
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
		t.Run(name, func(t *testing.T) {
			v := newWorld(t)
			if err := os.WriteFile(filepath.Join(v.cfg.Dir, c.file+".log"), c.text, 0o600); err != nil {
				t.Fatal(err)
			}
			v.restart()
			v.lists(c.want...)
			kept, err := filepath.Glob(filepath.Join(v.cfg.SetAside, c.file+".log.*"))
			if err != nil || (len(kept) == 1) != c.aside {
				t.Errorf("set aside: %q %v", kept, err)
			}
			if c.aside {
				if got, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(got, c.text) {
					t.Errorf("what was set aside is not what was there: %v", err)
				}
			}
			if text := v.log.String(); strings.Contains(text, "level=ERROR") != c.aside || strings.Contains(text, "s3cret") {
				t.Errorf("log: %s", text)
			}
			v.log.Reset()
			v.restart()
			v.lists(c.want...)
			if text := v.log.String(); text != "" {
				t.Errorf("the second start: %s", text)
			}
		})
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
