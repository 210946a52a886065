package proc

import (
	"context"

	"github.com/gilliam/hypervisor/server/proc/applog"
)

// A LogLine is one line that an app wrote, or a part of one that was too long.
type LogLine = applog.Line

// LogOptions choose what [Manager.Logs] tells.
type LogOptions = applog.Options

// Logs calls fn with the proc's lines, until the end of what opt asks for, and
// returns fn's error. It returns nil when ctx ends.
func (m *Manager) Logs(ctx context.Context, id string, opt LogOptions, fn func(LogLine) error) error {
	i, err := m.get(id)
	if err != nil {
		return err
	}
	// Who follows hears nothing of a proc before it is said to run.
	if opt.Follow {
		if _, err := i.wait(ctx, func(s State) bool { return s != Init && s != Boot }); err != nil {
			return nil
		}
	}
	return applog.Read(ctx, i.dir, opt, i.over, fn)
}

// forward sends what the proc writes to the syslog receiver, if there is one.
func (m *Manager) forward(i *instance) {
	p := i.recorded().Proc
	m.sink.Forward(i.dir, p.App, p.Name, p.ID, i.over)
}
