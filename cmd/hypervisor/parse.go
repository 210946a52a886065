package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/server/proc"
)

// intIn parses a whole number from low to high.
func intIn(low, high int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return 0, fmt.Errorf("must be a whole number from %d to %d", low, high)
		}
		return n, nil
	}
}

// parsePath makes a path absolute.
func parsePath(s string) (string, error) {
	if s == "" || strings.ContainsRune(s, 0) {
		return "", errors.New("must be a path")
	}
	return filepath.Abs(s)
}

// parseMaybePath is parsePath, but nothing stays nothing.
func parseMaybePath(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return parsePath(s)
}

// parseTemplate parses what the default template is: a path, a name, or nothing.
// A path has a slash.
func parseTemplate(s string) (string, error) {
	if s == "" || !strings.ContainsRune(s, '/') {
		return s, rootfs.CheckTemplateRef(s)
	}
	return parsePath(s)
}

// parseRegexp parses a regular expression; nothing is nil, no choice.
func parseRegexp(s string) (*regexp.Regexp, error) {
	if s == "" {
		return nil, nil
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf("must be a regular expression: %w", err)
	}
	return re, nil
}

func parseAddr(s string) (netip.Addr, error) {
	if s == "localhost" {
		s = "127.0.0.1"
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, errors.New("must be an IP address of this machine, such as 127.0.0.1 or 0.0.0.0")
	}
	return a, nil
}

func parseNet(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, errors.New("must be a network, such as 10.0.0.0/8 or 127.0.0.1/32")
	}
	return p.Masked(), nil
}

func parseHost(s string) (string, error) {
	if s == "" || strings.ContainsAny(s, ":/[] ") {
		return "", errors.New("must be a host name without a port, such as node1.example")
	}
	return s, nil
}

func parseUser(s string) (string, error) {
	if s == "" || s == "root" || s[0] == '-' || strings.ContainsAny(s, ":/ \n\x00") {
		return "", errors.New("must be the name of a user in the template that is not root")
	}
	if _, err := strconv.Atoi(s); err == nil {
		return "", errors.New("must be a user's name, not its number")
	}
	return s, nil
}

func parseDuration(s string) (time.Duration, error) { return durationUpTo(time.Hour)(s) }

// durationUpTo parses a duration above zero.
func durationUpTo(most time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 || d > most {
			return 0, fmt.Errorf("must be a duration above 0 and up to %gh, such as 8s", most.Hours())
		}
		return d, nil
	}
}

// parseSeconds is a duration of a request; empty is none.
func parseSeconds(s string) (proc.Seconds, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, errors.New("must be a duration above 0, such as 500ms, 8s or 24h")
	}
	return proc.Seconds(d.Seconds()), nil
}

// parseSince is a time or how long ago it was, as the API takes it.
func parseSince(s string) (string, error) {
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 || s == "" {
		return s, nil
	}
	if _, err := time.Parse(time.RFC3339, s); err != nil {
		return "", errors.New("must be how long ago, such as 10m, or a time such as 2026-01-02T15:04:05Z")
	}
	return s, nil
}

// parseGrace is the grace of one request, as the API takes it.
func parseGrace(s string) (time.Duration, error) {
	if s == "" {
		return -1, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > time.Hour {
		return 0, errors.New("must be a duration from 0s to 1h, such as 5s")
	}
	return d, nil
}

// parseSink parses the address of a syslog sink; none and nothing are "".
func parseSink(s string) (string, error) {
	if s == "" || s == "none" {
		return "", nil
	}
	wrong := errors.New("must be udp://HOST:PORT, tcp://HOST:PORT, unix:///PATH, or none")
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" {
		return "", wrong
	}
	switch u.Scheme {
	case "udp", "tcp":
		_, port, err := net.SplitHostPort(u.Host)
		if _, bad := intIn(1, 65535)(port); err != nil || bad != nil || u.Hostname() == "" || u.Path != "" {
			return "", wrong
		}
	case "unix":
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return "", wrong
		}
	default:
		return "", wrong
	}
	return s, nil
}

func parseImageFS(s string) (string, error) {
	if !slices.Contains(isolate.FileSystemTypes, s) {
		return "", fmt.Errorf("must be %s", strings.Join(isolate.FileSystemTypes, " or "))
	}
	return s, nil
}

func parseLogFormat(s string) (string, error) {
	if s != "text" && s != "json" {
		return "", errors.New("must be text or json")
	}
	return s, nil
}

func parseLogLevel(s string) (slog.Level, error) {
	var l slog.Level
	if l.UnmarshalText([]byte(s)) != nil {
		return l, errors.New("must be debug, info, warn or error")
	}
	return l, nil
}

// parseSize parses bytes, as 512M or 1.5G; nothing is 0, the default.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := units.RAMInBytes(s)
	if err != nil || n <= 0 {
		return 0, errors.New("must be a size above 0, such as 512M or 1G")
	}
	return n, nil
}

// parseReserve parses a part of a disk, as 10G or 5%.
func parseReserve(s string) (proc.Reserve, error) {
	wrong := errors.New("must be a size such as 10G, or a part of the disk such as 5%")
	if text, ok := strings.CutSuffix(s, "%"); ok {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n > 0) || n >= 100 {
			return proc.Reserve{}, wrong
		}
		return proc.Reserve{Percent: n}, nil
	}
	n, err := units.RAMInBytes(s)
	if err != nil || n <= 0 {
		return proc.Reserve{}, wrong
	}
	return proc.Reserve{Bytes: n}, nil
}

// parseCPU parses a number of CPUs; nothing is 0, no limit.
func parseCPU(s string) (float64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n > 0) || math.IsInf(n, 0) {
		return 0, errors.New("must be a number of CPUs above 0, such as 0.5")
	}
	return n, nil
}

// parseCount parses a number above zero; nothing is 0, the default.
func parseCount(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0, errors.New("must be a whole number above 0")
	}
	return n, nil
}

// parseTail parses a number of lines; nothing is -1, all.
func parseTail(s string) (int, error) {
	if s == "" {
		return -1, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, errors.New("must be a number of lines, 0 or more")
	}
	return int(n), nil
}

// An envVar is one KEY=VALUE.
type envVar struct{ key, value string }

func parseEnv(s string) (envVar, error) {
	k, v, found := strings.Cut(s, "=")
	if !found || k == "" {
		return envVar{}, errors.New("must be KEY=VALUE")
	}
	return envVar{k, v}, nil
}

// parseEnvFile parses lines of KEY=VALUE; empty ones and those that begin with
// # are left out.
func parseEnvFile(text string) ([]envVar, error) {
	var vars []envVar
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimLeft(strings.TrimRight(line, "\r\n"), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		v, err := parseEnv(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		vars = append(vars, v)
	}
	return vars, nil
}
