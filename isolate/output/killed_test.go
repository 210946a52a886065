package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pumpEnv makes the test binary a program that pumps stdin to the segments until
// it is killed, so that it can be, at any instant.
const pumpEnv = "OUTPUT_TEST_PUMP"

func TestMain(m *testing.M) {
	if os.Getenv(pumpEnv) != "" {
		pumpForEver()
	}
	os.Exit(m.Run())
}

func pumpForEver() {
	w, err := NewWriter([2]int{3, 4}, Limits{Segment: 1 << 30}, 5)
	if err != nil {
		panic(err)
	}
	fmt.Println("pumping")
	for {
		fds := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			panic(err)
		}
		if !w.Pump(Stdout, 0) && fds[0].Revents&unix.POLLHUP != 0 {
			os.Exit(0)
		}
	}
}

// Numbered lines go through writers that are killed at random instants: each line
// arrives once, in order.
func TestKilledWriters(t *testing.T) {
	g := newRig(t)
	const kills, lines = 40, 400_000
	written := make(chan error, 1)
	// Owned by the test: ends when all lines are in the pipe.
	go func() {
		var b bytes.Buffer
		for n := range lines {
			fmt.Fprintln(&b, n)
			if b.Len() > rand.IntN(8000) || n == lines-1 {
				if _, err := g.w[0].Write(b.Bytes()); err != nil {
					written <- err
					return
				}
				b.Reset()
			}
		}
		written <- g.w[0].Close()
	}()
	for n := range kills + 1 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), pumpEnv+"=1")
		cmd.Stdin, cmd.ExtraFiles = g.r[0], []*os.File{g.segments[0], g.segments[1], g.null}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if n == kills { // the last may finish
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			break
		}
		spin := rand.IntN(300_000)
		for range spin {
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	g.writer(Limits{}).Drain([2]int{int(g.r[0].Fd()), int(g.r[1].Fd())})
	var got bytes.Buffer
	buf := make([]byte, MaxRecord)
	r := g.reader(Cursor{})
	for {
		e, err := r.Next(buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if e.Lost > 0 {
			t.Fatalf("lost %d bytes", e.Lost)
		}
		got.Write(e.Data)
	}
	n := 0
	for line := range strings.Lines(got.String()) {
		if line != fmt.Sprintln(n) {
			t.Fatalf("line %d is %q", n, line)
		}
		n++
	}
	if n != lines {
		t.Errorf("%d lines of %d", n, lines)
	}
}
