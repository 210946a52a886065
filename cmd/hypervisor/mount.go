package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gilliam/hypervisor/server/proc"
)

// mountKind is how a mount is written: as for docker run --mount.
const mountKind = "type=TYPE,source=SOURCE,target=PATH[,…]"

// parseMount parses a mount. What it may be is for the daemon to say.
func parseMount(s string) (proc.Mount, error) {
	var m proc.Mount
	given := map[string]bool{}
	for part := range strings.SplitSeq(s, ",") {
		key, value, found := strings.Cut(part, "=")
		if given[key] {
			return m, fmt.Errorf("%s is given twice", key)
		}
		given[key] = true
		var err error
		switch {
		case (key == "readonly" || key == "exec") && !found:
			value, found = "true", true
		case !found || value == "":
			return m, errors.New("must be " + mountKind)
		}
		switch key {
		case "type":
			m.Type = value
		case "source":
			m.Source = value
		case "target":
			m.Target = value
		case "size":
			m.Size, err = parseSize(value)
		case "readonly":
			m.ReadOnly, err = parseBool(value)
		case "exec":
			m.Exec, err = parseBool(value)
		default:
			err = errors.New("no such key; there are type, source, target, readonly, size and exec")
		}
		if err != nil {
			return m, fmt.Errorf("%s: %w", key, err)
		}
	}
	if m.Type == "" || m.Target == "" {
		return m, errors.New("needs a type, volume, bind or tmpfs, and a target")
	}
	return m, nil
}

func parseBool(s string) (bool, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, errors.New("must be true or false")
	}
	return b, nil
}
