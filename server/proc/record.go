package proc

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gilliam/hypervisor/server/proc/durable"
)

// recordVersion is written into every record. A reader refuses one it does not know.
const recordVersion = 1

// A record is what is on disk of a proc, as proc.json in its folder.
type record struct {
	Version int  `json:"version"`
	Proc    Proc `json:"proc"`
}

const recordName = "proc.json"

// writeRecord replaces the record in dir durably: a crash of the machine finds
// the old one or the new one, and the new one once this has returned.
func writeRecord(dir string, p Proc) error {
	b, err := json.Marshal(record{recordVersion, p})
	if err != nil {
		return fmt.Errorf("encode record of %s: %w", p.ID, err)
	}
	if err := durable.Replace(filepath.Join(dir, recordName), b); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

func readRecord(dir string) (Proc, error) {
	path := filepath.Join(dir, recordName)
	b, err := os.ReadFile(path)
	if err != nil {
		return Proc{}, err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return Proc{}, fmt.Errorf("read %s: %w", path, err)
	}
	switch {
	case r.Version != recordVersion:
		return Proc{}, fmt.Errorf("read %s: version %d; this hypervisor knows %d", path, r.Version, recordVersion)
	case r.Proc.ID != filepath.Base(dir):
		return Proc{}, fmt.Errorf("read %s: it is the record of %q", path, r.Proc.ID)
	case !r.Proc.State.Valid():
		return Proc{}, fmt.Errorf("read %s: no such state as %q", path, r.Proc.State)
	}
	return r.Proc, nil
}
