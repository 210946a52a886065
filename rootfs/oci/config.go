package oci

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Config is what an image wants for its program. Of the rest of an image's
// configuration nothing is heeded: ExposedPorts, Volumes, Labels, Healthcheck and
// what else there is.
type Config struct {
	Env        []string `json:"env,omitempty"` // KEY=value
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	Dir        string   `json:"dir"`                   // absolute and clean
	UID        uint32   `json:"uid,omitempty"`         // 0: the image names nobody, or not by a number
	GID        uint32   `json:"gid,omitempty"`         // 0: as UID
	StopSignal string   `json:"stop_signal,omitempty"` // SIGINT, or empty
	Volumes    []string `json:"volumes,omitempty"`     // places that it would keep from its layers
}

// Args is what is executed when nobody asks for anything else.
func (c Config) Args() []string {
	return append(append([]string(nil), c.Entrypoint...), c.Cmd...)
}

// configOf reads a configuration. What it says of a user counts only as a number of
// an ordinary user: a name would be looked up in a file of the image's own.
func configOf(c v1.Config) (Config, error) {
	for _, kv := range c.Env {
		if key, _, ok := strings.Cut(kv, "="); !ok || key == "" || strings.ContainsRune(kv, 0) {
			return Config{}, invalid("its environment has %s, which is not KEY=value", quote(kv))
		}
	}
	for _, arg := range append(append([]string(nil), c.Entrypoint...), c.Cmd...) {
		if strings.ContainsRune(arg, 0) {
			return Config{}, invalid("its command holds a NUL character")
		}
	}
	dir := path.Clean("/" + c.WorkingDir)
	if strings.ContainsRune(dir, 0) {
		return Config{}, invalid("its working directory holds a NUL character")
	}
	uid, gid, _ := ParseUser(c.User)
	cfg := Config{Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, Dir: dir, UID: uid, GID: gid, StopSignal: stopSignal(c.StopSignal)}
	cfg.Volumes = slices.Sorted(maps.Keys(c.Volumes))
	return cfg, nil
}

// ParseUser reads "UID" or "UID:GID". Both are numbers of an ordinary user or group
// of a sandbox, 1 to 65533, in their one decimal form; anything else is not ok,
// never a name, and never root. Without a group it is the user's number.
func ParseUser(s string) (uid, gid uint32, ok bool) {
	user, group, both := strings.Cut(s, ":")
	if uid, ok = parseID(user); !ok {
		return 0, 0, false
	}
	if !both {
		return uid, uid, true
	}
	if gid, ok = parseID(group); !ok {
		return 0, 0, false
	}
	return uid, gid, true
}

func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || n > maxOwner || strconv.FormatUint(n, 10) != s {
		return 0, false
	}
	return uint32(n), true
}

// stopSignal is a signal's name: images also have names without SIG, and numbers.
// One that there is not is as if none had been named.
func stopSignal(s string) string {
	if n, err := strconv.Atoi(s); err == nil {
		return unix.SignalName(syscall.Signal(n))
	}
	for _, name := range []string{s, "SIG" + s} {
		if unix.SignalNum(name) != 0 {
			return name
		}
	}
	return ""
}
