package applog

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/gilliam/hypervisor/isolate/output"
)

// sinkEnv makes the test binary a hypervisor that sends the log in a folder to a
// receiver until it is killed.
const sinkEnv = "APPLOG_TEST_SINK"

func TestMain(m *testing.M) {
	if url := os.Getenv(sinkEnv); url != "" {
		s, err := openSink(url, slog.New(slog.DiscardHandler), quick)
		if err != nil {
			panic(err)
		}
		s.Forward(os.Getenv(sinkEnv+"_DIR"), "blog", "web.1", "id-1", nil)
		fmt.Println("forwarding")
		select {}
	}
	os.Exit(m.Run())
}

// However often the hypervisor is killed, each line is sent. Those that were sent
// shortly before a kill are sent again.
func TestKilledHypervisors(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			const kills, lines = 20, 40_000
			r := newReceiver(t, network)
			a := newApp(t, output.Limits{Segment: 16 << 20})
			seen, missing, again := make([]bool, lines), lines, 0
			take := func(m string) {
				n, err := strconv.Atoi(text(t, m))
				if err != nil || n < 0 || n >= lines {
					t.Fatal(n, err)
				}
				if seen[n] {
					again++
					return
				}
				seen[n] = true
				missing--
			}
			for n := range kills {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), sinkEnv+"="+r.url(), sinkEnv+"_DIR="+a.dir)
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				if _, err := out.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				for i := n * lines / kills; i < (n+1)*lines/kills; i += 10 {
					a.lines(i, i+10)
				}
				for range rand.IntN(lines / kills) { // so many messages, and it dies
					take(r.next())
				}
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait()
			}
			s := newSink(t, r.url(), quick)
			a.forward(s)
			a.end()
			for missing > 0 {
				take(r.next())
			}
			closeSink(t, s)
			if s.Lost() > 0 {
				t.Errorf("lost %d bytes", s.Lost())
			}
			t.Logf("%d lines through %d kills, %d sent again", lines, kills, again)
		})
	}
}
