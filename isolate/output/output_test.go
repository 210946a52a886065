package output

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A rig is a log in a folder, and the pipes of a program.
type rig struct {
	t        *testing.T
	segments [2]*os.File
	null     *os.File
	r, w     [2]*os.File
}

func newRig(t *testing.T) *rig {
	t.Helper()
	g := &rig{t: t}
	dir := t.TempDir()
	for i := range 2 {
		g.segments[i] = openSegment(t, dir, i)
		g.r[i], g.w[i] = pipe(t)
	}
	var err error
	if g.null, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.null.Close() })
	return g
}

func openSegment(t *testing.T, dir string, i int) *os.File {
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint("log.", i)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func pipe(t *testing.T) (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func (g *rig) writer(l Limits) *Writer {
	g.t.Helper()
	w, err := NewWriter([2]int{int(g.segments[0].Fd()), int(g.segments[1].Fd())}, l, int(g.null.Fd()))
	if err != nil {
		g.t.Fatal(err)
	}
	return w
}

func (g *rig) reader(at Cursor) *Reader {
	return NewReader([2]io.ReaderAt{g.segments[0], g.segments[1]}, at)
}

// put writes to a pipe of the program's and pumps it.
func (g *rig) put(w *Writer, kind Kind, text string) {
	g.t.Helper()
	if _, err := g.w[kind-Stdout].WriteString(text); err != nil {
		g.t.Fatal(err)
	}
	if !w.Pump(kind, int(g.r[kind-Stdout].Fd())) {
		g.t.Fatal("nothing in the pipe")
	}
}

// all is what a reader finds, as "1:text" or "3:-bytes" for each entry.
func all(t *testing.T, r *Reader) string {
	t.Helper()
	var got []string
	buf := make([]byte, MaxRecord)
	for {
		e, err := r.Next(buf)
		if err == io.EOF {
			return strings.Join(got, " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Lost > 0 {
			got = append(got, fmt.Sprintf("%d:-%d", e.Kind, e.Lost))
			continue
		}
		got = append(got, fmt.Sprintf("%d:%s", e.Kind, e.Data))
	}
}

func TestBothStreamsInOrder(t *testing.T) {
	g := newRig(t)
	w := g.writer(Limits{})
	r := g.reader(Cursor{})
	if got := all(t, r); got != "" {
		t.Errorf("an empty log: %q", got)
	}
	g.put(w, Stdout, "a\n")
	g.put(w, Stderr, "b\n")
	if got := all(t, r); got != "1:a\n 2:b\n" {
		t.Errorf("got %q", got)
	}
	at := r.Cursor()
	g.put(w, Stdout, "c\n")
	if got := all(t, r); got != "1:c\n" {
		t.Errorf("what is new: %q", got)
	}
	if got := all(t, g.reader(at)); got != "1:c\n" {
		t.Errorf("from a cursor: %q", got)
	}
	// The next writer goes on where this one ended.
	g.put(g.writer(Limits{}), Stderr, "d\n")
	if got := all(t, g.reader(Cursor{})); got != "1:a\n 2:b\n 1:c\n 2:d\n" {
		t.Errorf("got %q", got)
	}
	if w.Pump(Stdout, int(g.r[0].Fd())) {
		t.Error("pumped an empty pipe")
	}
}

// A log is never larger than its two segments; one who reads too slowly is told
// how much was lost.
func TestRing(t *testing.T) {
	g := newRig(t)
	w := g.writer(Limits{Segment: MinSegment})
	slow := g.reader(Cursor{})
	buf := make([]byte, MaxRecord)
	block := strings.Repeat("x", 50_000)
	g.put(w, Stdout, block)
	if e, err := slow.Next(buf); err != nil || len(e.Data) != len(block) {
		t.Fatalf("got %d bytes, %v", len(e.Data), err)
	}
	fast := g.reader(Cursor{})
	total := 0
	for range 40 {
		g.put(w, Stdout, block)
		for {
			e, err := fast.Next(buf)
			if err != nil {
				break
			}
			total += len(e.Data)
		}
	}
	if want := 41 * len(block); total != want {
		t.Errorf("a reader that keeps up got %d bytes of %d", total, want)
	}
	for _, f := range g.segments {
		if st, err := f.Stat(); err != nil || st.Size() > MinSegment {
			t.Errorf("segment of %d bytes, %v", st.Size(), err)
		}
	}
	e, err := slow.Next(buf)
	if err != nil || e.Kind != 0 || e.Lost == 0 {
		t.Fatalf("a reader that was overtaken: %+v, %v", e, err)
	}
	rest := 0
	for {
		e, err := slow.Next(buf)
		if err != nil {
			break
		}
		rest += len(e.Data)
	}
	if got := len(block) + int(e.Lost) + rest; got != total {
		t.Errorf("read %d + lost %d + read %d, of %d bytes", len(block), e.Lost, rest, total)
	}
}

// What the rate does not allow is dropped, counted and told, and the program is
// not held up.
func TestRate(t *testing.T) {
	g := newRig(t)
	w := g.writer(Limits{Rate: 1000})
	g.put(w, Stdout, strings.Repeat("a", 1000)) // a burst is allowed
	g.put(w, Stdout, strings.Repeat("b", 70))
	g.put(w, Stderr, strings.Repeat("c", 7000))
	if !w.Owes() {
		t.Error("nothing to tell")
	}
	w.Tell()
	if w.Owes() {
		t.Error("told, and owes still")
	}
	if got, want := all(t, g.reader(Cursor{})), "1:"+strings.Repeat("a", 1000)+" 3:-70 4:-7000"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A file that takes nothing more is no reason to hold up the program either.
func TestDiskFull(t *testing.T) {
	g := newRig(t)
	w := g.writer(Limits{})
	g.put(w, Stdout, "before\n")
	full := g.segments[1]
	readOnly, err := os.Open(full.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	w.files[1] = int(readOnly.Fd()) // every write fails
	g.put(w, Stdout, "lost\n")
	w.files[1] = int(full.Fd())
	g.put(w, Stdout, "after\n")
	if got, want := all(t, g.reader(Cursor{})), "1:before\n 3:-5 1:after\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A record that its writer did not commit to is completed with what was moved.
func TestHalfRecord(t *testing.T) {
	for name, c := range map[string]struct {
		size  int    // as the record says
		moved string // what is behind it
		want  string
	}{
		"all moved":  {5, "hello", " 1:hello"},
		"a part":     {500, "hel", " 1:hel"},
		"nothing":    {5, "", ""},
		"no record":  {0, "xxxxxxxxxxxxxxxxxx", ""},
		"too much":   {3, "hello", " 1:hel"},
		"impossible": {MaxRecord + 1, "hello", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			w := g.writer(Limits{})
			g.put(w, Stdout, "a")
			var b [RecordSize]byte
			Record{Kind: Stdout, Size: c.size, Time: 1}.Encode(b[:])
			if _, err := g.segments[1].WriteAt(append(b[:], c.moved...), w.header.End); err != nil {
				t.Fatal(err)
			}
			if got := all(t, g.reader(Cursor{})); got != "1:a" {
				t.Errorf("before it is recovered: %q", got)
			}
			g.put(g.writer(Limits{}), Stdout, "z")
			if got, want := all(t, g.reader(Cursor{})), "1:a"+c.want+" 1:z"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// After a power cut the file may be shorter than its header says.
func TestCutOff(t *testing.T) {
	g := newRig(t)
	w := g.writer(Limits{})
	g.put(w, Stdout, "first")
	g.put(w, Stdout, "second")
	if err := g.segments[1].Truncate(w.header.End - 2); err != nil {
		t.Fatal(err)
	}
	if got := all(t, g.reader(Cursor{})); got != "1:first" {
		t.Errorf("got %q", got)
	}
	g.put(g.writer(Limits{}), Stdout, "third")
	if got := all(t, g.reader(Cursor{})); got != "1:first 1:third" && got != "1:first 1:seco 1:third" {
		t.Errorf("got %q", got)
	}
}

// FuzzReader gives the reader segments that nobody has written: it must end, and
// never hand out more than there is.
func FuzzReader(f *testing.F) {
	h := make([]byte, HeaderSize)
	Header{Generation: 1, End: HeaderSize + RecordSize + 1}.Encode(h)
	rec := make([]byte, RecordSize)
	Record{Kind: Stdout, Size: 1, Time: 5}.Encode(rec)
	f.Add([]byte{}, append(append(h, rec...), 'x'))
	f.Add(binary.LittleEndian.AppendUint64([]byte(magic), 2), h)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		r := NewReader([2]io.ReaderAt{bytes.NewReader(a), bytes.NewReader(b)}, Cursor{})
		buf := make([]byte, MaxRecord)
		for range (len(a) + len(b)) * 2 {
			e, err := r.Next(buf)
			if err == io.EOF {
				return
			}
			if err != nil || len(e.Data) > len(a)+len(b) {
				t.Fatalf("%+v %v", e, err)
			}
		}
		if len(a)+len(b) > 0 {
			t.Fatal("no end")
		}
	})
}
