package job

import (
	"encoding/json"
	"time"
)

// Facts of a storm of procs, each with a [Seen] as its value.
const (
	Asking   = "asking"   // for a proc of this name
	Made     = "made"     // so was answered
	Stopping = "stopping" // its end is about to be asked for
	Ended    = "ended"    // so was answered, with its log
	Removing = "removing"
	Removed  = "removed"
	Found    = "found"   // it was there after the start of the hypervisor, and had settled
	Checked  = "checked" // all that was there has been told, and what was amiss
)

// Seen is what a client of the hypervisor knows of a proc; of [Checked], only Amiss.
type Seen struct {
	ID     string    `json:"id,omitempty"`
	Name   string    `json:"name,omitempty"`
	State  string    `json:"state,omitempty"`
	Code   int       `json:"code"` // of its exit; -1 without one
	Reason string    `json:"reason,omitempty"`
	Port   int       `json:"port,omitempty"`
	Ended  time.Time `json:"ended,omitzero"`
	Log    string    `json:"log,omitempty"`
	Amiss  []string  `json:"amiss,omitempty"`
}

// SeenFact is the frame of a fact about a proc.
func SeenFact(name string, s Seen) string {
	b, err := json.Marshal(s)
	if err != nil {
		return Fatal(err)
	}
	return Fact(name, string(b))
}
