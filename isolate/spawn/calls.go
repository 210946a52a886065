package spawn

// A call is a system call that the child makes. The assembler knows its layout.
type call struct {
	number uintptr
	args   [6]uintptr
}

// cloneArgs is struct clone_args of clone3(2).
type cloneArgs struct {
	flags      uint64
	_          [3]uint64 // where to put ids
	exitSignal uint64
	_          [5]uint64 // stack, thread-local storage, chosen ids
	cgroup     uint64
}

// A failure is where the child leaves why it ended: written by the assembler.
type failure struct {
	errno uintptr
	call  *call
}

// A list is what the child does, in order, with the names of the calls for the
// error that tells of one.
type list struct {
	calls []call
	names []string
}

func (l *list) add(name string, number uintptr, args ...uintptr) {
	c := call{number: number}
	copy(c.args[:], args)
	l.calls, l.names = append(l.calls, c), append(l.names, name)
}

// name is that of the call at c.
func (l *list) name(c *call) string {
	for i := range l.calls {
		if &l.calls[i] == c {
			return l.names[i]
		}
	}
	return "bug: unknown call"
}
