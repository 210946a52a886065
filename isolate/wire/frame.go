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
	KindExited  Kind = 5 // sandbox-init: the program ended; an Exited

	// Further commands, each under a number that the hypervisor chose.
	KindExec        Kind = 6  // hypervisor: run a command, an Exec; its stdin, stdout and stderr come along
	KindExecSignal  Kind = 7  // hypervisor: signal the command's process group, an ExecNumber
	KindExecStarted Kind = 8  // sandbox-init: it was executed; an ExecNumber, its pid
	KindExecFailed  Kind = 9  // sandbox-init: it could not be executed; an ExecFailed
	KindExecExited  Kind = 10 // sandbox-init: it ended; an ExecNumber, its wait status

	// A sandbox that outlives its hypervisor.
	KindAdopted  Kind = 11 // sandbox-init, to who connects: an Adopted; the read ends of the pipes come along
	KindStarting Kind = 12 // in the outcome file only: the program is about to be executed; no body
)

// Version of the protocol. It is the first byte of a Setup and of an Adopted: a
// hypervisor may find a sandbox-init that an older one has started. What is added
// later comes at the end of a message, and the other side is asked for it only
// when its version has it.
const Version = 1

// Bounds of one frame's body, in bytes, and of the files that come with it.
const (
	MaxSetup = 16 << 20 // what sandbox-init reads
	MaxReply = 4 << 10  // what the hypervisor reads
	MaxFiles = 7
)

var (
	// ErrTooLong is a frame that announces more than the reader allows.
	ErrTooLong = errors.New("wire: frame too long")
	// ErrMalformed is a body that does not decode.
	ErrMalformed = errors.New("wire: malformed message")
)

// Frame is one frame as it is sent. Files that go with it are sent with its
// first byte.
func Frame(kind Kind, body []byte) []byte {
	frame := make([]byte, 0, HeadSize+len(body))
	frame = binary.LittleEndian.AppendUint32(frame, uint32(len(body)+1))
	frame = append(frame, byte(kind))
	return append(frame, body...)
}

// Write sends one frame with a single call of w.Write.
func Write(w io.Writer, kind Kind, body []byte) error {
	_, err := w.Write(Frame(kind, body))
	return err
}

// HeadSize is how many bytes of a frame come before its body.
const HeadSize = 5

// Read receives one frame whose body is at most limit bytes. It returns io.EOF
// when the peer closed the socket between two frames.
func Read(r io.Reader, limit int) (Kind, []byte, error) {
	var head [HeadSize]byte
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
