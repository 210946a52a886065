package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func testLog(t *testing.T, max int64) *logFile {
	t.Helper()
	l, err := openLog(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l.max = max
	t.Cleanup(func() { l.close() })
	return l
}

func writeLine(t *testing.T, l *logFile, text string) {
	t.Helper()
	if err := l.write(appendLine(nil, time.Now(), "stdout", false, []byte(text))); err != nil {
		t.Fatal(err)
	}
}

func texts(t *testing.T, l *logFile, opt LogOptions) string {
	t.Helper()
	var got []string
	err := l.read(t.Context(), opt, func(line LogLine) error {
		got = append(got, string(line.Text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, " ")
}

func TestLogTail(t *testing.T) {
	l := testLog(t, 150) // three or four lines a part
	for n := range 5 {
		writeLine(t, l, fmt.Sprint(n))
	}
	for tail, want := range map[int]string{-1: "0 1 2 3 4", 0: "", 1: "4", 3: "2 3 4", 99: "0 1 2 3 4"} {
		if got := texts(t, l, LogOptions{Tail: tail}); got != want {
			t.Errorf("tail %d: got %q, want %q", tail, got, want)
		}
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	if got := texts(t, endedLog(l.dir), LogOptions{Tail: -1, Follow: true}); got != "0 1 2 3 4" {
		t.Errorf("after a restart: %q", got)
	}
	if got := texts(t, endedLog(t.TempDir()), LogOptions{Tail: -1}); got != "" {
		t.Errorf("of a proc that never ran: %q", got)
	}
}

// A log is bounded, and keeps the newest.
func TestLogRotates(t *testing.T) {
	l := testLog(t, 1000)
	for n := range 500 {
		writeLine(t, l, fmt.Sprint(n))
	}
	got := strings.Fields(texts(t, l, LogOptions{Tail: -1}))
	if got[len(got)-1] != "499" || len(got) > 50 || len(got) < 20 {
		t.Errorf("%d lines, the last %s", len(got), got[len(got)-1])
	}
	entries, _ := os.ReadDir(l.dir)
	if len(entries) != 2 {
		t.Errorf("%v", entries)
	}
}

// A follower gets every line once, in order, across rotations, and ends with
// the log.
func TestLogFollow(t *testing.T) {
	l := testLog(t, 4000)
	const lines = 2000
	turn := make(chan struct{}, 1)
	var got []string
	var reader sync.WaitGroup
	reader.Go(func() {
		err := l.read(context.Background(), LogOptions{Follow: true, Tail: -1}, func(line LogLine) error {
			got = append(got, string(line.Text))
			if len(got)%20 == 0 {
				turn <- struct{}{}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	for n := range lines {
		writeLine(t, l, fmt.Sprint(n))
		if n%20 == 19 {
			<-turn // the reader keeps up: a slower one may lose what is rotated away
		}
	}
	l.close()
	reader.Wait()
	if len(got) != lines {
		t.Fatalf("%d lines, want %d", len(got), lines)
	}
	for n, text := range got {
		if text != fmt.Sprint(n) {
			t.Fatalf("line %d is %q", n, text)
		}
	}
}

func TestLogFollowEndsWithContext(t *testing.T) {
	l := testLog(t, 1000)
	writeLine(t, l, "x")
	ctx, cancel := context.WithCancel(t.Context())
	err := l.read(ctx, LogOptions{Follow: true, Tail: 1}, func(LogLine) error { cancel(); return nil })
	if err != nil {
		t.Error(err)
	}
	stop := errors.New("stop")
	if err := l.read(t.Context(), LogOptions{Follow: true, Tail: -1}, func(LogLine) error { return stop }); err != stop {
		t.Errorf("got %v, want the reader's own error", err)
	}
}

func TestLineRoundTrip(t *testing.T) {
	at := time.Date(2026, 11, 22, 19, 49, 4, 5, time.UTC)
	for _, text := range []string{"", " ", "a b  c", "\xff\x00\x1b[1m", "2026 stdout F x"} {
		for _, partial := range []bool{true, false} {
			got, ok := parseLine(appendLine(nil, at, "stderr", partial, []byte(text)))
			if !ok || !got.Time.Equal(at) || got.Stream != "stderr" || got.Partial != partial || string(got.Text) != text {
				t.Errorf("%q: %+v %v", text, got, ok)
			}
		}
	}
	for _, bad := range []string{"", "\n", "x\n", "2026-11-22T19:49:04Z stdout X a\n", "2026-11-22T19:49:04Z stdout F a", "now stdout F a\n"} {
		if got, ok := parseLine([]byte(bad)); ok {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte("2026-11-22T19:49:04.000000005Z stdout F text\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		line, ok := parseLine(b)
		if ok && bytes.ContainsRune(line.Text, '\n') && bytes.Count(b, []byte("\n")) == 1 {
			t.Errorf("%q: %+v", b, line)
		}
	})
}

func TestSplitter(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, c := range []struct {
		in   []string
		want string
	}{
		{[]string{"a\nb", "c\n", "\nd"}, "a|bc||d|"},
		{[]string{long + "\n"}, long + "|"},
		{[]string{long, "\n"}, long + "|"},
		{[]string{long + "yy\nz\n"}, long + "+yy|z|"},
		{[]string{long, long, "e"}, long + "+" + long + "+e|"},
		{nil, ""},
	} {
		var got strings.Builder
		s := splitter{emit: func(_ *chunk, text []byte, partial bool) {
			got.Write(text)
			got.WriteString(map[bool]string{true: "+", false: "|"}[partial])
		}}
		var out chunk
		for _, in := range c.in {
			s.write(&out, []byte(in))
		}
		s.end(&out)
		if got.String() != c.want {
			t.Errorf("%.40q: got %d bytes, want %d", c.in, got.Len(), len(c.want))
		}
	}
}

func TestSyslog(t *testing.T) {
	receiver, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	sink, err := openSyslog("udp://" + receiver.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer sink.close()
	sink.send(time.Now(), "stdout", "blog[web.1]", []byte("hello"))
	sink.send(time.Now(), "stderr", "blog[web.1]", []byte("oops"))
	buf := make([]byte, 1000)
	for _, want := range []struct{ priority, text string }{{"<14>", " blog[web.1]: hello"}, {"<11>", " blog[web.1]: oops"}} {
		if err := receiver.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, _, err := receiver.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(buf[:n]); !strings.HasPrefix(got, want.priority) || !strings.HasSuffix(got, want.text) {
			t.Errorf("got %q, want %v", got, want)
		}
	}
}

// A receiver that is not there costs the app nothing.
func TestSyslogNobodyThere(t *testing.T) {
	sink, err := openSyslog("unix:///nonexistent/socket")
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		sink.send(time.Now(), "stdout", "a[b]", []byte("x"))
	}
	sink.close()
	if sink.dropped() == 0 {
		t.Error("nothing was counted as lost")
	}
}

func TestNotifierKeepsOrder(t *testing.T) {
	var mu sync.Mutex
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Method+" "+r.URL.RawQuery)
		if strings.Contains(r.URL.RawQuery, "boot") {
			w.WriteHeader(http.StatusInternalServerError) // logged, and never repeated
		}
	}))
	defer server.Close()
	var idle sync.WaitGroup
	counts := map[string]int{}
	n := &notifier{
		ctx: t.Context(), client: server.Client(), url: server.URL + "/cb?x=1", log: slog.New(slog.DiscardHandler),
		count: func(o string) { counts[o]++ }, idle: &idle,
	}
	for _, s := range []State{Init, Boot, Running, Done} {
		n.tell(Proc{Name: "n", Port: 1, State: s})
	}
	idle.Wait()
	var want []string
	for _, s := range []State{Init, Boot, Running, Done} {
		want = append(want, fmt.Sprintf("POST x=1&name=n&port=1&state=%s", s))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
	if counts["delivered"] != 3 || counts["failed"] != 1 {
		t.Errorf("%v", counts)
	}
}
