package applog

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate/output"
)

var networks = []string{"udp", "tcp", "unix"}

func each(t *testing.T, f func(t *testing.T, network string)) {
	for _, network := range networks {
		t.Run(network, func(t *testing.T) { f(t, network) })
	}
}

func TestParseSink(t *testing.T) {
	for sink, want := range map[string]string{
		"udp://127.0.0.1:514": "udp 127.0.0.1:514", "tcp://logs.example:601": "tcp logs.example:601",
		"unix:///dev/log": "unixgram /dev/log", "tcp://[::1]:6": "tcp [::1]:6",
		"udp://host": " ", "tcp://:5": " ", "udp://h:1/path": " ", "unix://dev/log": " ", "unix:///": " ", "http://h:1": " ", "\x00": " ",
	} {
		network, address, err := parseSink(sink)
		if got := network + " " + address; got != want || (err != nil) != (want == " ") {
			t.Errorf("%q: got %q, %v", sink, got, err)
		}
	}
	for _, none := range []string{"", "none"} {
		if s, err := OpenSink(none, nil); s != nil || err != nil {
			t.Errorf("%q: %v, %v", none, s, err)
		}
	}
	var s *Sink
	s.Forward("/nonexistent", "a", "b", "c", nil)
	if err := s.Close(t.Context()); err != nil || s.Lost() != 0 {
		t.Error("no sink is not nothing")
	}
}

func TestMessage(t *testing.T) {
	at := time.Date(2026, 11, 22, 20, 49, 4, 123456789, time.FixedZone("", 3600))
	const begin = "1 2026-11-22T19:49:04.123456Z host "
	for _, c := range []struct {
		app, name string
		l         Line
		want      string
	}{
		{"blog", "web.1", Line{Stream: "stdout", Text: []byte("a b")}, "<14>" + begin + `blog web.1 stdout [gilliam@32473 id="7"] a b`},
		{"blog", "web.1", Line{Stream: "stderr", Partial: true}, "<11>" + begin + `blog web.1 stderr [gilliam@32473 id="7" partial="true"] `},
		{"blog", "web.1", Line{Stream: "stdout", Lost: 9}, "<12>" + begin + `blog web.1 stdout [gilliam@32473 id="7" lost="9"] [9 bytes not kept]`},
		{"blog", "web.1", Line{Lost: 9}, "<12>" + begin + `blog web.1 - [gilliam@32473 id="7" lost="9"] [9 bytes not kept]`},
		{"a b\xc3\xa4", "", Line{Stream: "stdout"}, "<14>" + begin + `a_b__ - stdout [gilliam@32473 id="7"] `},
		{strings.Repeat("x", 60), "]", Line{Stream: "stdout"}, "<14>" + begin + strings.Repeat("x", 48) + ` _ stdout [gilliam@32473 id="7"] `},
	} {
		c.l.Time = at
		if got := string(appendMessage(nil, "host", c.app, c.name, "7", c.l)); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestForward(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		r := newReceiver(t, network)
		s := newSink(t, r.url(), quick)
		a := newApp(t, output.Limits{})
		a.write(output.Stdout, "before\nhal")
		a.forward(s)
		r.expect("before")
		a.write(output.Stderr, "oops\n")
		a.write(output.Stdout, "f\nlast")
		oops := r.next()
		form := regexp.MustCompile(`^<11>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ blog web\.1 stderr \[gilliam@32473 id="id-1"\] oops$`)
		if !form.MatchString(oops) {
			t.Errorf("got %q", oops)
		}
		r.expect("half")
		a.end()
		r.expect("last")
		if s.Lost() != 0 {
			t.Errorf("lost %d bytes", s.Lost())
		}
		closeSink(t, s) // before the app's folder goes, in which it keeps how far it is
	})
}

// The next hypervisor goes on exactly where the one before has ended, in the
// middle of a line, and a log that is sent whole is not sent again.
func TestForwardAgain(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		r := newReceiver(t, network)
		a := newApp(t, output.Limits{})
		for n := range 20 {
			s := newSink(t, r.url(), quick)
			a.forward(s)
			a.write(output.Stderr, "x")
			a.lines(100*n, 100*n+100)
			closeSink(t, s) // which sends what is there
			r.expect(numbers(100*n, 100*n+100)...)
		}
		s := newSink(t, r.url(), quick)
		a.forward(s)
		a.end()
		r.expect(strings.Repeat("x", 20))
		closeSink(t, s)
		s = newSink(t, r.url(), quick)
		a.forward(s)
		closeSink(t, s)
		if len(r.got) > 0 {
			t.Errorf("sent again: %q", <-r.got)
		}
		if names, _ := filepath.Glob(filepath.Join(a.dir, "*")); len(names) != 3 {
			t.Errorf("left: %q", names)
		}
	})
}

// A cursor that is none costs a repetition, not the log.
func TestBadCursor(t *testing.T) {
	for _, bad := range []string{"", "x", `{"used":-1}`, `{"cursor":{"offset":-5}}`, `{"cursor":{"generation":77,"offset":40,"position":1}}`} {
		r := newReceiver(t, "unix")
		a := newApp(t, output.Limits{})
		if err := os.WriteFile(filepath.Join(a.dir, cursorName), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		a.lines(0, 3)
		s := newSink(t, r.url(), quick)
		a.forward(s)
		r.expect("0", "1", "2")
		closeSink(t, s)
	}
}

// A receiver that is away gets later what was written meanwhile, once and in
// order.
func TestReceiverAway(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		r := newReceiver(t, network)
		s := newSink(t, r.url(), quick)
		a := newApp(t, output.Limits{})
		a.forward(s)
		for n := range 5 {
			a.lines(200*n, 200*n+100) // UDP holds 200 or so
			r.expect(numbers(200*n, 200*n+100)...)
			a.awaitSaved()
			r.stop()
			a.lines(200*n+100, 200*n+200)
			r.start()
			r.expect(numbers(200*n+100, 200*n+200)...)
			a.awaitSaved()
		}
		a.end()
		closeSink(t, s)
		if len(r.got) > 0 || s.Lost() != 0 {
			t.Errorf("%d messages more, %d bytes lost", len(r.got), s.Lost())
		}
	})
}
