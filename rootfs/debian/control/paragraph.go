package control

import (
	"fmt"
	"io"
	"strings"
)

// A Paragraph is a list of fields, in the order of the text.
type Paragraph []Field

// A Field has a name, which is compared without regard to case, and a value whose
// further lines still begin with their space or tab.
type Field struct{ Name, Value string }

// Get is the value of a field, empty when there is none.
func (p Paragraph) Get(name string) string {
	for _, f := range p {
		if len(f.Name) == len(name) && strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Lines are the non-empty lines of a field, without the space around them.
func (p Paragraph) Lines(name string) []string {
	var lines []string
	for line := range strings.Lines(p.Get(name)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// A Reader goes through the paragraphs of a text.
type Reader struct {
	text string
	at   int // where the next line begins
	line int
}

// NewReader reads text from its beginning.
func NewReader(text string) *Reader { return &Reader{text: text} }

// Next is the next paragraph, or [io.EOF].
func (r *Reader) Next() (Paragraph, error) {
	var p Paragraph
	begin := -1 // of the last value in the text; -1 when it is not a piece of it
	for r.at < len(r.text) {
		start := r.at
		line := r.takeLine()
		switch {
		case strings.TrimSpace(line) == "":
			if p != nil {
				return p, nil
			}
		case line[0] == '#': // a comment, also between the lines of a value
			begin = -1
		case line[0] == ' ' || line[0] == '\t':
			if p == nil {
				return nil, r.bad("a line that continues nothing")
			}
			last := &p[len(p)-1]
			if begin >= 0 { // an index has very many: no copies
				last.Value = strings.TrimRight(r.text[begin:r.at], " \t\r\n")
			} else {
				last.Value += "\n" + strings.TrimRight(line, " \t")
			}
		default:
			name, value, ok := strings.Cut(line, ":")
			if !ok || !validName(name) {
				return nil, r.bad("no field: %.80q", line)
			}
			if p == nil {
				p = make(Paragraph, 0, 24)
			}
			for _, f := range p {
				if len(f.Name) == len(name) && strings.EqualFold(f.Name, name) {
					return nil, r.bad("field %s twice", name)
				}
			}
			p = append(p, Field{name, strings.TrimSpace(value)})
			begin = start + len(name) + 1
			begin += len(value) - len(strings.TrimLeft(value, " \t"))
		}
	}
	if p == nil {
		return nil, io.EOF
	}
	return p, nil
}

// takeLine takes the next line, without its end.
func (r *Reader) takeLine() string {
	line, _, found := strings.Cut(r.text[r.at:], "\n")
	r.at += len(line)
	if found {
		r.at++
	}
	r.line++
	return strings.TrimSuffix(line, "\r")
}

func (r *Reader) bad(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", r.line, fmt.Sprintf(format, args...))
}

// validName tells whether a field may be called so (deb822(5)).
func validName(name string) bool {
	if name == "" || name[0] == '-' || name[0] == '#' {
		return false
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return false
		}
	}
	return true
}
