package machine

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := NewArchive(&b)
	err := errors.Join(
		a.Dir("/dev", 0o755),
		a.Char("/dev/console", 0o600, 5, 1),
		a.File("/init", 0o755, []byte("hello")),
		a.Close(),
	)
	if err != nil {
		t.Fatal(err)
	}
	// The numbers are those of `cpio -o -H newc`, line by line: magic, inode, mode,
	// uid, gid, links, date, size, device, device of the node, length of the name.
	const zero = "00000000"
	want := "070701" + "00000001" + "000041ed" + zero + zero + "00000002" + zero + zero + zero + zero + zero + zero + "00000004" + zero + "dev\x00\x00\x00" +
		"070701" + "00000002" + "00002180" + zero + zero + "00000001" + zero + zero + zero + zero + "00000005" + "00000001" + "0000000c" + zero + "dev/console\x00\x00\x00" +
		"070701" + "00000003" + "000081ed" + zero + zero + "00000001" + zero + "00000005" + zero + zero + zero + zero + "00000005" + zero + "init\x00\x00" + "hello\x00\x00\x00" +
		"070701" + zero + zero + zero + zero + "00000001" + zero + zero + zero + zero + zero + zero + "0000000b" + zero + "TRAILER!!!\x00\x00\x00\x00"
	if got := b.String(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if b.Len()%4 != 0 {
		t.Errorf("%d bytes", b.Len())
	}
}

// A writer that fails, a full disk say, is heard of at the latest at the end.
func TestArchiveFails(t *testing.T) {
	a := NewArchive(failing{})
	_ = a.File("big", 0o644, []byte(strings.Repeat("x", 1<<20)))
	if err := a.Close(); err == nil {
		t.Error("no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }
