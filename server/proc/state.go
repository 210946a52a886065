package proc

import "slices"

// State is where a proc is in its life:
//
//	           ┌──── restarting ◀──┐
//	           ▼      │  ▲         │
//	init ──▶ boot ────│──┴──▶ running ──▶ done   exit status 0
//	  │        │      │         │
//	  └────────┴──────┴─────────┴───────▶ fail   anything else, with a reason
//
// Done and fail are final. Only procs with a restart policy are ever restarting.
type State string

// The states of a proc, by the names the original hypervisor gave them, which
// had no restarts.
const (
	Init       State = "init"       // accepted and recorded
	Boot       State = "boot"       // being provisioned
	Running    State = "running"    // its program was executed
	Restarting State = "restarting" // it ended, and waits to be started again
	Done       State = "done"       // its program exited with status 0
	Fail       State = "fail"       // anything else
)

// States lists every state in the order of a proc's life.
var States = []State{Init, Boot, Running, Restarting, Done, Fail}

// edges is the one table of legal moves.
var edges = map[State][]State{
	Init:       {Boot, Fail},
	Boot:       {Running, Restarting, Fail},
	Running:    {Restarting, Done, Fail},
	Restarting: {Boot, Fail},
}

// Ended tells whether the state is final.
func (s State) Ended() bool { return s == Done || s == Fail }

// Valid tells whether s is one of [States].
func (s State) Valid() bool { return slices.Contains(States, s) }

// may tells whether a proc in state s may go to next.
func (s State) may(next State) bool { return slices.Contains(edges[s], next) }
