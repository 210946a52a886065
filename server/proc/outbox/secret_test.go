package outbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The vector is that of the Standard Webhooks libraries' own tests.
func TestSign(t *testing.T) {
	const (
		secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		want   = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	)
	s, err := ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	got := sign([]Secret{s}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	other := Secret(secretPrefix + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	if got := sign([]Secret{s, other}, "a", time.Now(), nil); len(strings.Fields(got)) != 2 || strings.Fields(got)[0] == strings.Fields(got)[1] {
		t.Errorf("got %s", got)
	}
}

func TestSecret(t *testing.T) {
	for _, bad := range []string{"", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_***", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + strings.Repeat("AAAA", 22), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw "} {
		if _, err := ParseSecret(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) && bad != secretPrefix {
			t.Errorf("%q: %v", bad, err)
		}
	}
	s := Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s)
	target := Target{URL: "http://h/", Secret: s}
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%q %#v %+v %#v", s, s, target, target), log.String()} {
		if strings.Contains(shown, "MfKQ") {
			t.Errorf("it shows: %s", shown)
		}
	}
}

// With a secret, a delivery has a body that says all, and a signature of it,
// made anew for each attempt.
func TestSigned(t *testing.T) {
	const own, first, second = "whsec_b3duIHNlY3JldCBvZiBvbmUgcHJvYyE=", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
	w, r := newWorld(t, func(c *Config) { c.Secrets = []Secret{first, second} }), newReceiver(t)
	w.start()
	r.answers(status(http.StatusInternalServerError))
	code, ended := 3, time.Date(2026, 1, 1, 1, 1, 1, 0, time.UTC)
	e := event(a, 1, "fail")
	e.Reason, e.ExitCode, e.Ended = "exit status 3", &code, &ended
	if err := errors.Join(w.Append(Target{URL: r.url}, e), w.Append(Target{URL: r.url, Secret: own}, event(b_, 1, "init"))); err != nil {
		t.Fatal(err)
	}
	w.idle()
	w.restart()
	w.start()
	w.advance(2 * time.Second)
	var signatures []string
	for n, req := range r.got {
		id, text := req.Header.Get("Webhook-Id"), r.bodies[n]
		at, err := strconv.ParseInt(req.Header.Get("Webhook-Timestamp"), 10, 64)
		if err != nil || req.Header.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", req.Header)
		}
		secrets := []Secret{first, second}
		if strings.HasPrefix(id, b_) {
			secrets = []Secret{own}
		} else if text != `{"type":"proc.state","timestamp":"2026-01-01T00:00:01Z","data":{"proc":"`+a+`","app":"blog","name":"web.1","port":10001,"seq":1,`+
			`"state":"fail","reason":"exit status 3","exit_code":3,"ended":"2026-01-01T01:01:01Z"}}` {
			t.Errorf("body %s", text)
		}
		got := req.Header.Get("Webhook-Signature")
		if want := sign(secrets, id, time.Unix(at, 0), []byte(text)); got != want {
			t.Errorf("%s: got %s, want %s", id, got, want)
		}
		signatures = append(signatures, got)
	}
	if len(signatures) != 4 || signatures[0] == signatures[2] || signatures[0] == signatures[3] {
		t.Errorf("got %q", signatures)
	}
	if text, err := json.Marshal(w.List()); err != nil || strings.Contains(string(text)+w.log.String(), "whsec_") {
		t.Errorf("a secret is shown: %s %v\n%s", text, err, w.log)
	}
}
