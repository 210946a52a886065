package server

import (
	"errors"
	"log/slog"
	"net"
)

// An acceptor tells when connections can no longer be accepted, which is when
// this process or the whole machine has no file or memory left (accept(2)), and
// when they can again. Its caller waits between the attempts, up to 1 s, as
// [http.Server.Serve] does; meanwhile clients queue up in the kernel.
type acceptor struct {
	net.Listener
	log  *slog.Logger
	fail bool // only Accept's one caller looks
}

func (a *acceptor) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	switch {
	case err == nil && a.fail:
		a.fail = false
		a.log.Info("connections are accepted again", "addr", a.Addr().String())
	case err != nil && !a.fail && !errors.Is(err, net.ErrClosed):
		a.fail = true
		a.log.Error("no connection can be accepted", "addr", a.Addr().String(), "err", err)
	}
	return c, err
}
