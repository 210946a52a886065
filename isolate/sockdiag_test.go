package isolate

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The query's message, field by field as linux/inet_diag.h has them, on a
// machine of this byte order.
func TestListenRequest(t *testing.T) {
	order := func(b ...byte) string { // a number, its lowest byte first
		if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
			slices.Reverse(b)
		}
		return hex.EncodeToString(b)
	}
	header := func(size byte) string {
		return order(size, 0, 0, 0) + order(20, 0) + order(1, 3) + strings.Repeat("00", 8)
	}
	rest := "06" + "0000" + order(0, 4, 0, 0) + "1f90" + strings.Repeat("00", 2+32+4) + strings.Repeat("ff", 8)
	for _, c := range []struct {
		query  listenQuery
		family uint8
		want   string
	}{
		{listenQuery{port: 8080}, 2, header(72) + "02" + rest},
		{listenQuery{port: 8080, cgroup: 0x0102030405}, 10, header(88) + "0a" + rest +
			order(16, 0) + order(1, 0) + "0d0c" + order(16, 0) + order(5, 4, 3, 2, 1, 0, 0, 0)},
	} {
		if got := hex.EncodeToString(c.query.request(c.family)); got != c.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", c.query, got, c.want)
		}
	}
}

func message(kind uint16, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(netlinkHeader+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, make([]byte, 10)...)
	b = append(b, body...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

// socketOf is a socket on port 80.
func socketOf(uid uint32) []byte {
	body := make([]byte, inetDiagMsg+7) // with some attribute
	body[inetDiagSport+1] = 80
	binary.NativeEndian.PutUint32(body[inetDiagMsgUID:], uid)
	return message(sockDiagByFamily, body)
}

func lastMessage(kind uint16, errno int32) []byte {
	return message(kind, binary.NativeEndian.AppendUint32(nil, uint32(-errno)))
}

func TestListenAnswer(t *testing.T) {
	q := listenQuery{port: 80, ids: IDRange{Base: 100000, Size: 1000}}
	done := lastMessage(nlmsgDone, 0)
	for name, c := range map[string]struct {
		answer []byte
		found  int
		last   bool
		err    error
	}{
		"none":            {done, 0, true, nil},
		"more to come":    {nil, 0, false, nil},
		"its own":         {slices.Concat(socketOf(100000), done), 1, true, nil},
		"its last id":     {slices.Concat(socketOf(100999), done), 1, true, nil},
		"the id behind":   {slices.Concat(socketOf(101000), done), 0, true, nil},
		"the id before":   {slices.Concat(socketOf(99999), done), 0, true, nil},
		"root's":          {socketOf(0), 0, false, nil},
		"two, another's":  {slices.Concat(socketOf(100001), socketOf(0), socketOf(100500)), 2, false, nil},
		"refused":         {lastMessage(nlmsgError, int32(syscall.EINVAL)), 0, true, syscall.EINVAL},
		"broken off":      {slices.Concat(socketOf(0), lastMessage(nlmsgDone, int32(syscall.ENOBUFS))), 0, true, syscall.ENOBUFS},
		"acknowledgement": {lastMessage(nlmsgError, 0), 0, true, nil},
	} {
		ports, last, err := q.answer(c.answer)
		if !slices.Equal(ports, slices.Repeat([]int{80}, c.found)) || last != c.last || !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, %v, %v", name, ports, last, err)
		}
	}
	for name, answer := range map[string][]byte{
		"half a header":   done[:10],
		"half a message":  socketOf(0)[:60],
		"half a socket":   message(sockDiagByFamily, make([]byte, inetDiagMsg-1)),
		"no errno":        message(nlmsgDone, nil),
		"no length":       make([]byte, 32),
		"another message": message(99, make([]byte, 80)),
	} {
		if ports, _, err := q.answer(answer); len(ports) > 0 || err == nil {
			t.Errorf("%s: got %v, %v", name, ports, err)
		}
	}
}

func FuzzListenAnswer(f *testing.F) {
	f.Add(slices.Concat(socketOf(1), socketOf(2), lastMessage(nlmsgDone, 0)))
	f.Add(lastMessage(nlmsgError, 22))
	q := listenQuery{ids: IDRange{Base: 5, Size: 1}}
	f.Fuzz(func(t *testing.T, b []byte) {
		ports, _, _ := q.answer(b)
		if len(ports) > len(b)/(netlinkHeader+inetDiagMsg) {
			t.Errorf("%d ports", len(ports))
		}
	})
}

// A listener is noticed within 2 ms or a sixteenth of the time that it took, up
// to a quarter of a second; and later on nothing is asked more than once in 10 s.
func TestListenPause(t *testing.T) {
	for waited, want := range map[time.Duration]time.Duration{
		0:                      2 * time.Millisecond,
		16 * time.Millisecond:  2 * time.Millisecond,
		160 * time.Millisecond: 10 * time.Millisecond,
		4 * time.Second:        250 * time.Millisecond,
		time.Minute:            250 * time.Millisecond,
		10 * time.Minute:       2500 * time.Millisecond,
		time.Hour:              10 * time.Second,
		1000 * time.Hour:       10 * time.Second,
	} {
		if got := listenPause(waited); got != want {
			t.Errorf("after %v: got %v, want %v", waited, got, want)
		}
	}
}
