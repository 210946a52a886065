package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// A Host is what a machine's apt is told of archives.
type Host struct {
	Sources []Source
	Proxies Proxies
	Logins  Logins
	Expired bool // Acquire::Check-Valid-Until is off
}

// maxConf bounds the files of apt's configuration.
const maxConf = 4 << 20

// ReadHost reads apt's configuration in a root file system. A machine without apt
// has none.
func ReadHost(root fs.FS) (Host, error) {
	h := Host{Proxies: Proxies{}}
	err := each(root, "apt.conf.d/*", "apt.conf", func(name, text string) error {
		if ext := path.Ext(name); ext != "" && ext != ".conf" {
			return nil // as apt does
		}
		settings, err := ParseConf(text)
		if err != nil {
			return err
		}
		for _, s := range settings {
			h.set(s)
		}
		return nil
	})
	if err != nil {
		return h, err
	}
	err = each(root, "sources.list.d/*", "sources.list", func(name, text string) error {
		parse := ParseList
		switch path.Ext(name) {
		case ".sources":
			parse = ParseSources
		case ".list":
		default:
			return nil
		}
		sources, err := parse(text)
		h.Sources = append(h.Sources, sources...)
		return err
	})
	if err != nil {
		return h, err
	}
	return h, each(root, "auth.conf.d/*", "auth.conf", func(name, text string) error {
		if ext := path.Ext(name); ext != ".conf" {
			return nil
		}
		h.Logins = append(h.Logins, ParseLogins(text)...)
		return nil
	})
}

// set takes what matters here.
func (h *Host) set(s Setting) {
	switch {
	case s.Name == "acquire::check-valid-until":
		h.Expired = no(s.Value)
	case strings.HasPrefix(s.Name, "acquire::http::proxy"), strings.HasPrefix(s.Name, "acquire::https::proxy"):
		h.Proxies[strings.TrimPrefix(s.Name, "acquire::")] = s.Value
	}
}

// each reads the files of apt's folder that match, in the order of their names, and
// one more.
func each(root fs.FS, pattern, last string, do func(name, text string) error) error {
	names, err := fs.Glob(root, "etc/apt/"+pattern)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range append(names, "etc/apt/"+last) {
		fi, err := fs.Stat(root, name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !fi.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return err
		}
		if fi.Size() > maxConf {
			return fmt.Errorf("/%s: longer than %d bytes", name, maxConf)
		}
		b, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		if err := do(name, string(b)); err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
	}
	return nil
}

// Proxies are apt's, by the names of its settings below Acquire in lower case:
// http::proxy, or http::proxy::host for one host.
type Proxies map[string]string

// For is the proxy for a request, as [http.Transport] asks for it: DIRECT means
// none, and what apt has no setting for is up to the environment.
func (p Proxies) For(req *http.Request) (*url.URL, error) {
	host := strings.ToLower(req.URL.Hostname())
	for _, name := range []string{req.URL.Scheme + "::proxy::" + host, req.URL.Scheme + "::proxy"} {
		value, ok := p[name]
		switch {
		case !ok:
		case value == "" || strings.EqualFold(value, "direct") || strings.EqualFold(value, "false"):
			return nil, nil
		default:
			u, err := url.Parse(value)
			if err != nil || u.Host == "" {
				return nil, fmt.Errorf("apt's setting Acquire::%s is no URL", name)
			}
			return u, nil
		}
	}
	return http.ProxyFromEnvironment(req)
}

// A Login is a line of apt_auth.conf(5): a user and a password for a machine, or
// for a path on it.
type Login struct{ machine, login, password string }

// Logins are tried in their order.
type Logins []Login

// ParseLogins reads apt_auth.conf(5), which is netrc's form.
func ParseLogins(text string) Logins {
	var list Logins
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	words := strings.Fields(strings.Join(lines, " "))
	for i := 0; i+1 < len(words); i += 2 {
		if words[i] == "machine" {
			list = append(list, Login{machine: words[i+1]})
			continue
		}
		if len(list) == 0 {
			continue
		}
		switch last := &list[len(list)-1]; words[i] {
		case "login":
			last.login = words[i+1]
		case "password":
			last.password = words[i+1]
		}
	}
	return list
}

// For is who to log in as for a URL. Without a scheme a login is for https alone,
// as in apt.
func (l Logins) For(u *url.URL) (user, password string, ok bool) {
	for _, one := range l {
		scheme, rest, named := strings.Cut(one.machine, "://")
		if !named {
			scheme, rest = "https", one.machine
		}
		host, path, _ := strings.Cut(rest, "/")
		if scheme == u.Scheme && (host == u.Host || host == u.Hostname()) && strings.HasPrefix(strings.TrimPrefix(u.Path, "/"), path) {
			return one.login, one.password, true
		}
	}
	return "", "", false
}
