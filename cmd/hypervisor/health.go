package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"

	"github.com/gilliam/hypervisor/server/proc"
)

// A health finds out whether the daemon does its work: it asks the API through
// its own socket, as a client, and the procs for their states, which takes every
// lock that anything could hang on.
type health struct {
	api   *client
	procs procs
}

// check returns when both have answered, with a line about them; see
// [service.Check]. A socket that somebody has removed is no reason to be
// restarted: it may be the service manager's, who would give it to us again.
func (h health) check(ctx context.Context) (status string, err error) {
	defer h.api.http.CloseIdleConnections() // so that each time one is accepted
	remark := ""
	if _, err := os.Lstat(h.api.cfg.socket); errors.Is(err, fs.ErrNotExist) {
		remark = fmt.Sprintf("; the socket %s was removed: restart its unit", h.api.cfg.socket)
	} else if _, err := h.api.call(ctx, http.MethodGet, "/healthz", nil, nil); err != nil {
		return "", err
	}
	running, all := 0, h.procs.List()
	for _, p := range all {
		if p.State == proc.Running {
			running++
		}
	}
	return fmt.Sprintf("%d procs running, %d kept%s", running, len(all)-running, remark), nil
}
