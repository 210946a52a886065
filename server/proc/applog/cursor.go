package applog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gilliam/hypervisor/isolate/output"
	"github.com/gilliam/hypervisor/server/proc/durable"
)

// cursorName is the file in a proc's folder that says how far its log was sent.
const cursorName = "syslog.cursor"

// A progress is how far a log was sent: all that the next hypervisor needs to
// continue with the next line.
type progress struct {
	Cursor output.Cursor `json:"cursor"`
	Used   int           `json:"used"` // of the entry behind the cursor, in bytes
	Rest   [2]fragment   `json:"rest"` // before that, and not sent: no whole line
}

// loadProgress reads what save wrote. Without it, or with an error, it is the
// beginning.
func loadProgress(dir string) (progress, error) {
	path := filepath.Join(dir, cursorName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return progress{}, nil
	}
	if err != nil {
		return progress{}, err
	}
	var p progress
	if err := json.Unmarshal(b, &p); err != nil {
		return progress{}, fmt.Errorf("read %s: %w", path, err)
	}
	if p.Used < 0 || p.Cursor.Offset < 0 || len(p.Rest[0].Text) > maxLine || len(p.Rest[1].Text) > maxLine {
		return progress{}, fmt.Errorf("read %s: it says what cannot be", path)
	}
	for i := range p.Rest {
		p.Rest[i].Text = slices.Clip(p.Rest[i].Text)
	}
	return p, nil
}

// save writes it for the next hypervisor. A crash of the machine may undo that:
// lines are sent twice then, which is cheaper than a write to the disk each
// second for each proc.
func (p progress) save(dir string) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return durable.Swap(filepath.Join(dir, cursorName), b)
}
