package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/rootfs/debian"
)

// A buildBar shows how far a build is: a line that changes on a terminal, a line
// now and then elsewhere. It is safe for concurrent use.
type buildBar struct {
	out      io.Writer
	terminal bool

	mu    sync.Mutex
	now   debian.Progress
	began time.Time // the phase
	drawn time.Time
	long  int // characters on the terminal's line
}

// How often a line is drawn.
const (
	drawEvery  = 100 * time.Millisecond
	printEvery = 10 * time.Second
)

func newBuildBar(out io.Writer) *buildBar {
	b := &buildBar{out: out}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		b.terminal = err == nil
	}
	return b
}

// show takes what is known now.
func (b *buildBar) show(p debian.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	fresh := p.Phase != b.now.Phase
	if fresh && b.now.Phase != "" {
		b.draw(now, true)
	}
	if fresh {
		b.began, b.drawn = now, now
	}
	b.now = p
	every := printEvery
	if b.terminal {
		every = drawEvery
	}
	if fresh && b.terminal || now.Sub(b.drawn) >= every {
		b.draw(now, false)
	}
}

// line prints a line of output, above the bar.
func (b *buildBar) line(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wipe()
	fmt.Fprintf(b.out, "  %s\n", printable(text))
}

// end prints the last line.
func (b *buildBar) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now.Phase != "" {
		b.draw(time.Now(), true)
	}
}

// wipe empties the terminal's line.
func (b *buildBar) wipe() {
	if b.terminal && b.long > 0 {
		fmt.Fprintf(b.out, "\r%s\r", strings.Repeat(" ", b.long))
		b.long = 0
	}
}

func (b *buildBar) draw(now time.Time, last bool) {
	b.drawn = now
	text := barText(b.now, now.Sub(b.began), b.terminal && !last)
	b.wipe()
	if b.terminal && !last {
		b.long = len([]rune(text))
		fmt.Fprintf(b.out, "%s", text)
		return
	}
	fmt.Fprintf(b.out, "%s\n", text)
}

// barText is a phase in one line.
func barText(p debian.Progress, spent time.Duration, drawn bool) string {
	part := 0.0
	switch {
	case p.Of > 0:
		part = float64(p.Bytes) / float64(p.Of)
	case p.Total > 0:
		part = float64(p.Done) / float64(p.Total)
	}
	part = min(max(part, 0), 1)
	text := fmt.Sprintf("%-10s", p.Phase)
	if drawn && (p.Of > 0 || p.Total > 0) {
		const width = 24
		full := int(part * width)
		text += "[" + strings.Repeat("#", full) + strings.Repeat(" ", width-full) + "] "
	}
	switch {
	case p.Of > 0:
		text += fmt.Sprintf("%s of %s, ", units.BytesSize(float64(max(p.Bytes, 0))), units.BytesSize(float64(p.Of)))
	case p.Bytes > 0:
		text += units.BytesSize(float64(p.Bytes)) + ", "
	}
	if p.Total > 0 {
		text += fmt.Sprintf("%d of %d packages, ", p.Done, p.Total)
	}
	text += fmt.Sprintf("%.1f s", spent.Seconds())
	if left := time.Duration(float64(spent) * (1/part - 1)); drawn && part > 0.02 && part < 1 && spent > time.Second {
		text += fmt.Sprintf(", %.0f s left", left.Seconds())
	}
	return text
}
