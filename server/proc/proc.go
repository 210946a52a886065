package proc

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gilliam/hypervisor/isolate"
)

// A Request asks for a proc. [Manager.Create] checks it and answers with a
// [FieldError] for the first field that is wrong.
type Request struct {
	App   string `json:"app"`
	Name  string `json:"name"`
	Image string `json:"image"` // URL or allowed path of an archive, or oci:// and a registry's name for it; empty: no image, an empty /app
	// ImageDigest is what the image must be, "sha256:" and 64 digits; empty:
	// whatever Image gives.
	ImageDigest string `json:"image_digest,omitempty"`

	Command  Command           `json:"command"`            // a string for the shell, or a list to execute; empty: what a registry's image says
	Config   map[string]string `json:"config,omitempty"`   // the app's environment
	Callback string            `json:"callback,omitempty"` // URL told of every change of state
	// CallbackSecret signs what Callback is told, in place of the hypervisor's
	// own: whsec_ and base64, as in Standard Webhooks.
	CallbackSecret Secret          `json:"callback_secret,omitempty"`
	Template       string          `json:"template,omitempty"` // NAME or NAME@VERSION; empty means "default"
	Network        isolate.Network `json:"network,omitempty"`  // empty means "host", as the original
	Limits         Limits          `json:"limits,omitzero"`
	Mounts         []Mount         `json:"mounts,omitempty"`
	Supervision

	// What follows needs the operator's policy.
	User         string              `json:"user,omitempty"`         // empty: the template's, or the image's; "root": root of its own user namespace; with a registry's image also a number
	Capabilities []string            `json:"capabilities,omitempty"` // as in capabilities(7)
	Seccomp      *specs.LinuxSeccomp `json:"seccomp,omitempty"`      // a profile in OCI's form, in place of the default
}

// Limits of a proc; zero means the default.
type Limits = isolate.Limits

// A Command is what a proc runs: a line for the shell, run as the original ran
// it (/bin/bash -l -c LINE), or a list that is executed as it is. In JSON it is
// a string or an array of strings.
type Command struct {
	line string
	args []string
}

// Shell is the command that runs line in a login shell.
func Shell(line string) Command { return Command{line: line} }

// Exec is the command that executes args as they are.
func Exec(args ...string) Command { return Command{args: args} }

// Args is what is executed.
func (c Command) Args() []string {
	if c.args != nil {
		return c.args
	}
	return []string{"/bin/bash", "-l", "-c", c.line}
}

// IsZero tells that no command was given.
func (c Command) IsZero() bool { return c.line == "" && len(c.args) == 0 }

// String is the command as a person would write it.
func (c Command) String() string {
	if c.args == nil {
		return c.line
	}
	b, _ := json.Marshal(c.args)
	return string(b)
}

// MarshalJSON writes the string or the list that was given.
func (c Command) MarshalJSON() ([]byte, error) {
	if c.args != nil {
		return json.Marshal(c.args)
	}
	return json.Marshal(c.line)
}

// UnmarshalJSON reads a string or an array of strings.
func (c *Command) UnmarshalJSON(b []byte) error {
	*c = Command{}
	if json.Unmarshal(b, &c.line) == nil {
		return nil
	}
	if json.Unmarshal(b, &c.args) == nil {
		return nil
	}
	return &FieldError{Field: "command", Detail: "must be a string (run by the shell) or a list of strings (executed as it is)"}
}

// A Proc is one running instance of an app, as it was at one moment. It is a
// value: changing it changes nothing else.
type Proc struct {
	ID    string `json:"id"` // UUID4
	App   string `json:"app"`
	Name  string `json:"name"`
	Image string `json:"image"`
	// ImageDigest is what was asked for or, once it has run, what it runs: a
	// restart gets the same again.
	ImageDigest string `json:"image_digest,omitempty"`

	Command  Command           `json:"command"`
	Config   map[string]string `json:"config"` // the client's, merged with PORT and HOST
	Callback string            `json:"callback,omitempty"`
	Template string            `json:"template"`
	// TemplateVersion is the one that it was first launched on, and stays on. It
	// has none before, nor where the template is a plain folder.
	TemplateVersion string `json:"template_version,omitempty"`

	Network isolate.Network `json:"network"`
	Limits  Limits          `json:"limits"`
	Mounts  []Mount         `json:"mounts,omitempty"`
	Port    int             `json:"port"` // 0 until one is taken from the pool
	Supervision

	User         string              `json:"user,omitempty"`
	Capabilities []string            `json:"capabilities,omitempty"`
	Seccomp      *specs.LinuxSeccomp `json:"seccomp,omitempty"`

	State     State      `json:"state"`
	Seq       uint64     `json:"seq"`                  // changes of state so far, the first to init; 0: of a proc that is older than this count
	Reason    string     `json:"reason,omitempty"`     // why it failed and what to do
	ExitCode  *int       `json:"exit_code,omitempty"`  // 128 + signal when a signal ended it
	Signal    string     `json:"signal,omitempty"`     // SIGKILL, …
	OOMKilled bool       `json:"oom_killed,omitempty"` // the kernel's OOM killer acted
	Created   time.Time  `json:"created"`
	Changed   time.Time  `json:"changed,omitzero"` // to State
	Started   *time.Time `json:"started,omitempty"`
	Ended     *time.Time `json:"ended,omitempty"`
	Listening *time.Time `json:"listening,omitempty"` // since when it listens on its port, since it was last started
	PID       int        `json:"pid,omitempty"`       // of its PID 1, on the host, while running

	Status    string     `json:"health_status,omitempty"` // starting, healthy or unhealthy, while it runs and is checked
	Restarts  int        `json:"restarts,omitempty"`      // how many there were
	InRow     int        `json:"restarts_in_row,omitempty"`
	NextStart *time.Time `json:"next_start,omitempty"` // while restarting
	Last      *End       `json:"last,omitempty"`       // how it ended before

	Callbacks *CallbackCounts `json:"callbacks,omitempty"` // told by [Manager.Get] alone
}

// HasEnded tells whether the proc's state is final.
func (p Proc) HasEnded() bool { return p.State.Ended() }

// ListensOrEnded tells whether the proc listens on its port, or never will.
func (p Proc) ListensOrEnded() bool { return p.Listening != nil || p.State.Ended() }

// Errors that a caller may branch on, with errors.Is.
var (
	// ErrInvalid is a request that is wrong in itself; see [FieldError].
	ErrInvalid = errors.New("invalid request")
	// ErrNotExist is a proc that is not there.
	ErrNotExist = errors.New("no such proc")
	// ErrDraining is a manager that takes no new procs for now.
	ErrDraining = errors.New("the hypervisor is being drained: hypervisor drain --undo ends that")
	// ErrDiskFull is a disk without room for a new proc.
	ErrDiskFull = errors.New("the disk is too full for a new proc")
	// ErrClosed is a manager that is shutting down.
	ErrClosed = errors.New("the hypervisor is shutting down")
)

// A FieldError names the field of a request that is wrong and says what would
// be right. It is an [ErrInvalid].
type FieldError struct {
	Field  string // as in the JSON: "limits.memory"
	Detail string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Detail }

// Is makes every FieldError an ErrInvalid.
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }
