package server

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// A route is one row of the API.
type route struct {
	method string
	path   string
	handle echo.HandlerFunc
	open   bool // needs no token
}

// routes is the whole API.
func (s *Server) routes() []route {
	routes := []route{
		{method: http.MethodGet, path: "/healthz", handle: s.healthz, open: true},
		{method: http.MethodGet, path: "/readyz", handle: s.readyz, open: true},

		{method: http.MethodPost, path: "/v1/procs", handle: s.createProc},
		{method: http.MethodGet, path: "/v1/procs", handle: s.listProcs},
		{method: http.MethodGet, path: "/v1/procs/:id", handle: s.getProc},
		{method: http.MethodDelete, path: "/v1/procs/:id", handle: s.removeProc},
		{method: http.MethodPost, path: "/v1/procs/:id/stop", handle: s.stopProc},
		{method: http.MethodGet, path: "/v1/procs/:id/wait", handle: s.waitProc},
		{method: http.MethodGet, path: "/v1/procs/:id/logs", handle: s.procLogs},
		{method: http.MethodGet, path: "/v1/procs/:id/plan", handle: s.procPlan},
		{method: http.MethodGet, path: "/v1/procs/:id/verify", handle: s.verifyProc},
		{method: http.MethodGet, path: "/v1/procs/:id/usage", handle: s.procUsage},
		{method: http.MethodGet, path: "/v1/volumes", handle: s.listVolumes},
		{method: http.MethodPost, path: "/v1/volumes", handle: s.createVolume},
		{method: http.MethodGet, path: "/v1/volumes/:name", handle: s.getVolume},
		{method: http.MethodDelete, path: "/v1/volumes/:name", handle: s.removeVolume},
		{method: http.MethodGet, path: "/v1/callbacks", handle: s.listCallbacks},
		{method: http.MethodPost, path: "/v1/callbacks/:id/retry", handle: s.retryCallback},
		{method: http.MethodDelete, path: "/v1/callbacks/:id", handle: s.removeCallback},
		{method: http.MethodGet, path: "/v1/doctor", handle: s.doctor},
		{method: http.MethodPost, path: "/v1/doctor", handle: s.repair},
		{method: http.MethodPost, path: "/v1/drain", handle: s.drain},
		{method: http.MethodDelete, path: "/v1/drain", handle: s.undrain},
		{method: http.MethodGet, path: "/v1/images", handle: s.listImages},
		{method: http.MethodPost, path: "/v1/images/gc", handle: s.collectImages},
		{method: http.MethodGet, path: "/v1/images/:digest", handle: s.getImage},
		{method: http.MethodDelete, path: "/v1/images/:digest", handle: s.removeImage},
		{method: http.MethodPost, path: "/v1/images/:digest/verify", handle: s.verifyImage},
		{method: http.MethodGet, path: "/v1/templates", handle: s.listTemplates},
		{method: http.MethodGet, path: "/v1/templates/:name", handle: s.getTemplate},
		{method: http.MethodDelete, path: "/v1/templates/:name", handle: s.removeTemplate},
		{method: http.MethodGet, path: "/v1/templates/:name/verify", handle: s.verifyTemplate},
		{method: http.MethodPost, path: "/v1/templates/prune", handle: s.pruneTemplates},
		{method: http.MethodGet, path: "/v1/version", handle: s.version},

		// The original's resource; see original.go.
		{method: http.MethodPost, path: "/proc", handle: s.originalCreate},
		{method: http.MethodGet, path: "/proc", handle: s.originalList},
		{method: http.MethodGet, path: "/proc/:id", handle: s.originalGet},
		{method: http.MethodDelete, path: "/proc/:id", handle: s.originalRemove},
	}
	if s.cfg.Metrics != nil {
		routes = append(routes, route{method: http.MethodGet, path: "/metrics", handle: echo.WrapHandler(s.cfg.Metrics), open: true})
	}
	return routes
}

// handler builds the routes behind the checks that a listener needs.
func (s *Server) handler(checks ...echo.MiddlewareFunc) *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = s.handleError
	e.Use(s.identify, s.observe, s.recover, s.headers, s.bodyDeadline)
	e.Use(checks...)
	e.Use(s.crossOrigin, s.readBody)
	for _, r := range s.routes() {
		e.Add(r.method, r.path, r.handle)
	}
	return e
}
