// Package server is the hypervisor's HTTP API: routes, JSON, errors to
// statuses, authentication and the streaming of logs. It holds no state of its
// own; everything is asked of what it is given.
//
//	s := server.New(server.Config{Procs: m, Templates: t, Token: token, Version: v, Log: log})
//	unix, err := server.ListenUnix("/run/gilliam/hypervisor.sock", "gilliam")
//	tcp, err := net.Listen("tcp", "127.0.0.1:9000")
//	err = s.Serve(ctx, []net.Listener{unix}, []net.Listener{tcp}) // until ctx ends and every request was answered
//
// The same routes are served on two kinds of listeners that differ in whom they trust.
// Who can open the unix socket (by its file mode) may do anything. On TCP a
// request must name this host in its Host header and, but for /healthz, /readyz
// and /metrics, carry the bearer token.
//
// The original hypervisor's /proc resource is served as its clients know it;
// /v1 is its strict successor: a field that is unknown, given twice or of the
// wrong type is an error that names it. Every error is an RFC 9457 problem
// document, and its status comes from the one table in status.go.
//
// What this package does not protect against: a client that holds the token or
// may open the socket. It is as powerful as the hypervisor itself.
package server
