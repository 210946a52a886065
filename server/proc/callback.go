package proc

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// An HTTPClient sends requests; *http.Client is one.
type HTTPClient interface {
	Do(*http.Request) (*http.Response, error)
}

// callbackTimeout bounds one callback, as the original did.
const callbackTimeout = 10 * time.Second

// A notifier tells one proc's callback URL of its states, in order, without
// ever holding the proc up. A callback that fails is logged and not repeated.
type notifier struct {
	ctx    context.Context // ends what is being sent
	client HTTPClient
	url    string
	log    *slog.Logger
	count  func(outcome string)

	mu    sync.Mutex
	queue []Proc
	busy  bool // a goroutine is sending
	idle  *sync.WaitGroup
}

// tell queues the proc's state. It returns at once.
func (n *notifier) tell(p Proc) {
	if n.url == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.queue = append(n.queue, p) // at most one for each state
	if !n.busy {
		n.busy = true
		// Owned by the Manager, which waits for idle: ends when the queue is empty.
		n.idle.Go(n.send)
	}
}

func (n *notifier) send() {
	for {
		n.mu.Lock()
		if len(n.queue) == 0 {
			n.busy = false
			n.mu.Unlock()
			return
		}
		p := n.queue[0]
		n.queue = n.queue[1:]
		n.mu.Unlock()
		if err := n.post(p); err != nil {
			n.count("failed")
			n.log.Warn("callback failed", "state", p.State, "err", err)
			continue
		}
		n.count("delivered")
	}
}

func (n *notifier) post(p Proc) error {
	ctx, cancel := context.WithTimeout(n.ctx, callbackTimeout)
	defer cancel()
	target, err := callbackURL(n.url, p)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return err
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return redact(err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	if resp.StatusCode >= 300 {
		return &statusError{resp.Status}
	}
	return nil
}

// callbackURL adds name, port and state to the query of the client's URL.
func callbackURL(callback string, p Proc) (string, error) {
	u, err := url.Parse(callback)
	if err != nil {
		return "", err
	}
	add := "name=" + url.QueryEscape(p.Name) + "&port=" + strconv.Itoa(p.Port) + "&state=" + url.QueryEscape(string(p.State))
	if u.RawQuery != "" {
		add = u.RawQuery + "&" + add
	}
	u.RawQuery = add
	return u.String(), nil
}

// redact takes the URL out of a client's error: its query may hold secrets.
func redact(err error) error {
	if e, ok := err.(*url.Error); ok {
		return e.Err
	}
	return err
}

type statusError struct{ status string }

func (e *statusError) Error() string { return "the receiver answered " + e.status }
