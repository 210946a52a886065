package safely

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
)

func TestCatch(t *testing.T) {
	if p := Catch(func() {}); p != nil {
		t.Errorf("got %v of a function that did not panic", p)
	}
	p := Catch(func() { deep(3) })
	if p == nil || p.Value != "at the bottom" || p.Error() != "bug: panic: at the bottom" || !strings.Contains(string(p.Stack), "safely.deep") {
		t.Fatalf("got %v\n%s", p, p.Stack)
	}
	if p := Catch(func() { panic(fs.ErrNotExist) }); p == nil || errors.Is(p, fs.ErrNotExist) {
		t.Errorf("%v is taken for an error that callers know", p)
	}
	if p := Catch(func() { panic(nil) }); p == nil {
		t.Error("panic(nil) was taken for none")
	}
	var at []int
	if p := Catch(func() { at[2] = 1 }); p == nil || !strings.Contains(p.Error(), "index out of range") {
		t.Errorf("got %v", p)
	}
}

func deep(n int) {
	if n == 0 {
		panic("at the bottom")
	}
	deep(n - 1)
}

func TestDo(t *testing.T) {
	if err := Do(func() error { return nil }); err != nil {
		t.Errorf("got %v", err)
	}
	if err := Do(func() error { return fs.ErrExist }); err != fs.ErrExist {
		t.Errorf("got %v", err)
	}
	var p *Panic
	if err := Do(func() error { panic("ouch") }); !errors.As(err, &p) || p.Value != "ouch" {
		t.Errorf("got %v", err)
	}
}

func TestGuard(t *testing.T) {
	var log strings.Builder
	var counted []string
	g := Guard{Log: slog.New(slog.NewTextHandler(&log, nil)), Count: func(where string) { counted = append(counted, where) }}
	if p := g.Run("proc", func() {}); p != nil || log.Len() > 0 || counted != nil {
		t.Errorf("told of no panic: %v %q %q", p, counted, log.String())
	}
	if p := g.Run("proc", func() { deep(1) }, "id", 7); p == nil {
		t.Error("no panic is returned")
	}
	for _, want := range []string{"level=ERROR", "msg=panic", "where=proc", "id=7", `err="bug: panic: at the bottom"`, "safely.deep"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in %s", want, log.String())
		}
	}
	g.Report("image", fmt.Errorf("fetch: %w", Do(func() error { panic("ouch") })))
	g.Report("image", fs.ErrNotExist)
	g.Report("image", nil)
	if got := strings.Join(counted, " "); got != "proc image" {
		t.Errorf("counted %q", got)
	}
	Guard{}.Run("nobody looks", func() { panic("ouch") })
}
