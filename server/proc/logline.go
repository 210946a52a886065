package proc

import "time"

// A LogLine is one line that an app wrote, or a part of one that was too long.
type LogLine struct {
	Time    time.Time
	Stream  string // "stdout" or "stderr"
	Partial bool   // the line goes on in the next LogLine of this stream
	Text    []byte // without the newline; valid until the callback returns
}

// LogOptions choose what [Manager.Logs] tells.
type LogOptions struct {
	Follow bool // go on until the proc has ended
	Tail   int  // start this many lines before the end; negative means all
}
