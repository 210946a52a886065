package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const hostsName = "hosts"

// writeHosts writes the proc's /etc/hosts.
func (i *instance) writeHosts() error {
	p := i.recorded().Proc
	hosts := filepath.Join(i.dir, hostsName)
	text := fmt.Sprintf("127.0.0.1\tlocalhost %s\n::1\tlocalhost ip6-localhost ip6-loopback\n", hostname(p.App, p.Name))
	return errors.Join(os.WriteFile(hosts, []byte(text), 0o644), os.Chmod(hosts, 0o644))
}
