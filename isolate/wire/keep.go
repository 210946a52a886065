package wire

import "bytes"

// An Exited says how and when the program ended.
type Exited struct {
	Status uint32 // a wait status (wait(2))
	Time   int64  // of the real-time clock, in nanoseconds since 1970

	// OOM tells that all was ended since the OOM event had come. It is sent only then,
	// so that a hypervisor which does not know of it understands every other end.
	OOM bool
}

// Append encodes x at the end of b.
func (x *Exited) Append(b []byte) []byte {
	e := encoder{b}
	e.num(uint64(x.Status))
	e.num(uint64(x.Time))
	if x.OOM {
		e.flag(true)
	}
	return e.b
}

// Decode reads what Append wrote.
func (x *Exited) Decode(b []byte) error {
	d := decoder{b: b}
	status := d.num()
	if status > 1<<32-1 {
		return ErrMalformed
	}
	x.Status, x.Time = uint32(status), int64(d.num())
	x.OOM = len(d.b) > 0 && d.flag()
	return d.end()
}

// An Adopted is the first that sandbox-init says to a hypervisor that connects.
type Adopted struct {
	Version byte
	PID     uint32 // the program's, in the sandbox
}

// Append encodes a at the end of b.
func (a *Adopted) Append(b []byte) []byte {
	return AppendNumber(append(b, a.Version), a.PID)
}

// Decode reads what Append wrote; of later versions, what it knows of them.
func (a *Adopted) Decode(b []byte) error {
	if len(b) == 0 || b[0] == 0 {
		return ErrMalformed
	}
	d := decoder{b: b[1:]}
	pid := d.num()
	if d.bad || pid == 0 || pid > 1<<31-1 {
		return ErrMalformed
	}
	a.Version, a.PID = b[0], uint32(pid)
	return nil
}

// An Outcome is what the outcome file says: a frame of KindStarting, KindFailed
// or KindExited, or nothing yet (0). Sandbox-init writes each over the last.
type Outcome struct {
	Kind   Kind
	Failed Failed
	Exited Exited
}

// DecodeOutcome reads the outcome file. The bytes of an older, longer outcome may
// follow its frame. An empty file, or one of zeros, is no outcome.
func DecodeOutcome(b []byte) (Outcome, error) {
	if len(bytes.Trim(b, "\x00")) == 0 {
		return Outcome{}, nil
	}
	var o Outcome
	kind, body, err := Read(bytes.NewReader(b), MaxReply)
	if err != nil {
		return o, ErrMalformed
	}
	o.Kind = kind
	switch kind {
	case KindStarting:
	case KindFailed:
		err = o.Failed.Decode(body)
	case KindExited:
		err = o.Exited.Decode(body)
	default:
		err = ErrMalformed
	}
	return o, err
}
