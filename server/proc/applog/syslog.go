package applog

import (
	"fmt"
	"strconv"
)

// Facility and severities of RFC 5424, section 6.2.1.
const (
	facilityUser = 1 << 3

	severityErr     = 3
	severityWarning = 4
	severityInfo    = 6
)

// appendMessage appends a line as a message of RFC 5424. Its APP-NAME is the app
// and its PROCID the proc's name, which receivers show as app[name], the
// original's tag; its MSGID is the stream. There the proc's id is, and whether the
// line goes on, or how many bytes are missing, is structured data.
//
//	<14>1 2026-11-22T19:49:04.123456Z host blog web.1 stdout [gilliam@32473 id="…"] the line
//
// 32473 is the enterprise number for those who have none (RFC 5612). The text is
// what the app wrote, in whatever encoding: there is no byte order mark.
func appendMessage(b []byte, host, app, name, id string, l Line) []byte {
	severity, msgID := severityInfo, l.Stream
	switch {
	case l.Lost > 0:
		severity = severityWarning
	case l.Stream == "stderr":
		severity = severityErr
	}
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(facilityUser|severity), 10)
	b = append(b, ">1 "...)
	b = l.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	for _, field := range []struct {
		text string
		most int
	}{{host, 255}, {app, 48}, {name, 128}, {msgID, 32}} {
		b = appendName(append(b, ' '), field.text, field.most)
	}
	b = append(b, ` [gilliam@32473 id="`...)
	b = append(appendName(b, id, 64), '"')
	if l.Partial {
		b = append(b, ` partial="true"`...)
	}
	if l.Lost > 0 {
		return append(fmt.Appendf(b, ` lost="%d"] `, l.Lost), Mark(l.Lost)...)
	}
	b = append(b, "] "...)
	return append(b, l.Text...)
}

// appendName appends a name as the header allows it: at most so many printable
// characters of ASCII without a space, or "-" for none.
func appendName(b []byte, name string, most int) []byte {
	if name == "" {
		return append(b, '-')
	}
	for _, c := range []byte(name[:min(len(name), most)]) {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' || c == ']' {
			c = '_'
		}
		b = append(b, c)
	}
	return b
}
