package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// manage makes this test the service manager, and gives what it is told.
func manage(t *testing.T) (told func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 4096)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestTell(t *testing.T) {
	var log strings.Builder
	n := Notifier{slog.New(slog.NewTextHandler(&log, nil))}
	n.Tell(Ready) // nobody is there
	told := manage(t)
	n.Tell(Ready, Status("%d procs\nand more", 3))
	if got, want := told(), "READY=1\nSTATUS=3 procs and more"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if log.Len() > 0 {
		t.Errorf("logged %s", log.String())
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	n.Tell(Stopping)
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "STOPPING=1") {
		t.Errorf("a manager that is gone: %s", log.String())
	}
}

// Each tick is a check, and only one that finds all well is a beat: with a timer
// alone the second tick would be one.
func TestWatchBeatsOnlyWhenWell(t *testing.T) {
	told := manage(t)
	var log strings.Builder
	n := Notifier{slog.New(slog.NewTextHandler(&log, nil))}
	results := []func(context.Context) (string, error){
		func(context.Context) (string, error) { return "first", nil },
		func(context.Context) (string, error) { return "ill", errors.New("the API does not answer") },
		func(context.Context) (string, error) { panic("ouch") },
		func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }, // stuck, until its time is over
		func(context.Context) (string, error) { return "last", nil },
	}
	ctx, cancel := context.WithCancel(t.Context())
	tick, done := make(chan time.Time), make(chan struct{})
	next := 0
	go func() { // owner: the test, which waits for done
		defer close(done)
		n.watch(ctx, tick, 50*time.Millisecond, func(ctx context.Context) (string, error) {
			next++
			return results[next-1](ctx)
		})
	}()
	for range results {
		tick <- time.Time{} // taken when the check before it has ended
	}
	for _, want := range []string{"WATCHDOG=1\nSTATUS=first", "WATCHDOG=1\nSTATUS=last"} {
		if got := told(); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	cancel()
	<-done
	for _, want := range []string{"the API does not answer", "bug: panic: ouch", "deadline exceeded"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log: %s", want, log.String())
		}
	}
}

// What systemd says of its watchdog is for one process, and must be a time.
func TestWatchWhenAsked(t *testing.T) {
	manage(t)
	for _, env := range [][2]string{{"", ""}, {"30000000", "1"}, {"x", ""}, {"-1", ""}} {
		t.Setenv("WATCHDOG_USEC", env[0])
		t.Setenv("WATCHDOG_PID", env[1])
		var log strings.Builder
		n := Notifier{slog.New(slog.NewTextHandler(&log, nil))}
		n.Watch(t.Context(), func(context.Context) (string, error) { panic("nobody asked") }) // returns
		if wrong := strings.Contains(log.String(), "level=ERROR"); wrong != (env[1] == "" && env[0] != "") {
			t.Errorf("%q: log %q", env, log.String())
		}
	}
}
