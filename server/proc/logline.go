package proc

import "github.com/gilliam/hypervisor/server/proc/applog"

// A LogLine is one line that an app wrote, or a part of one that was too long.
type LogLine = applog.Line

// LogOptions choose what [Manager.Logs] tells.
type LogOptions = applog.Options
