package server

import "errors"

// Errors that requests end in before they reach a proc. Each has its row in
// the table of status.go.
var (
	// ErrUnauthorized is a TCP request without the right token.
	ErrUnauthorized = errors.New("a valid bearer token is needed: send Authorization: Bearer and the content of the file token in the state folder")
	// ErrCrossOrigin is a request that a browser sent for another site.
	ErrCrossOrigin = errors.New("requests from other web sites are refused")
	// ErrHost is a TCP request whose Host header names another host.
	ErrHost = errors.New("the Host header names a host that this is not: use the address it listens on, or allow the name with --allowed-host")
	// ErrTooLarge is a body beyond [MaxBody].
	ErrTooLarge = errors.New("the body is larger than 1 MiB")
	// ErrMediaType is a body that is not plain JSON.
	ErrMediaType = errors.New("the body must be sent as Content-Type: application/json, without a Content-Encoding")
	// ErrBody is a body that could not be read to its end.
	ErrBody = errors.New("the body did not arrive in full")
	// ErrTemplates is a template store that could not be read or changed.
	ErrTemplates = errors.New("the templates cannot be read or changed: look into the hypervisor's log")
	// ErrNoTemplate is a template that is not there.
	ErrNoTemplate = errors.New("no such template")
	// ErrTemplateInUse is a template that a proc has need of.
	ErrTemplateInUse = errors.New("the template is in use: stop the procs that run on it first")
)
