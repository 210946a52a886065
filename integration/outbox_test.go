//go:build integration

package integration

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

var (
	lived = []string{"init", "boot", "running", "done"}
	died  = []string{"init", "boot", "running", "fail"}
)

// Nobody hears while the receiver is down and the daemon is killed. When both
// are back, every state is told, in order, also of the proc that was removed.
func TestCallbacksOutliveTheDaemon(t *testing.T) {
	m := newMailbox(t)
	m.down()
	d := serve(t, "--callback-backoff", "100ms")
	make := func(command string) proc.Proc {
		return d.create(proc.Request{Command: proc.Shell(command), Callback: m.url() + "?token=s3cret"})
	}
	done, removed, failed, running := make("true"), make("true"), make("exit 3"), make("echo up; exec sleep 1000")
	for _, p := range []proc.Proc{done, removed, failed} {
		d.wait(p.ID)
	}
	d.follow(running.ID).until("stdout: up")
	d.remove(removed.ID)
	if got := d.get(done.ID).Callbacks; got == nil || *got != (proc.CallbackCounts{Pending: 4}) {
		t.Errorf("got %+v", got)
	}
	before := len(d.callbacks("?state=pending"))
	d.kill()
	d.start()
	if got := len(d.callbacks("?state=pending")); before != 15 || got < before { // one more: that the fourth ended with its daemon
		t.Errorf("%d callbacks wait after the start, %d before", got, before)
	}
	m.up()
	d.stopProc(running.ID, "?grace=0s")
	d.allTold()
	for id, want := range map[string][]string{done.ID: lived, removed.ID: lived, failed.ID: died, running.ID: died} {
		if got := m.states(t, id); !slices.Equal(got, want) {
			t.Errorf("%s was told %q, want %q", id, got, want)
		}
	}
	for _, got := range m.taken() {
		if want := fmt.Sprintf("token=s3cret&name=web.1&port=%s&state=%s", portOf(got.query), got.state); got.query != want || got.body != "" {
			t.Errorf("got %+v, want the query %s and no body", got, want)
		}
	}
	if p := d.get(failed.ID); p.Seq != 4 || p.Changed.IsZero() || *p.Callbacks != (proc.CallbackCounts{}) {
		t.Errorf("got %+v", p)
	}
	if strings.Contains(d.log(), "s3cret") {
		t.Error("the log tells what the callback's query holds")
	}
	files, err := filepath.Glob(filepath.Join(d.stateDir, "outbox", removed.ID+"*"))
	if err != nil || len(files) > 0 {
		t.Errorf("left of a removed proc: %q %v", files, err)
	}
}

// The daemon is killed again and again, with callbacks under way and a receiver
// that refuses every fourth. Whoever was made is told of to its end.
func TestCallbacksThroughKills(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	m := newMailbox(t)
	m.answers(func(delivery) int {
		if m.calls%4 == 0 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	d := serve(t, "--callback-backoff", "50ms")
	var made []string
	removed := map[string]bool{}
	for range 8 {
		before := m.called(0)
		for range 3 {
			p := d.create(proc.Request{Command: proc.Shell([]string{"true", "exit 3", "exec sleep 1000"}[r.IntN(3)]), Callback: m.url()})
			made = append(made, p.ID)
		}
		if r.IntN(2) == 0 {
			id := made[r.IntN(len(made))]
			if !removed[id] {
				d.remove(id)
				removed[id] = true
			}
		}
		m.called(before + r.IntN(9)) // three procs have nine states to tell, at least
		d.kill()
		d.start()
	}
	for _, p := range d.list("") {
		d.stopProc(p.ID, "?grace=0s")
	}
	d.allTold()
	for _, id := range made {
		states := m.states(t, id)
		if len(states) == 0 || !proc.State(states[len(states)-1]).Ended() {
			t.Errorf("%s was told %q, and not its end", id, states)
			continue
		}
		if removed[id] {
			continue
		}
		if p := d.get(id); int(p.Seq) != len(states) || string(p.State) != states[len(states)-1] {
			t.Errorf("%s was told %q, and is %+v", id, states, p)
		}
	}
	distinct := map[string]bool{}
	for _, got := range m.taken() {
		distinct[got.header.Get("Webhook-Id")] = true
	}
	t.Logf("%d procs, %d states told, %d of them again", len(made), len(distinct), len(m.taken())-len(distinct))
}

// A daemon that stops does not wait for a receiver that is down; the next one
// tells.
func TestCallbacksAfterStop(t *testing.T) {
	m := newMailbox(t)
	m.down()
	d := serve(t, "--grace", "1s", "--callback-backoff", "50ms")
	p := d.run(proc.Request{Command: proc.Shell("true"), Callback: m.url()})
	start := time.Now()
	d.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	m.up()
	d.start()
	d.allTold()
	if got := m.states(t, p.ID); !slices.Equal(got, lived) {
		t.Errorf("told %q, want %q", got, lived)
	}
}

// What is not taken in time becomes a dead letter, which a person sees, sends
// again, or removes.
func TestDeadLetters(t *testing.T) {
	m := newMailbox(t)
	m.answers(func(delivery) int { return http.StatusNotFound })
	d := serve(t, "--callback-backoff", "20ms", "--callback-give-up", "100ms")
	p := d.run(proc.Request{Command: proc.Shell("true"), Callback: m.url() + "?token=s3cret"})
	testbed.Within(t, patience, "dead letters", func() bool { return len(d.callbacks("?state=dead&proc="+p.ID)) == 4 })
	letters := d.callbacks("")
	for n, c := range letters {
		if c.ID != fmt.Sprint(p.ID, "-", n+1) || c.Proc != p.ID || c.App != "blog" || c.ProcState != lived[n] || c.Attempts < 1 || c.NextTry != nil ||
			c.LastError != "the receiver answered 404 Not Found" || c.Receiver != "http://"+m.addr {
			t.Errorf("got %+v", c)
		}
	}
	d.remove(p.ID)
	d.kill()
	d.start()

	matches(t, d.cli(t, "callbacks", "ls", "--state", "dead"), 0,
		`ID +APP +NAME +TELLS +STATE +AGE +TRIES +NEXT +LAST ERROR\n(`+p.ID+`-\d +blog +web.1 +(init|boot|running|done) +dead +\d+s +\d+ +- +the receiver answered 404 Not Found\n){4}`)
	if got := jsonOf[server.CallbackList](t, d.cli(t, "callbacks", "ls", "--json", "--proc", p.ID)); len(got.Callbacks) != 4 {
		t.Errorf("got %+v", got)
	}
	metrics := d.want(http.StatusOK, http.MethodGet, "/metrics", nil, nil).body
	for _, want := range []string{"gilliam_callbacks_dead_letters 4\n", "gilliam_callbacks_pending 0\n", `gilliam_callbacks_total{outcome="delivered"} 0` + "\n"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics: no %s", want)
		}
	}
	m.answers(nil)
	matches(t, d.cli(t, "callbacks", "rm", letters[0].ID), 0, letters[0].ID+`\n`)
	matches(t, d.cli(t, "callbacks", "retry", letters[3].ID, letters[1].ID), 0, letters[3].ID+`\n`+letters[1].ID+`\n`)
	testbed.Within(t, patience, "one letter left", func() bool { return len(d.callbacks("")) == 1 })
	var got []string
	for _, g := range m.taken() {
		got = append(got, g.state)
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"boot", "done"}) {
		t.Errorf("told %q", got)
	}
	if r := d.cli(t, "callbacks", "retry", letters[0].ID); r.code != 1 || !strings.Contains(r.stderr, "no such callback") {
		t.Errorf("got %s", r)
	}
	if text := d.log(); strings.Contains(text, "s3cret") {
		t.Errorf("the log tells the query")
	}
}

// A proc's secret and the daemon's sign what is told, as the recipe in the
// documentation finds, which runs in a sandbox. Neither is told anywhere.
func TestSignedCallbacks(t *testing.T) {
	const own, theirs = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
	recipe := documented(t, "../docs/callbacks.md", "```python\n")
	file := filepath.Join(t.TempDir(), "secrets")
	must(t, os.WriteFile(file, []byte(theirs+"\n"), 0o600))
	m := newMailbox(t)
	d := serve(t, "--callback-secret-file", file)
	withOwn := d.run(proc.Request{Command: proc.Shell("exit 3"), Callback: m.url(), CallbackSecret: own})
	without := d.run(proc.Request{Command: proc.Shell("true"), Callback: m.url()})
	d.allTold()
	shown := d.do(http.MethodGet, "/v1/procs", nil).body + d.do(http.MethodGet, "/proc/"+withOwn.ID, nil).body +
		d.cli(t, "inspect", withOwn.ID).stdout + d.do(http.MethodGet, "/v1/callbacks", nil).body + d.log()
	if strings.Contains(shown, "whsec_") {
		t.Errorf("a secret is shown: %s", shown)
	}
	if got := m.states(t, withOwn.ID); !slices.Equal(got, died) {
		t.Errorf("told %q", got)
	}
	deliveries := m.taken()
	slices.Reverse(deliveries)
	for id, secret := range map[string]string{withOwn.ID: own, without.ID: theirs} {
		last := deliveries[slices.IndexFunc(deliveries, func(g delivery) bool { return g.proc == id })]
		for name, c := range map[string]struct {
			secret, body string
			code         int
		}{
			"right":          {secret, last.body, 0},
			"another secret": {"whsec_" + strings.Repeat("B", 32), last.body, 1},
			"another body":   {secret, strings.Replace(last.body, `"seq":4`, `"seq":5`, 1), 1},
		} {
			p := d.run(proc.Request{Command: proc.Exec("python3", "-c", recipe+"\nimport sys\nsys.exit(0 if verify(*sys.argv[1:5], sys.argv[5].encode()) else 1)\n",
				c.secret, last.header.Get("Webhook-Id"), last.header.Get("Webhook-Timestamp"), last.header.Get("Webhook-Signature"), c.body)})
			if p.ExitCode == nil || *p.ExitCode != c.code {
				t.Errorf("%s, %s: got %+v: %q", id, name, p, d.logs(p.ID, ""))
			}
		}
	}
	if want := `"state":"fail","reason":"exit status 3","exit_code":3,`; !strings.Contains(fmt.Sprint(deliveries), want) {
		t.Errorf("no %s in %v", want, deliveries)
	}
	must(t, os.Chmod(file, 0o644))
	if r := command(t, "serve", "--state-dir", t.TempDir(), "--port", "0", "--log-sink", "none", "--callback-secret-file", file); r.code != 1 || !strings.Contains(r.stderr, "chmod 600") {
		t.Errorf("a secret for all to see: got %s", r)
	}
}

// documented is the code of a document between a fence and the next.
func documented(tb testing.TB, path, fence string) string {
	tb.Helper()
	text, err := os.ReadFile(path)
	must(tb, err)
	_, rest, found := strings.Cut(string(text), fence)
	code, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		tb.Fatalf("%s: no %q", path, fence)
	}
	return code
}

// A file of callbacks that is damaged is set aside, and what can be read of it
// is told.
func TestBrokenOutbox(t *testing.T) {
	m := newMailbox(t)
	m.down()
	d := serve(t)
	p := d.run(proc.Request{Command: proc.Shell("true"), Callback: m.url()})
	d.kill()
	path := filepath.Join(d.stateDir, "outbox", p.ID+".log")
	whole, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte(strings.Replace(string(whole), `"state":"boot"`, `"state":"toob"`, 1)), 0o600))
	must(t, os.WriteFile(filepath.Join(d.stateDir, "outbox", "stray"), nil, 0o600))
	m.up()
	d.errorsExpected = true
	d.start()
	d.allTold()
	var got []string
	for _, g := range m.taken() {
		got = append(got, fmt.Sprint(g.seq, " ", g.state))
	}
	if want := []string{"1 init", "3 running", "4 done"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	if aside, err := os.ReadDir(filepath.Join(d.stateDir, "set-aside")); err != nil || len(aside) != 2 {
		t.Errorf("set aside: %v %v", aside, err)
	}
}
