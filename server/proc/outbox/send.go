package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// A letter is what one attempt sends.
type letter struct {
	event  Event
	target Target
}

// send makes one attempt.
func (o *Outbox) send(l letter) result {
	ctx, cancel := context.WithTimeout(o.ctx, o.cfg.limits.timeout)
	defer cancel()
	req, err := o.request(ctx, l)
	if err != nil {
		return result{err: err.Error()}
	}
	resp, err := o.cfg.Client.Do(req)
	if err != nil {
		return result{err: reason(err)}
	}
	defer resp.Body.Close()
	failpoint.Hit("outbox.sent")
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // the status alone tells
	r := result{status: resp.StatusCode, retryAfter: retryAfter(resp.Header, o.cfg.clock.Now())}
	if r.status < 200 || r.status > 299 {
		r.err = strings.TrimSpace(fmt.Sprintf("the receiver answered %d %s", r.status, http.StatusText(r.status)))
	}
	return r
}

// request is the original's, with headers that say which event it is. A body
// has only what is signed: the original sent none, and a receiver that closes a
// connection without reading one may lose its answer.
func (o *Outbox) request(ctx context.Context, l letter) (*http.Request, error) {
	target, err := address(l.target.URL, l.event)
	if err != nil {
		return nil, err
	}
	secrets := o.cfg.Secrets
	if l.target.Secret != "" {
		secrets = []Secret{l.target.Secret}
	}
	var content []byte
	if len(secrets) > 0 {
		if content, err = bodyOf(l.event); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(content))
	if err != nil {
		return nil, errors.New("the callback is not a URL") // its own text repeats the URL
	}
	now := o.cfg.clock.Now()
	event := id(l.event.Proc, l.event.Seq)
	req.Header.Set("User-Agent", "gilliam-hypervisor")
	req.Header.Set("Gilliam-Sequence", strconv.FormatUint(l.event.Seq, 10))
	req.Header.Set("Webhook-Id", event)
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	if len(secrets) > 0 {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Webhook-Signature", sign(secrets, event, now, content))
	}
	return req, nil
}

// maxReason bounds what is kept of an error.
const maxReason = 300

// reason says in words why an attempt failed, without the URL, whose path and
// query may hold secrets, and without what a receiver might do to a terminal.
func reason(err error) string {
	var bad *url.Error
	if errors.As(err, &bad) {
		err = bad.Err
	}
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, err.Error())
	if errors.Is(err, context.DeadlineExceeded) {
		text = "no answer in time"
	}
	return strings.ToValidUTF8(text[:min(len(text), maxReason)], "")
}
