package job

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// mark starts every frame. A frame is a line of its own: what comes before it on
// the console may lack a newline.
const mark = "@@vm "

// Begin says that a task starts.
func Begin(name string) string { return frame("begin", name) }

// End says how a task ended: its exit code, and how long it took.
func End(name string, code int, took time.Duration) string {
	return frame("end", name, strconv.Itoa(code), took.Round(time.Millisecond).String())
}

// Fact tells something about the guest.
func Fact(name, value string) string { return frame("fact", name, value) }

// Fatal says why the guest gives up.
func Fatal(err error) string { return frame("fatal", err.Error()) }

// Done says that all tasks have ended.
func Done() string { return frame("done") }

func frame(words ...string) string {
	text := strings.Join(words, " ")
	return "\n" + mark + strings.ReplaceAll(text, "\n", " | ") + "\n"
}

// A Result is how one task went.
type Result struct {
	Ended   bool // the guest has said how
	Code    int  // the exit code
	Took    time.Duration
	Passed  []string // of go test: tests, without their parts
	Failed  []string // tests, and their parts
	Skipped []string
}

// A Transcript is a console's output, and what its frames say. It is written to
// as the console is; what it holds may be read afterwards.
type Transcript struct {
	Lines   []string
	Results map[string]*Result
	Facts   map[string]string
	Fatal   string
	Done    bool

	// Heard is told every fact as it comes; nil: nobody is.
	Heard func(name, value string)

	rest    []byte // of a line that has not ended
	current *Result
}

// Write takes a piece of the console's output.
func (t *Transcript) Write(p []byte) (int, error) {
	t.rest = append(t.rest, p...)
	for {
		line, rest, ok := bytes.Cut(t.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		t.rest = rest
		t.line(strings.TrimRight(string(line), "\r"))
	}
}

// Tail is the last lines of the console.
func (t *Transcript) Tail(lines int) string {
	all := append(t.Lines[:len(t.Lines):len(t.Lines)], string(t.rest))
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (t *Transcript) line(line string) {
	t.Lines = append(t.Lines, line)
	if text, ok := strings.CutPrefix(line, mark); ok {
		t.frame(text)
	} else if t.current != nil {
		t.current.line(line)
	}
}

func (t *Transcript) frame(text string) {
	kind, rest, _ := strings.Cut(text, " ")
	switch kind {
	case "begin":
		t.current = new(Result)
		if t.Results == nil {
			t.Results = make(map[string]*Result)
		}
		t.Results[rest] = t.current
	case "end":
		var name, took string
		var code int
		t.current = nil
		if _, err := fmt.Sscanf(rest, "%s %d %s", &name, &code, &took); err != nil {
			return
		}
		d, err := time.ParseDuration(took)
		if r := t.Results[name]; r != nil && err == nil {
			r.Ended, r.Code, r.Took = true, code, d
		}
	case "fact":
		if t.Facts == nil {
			t.Facts = make(map[string]string)
		}
		name, value, _ := strings.Cut(rest, " ")
		t.Facts[name] = value
		if t.Heard != nil {
			t.Heard(name, value)
		}
	case "fatal":
		t.Fatal = rest
	case "done":
		t.Done = true
	}
}

// line reads what `go test -v` prints when a test has ended.
func (r *Result) line(line string) {
	whole := strings.HasPrefix(line, "--- ")
	verdict, rest, ok := strings.Cut(strings.TrimLeft(line, " "), ": ")
	if !ok {
		return
	}
	name, _, _ := strings.Cut(rest, " ")
	switch verdict {
	case "--- PASS":
		if whole {
			r.Passed = append(r.Passed, name)
		}
	case "--- FAIL":
		r.Failed = append(r.Failed, name)
	case "--- SKIP":
		r.Skipped = append(r.Skipped, name)
	}
}
