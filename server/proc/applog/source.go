package applog

import "github.com/gilliam/hypervisor/isolate/output"

// A source is one proc's log on its way to the receiver.
type source struct {
	dir, app, name, id string

	// Of the Sink's mu.
	begun  bool // what begin sets is there, and it is not dropped
	queued bool
	over   bool // nothing more is written
	gone   bool // the folder was removed
	runs   int

	files *segments
	watch *watch // nil when the folder could not be watched

	// Of run.
	reader   *output.Reader // nil before the first turn
	lines    assembler
	before   output.Cursor // where the entry begins that is being sent
	at       progress      // how far it was sent
	safe     progress      // how far the receiver has it for certain
	inFlight int           // messages between the two
	finished bool          // all is sent, and nothing more will come
	limit    uint64        // once the Sink closes: where to stop
}

// rewind begins again behind what the receiver has.
func (s *source) rewind() {
	s.at, s.inFlight, s.finished = s.safe, 0, false
	s.reader = output.NewReader(s.files.readers(), s.safe.Cursor)
	s.lines.rest = s.safe.Rest
}

// unsent is how many bytes of output the receiver has not got for certain.
func unsent(r *output.Reader, s *source) uint64 {
	s.files.left = mostReads
	have := s.safe.Cursor.Position + uint64(s.safe.Used)
	have -= uint64(len(s.safe.Rest[0].Text) + len(s.safe.Rest[1].Text))
	return max(r.Written(), have) - have
}

func (s *source) close() {
	if s.watch != nil {
		s.watch.remove()
	}
	s.files.close()
}
