package proc

import (
	"context"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// defaultPath is the PATH of an app that was given none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// mergeConfig is the config that a proc shows: the client's, with PORT and HOST
// of the hypervisor's.
func mergeConfig(config map[string]string, port int, host string) map[string]string {
	merged := maps.Clone(config)
	if merged == nil {
		merged = make(map[string]string)
	}
	if port != 0 {
		merged["PORT"] = strconv.Itoa(port)
	}
	merged["HOST"] = host
	return merged
}

// environment is the whole environment of an app: what its image has, KEY=value,
// then its config, HOME, and a PATH when it has none. It is sorted.
func environment(image []string, config map[string]string, home string) []string {
	all := map[string]string{"PATH": defaultPath}
	for _, kv := range image {
		k, v, _ := strings.Cut(kv, "=")
		all[k] = v
	}
	maps.Copy(all, config)
	all["HOME"] = home
	env := make([]string, 0, len(all))
	for k, v := range all {
		env = append(env, k+"="+v)
	}
	slices.Sort(env)
	return env
}

// fqdn is the machine's fully qualified name, or its short one where the
// resolver does not know more.
func fqdn() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	if strings.Contains(name, ".") {
		return name
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	full, err := net.DefaultResolver.LookupCNAME(ctx, name)
	if full = strings.TrimSuffix(full, "."); err == nil && strings.HasPrefix(full, name+".") {
		return full
	}
	return name
}
