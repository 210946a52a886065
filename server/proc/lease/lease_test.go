package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// A node is a state folder with procs.
type node struct {
	t   *testing.T
	dir string
}

func newNode(t *testing.T, procs ...string) node {
	n := node{t, t.TempDir()}
	for _, proc := range procs {
		n.begin(proc)
	}
	return n
}

func (n node) path(proc string) string { return filepath.Join(n.dir, "procs", proc) }

func (n node) begin(proc string) {
	n.t.Helper()
	if err := os.MkdirAll(n.path(proc), 0o700); err != nil {
		n.t.Fatal(err)
	}
}

func (n node) end(proc string) {
	n.t.Helper()
	if err := os.Remove(n.path(proc)); err != nil {
		n.t.Fatal(err)
	}
}

func (n node) open(dir string, numbers Numbers) *Pool {
	n.t.Helper()
	p, err := Open(dir, n.dir, numbers)
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

func take(t *testing.T, p *Pool, proc string, want int) {
	t.Helper()
	if got, err := p.Take(proc); err != nil || got != want {
		t.Errorf("take for %s: got %d, %v, want %d", proc, got, err, want)
	}
}

func TestTakeAndRelease(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "ports")
	n := newNode(t, "a", "b", "c")
	p := n.open(dir, Numbers{First: 10, Count: 2})
	take(t, p, "a", 10)
	take(t, p, "b", 11)
	if _, err := p.Take("c"); !errors.Is(err, ErrExhausted) {
		t.Errorf("got %v, want %v", err, ErrExhausted)
	}
	if err := p.Release(10, "b"); err != nil {
		t.Error(err)
	}
	if _, err := p.Take("c"); !errors.Is(err, ErrExhausted) {
		t.Errorf("released by who does not hold it: %v", err)
	}
	if err := p.Release(10, "a"); err != nil {
		t.Error(err)
	}
	take(t, p, "c", 10)
	// Another hypervisor, or the next one, finds it as it is.
	held, err := n.open(dir, Numbers{First: 10, Count: 2}).Held()
	if want := map[int]string{10: "c", 11: "b"}; err != nil || !maps.Equal(held, want) {
		t.Errorf("got %v %v, want %v", held, err, want)
	}
	for number, proc := range held {
		if err := p.Release(number, proc); err != nil {
			t.Error(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
	take(t, p, "a", 11) // and made again
}

func TestOrder(t *testing.T) {
	n := newNode(t, "a", "b")
	lowest := n.open(t.TempDir(), Numbers{Count: 3, Lowest: true})
	round := n.open(t.TempDir(), Numbers{Count: 3})
	for i, p := range []*Pool{lowest, round} {
		take(t, p, "a", 0)
		if err := p.Release(0, "a"); err != nil {
			t.Error(err)
		}
		take(t, p, "b", i)
	}
}

// A number that another hypervisor has given out is not given out again, unless
// the proc that had it is gone.
func TestSideBySide(t *testing.T) {
	dir := t.TempDir()
	one, two := newNode(t, "a"), newNode(t, "b", "c")
	inUse := map[int]bool{}
	numbers := Numbers{Count: 1, Free: func(n int, stale bool) bool { return !stale || !inUse[n] }}
	p, q := one.open(dir, numbers), two.open(dir, numbers)
	take(t, p, "a", 0)
	if _, err := q.Take("b"); !errors.Is(err, ErrExhausted) {
		t.Errorf("got %v, want %v", err, ErrExhausted)
	}
	if err := q.Claim(0, "b"); !errors.Is(err, ErrTaken) {
		t.Errorf("got %v, want %v", err, ErrTaken)
	}
	one.end("a")
	inUse[0] = true
	if _, err := q.Take("b"); !errors.Is(err, ErrExhausted) {
		t.Errorf("its proc is gone, but it is in use: got %v", err)
	}
	inUse[0] = false
	take(t, q, "b", 0)
	if held, err := p.Held(); err != nil || len(held) > 0 {
		t.Errorf("got %v %v", held, err)
	}
	if err := q.Claim(0, "b"); err != nil {
		t.Errorf("claimed by who holds it: %v", err)
	}
}

// After a reboot the folder is empty, and what the records say is claimed.
func TestClaimAfterReboot(t *testing.T) {
	n := newNode(t, "a", "b")
	p := n.open(t.TempDir(), Numbers{Count: 2, Lowest: true})
	if err := p.Claim(0, "a"); err != nil {
		t.Fatal(err)
	}
	take(t, p, "b", 1)
}

// What is no lease, after a crash of the machine perhaps, is in nobody's way.
func TestNotALease(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"0": "", "1": "garbage", "7.new": "half", "note": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := newNode(t, "a", "b")
	p := n.open(dir, Numbers{Count: 2})
	take(t, p, "a", 0)
	take(t, p, "b", 1)
	if _, err := os.Lstat(filepath.Join(dir, "7.new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was never a lease is there still: %v", err)
	}
}

// A lease that cannot be made leaves nothing that would keep the folder from going.
func TestLeaseFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ports")
	n := newNode(t, "a")
	p := n.open(dir, Numbers{Count: 1})
	if err := os.Mkdir(filepath.Join(dir, "0"), 0o700); err != nil { // nothing can be renamed to it
		t.Fatal(err)
	}
	if err := p.write(0, "a"); err == nil {
		t.Error("a lease took the place of a folder")
	}
	if err := os.Remove(filepath.Join(dir, "0")); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is there still: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	taken := map[int]int{}
	var all sync.WaitGroup
	for range 4 {
		n := newNode(t)
		p := n.open(dir, Numbers{Count: 40})
		for j := range 10 {
			proc := fmt.Sprint("p", j)
			n.begin(proc)
			all.Go(func() {
				got, err := p.Take(proc)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				taken[got]++
			})
		}
	}
	all.Wait()
	if len(taken) != 40 {
		t.Errorf("%d numbers given out, want 40: %v", len(taken), taken)
	}
}
