//go:build integration

package integration

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// A mailbox takes callbacks at one address, while it is up.
type mailbox struct {
	tb   testing.TB
	addr string
	srv  *httptest.Server // nil while it is down

	mu     sync.Mutex
	took   []delivery
	calls  int                // with those that were refused
	answer func(delivery) int // the status; nil: 200
	more   chan struct{}      // closed and replaced at each delivery
}

// A delivery is one callback.
type delivery struct {
	proc, state, query, body string
	seq                      int
	header                   http.Header
}

func newMailbox(tb testing.TB) *mailbox {
	tb.Helper()
	m := &mailbox{tb: tb, addr: "127.0.0.1:0", more: make(chan struct{})}
	m.up()
	tb.Cleanup(m.down)
	return m
}

func (m *mailbox) url() string { return "http://" + m.addr + "/hook" }

func (m *mailbox) up() {
	m.tb.Helper()
	l, err := net.Listen("tcp", m.addr)
	must(m.tb, err)
	m.addr = l.Addr().String()
	m.srv = httptest.NewUnstartedServer(m)
	m.srv.Listener.Close()
	m.srv.Listener = l
	m.srv.Start()
}

func (m *mailbox) down() {
	if m.srv != nil {
		m.srv.Close()
		m.srv = nil
	}
}

func (m *mailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	seq, _ := strconv.Atoi(r.Header.Get("Gilliam-Sequence"))
	d := delivery{
		proc:  strings.TrimSuffix(r.Header.Get("Webhook-Id"), "-"+strconv.Itoa(seq)),
		state: r.URL.Query().Get("state"), query: r.URL.RawQuery, body: string(b), seq: seq, header: r.Header,
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	status := http.StatusOK
	if m.answer != nil {
		status = m.answer(d)
	}
	if status == http.StatusOK {
		m.took = append(m.took, d)
	}
	close(m.more)
	m.more = make(chan struct{})
	w.WriteHeader(status)
}

func (m *mailbox) answers(f func(delivery) int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer = f
}

func (m *mailbox) taken() []delivery {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.took)
}

// called waits until so many were sent, and tells how many have been.
func (m *mailbox) called(n int) int {
	m.tb.Helper()
	for {
		m.mu.Lock()
		calls, more := m.calls, m.more
		m.mu.Unlock()
		if calls >= n {
			return calls
		}
		soon(m.tb, more, "a callback")
	}
}

// states are those that a proc's receiver was told, as one sees them who drops
// what he has seen. They must come in order, and none may be missing.
func (m *mailbox) states(tb testing.TB, id string) (states []string) {
	tb.Helper()
	for _, d := range m.taken() {
		switch {
		case d.proc != id:
		case d.seq == len(states)+1:
			states = append(states, d.state)
		case d.seq < 1 || d.seq > len(states) || states[d.seq-1] != d.state:
			tb.Errorf("proc %s: number %d is %s, after %q", id, d.seq, d.state, states)
		}
	}
	return states
}

func (c *client) callbacks(query string) []proc.Callback {
	c.tb.Helper()
	var l server.CallbackList
	c.want(http.StatusOK, http.MethodGet, "/v1/callbacks"+query, nil, &l)
	return l.Callbacks
}

// allTold waits until nothing is left to be told.
func (d *daemon) allTold() {
	d.tb.Helper()
	testbed.Within(d.tb, patience, "no callback left", func() bool { return len(d.callbacks("")) == 0 })
}

func portOf(query string) string {
	_, rest, _ := strings.Cut(query, "&port=")
	port, _, _ := strings.Cut(rest, "&")
	return port
}
