package applog

import (
	"bytes"
	"fmt"
	"time"

	"github.com/gilliam/hypervisor/isolate/output"
)

// maxLine is the longest line that is told in one piece.
const maxLine = 16 << 10

// A Line is one line of what an app wrote.
type Line struct {
	Time    time.Time // when the chunk was written in which it begins
	Stream  string    // "stdout" or "stderr"
	Partial bool      // its rest comes as the next line of the stream (lines longer than 16 KiB)
	Text    []byte    // without the newline; valid until the callback returns
	Lost    uint64    // > 0: no line, but a mark: so many bytes of the stream ("" when unknown) were not kept here
}

// Mark is the line that stands for n bytes that were not kept, for a person.
func Mark(n uint64) string { return fmt.Sprintf("[%d bytes not kept]", n) }

var streams = [2]string{"stdout", "stderr"}

// An assembler puts together lines from a log's entries, for each stream on its
// own. Where something is missing, and where another run of the program begins,
// the line that was being written ends.
type assembler struct {
	rest [2]fragment // of lines whose end was not seen yet

	// emit is told each line, and of how many bytes of the entry that is being
	// added it and those before it are made.
	emit func(l Line, used int) error
}

// A fragment is the beginning of a line. Its text is only ever appended to, so
// that a copy of the fragment stays what it was.
type fragment struct {
	Text []byte `json:"text"`
	Time int64  `json:"time"` // as in [output.Entry]
}

// add adds an entry, or of its data what comes after the first from bytes.
func (a *assembler) add(e output.Entry, from int) error {
	switch e.Kind {
	case output.Stdout, output.Stderr:
		return a.addText(int(e.Kind-output.Stdout), e, from)
	case output.StdoutDropped, output.StderrDropped:
		s := int(e.Kind - output.StdoutDropped)
		if err := a.finish(s, false); err != nil {
			return err
		}
		return a.mark(streams[s], e)
	}
	if err := a.end(false); err != nil {
		return err
	}
	return a.mark("", e)
}

func (a *assembler) addText(s int, e output.Entry, from int) error {
	rest := &a.rest[s]
	for from < len(e.Data) {
		if len(rest.Text) == 0 {
			rest.Time = e.Time
		}
		data, room := e.Data[from:], maxLine-len(rest.Text)
		n := bytes.IndexByte(data[:min(len(data), room+1)], '\n')
		if n < 0 && len(data) <= room {
			rest.Text = append(rest.Text, data...)
			return nil
		}
		l := Line{Time: time.Unix(0, rest.Time), Stream: streams[s]}
		if n >= 0 {
			from += n + 1
		} else {
			n, l.Partial = room, true
			from += n
		}
		if l.Text = data[:n]; len(rest.Text) > 0 {
			l.Text = append(rest.Text, l.Text...)
		}
		if err := a.emit(l, from); err != nil {
			return err
		}
		rest.Text = nil
	}
	return nil
}

func (a *assembler) mark(stream string, e output.Entry) error {
	if e.Lost == 0 {
		return nil
	}
	return a.emit(Line{Time: time.Unix(0, e.Time), Stream: stream, Lost: e.Lost}, 0)
}

// finish tells the line that a stream has begun, whose end will not come.
func (a *assembler) finish(s int, partial bool) error {
	rest := &a.rest[s]
	if len(rest.Text) == 0 {
		return nil
	}
	l := Line{Time: time.Unix(0, rest.Time), Stream: streams[s], Partial: partial, Text: rest.Text}
	if err := a.emit(l, 0); err != nil {
		return err
	}
	rest.Text = nil
	return nil
}

// end finishes both streams' lines; partial is whether more may come of them.
func (a *assembler) end(partial bool) error {
	for s := range a.rest {
		if err := a.finish(s, partial); err != nil {
			return err
		}
	}
	return nil
}
