package proc

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server/proc/durable"
)

// recordVersion is written into every record. A reader refuses one it does not know.
const recordVersion = 2

// A record is what is on disk of a proc, as proc.json in its folder. What is
// taken for a proc and what is asked of it is there before it is done, so that
// the next start can finish it or undo it.
type record struct {
	Version int    `json:"version"`
	Proc    Proc   `json:"proc"`
	IDs     *int   `json:"ids,omitempty"`  // the number of its range of ids
	Boot    string `json:"boot,omitempty"` // of the machine, when its sandbox was launched (random(4), boot_id)
	Stop    *stop  `json:"stop,omitempty"` // it is to end

	// CallbackSecret is nowhere but here and in the outbox.
	CallbackSecret Secret `json:"callback_secret,omitempty"`
}

// A stop is that somebody asked for a proc's end.
type stop struct {
	At     time.Time     `json:"at"`
	Grace  time.Duration `json:"grace"`            // nanoseconds
	Remove bool          `json:"remove,omitempty"` // and for nothing to be left
	Why    string        `json:"why,omitempty"`    // in words; empty: by request
}

func (s *stop) why() string {
	if s.Why == "" {
		return "stopped by request"
	}
	return s.Why
}

const (
	recordName  = "proc.json"
	sandboxName = "sandbox.json"
)

// writeRecord replaces the record in dir durably: a crash of the machine finds
// the old one or the new one, and the new one once this has returned.
func writeRecord(dir string, r record) error {
	r.Version = recordVersion
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record of %s: %w", r.Proc.ID, err)
	}
	if err := durable.Replace(filepath.Join(dir, recordName), b); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

func readRecord(dir string) (record, error) {
	path := filepath.Join(dir, recordName)
	b, err := os.ReadFile(path)
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, fmt.Errorf("read %s: %w", path, err)
	}
	switch {
	case r.Version < 1 || r.Version > recordVersion:
		return record{}, fmt.Errorf("read %s: version %d; this hypervisor knows 1 to %d", path, r.Version, recordVersion)
	case r.Proc.ID != filepath.Base(dir):
		return record{}, fmt.Errorf("read %s: it is the record of %q", path, r.Proc.ID)
	case !r.Proc.State.Valid():
		return record{}, fmt.Errorf("read %s: no such state as %q", path, r.Proc.State)
	}
	return r, nil
}

// A launched is what a proc's sandbox was launched by, as sandbox.json in its
// folder: from it the next start makes the same plan. It need not outlast a crash
// of the machine, which no sandbox does.
type launched struct {
	Spec isolate.Spec `json:"spec"`
}

func writeSpec(dir string, s isolate.Spec) error {
	b, err := json.Marshal(launched{s})
	if err != nil {
		return fmt.Errorf("encode spec of %s: %w", s.ID, err)
	}
	path := filepath.Join(dir, sandboxName)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func readSpec(dir string) (isolate.Spec, error) {
	path := filepath.Join(dir, sandboxName)
	b, err := os.ReadFile(path)
	if err != nil {
		return isolate.Spec{}, err
	}
	var l launched
	if err := json.Unmarshal(b, &l); err != nil {
		return isolate.Spec{}, fmt.Errorf("read %s: %w", path, err)
	}
	return l.Spec, nil
}

// bootID names this run of the machine.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(b[:max(0, len(b)-1)])
}
