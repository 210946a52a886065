//go:build integration

package isolate_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// BenchmarkListening asks once whether a sandbox listens that does not, with and
// without a thousand other listening sockets on the host.
func BenchmarkListening(b *testing.B) {
	for _, network := range []isolate.Network{isolate.NetworkNone, isolate.NetworkHost} {
		for _, others := range []int{0, 1000} {
			b.Run(fmt.Sprintf("%s/others=%d", network, others), func(b *testing.B) {
				for range others {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						b.Fatal(err)
					}
					defer l.Close()
				}
				s := spec(b, sh("echo up; sleep 1000")...)
				s.Network = network
				r, err := launch(b, testbed.Engine(b), s)
				if err != nil {
					b.Fatal(err)
				}
				r.line(b)
				port := freePort(b)
				for b.Loop() {
					if got, err := r.Listening(port); got || err != nil {
						b.Fatal(got, err)
					}
				}
			})
		}
	}
}
