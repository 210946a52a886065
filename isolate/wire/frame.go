package wire

import (
	"encoding/binary"
	"errors"
	"io"
)

// Kind says what a frame's body is.
type Kind byte

// The kinds of frames, with who sends them.
const (
	KindSetup   Kind = 1 // hypervisor: what to set up and to run, a Setup
	KindSignal  Kind = 2 // hypervisor: signal the program's process group, a Number
	KindStarted Kind = 3 // sandbox-init: the program was executed; a Number, its pid
	KindFailed  Kind = 4 // sandbox-init: a step failed; a Failed
	KindExited  Kind = 5 // sandbox-init: the program ended; a Number, its wait status
)

// Version of the protocol. It is the first byte of a Setup.
const Version = 1

// Bounds of one frame's body, in bytes.
const (
	MaxSetup = 16 << 20 // what sandbox-init reads
	MaxReply = 4 << 10  // what the hypervisor reads
)

var (
	// ErrTooLong is a frame that announces more than the reader allows.
	ErrTooLong = errors.New("wire: frame too long")
	// ErrMalformed is a body that does not decode.
	ErrMalformed = errors.New("wire: malformed message")
)

// Write sends one frame with a single call of w.Write.
func Write(w io.Writer, kind Kind, body []byte) error {
	frame := make([]byte, 0, 5+len(body))
	frame = binary.LittleEndian.AppendUint32(frame, uint32(len(body)+1))
	frame = append(frame, byte(kind))
	frame = append(frame, body...)
	_, err := w.Write(frame)
	return err
}

// Read receives one frame whose body is at most limit bytes. It returns io.EOF
// when the peer closed the socket between two frames.
func Read(r io.Reader, limit int) (Kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[:4])
	if n == 0 {
		return 0, nil, ErrMalformed
	}
	if n-1 > uint32(limit) {
		return 0, nil, ErrTooLong
	}
	body := make([]byte, n-1)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return Kind(head[4]), body, nil
}
