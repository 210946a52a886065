package server

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

const testToken = "correct-horse"

// world is a server over fakes, behind real connections.
type world struct {
	procs *fakeProcs
	srv   *Server
	log   *syncBuffer
	unix  *httptest.Server
	tcp   *httptest.Server
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{procs: &fakeProcs{}, log: &syncBuffer{}}
	cfg := Config{
		Procs: w.procs, Templates: fakeTemplates{}, Token: testToken,
		Version: Version{Version: "1.2.3", Commit: "abc", Go: "go1.26"},
		Log:     slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "gilliam_procs 0\n") }),
	}
	for _, f := range change {
		f(&cfg)
	}
	w.srv = New(cfg)
	w.unix, w.tcp = httptest.NewServer(w.srv.Unix()), httptest.NewServer(w.srv.TCP())
	t.Cleanup(w.unix.Close)
	t.Cleanup(w.tcp.Close)
	return w
}

// answer is a whole response.
type answer struct {
	*http.Response
	body string
}

// call sends one request to base; headers are pairs.
func call(t *testing.T, base, method, path, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		switch {
		case headers[i] == "Host":
			req.Host = headers[i+1]
		case headers[i+1] == "":
			req.Header.Del(headers[i])
		default:
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res, string(b)}
}

// syncBuffer is a log that requests write to while a test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
