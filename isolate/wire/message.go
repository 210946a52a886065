package wire

// A Setup tells sandbox-init everything it is to do, in the order of the
// fields. Paths are of the sandbox, whose root is sandbox-init's working
// directory when it starts.
type Setup struct {
	Cgroup     bool     // mount the cgroup2 view on /sys/fs/cgroup
	Masked     []string // files and folders to hide
	ReadOnly   []string // folders and files to make read-only
	UserLimits []string // of the user namespace: name=value of files in /proc/sys/user
	Profile    string   // AppArmor profile of the program; empty: none to enter
	Rlimits    []Rlimit
	Umask      uint32
	Caps       uint64 // capabilities of the program, a bit for each
	Scoped     bool   // in a Landlock domain that scopes abstract sockets and signals
	Filter     []byte // seccomp program: struct sock_filter, native byte order
	UID, GID   uint32 // who the program runs as
	Args       []string
	Env        []string
	Dir        string
	Keep       Keep
	OOMEvent   bool // the last of the files that come along is an eventfd: when it is written to, all is to end
}

// Keep makes the sandbox outlive its hypervisor. The files that come with the
// Setup are then, in this order: a listening Unix socket, the outcome file, the
// read ends of the pipes that are the program's stdout and stderr, and the two
// segments of package output.
type Keep struct {
	On      bool
	Segment uint64 // bytes, at most, of each segment
	Rate    uint64 // bytes of output a second; 0: no limit
}

// KeepFiles is how many files come with a Setup that says Keep.
const KeepFiles = 6

// An Rlimit is one limit of setrlimit(2).
type Rlimit struct {
	Resource uint32
	Soft     uint64
	Hard     uint64
}

// Append encodes s at the end of b.
func (s *Setup) Append(b []byte) []byte {
	e := encoder{append(b, Version)}
	e.flag(s.Cgroup)
	e.strs(s.Masked)
	e.strs(s.ReadOnly)
	e.strs(s.UserLimits)
	e.str(s.Profile)
	e.num(uint64(len(s.Rlimits)))
	for _, r := range s.Rlimits {
		e.num(uint64(r.Resource))
		e.num(r.Soft)
		e.num(r.Hard)
	}
	e.num(uint64(s.Umask))
	e.num(s.Caps)
	e.flag(s.Scoped)
	e.str(string(s.Filter))
	e.num(uint64(s.UID))
	e.num(uint64(s.GID))
	e.strs(s.Args)
	e.strs(s.Env)
	e.str(s.Dir)
	e.flag(s.Keep.On)
	e.num(s.Keep.Segment)
	e.num(s.Keep.Rate)
	e.flag(s.OOMEvent)
	return e.b
}

// Decode reads what Append wrote.
func (s *Setup) Decode(b []byte) error {
	if len(b) == 0 || b[0] != Version {
		return ErrMalformed
	}
	d := decoder{b: b[1:]}
	s.Cgroup = d.flag()
	s.Masked = d.strs()
	s.ReadOnly = d.strs()
	s.UserLimits = d.strs()
	s.Profile = d.str()
	s.Rlimits = make([]Rlimit, d.count(3))
	for i := range s.Rlimits {
		s.Rlimits[i] = Rlimit{uint32(d.num()), d.num(), d.num()}
	}
	s.Umask = uint32(d.num())
	s.Caps = d.num()
	s.Scoped = d.flag()
	s.Filter = []byte(d.str())
	s.UID = uint32(d.num())
	s.GID = uint32(d.num())
	s.Args = d.strs()
	s.Env = d.strs()
	s.Dir = d.str()
	s.Keep = Keep{On: d.flag(), Segment: d.num(), Rate: d.num()}
	s.OOMEvent = d.flag()
	return d.end()
}

// A Failed says which step of sandbox-init failed and how.
type Failed struct {
	Step  string // "mount proc", or StepExec
	Path  string // what the step was about
	Errno uint32 // 0 when there is none
}

// StepExec is the step of executing the program: its failure is the
// command's fault, every other one the hypervisor's or the kernel's.
const StepExec = "exec"

// Append encodes f at the end of b, cut to what MaxReply allows.
func (f *Failed) Append(b []byte) []byte {
	e := encoder{b}
	e.str(f.Step)
	e.str(f.Path[:min(len(f.Path), MaxReply/2)])
	e.num(uint64(f.Errno))
	return e.b
}

// Decode reads what Append wrote.
func (f *Failed) Decode(b []byte) error {
	d := decoder{b: b}
	f.Step = d.str()
	f.Path = d.str()
	f.Errno = uint32(d.num())
	return d.end()
}

// AppendNumber encodes the body of a frame that is one number.
func AppendNumber(b []byte, n uint32) []byte {
	e := encoder{b}
	e.num(uint64(n))
	return e.b
}

// DecodeNumber reads what AppendNumber wrote.
func DecodeNumber(b []byte) (uint32, error) {
	d := decoder{b: b}
	n := d.num()
	if n > 1<<32-1 {
		return 0, ErrMalformed
	}
	return uint32(n), d.end()
}
