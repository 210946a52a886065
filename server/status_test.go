package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server/proc"
)

// Every sentinel of this package and of proc has its row.
func TestEverySentinelHasARow(t *testing.T) {
	rows := map[string]bool{}
	for _, r := range statuses {
		rows[r.err.Error()] = true
	}
	found := 0
	for _, dir := range []string{".", "proc", "proc/outbox"} {
		for name, text := range sentinels(t, dir) {
			found++
			if !rows[text] {
				t.Errorf("%s/%s (%q) has no row in the table of status.go", dir, name, text)
			}
		}
	}
	if found < 12 {
		t.Errorf("found only %d sentinels: is the search broken?", found)
	}
}

// sentinels are the package variables Err… = errors.New("…") of a folder.
func sentinels(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go files in %s: %v", dir, err)
	}
	found := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != 1 || !strings.HasPrefix(v.Names[0].Name, "Err") {
				return true
			}
			if made, ok := v.Values[0].(*ast.CallExpr); ok && len(made.Args) == 1 {
				if lit, ok := made.Args[0].(*ast.BasicLit); ok {
					found[v.Names[0].Name], _ = strconv.Unquote(lit.Value)
				}
			}
			return true
		})
	}
	return found
}

// Every row, wrapped as a caller would, makes a whole problem document.
func TestEveryRow(t *testing.T) {
	for _, r := range append(statuses, internal) {
		t.Run(r.code, func(t *testing.T) {
			procs := &fakeProcs{err: fmt.Errorf("list /secret/path: %w", r.err)}
			s := New(Config{Procs: procs, Templates: fakeTemplates{}})
			rec := httptest.NewRecorder()
			s.Unix().ServeHTTP(rec, httptest.NewRequest("GET", "/v1/procs/5f0c8f6e-3a52-4a83-9d57-6f0c34bb9e3b", nil))

			var p Problem
			if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
				t.Fatalf("%v: %s", err, rec.Body)
			}
			if rec.Code != r.status || p.Status != r.status || p.Type != ProblemType+r.code {
				t.Errorf("got %d %+v, want status %d type …%s", rec.Code, p, r.status, r.code)
			}
			if got := rec.Header().Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("Content-Type %q", got)
			}
			if p.Title == "" || p.Detail == "" || !strings.HasPrefix(p.Instance, "urn:uuid:") {
				t.Errorf("incomplete: %+v", p)
			}
			if r.status >= 500 && strings.Contains(rec.Body.String(), "secret") {
				t.Errorf("tells the cause: %s", rec.Body)
			}
			if got := rec.Header().Get("WWW-Authenticate"); (got != "") != (r.status == http.StatusUnauthorized) {
				t.Errorf("WWW-Authenticate %q with %d", got, r.status)
			}
		})
	}
}

func TestUnknownErrorIsOnlyLogged(t *testing.T) {
	w := newWorld(t)
	w.procs.err = errors.New("mount overlay on /var/lib/gilliam: invalid argument")
	got := call(t, w.unix.URL, "POST", "/v1/procs", `{"app":"a"}`)
	if got.StatusCode != 500 || !strings.Contains(got.body, `"detail":"internal error"`) || strings.Contains(got.body, "overlay") {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	if log := w.log.String(); !strings.Contains(log, "overlay") || !strings.Contains(log, got.Header.Get("X-Request-Id")) {
		t.Errorf("the log does not tell the cause and the request:\n%s", log)
	}
}

func TestFieldIsNamed(t *testing.T) {
	w := newWorld(t)
	w.procs.err = fmt.Errorf("create: %w", &proc.FieldError{Field: "image", Detail: "must be an http URL"})
	got := call(t, w.unix.URL, "POST", "/v1/procs", `{"app":"a"}`)
	if got.StatusCode != 400 || !strings.Contains(got.body, `"field":"image"`) || !strings.Contains(got.body, "must be an http URL") {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
}
