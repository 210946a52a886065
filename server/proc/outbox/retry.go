package outbox

import (
	"net/http"
	"strconv"
	"time"
)

// minBackoff is the shortest wait after a failure.
const minBackoff = time.Second

// maxRetryAfter bounds what a receiver may ask for with Retry-After.
const maxRetryAfter = time.Hour

// goneText is why events are not sent to a receiver that has answered 410.
const goneText = "the receiver answered 410 Gone: it wants no more callbacks"

// A result is how one attempt went.
type result struct {
	status     int           // 0: no answer
	err        string        // why it failed; empty: it did not
	retryAfter time.Duration // as the receiver asked
}

// backoff is the wait after the nth attempt has failed: any time from a second
// to twice as long after each, up to most. Random is from 0 to 1; it keeps the
// many that failed together from coming back together
// (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
func backoff(n int, most time.Duration, random float64) time.Duration {
	low := min(minBackoff, most)
	high := most
	if n < 32 && low<<n < most { // beyond, it would have overflown
		high = low << n
	}
	return low + time.Duration(random*float64(high-low))
}

// retryAfter reads the header of that name (RFC 9110, section 10.2.3), within
// bounds; 0 when it says nothing.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	d := time.Duration(0)
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// after is what becomes of an entry by an attempt.
//
// Any answer but 2xx is a failure and is tried again, also one that blames us:
// a receiver that is being set up, moved or put behind a login answers 401, 403
// or 404 until it is ready. So do Stripe's and all senders after Standard
// Webhooks. The one exception is 410 Gone, by which a receiver says that it
// wants no more (CloudEvents, "HTTP 1.1 Web Hooks", section 2.2). A redirect is
// a failure; it is not followed.
func (e *entry) after(r result, now time.Time, giveUp, most time.Duration, random float64) line {
	seq, attempts := e.event.Seq, e.attempts+1
	switch {
	case r.err == "":
		return line{Kind: kindTold, Seq: seq}
	case r.status == http.StatusGone:
		return line{Kind: kindGone, Seq: seq, At: now, Error: goneText}
	case now.Sub(e.since) >= giveUp:
		return line{Kind: kindDead, Seq: seq, At: now, Attempts: attempts, Error: r.err}
	}
	next := now.Add(max(backoff(attempts, most, random), r.retryAfter))
	if last := e.since.Add(giveUp); next.After(last) {
		next = last // and that one decides
	}
	return line{Kind: kindTry, Seq: seq, At: now, Next: next, Attempts: attempts, Error: r.err}
}
