package rootfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestParseCredentials(t *testing.T) {
	c, err := ParseCredentials(`
# of the builds
images.example.com basic ci p:ss:word
Other.example.:8443   bearer tok-en
http://127.0.0.1:8080 basic a b
`)
	if err != nil {
		t.Fatal(err)
	}
	for u, want := range map[string]string{
		"https://images.example.com/a.tar.gz":     "Basic Y2k6cDpzczp3b3Jk",
		"https://IMAGES.example.com:443/a":        "Basic Y2k6cDpzczp3b3Jk",
		"http://images.example.com/a":             "",
		"http://images.example.com:443/a":         "",
		"https://images.example.com:8443/a":       "",
		"https://images.example.com.evil.net/a":   "",
		"https://evil.images.example.com/a":       "",
		"https://evil.net/images.example.com":     "",
		"https://other.example:8443/":             "Bearer tok-en",
		"https://other.example/":                  "",
		"http://127.0.0.1:8080/x":                 "Basic YTpi",
		"https://127.0.0.1:8080/x":                "",
		"http://[::1]:8080/x":                     "",
		"http://images.example.com@127.0.0.1:80/": "",
	} {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Header(parsed); got != want {
			t.Errorf("%s: got %q, want %q", u, got, want)
		}
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", c, c, c, slog.AnyValue(c).Resolve()); strings.Contains(shown, "Basic") || strings.Contains(shown, "map") {
		t.Errorf("shown as %s", shown)
	}
	if none, err := ParseCredentials("\n#\n"); err != nil || none.Header(&url.URL{Scheme: "https", Host: "a"}) != "" {
		t.Error(err)
	}
}

func TestParseCredentialsWrong(t *testing.T) {
	for _, text := range []string{
		"host", "host basic secret", "host basic us:er secret", "host digest a secret", "host bearer", "host bearer a secret",
		"ftp://host bearer secret", "https://me@host bearer secret", "https://host/secret bearer x", "host?secret bearer x", "a bearer secret\nhttps://A bearer secret", "a bearer s\u00e9cret",
		"a bearer sec\x01ret",
	} {
		_, err := ParseCredentials(text)
		if !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "secret") || !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

// A login goes to its server, also when a redirect leads there, and to no other.
func TestLogin(t *testing.T) {
	image := imageOf(t, "one")
	seen := map[string]string{}
	var b, other string
	note := func(name string, r *http.Request) { seen[name] = r.Header.Get("Authorization") }
	sb := serve(t, func(w http.ResponseWriter, r *http.Request) {
		note("b", r)
		w.Write(image)
	})
	b = sb.URL
	so := serve(t, func(w http.ResponseWriter, r *http.Request) {
		note("other", r)
		http.Redirect(w, r, b, http.StatusFound)
	})
	other = so.URL
	sa := serve(t, func(w http.ResponseWriter, r *http.Request) {
		note("a", r)
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(401)
			return
		}
		http.Redirect(w, r, other, http.StatusFound)
	})
	c, err := ParseCredentials(sa.URL + " basic me pw\n" + b + " bearer tok")
	if err != nil {
		t.Fatal(err)
	}
	fetchOK(t, newImages(t, ImagesConfig{Credentials: c}), Want{Ref: sa.URL})
	if got := fmt.Sprint(seen); got != "map[a:Basic bWU6cHc= b:Bearer tok other:]" {
		t.Errorf("got %s", got)
	}
	_, err = newImages(t, ImagesConfig{}).Fetch(context.Background(), Want{Ref: sa.URL})
	outcome(t, err, "have the operator add one")
}
