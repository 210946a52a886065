package service

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/gilliam/hypervisor/isolate/safely"
)

// What the service manager may be told, beside a [Status].
const (
	Ready    = daemon.SdNotifyReady
	Stopping = daemon.SdNotifyStopping
	beat     = daemon.SdNotifyWatchdog
)

// Status is one line for whoever asks how the daemon is, as systemctl status.
func Status(format string, args ...any) string {
	return "STATUS=" + strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
}

// A Notifier tells the service manager how the daemon is. It is safe for
// concurrent use.
type Notifier struct {
	Log *slog.Logger
}

// Tell tells the service manager, when there is one. That it does not hear is
// logged and no error: the daemon has better to do.
func (n Notifier) Tell(what ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(what, "\n")); err != nil {
		n.Log.Warn("tell the service manager", "what", what, "err", err)
	}
}

// A Check finds out whether the daemon does its work, and says in a line how it
// is. One that does not return is as bad as one that returns an error.
type Check func(context.Context) (status string, err error)

// Watch runs check three times in the time after which the service manager takes
// the daemon for stuck (WatchdogSec in systemd.service(5)), until ctx ends, and
// tells the manager of each success. Where nobody watches it returns at once.
func (n Notifier) Watch(ctx context.Context, check Check) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.Log.Error("watchdog of the service manager", "err", err)
	}
	if err != nil || limit == 0 {
		return
	}
	n.Log.Info("the service manager watches", "within_seconds", limit.Seconds())
	each := limit / 3
	tick := time.NewTicker(each)
	defer tick.Stop()
	n.watch(ctx, tick.C, each, check)
}

// watch runs check at each tick, and gives it the time limit each.
func (n Notifier) watch(ctx context.Context, tick <-chan time.Time, each time.Duration, check Check) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		var status string
		err := safely.Do(func() (err error) {
			ctx, cancel := context.WithTimeout(ctx, each)
			defer cancel()
			status, err = check(ctx)
			return err
		})
		switch {
		case ctx.Err() != nil:
		case err != nil:
			n.Log.Error("not well, and not telling the service manager otherwise", "err", err)
		default:
			n.Tell(beat, Status("%s", status))
		}
	}
}
