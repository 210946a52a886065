//go:build integration

package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// Images that unpack to far more than was sent are refused, all of them at once, and the
// daemon has not needed 64 MiB more for it at any moment. Nothing of them is in the cache.
// The daemon is the one that everybody runs: the race detector has memory of its own.
func TestBombs(t *testing.T) {
	bombs := map[string][]byte{
		"zeros": bomb(t, header(t, tar.Header{Name: "f", Mode: 0o644, Size: 2 << 30}), make([]byte, 16<<20), 128),
		"many":  bomb(t, nil, bytes.Repeat(header(t, tar.Header{Name: "d/", Mode: 0o755, Typeflag: tar.TypeDir}), 1000), 300),
		"map":   bomb(t, sparse("f", true), bytes.Repeat(regions(), 1000), 400),
		"holes": bomb(t, sparse("f", false), make([]byte, 1024), 1),
	}
	reasons := map[string]string{"zeros": "unpacks to more than 1 GiB", "many": "more than 50000 files", "map": "sparse map too long", "holes": "unpacks to more than 1 GiB"}
	images := serveImages(t, bombs)
	binary := filepath.Join(t.TempDir(), "hypervisor")
	must(t, goBuild(binary, "../cmd/hypervisor", "CGO_ENABLED=0"))
	testbed.Leaves(t)
	d := newDaemon(t, t.TempDir(), portRange(), "--allow-net", "127.0.0.0/8")
	d.binary = binary
	d.start()
	d.well(t)
	files := filesIn(t, filepath.Join(d.stateDir, "cache"))
	before := d.peak(t)
	must(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", d.pid()), []byte("5"), 0)) // the peak is what it has now (proc_pid_clear_refs(5))
	ids := map[string]string{}
	for name := range bombs {
		ids[name] = d.create(proc.Request{Name: name, Image: images + name, Command: proc.Shell("true")}).ID
	}
	for name, id := range ids {
		if p := d.wait(id); p.State != proc.Fail || p.Started != nil || !strings.Contains(p.Reason, reasons[name]) {
			t.Errorf("%s of %d bytes: got %+v, want %q", name, len(bombs[name]), p, reasons[name])
		}
	}
	after := d.peak(t)
	t.Logf("the daemon had %d MiB at most before, and %d MiB with bombs", before>>20, after>>20)
	if after > before+64<<20 {
		t.Error("that is too much")
	}
	if now := filesIn(t, filepath.Join(d.stateDir, "cache")); now != files {
		t.Errorf("the cache had %d files, and has %d", files, now)
	}
	d.well(t)
}

// peak is the most memory that the daemon has taken.
func (d *daemon) peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.pid()))
	must(t, err)
	return 1024 * int64(number(t, string(status), `(?m)^VmHWM:\s+(\d+) kB`))
}

// bomb is a gzip of a beginning and then of one part, again and again, made without
// having all of that.
func bomb(t *testing.T, beginning, part []byte, times int) []byte {
	t.Helper()
	return append(gzipped(t, beginning), bytes.Repeat(gzipped(t, part), times)...)
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	must(t, err)
	must(t, z.Close())
	return out.Bytes()
}

// header is a header of a tar without what should follow it.
func header(t *testing.T, h tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	must(t, tar.NewWriter(&out).WriteHeader(&h))
	return out.Bytes()
}

// sparse is a header of a file of 1 TiB that is one hole, as GNU tar had them, or
// one whose map goes on behind the header.
func sparse(name string, more bool) []byte {
	b := make([]byte, 512)
	put := func(at int, text string) { copy(b[at:], text) }
	put(0, name)
	put(100, "0000644\x000000000\x000000000\x00")
	put(124, "00000000000\x0000000000000\x00        S")
	put(257, "ustar  \x00")
	put(386, "00000000000\x0000000000000\x00")
	if more {
		b[482] = 1
	}
	put(483, "\x80\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00") // 1 TiB, in binary
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	put(148, fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// regions is a part of a map with 21 regions, after which another one comes.
func regions() []byte {
	b := make([]byte, 512)
	for n := range 21 {
		copy(b[n*24:], "00000000001\x0000000000000\x00")
	}
	b[504] = 1
	return b
}
