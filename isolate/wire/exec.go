package wire

// An Exec asks for a further command in the sandbox. It runs as the program
// does: same user, same filter, same limits, same cgroup.
type Exec struct {
	ID   uint32
	Args []string
	Env  []string
	Dir  string
	TTY  bool // the files sent along are a terminal, to be its controlling one
}

// Append encodes x at the end of b.
func (x *Exec) Append(b []byte) []byte {
	e := encoder{b}
	e.num(uint64(x.ID))
	e.strs(x.Args)
	e.strs(x.Env)
	e.str(x.Dir)
	e.flag(x.TTY)
	return e.b
}

// Decode reads what Append wrote.
func (x *Exec) Decode(b []byte) error {
	d := decoder{b: b}
	x.ID = uint32(d.num())
	x.Args = d.strs()
	x.Env = d.strs()
	x.Dir = d.str()
	x.TTY = d.flag()
	if len(x.Args) == 0 {
		return ErrMalformed
	}
	return d.end()
}

// An ExecNumber is a number about one command: a signal, a pid, a wait status.
type ExecNumber struct {
	ID     uint32
	Number uint32
}

// Append encodes n at the end of b.
func (n *ExecNumber) Append(b []byte) []byte {
	e := encoder{b}
	e.num(uint64(n.ID))
	e.num(uint64(n.Number))
	return e.b
}

// Decode reads what Append wrote.
func (n *ExecNumber) Decode(b []byte) error {
	d := decoder{b: b}
	id, number := d.num(), d.num()
	if id > 1<<32-1 || number > 1<<32-1 {
		return ErrMalformed
	}
	n.ID, n.Number = uint32(id), uint32(number)
	return d.end()
}

// An ExecFailed says why a command could not be executed.
type ExecFailed struct {
	ID uint32
	Failed
}

// Append encodes f at the end of b.
func (f *ExecFailed) Append(b []byte) []byte {
	e := encoder{b}
	e.num(uint64(f.ID))
	return f.Failed.Append(e.b)
}

// Decode reads what Append wrote.
func (f *ExecFailed) Decode(b []byte) error {
	d := decoder{b: b}
	f.ID = uint32(d.num())
	if d.bad {
		return ErrMalformed
	}
	return f.Failed.Decode(d.b)
}
