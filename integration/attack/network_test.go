//go:build integration

package attack

import (
	"net"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// T22: a sandbox without a network reaches nobody, and none can change one.
// Control: the root of a network namespace of its own changes it, and a user of
// the host reaches what the host listens on.
func TestNetwork(t *testing.T) {
	args := []string{"network"}
	for _, address := range addresses(t) {
		l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		args = append(args, l.Addr().String())
	}
	const forced = "the kernel asks for a capability over the host's network"
	want := map[string]string{"interfaces": "lo", "listen on port 80": "EACCES", "SO_DEBUG": "EACCES|EPERM"}
	for _, address := range args[1:] {
		want["connect "+address] = "ECONNREFUSED|ENETUNREACH|EADDRNOTAVAIL"
	}
	fight(t, []attack{{
		id: "T22", what: "change a network of its own", args: args, want: attacks.Expectation{Want: want}, control: asRootOfNamespaces, differs: true,
		blind: map[string]string{
			"SO_": forced, "connect ": "the control has no network either", "replace iptables": "this kernel may have none",
			"IP_": forced, "interfaces": "lo and what it made",
		},
	}, {
		id: "T22", what: "reach the host", args: args, want: attacks.Expectation{Want: want}, control: asUser, differs: true,
		blind: map[string]string{"": "the user of the host may change its network no more; connecting is shown"},
	}})
	ctl := asUser(t, args)
	for _, address := range args[1:] {
		if ctl.Detail["connect "+address] != "ok" {
			t.Errorf("control: %s: %s", address, ctl.Detail["connect "+address])
		}
	}

	// On the host's network a sandbox reaches what the host does, and changes nothing.
	s := spec(t, args...)
	s.Network = isolate.NetworkHost
	for name, outcome := range once(t, s).Detail {
		if reach := strings.HasPrefix(name, "connect "); reach != (outcome == "ok") {
			t.Errorf("on the host's network: %s: %s", name, outcome)
		}
	}
}

// addresses are those of the host.
func addresses(t *testing.T) []string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var ips []string
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLinkLocalUnicast() {
			ips = append(ips, ip.IP.String())
		}
	}
	return ips
}
