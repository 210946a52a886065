package outbox

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// An Event is a proc's change to a state.
type Event struct {
	Proc      string     `json:"proc"` // its id
	App       string     `json:"app"`
	Name      string     `json:"name"`
	Port      int        `json:"port"`
	Seq       uint64     `json:"seq"` // 1 is the proc's first
	State     string     `json:"state"`
	Reason    string     `json:"reason,omitempty"`
	ExitCode  *int       `json:"exit_code,omitempty"`
	Signal    string     `json:"signal,omitempty"`
	OOMKilled bool       `json:"oom_killed,omitempty"`
	At        time.Time  `json:"at,omitzero"` // when it came to be
	Started   *time.Time `json:"started,omitempty"`
	Ended     *time.Time `json:"ended,omitempty"`
}

// A Target is who is told of a proc's events.
type Target struct {
	URL    string `json:"url"`
	Secret Secret `json:"secret,omitempty"` // in place of [Config.Secrets]
}

// id names an event for good. It holds no full stop, which the content that is
// signed is joined with (Standard Webhooks, "Signature scheme").
func id(proc string, seq uint64) string { return proc + "-" + strconv.FormatUint(seq, 10) }

// splitID is the reverse of id.
func splitID(id string) (proc string, seq uint64, err error) {
	at := strings.LastIndexByte(id, '-')
	if at < 0 {
		return "", 0, ErrNotExist
	}
	proc = id[:at]
	if seq, err = strconv.ParseUint(id[at+1:], 10, 64); err != nil || id != proc+"-"+strconv.FormatUint(seq, 10) {
		return "", 0, ErrNotExist
	}
	return proc, seq, nil
}

// address adds name, port and state to the query of the receiver's URL, as the
// original did.
func address(callback string, e Event) (string, error) {
	u, err := url.Parse(callback)
	if err != nil {
		return "", fmt.Errorf("the callback is not a URL") // its own text repeats the URL
	}
	add := "name=" + url.QueryEscape(e.Name) + "&port=" + strconv.Itoa(e.Port) + "&state=" + url.QueryEscape(e.State)
	if u.RawQuery != "" {
		add = u.RawQuery + "&" + add
	}
	u.RawQuery = add
	return u.String(), nil
}

// receiver is what may be shown of a URL: path and query may hold secrets.
func receiver(callback string) (shown, host string) {
	u, err := url.Parse(callback)
	if err != nil {
		return "", ""
	}
	host = strings.ToLower(u.Host)
	return u.Scheme + "://" + host, host
}

// eventType is the type of every body: the receivers' name for its schema.
const eventType = "proc.state"

// A body is what a signed callback carries, in the form that Standard Webhooks
// recommends.
type body struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // when the event came to be, not when it was sent
	Data      Event     `json:"data"`
}

// bodyOf is the same for an event each time.
func bodyOf(e Event) ([]byte, error) {
	b := body{Type: eventType, Timestamp: e.At, Data: e}
	b.Data.At = time.Time{}
	return json.Marshal(b)
}
