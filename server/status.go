package server

import (
	"context"
	"errors"
	"net/http"
	"syscall"

	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/server/proc"
)

// A row says how an error is told to a client.
type row struct {
	err    error
	status int
	code   string // the last part of the problem's type
}

// clientGone is the status of a request that its client gave up; no one sees
// it but the log and the metrics.
const clientGone = 499

// statuses is the one table from errors to statuses; the first match wins.
// What is not in it is an internal error, whose cause only the log tells.
var statuses = []row{
	{proc.ErrInvalid, http.StatusBadRequest, "invalid"},
	{proc.ErrNotExist, http.StatusNotFound, "not-found"},
	{proc.ErrNoImage, http.StatusNotFound, "no-image"},
	{proc.ErrImageInUse, http.StatusConflict, "image-in-use"},
	{proc.ErrNoCallback, http.StatusNotFound, "no-callback"},
	{proc.ErrCallbackPending, http.StatusConflict, "callback-pending"},
	{proc.ErrNotRunning, http.StatusConflict, "not-running"},
	{proc.ErrDiskFull, http.StatusInsufficientStorage, "disk-full"},
	{proc.ErrNoVolume, http.StatusNotFound, "no-volume"},
	{proc.ErrVolumeExists, http.StatusConflict, "volume-exists"},
	{proc.ErrVolumeInUse, http.StatusConflict, "volume-in-use"},
	{proc.ErrTooManyVolumes, http.StatusConflict, "too-many-volumes"},
	{syscall.ENOSPC, http.StatusInsufficientStorage, "no-space"},
	{syscall.EDQUOT, http.StatusInsufficientStorage, "no-space"},
	{syscall.EROFS, http.StatusInsufficientStorage, "read-only"},
	{proc.ErrUnwritable, http.StatusInsufficientStorage, "read-only"},
	{syscall.EIO, http.StatusInternalServerError, "io"},
	{syscall.EMFILE, http.StatusServiceUnavailable, "no-files"},
	{syscall.ENFILE, http.StatusServiceUnavailable, "no-files"},
	{syscall.ENOMEM, http.StatusServiceUnavailable, "no-memory"},
	{proc.ErrDraining, http.StatusServiceUnavailable, "draining"},
	{proc.ErrClosed, http.StatusServiceUnavailable, "shutting-down"},
	{ErrUnauthorized, http.StatusUnauthorized, "unauthorized"},
	{ErrCrossOrigin, http.StatusForbidden, "cross-origin"},
	{ErrHost, http.StatusMisdirectedRequest, "wrong-host"},
	{ErrTooLarge, http.StatusRequestEntityTooLarge, "too-large"},
	{ErrMediaType, http.StatusUnsupportedMediaType, "media-type"},
	{ErrBody, http.StatusBadRequest, "body"},
	{ErrNoTemplate, http.StatusNotFound, "no-template"},
	{ErrTemplateInUse, http.StatusConflict, "template-in-use"},
	{ErrTemplates, http.StatusInternalServerError, "templates"},
	{echo.ErrNotFound, http.StatusNotFound, "no-route"},
	{echo.ErrMethodNotAllowed, http.StatusMethodNotAllowed, "method"},
	{context.Canceled, clientGone, "client-gone"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "timeout"},
}

// internal is the row of every other error.
var internal = row{errors.New("internal error"), http.StatusInternalServerError, "internal"}

// rowOf finds the row of err.
func rowOf(err error) row {
	for _, r := range statuses {
		if errors.Is(err, r.err) {
			return r
		}
	}
	return internal
}
